"""Where and when a run takes place, and where kernels compiled for its processor are kept."""

import getpass
import hashlib
import os
import platform
import subprocess
import tempfile
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .processes import count

BF16 = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # of torch.cpu
CPUINFO = Path("/proc/cpuinfo")


def environment(device: torch.device) -> dict[str, Any]:
    """Device, hardware, whether its instructions multiply bf16 (see `engine.products`), cores,
    processes, threads of each, versions, git commit and time, now."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": device.type,
        "hardware": gpu or processor(),
        "multiplies_bf16": None if gpu else multiplies_bf16(),
        "cores": os.cpu_count(),
        "processes": count(),
        "threads": torch.get_num_threads(),
        "versions": {
            "embedding-collapse": version("embedding-collapse"),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "commit": commit(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def processor() -> str:
    """The processor's name, as well as the platform tells it."""
    return linux_says(CPUINFO, "model name") or platform.processor() or platform.machine()


def multiplies_bf16() -> bool:
    """Whether this processor has instructions for products in bf16 (AVX512-BF16 or AMX)."""
    return any(getattr(torch.cpu, instructions, bool)() for instructions in BF16)


def instruction_set() -> str:
    """What code compiled here may use: torch's choice, which ATEN_CPU_CAPABILITY changes, and eight
    digits that stand for the processor's flags."""
    flags = linux_says(CPUINFO, "flags") or linux_says(CPUINFO, "Features") or processor()
    digest = hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()
    return f"{torch.backends.cpu.get_cpu_capability().lower()}-{digest[:8]}"


def keep_kernels_apart() -> Path:
    """Have `torch.compile` keep its kernels in a folder of this instruction set's own.

    It lies in the folder that TORCHINDUCTOR_CACHE_DIR names, or in torch's own. That cache outlives
    a process, and a kernel in it that was compiled for other instructions ends the next one.
    """
    given = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container a number may have no name
        user = f"uid_{os.getuid()}"
    folder = Path(given or f"{tempfile.gettempdir()}/torchinductor_{user}")
    if folder.name != instruction_set():
        folder /= instruction_set()
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    return folder


def linux_says(file: Path, key: str) -> str | None:
    """What stands under that key, at first, in a file in which Linux tells of the machine."""
    for line in file.read_text().splitlines() if file.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def repository() -> Path | None:
    """The repository whose source this package runs from; None where it was installed without."""
    package = Path(__file__).parents[1]
    root = package.parents[1]
    return root if package.parent.name == "src" and (root / "pyproject.toml").is_file() else None


@lru_cache
def commit() -> str | None:
    """The commit of the source tree this package runs from, "+" if changed; None outside one."""
    folder = Path(__file__).parents[1]

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    try:
        prefix, head = git("rev-parse", "--show-prefix", "--short=12", "HEAD")
        if prefix != f"src/{folder.name}/":  # installed inside somebody else's repository
            return None
        return head + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
