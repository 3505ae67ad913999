"""Many trainings in one process: its memory stays flat."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from embedding_collapse.lab import records

from .child import command, isolated
from .runs import CRITEO, SIZE, Case

WIDE = [
    "run",
    *CRITEO,
    *SIZE,
    "--model",
    "dcnv2",
    "--design",
    "me",
    "--scale",
    "4",
    "--epochs",
    "1",
    "--embedding-size",
    "16",
    "--no-weights",
]
SECONDS = 600.0


def trainings(quick: bool) -> Iterator[Case]:
    """50 trainings, each with a seed and an output of its own."""
    count, settled = (6, 4) if quick else (50, 10)
    yield Case(f"{count} trainings", partial(_attempt, count, settled))


def _attempt(count: int, settled: int, folder: Path, random: np.random.Generator) -> str | None:
    """Once settled, all the rest together may add half a model's parameters at most."""

    def task() -> tuple[list[int], int]:
        taken = []
        for seed in range(count):
            output = folder / str(seed)
            command(*WIDE, "--seed", str(seed), "--output", str(output), cache=folder / "cache")()
            gc.collect()
            taken.append(_anonymous())
        return taken, parameters(folder / "0")

    found = isolated(task, seconds=SECONDS)
    if found.kind != "value":
        return f"{found.kind}: {found.text}"
    taken, size = found.value
    growth = taken[-1] - taken[settled - 1]
    told = f"{growth / 1e6:+.2f} MB in {count - settled} trainings of models of {size / 1e6:.1f} MB"
    print(f"memory: {told}", file=sys.stderr)
    return f"memory grows: {told}" if growth > size / 2 else None


def parameters(output: Path) -> int:
    """Bytes of the parameters of the model that an output folder has the record of."""
    (path,) = output.glob("*.json")
    return 4 * sum(records.load(path).parameters.values())


def _anonymous() -> int:
    """Bytes of this process's memory that belong to no file, without those that are free."""
    # the allocator keeps some of what was freed, in a few trainings of many as much as a model
    ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise LookupError("RssAnon")
