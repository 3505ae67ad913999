"""In which form the passes run where: Triton's kernels, compiled by Numba, or plain PyTorch."""

import importlib.util
import os
import shutil
import warnings
from functools import lru_cache
from importlib import import_module
from types import ModuleType

import torch

PASSES = ("kernels", "compiled", "reference")  # modules of this package


def passes(name: str) -> ModuleType:
    """The module of that name, whose `catch_up`, `apply` and `flush` do the work."""
    return import_module(f".{name}", __package__)


def fastest(device: torch.device, dtype: torch.dtype) -> str:
    """The fastest form that runs there, one of `PASSES`."""
    if dtype == torch.float32 and kernels_run_on(device):
        return "kernels"
    if device.type == "cpu" and dtype in (torch.float32, torch.float64) and numba_runs():
        return "compiled"
    return "reference"


def kernels_run_on(device: torch.device) -> bool:
    """Whether the kernels can be had there: on a GPU of compute capability 7.0 or higher, where
    Triton is installed, and a C compiler, with which Triton makes what launches a kernel."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (7, 0):
        return False
    compilers = (os.environ.get("CC"), *map(shutil.which, ("gcc", "clang")))
    return any(compilers) and importlib.util.find_spec("triton") is not None


@lru_cache
def numba_runs() -> bool:
    """Whether Numba can be imported, which it refuses beside a NumPy that is newer than it knows,
    and may compile.

    Warns:
        UserWarning: it can't, once in a process.
    """
    try:
        if import_module("numba").config.DISABLE_JIT:
            raise ImportError("NUMBA_DISABLE_JIT is set")
    except ImportError as error:
        warnings.warn(
            f"Numba cannot be used ({error}): on a CPU training then takes plain PyTorch's passes, "
            'which are slower; pip install "embedding-collapse[lab]" brings it',
            stacklevel=2,
        )
        return False
    return True
