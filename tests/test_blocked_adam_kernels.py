"""The Triton kernels do what their twin does: interpreted on the CPU, and on a GPU where one is.

In a process of their own, because Triton settles how it runs when it is first imported.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).with_name("kernels_by_triton.py")
pytest.importorskip("triton", reason="Triton is not installed (it comes for Linux alone)")


@pytest.mark.parametrize("how", ["interpreted", "on a GPU"])
def test_the_kernels_are_the_twin(how):
    if how == "on a GPU" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    if how == "interpreted":
        environment |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(TESTS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
