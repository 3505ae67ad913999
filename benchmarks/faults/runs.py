"""Small runs to do harm to, and what is compared of them."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.torch import load_file

from embedding_collapse.lab import records

DATA = Path(__file__).parents[2] / "tests" / "data"
CRITEO = ["--dataset", "criteo", "--path", str(DATA / "criteo_format.txt.gz"), "--rows", "1000"]
SIZE = [
    "--embedding-size",
    "4",
    "--hidden",
    "32",
    "--cross-layers",
    "2",
    "--batch-size",
    "128",
    "--device",
    "cpu",
    "--quiet",
]
EPOCHS = 3
RUN = [
    "run",
    *CRITEO,
    *SIZE,
    "--model",
    "dcnv2",
    "--design",
    "me",
    "--scale",
    "2",
    "--epochs",
    str(EPOCHS),
    "--patience",
    str(EPOCHS),
]
SWEPT, SWEEP_EPOCHS = 6, 2  # runs of the sweep
SWEEP = [
    "sweep",
    *CRITEO,
    *SIZE,
    "--models",
    "dnn,dcnv2",
    "--scales",
    "1,2",
    "--seeds",
    "0",
    "--epochs",
    str(SWEEP_EPOCHS),
]
ONE_RUN = [
    "sweep",
    *CRITEO,
    *SIZE,
    "--models",
    "dcnv2",
    "--designs",
    "me",
    "--scales",
    "2",
    "--seeds",
    "0",
    "--epochs",
    "30",
    "--patience",
    "30",
]
NOT_SAME = ("speed", "peak_memory", "environment")  # of two runs of one command


class Case(NamedTuple):
    """One thing that goes wrong.

    Attributes:
        name: of it.
        attempt: does it in an empty folder, with random numbers of its own, and returns None where
            nothing falls, else "what fell: how".
    """

    name: str
    attempt: Callable[[Path, np.random.Generator], str | None]


class NotHere(Exception):
    """A part that this machine cannot do."""


def essence(output: Path) -> dict[str, Any]:
    """All that two runs of one command must have in common, bit for bit: no times, no memory."""
    found: dict[str, Any] = {}
    for path in sorted(output.glob("*.safetensors")):
        digest = hashlib.sha256()
        for name, tensor in sorted(load_file(path).items()):
            digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.numpy().tobytes())
        found[path.name] = digest.hexdigest()
    for path in sorted(output.glob("*.json")):
        record = asdict(records.load(path))
        for name in NOT_SAME:
            del record[name]
        for epoch in record["epochs"]:
            for name in [name for name in epoch if "seconds" in name]:
                del epoch[name]
        found[path.name] = record
    for path in sorted(output.glob("*.codebook")):
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """In what two essences differ."""
    if found.keys() != expected.keys():
        return f"files are {sorted(found)}, not {sorted(expected)}"
    changed = [name for name in expected if found[name] != expected[name]]
    return f"{', '.join(changed)} changed" if changed else None


def last_line(text: str) -> str:
    """The last line of what a command said, shortened."""
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "nothing said"
