"""The device that a run takes place on: which, and how much memory it has and takes."""

import contextlib
import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

from embedding_collapse.parameters import ParameterError, first_line

from .environment import linux_says, multiplies_bf16

STATUS = Path("/proc/self/status")
_seeding = threading.RLock()


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" takes the GPU where there is one.

    Raises:
        ParameterError: a name that torch does not know or cannot reach here, or of a device that is
            neither a CPU nor CUDA's.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise RuntimeError("it is neither a CPU nor a CUDA GPU")
        return torch.ones(1, device=name).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ParameterError(
            f"device {name!r} cannot be used here ({first_line(error)}); 'auto', 'cpu' and, with "
            "a GPU, 'cuda' are accepted"
        ) from None


def precision_of(name: str | None, device: torch.device) -> str | None:
    """The precision of matrix products that a name asks for; None is float32.

    "auto" is what a device multiplies fastest in, of what the study `decide` shows no loss of AUC
    from: "bf16" on a processor with instructions for it (AVX512-BF16 or AMX), "tf32" on a GPU that
    has it, float32 elsewhere.
    """
    if name != "auto":
        return None if name in ("", "float32") else name
    if device.type == "cuda":
        return "tf32" if torch.cuda.get_device_capability(device) >= (8, 0) else None
    return "bf16" if device.type == "cpu" and multiplies_bf16() else None


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new measurement of `peak_memory`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif STATUS.exists():
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to what is taken now


def peak_memory(device: torch.device) -> int | None:
    """Bytes since the reset: the most that tensors took of a GPU, or this process took of memory.

    None on a CPU outside Linux, which alone can begin a new measurement within a process, and where
    the system does not tell, as in gVisor.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = linux_says(STATUS, "VmHWM")
    return int(most.split()[0]) * 1024 if most else None


def memory(device: torch.device) -> int | None:
    """Bytes of memory that a device has in all; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # AttributeError: Windows
        return None


def prepare(device: torch.device) -> None:
    """Make ready for training: freed memory is kept, and `peak_memory` begins anew."""
    if device.type == "cpu":
        _keep_freed_memory()
    reset_peak_memory(device)


@contextlib.contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Within, torch's generators may be seeded, by one thread at a time, as all threads draw from
    the same; afterwards they are as they were."""
    devices = [device] if device.type == "cuda" else []
    with _seeding, torch.random.fork_rng(devices):
        yield


def _keep_freed_memory() -> None:
    """Have glibc keep large freed blocks instead of handing them back to the kernel.

    A training step frees and takes the same large tensors again and again; by default each comes
    back as fresh pages that fault one by one: a quarter of the time of a step of DNN, ME 10x.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        mmap_threshold, trim_threshold = -3, -1  # their numbers in malloc.h
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)
