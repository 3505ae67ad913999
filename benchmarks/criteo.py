"""From a file in Criteo's shape to trained models: disk, memory and time, as a record.

    python benchmarks/criteo.py [--rows 5000000] [--folder FOLDER] [--output results/speed]

Makes the file (258 bytes a row), encodes it into an empty cache and trains the base models for an
epoch, each in a process of its own. The page on cost makes of it a plan for all 45.8 million rows.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from criteo_file import write_criteo
from encoding import cpu_seconds, spawn

MODELS = ("dnn", "dcnv2")


def encode(file: Path, cache: Path) -> dict[str, Any]:
    """Encode the file; its size, and what it became."""
    from embedding_collapse.lab.data import load

    dataset = load("criteo", path=file, cache=cache, progress=False)
    return {"rows": len(dataset.ids), "features": sum(dataset.cardinalities)}


def train(file: Path, cache: Path, name: str) -> dict[str, Any]:
    """Train a base model for an epoch of what the cache holds, and test it."""
    import torch

    from embedding_collapse.lab.data import load
    from embedding_collapse.lab.environment import environment
    from embedding_collapse.lab.models import Size, build
    from embedding_collapse.lab.training import Training, fit

    dataset = load("criteo", path=file, cache=cache, progress=False)
    model = build(name, dataset.cardinalities, Size(len(dataset.fields), 1, 10))
    run = fit(model, dataset, Training(1), device="cpu")
    return {
        "training_rows": dataset.split_sizes[0],
        "training_seconds": run.epochs[0]["seconds"],
        "training_cpu_seconds": run.epochs[0]["cpu_seconds"],
        "auc": run.test["auc"],
        "environment": environment(torch.device("cpu")),
    }


def work(task: str, file: Path, cache: Path) -> None:
    """In a process of its own: the last line printed is the result."""
    import time

    started, cpu = time.perf_counter(), cpu_seconds()
    found = encode(file, cache) if task == "encode" else train(file, cache, task)
    found |= {"seconds": time.perf_counter() - started, "cpu_seconds": cpu_seconds() - cpu}
    print("\n" + json.dumps(found))


def main() -> None:
    """Do each part in turn and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000, help="(default %(default)s)")
    parser.add_argument("--folder", type=Path, help="for the file; by default the system's")
    parser.add_argument("--output", type=Path, default=Path("results/speed"))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return work(options.one[0], *map(Path, options.one[1:]))

    from embedding_collapse.files import store_json

    parts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file, cache = Path(folder, "train.txt"), Path(folder, "cache")
        write_criteo(file, options.rows)
        for task in ("encode", *MODELS):
            command = [sys.executable, __file__, "--one", task, str(file), str(cache)]
            code, said, peak = spawn(command, os.environ.get("PYTHONPATH", ""))
            if code:
                sys.exit(f"{task} failed:\n{said[-3000:]}")
            parts[task] = json.loads(said.splitlines()[-1]) | {"peak": peak}
            print(task, parts[task], flush=True)
        sizes = {
            "file": file.stat().st_size,
            "cache": sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()),
        }
    where = [parts[name].pop("environment") for name in MODELS][-1]
    content = {"rows": options.rows, "bytes": sizes, "load": os.getloadavg()[1]} | parts
    content["environment"] = where
    store_json(options.output / "criteo-cpu.json", content)


if __name__ == "__main__":
    main()
