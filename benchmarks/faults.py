"""What goes wrong, tried out: how much of it the project notices, mends or survives.

    python benchmarks/faults.py PART [--quick] [--seed 0] [--only FIRST[:END]]
    python benchmarks/faults.py all [--jobs 2]

prints a row per part: what was tried, what passed, what fell, each with the number of the first
try that fell so. `--only 7` repeats that one, `--only 0:200` does the first 200: a try has random
numbers of its own, from the seed and its number. Each takes place in a process and in a folder of
its own. Linux.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # to be forked safely
os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
from faults import checkpoints, disk, kills, names, repeats, sharing, stored, tables
from faults.runs import Case, NotHere

PARTS: dict[str, Callable[[bool], Iterator[Case]]] = {
    "killed-runs": kills.killed_runs,
    "killed-sweeps": kills.killed_sweeps,
    "killed-runs-on-ray": kills.killed_runs_on_ray,
    "killed-sweeps-on-ray": kills.killed_sweeps_on_ray,
    "stored-files": stored.stored_files,
    "csv": tables.csv_tables,
    "tsv": tables.tsv_tables,
    "criteo": tables.criteo_tables,
    "avazu": tables.avazu_tables,
    "parquet": tables.parquet_tables,
    "safetensors": checkpoints.safetensors_files,
    "pt": checkpoints.pt_files,
    "npz": checkpoints.npz_files,
    "npy": checkpoints.npy_files,
    "hdf5": checkpoints.hdf5_files,
    "onnx": checkpoints.onnx_files,
    "exported": checkpoints.arrow_files,
    "shards": checkpoints.shard_indices,
    "distributed": checkpoints.distributed_folders,
    "full-disk": disk.full_disk,
    "read-only": disk.read_only,
    "side-by-side": sharing.side_by_side,
    "mixed-up": sharing.mixed_up,
    "names": names.names,
    "trainings": repeats.trainings,
}
HEAD = "| part | tried | passed | what fell | seconds |\n|---|---|---|---|---|"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=["all", *PARTS])
    parser.add_argument("--quick", action="store_true", help="a few of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=span, metavar="FIRST[:END]", help="these tries alone")
    parser.add_argument("--jobs", type=int, default=1, help="parts at a time")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", file=sys.stderr)
    parts = list(PARTS) if asked.part == "all" else [asked.part]
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        one = partial(do, quick=asked.quick, seed=asked.seed, only=asked.only)
        with multiprocessing.get_context("fork").Pool(min(asked.jobs, len(parts))) as pool:
            return max(pool.imap_unordered(one, parts))


def span(text: str) -> range:
    first, _, end = text.partition(":")
    return range(int(first), int(end or int(first) + 1))


def do(part: str, quick: bool, seed: int, only: range | None) -> int:
    """Try all of a part, print its row; returns 1 if anything fell."""
    started, tried, fell = time.monotonic(), 0, {}
    try:
        for number, case in enumerate(PARTS[part](quick)):
            if only is not None and number not in only:
                continue
            tried += 1
            if wrong := attempt(case, np.random.default_rng([seed, number])):
                fell.setdefault(wrong.partition(":")[0], []).append(number)
                print(shown(f"{part} {number}, {case.name}: {wrong}"), file=sys.stderr, flush=True)
    except NotHere as reason:
        print(f"| {part} | 0 | 0 | not tried: {reason} | 0 |", flush=True)
        return 0
    told = "; ".join(f"{len(those)} {what} (first {those[0]})" for what, those in fell.items())
    passed = tried - sum(map(len, fell.values()))
    seconds = time.monotonic() - started
    print(f"| {part} | {tried:,} | {passed:,} | {told} | {seconds:,.0f} |", flush=True)
    return int(passed < tried)


def attempt(case: Case, random: np.random.Generator) -> str | None:
    """What fell in a try, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return case.attempt(Path(folder), random)


def shown(text: str) -> str:
    """A line for a terminal, whatever names are in it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of the harness; a child collects its own
    sys.exit(main())
