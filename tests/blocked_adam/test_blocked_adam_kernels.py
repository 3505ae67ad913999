"""The Triton kernels do what the reference does: interpreted on the CPU, and on a GPU where one is.
Without a GPU they are compiled for some.

In a process of their own, because Triton settles how it runs when it is first imported.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
pytest.importorskip("triton", reason="Triton is not installed (it comes for Linux alone)")


def run(name: str, **environment: str) -> None:
    """Run a file of tests in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is needed, and some take seconds
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / name)]
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.rounding
def test_interpreted_the_kernels_are_the_reference():
    run("kernels_by_triton.py", TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_on_a_gpu_the_kernels_are_the_reference():
    run("kernels_by_triton.py")


@pytest.mark.slow
def test_for_gpus_the_kernels_compile_to_the_references_arithmetic(tmp_path):
    run("kernels_compiled.py", TRITON_CACHE_DIR=str(tmp_path))
