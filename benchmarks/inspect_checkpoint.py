"""How long `inspect` takes on a large checkpoint, and in how much memory.

    python benchmarks/inspect_checkpoint.py --rows 10000000 --width 64
    python benchmarks/inspect_checkpoint.py --rows 100000000 --every 200 --repeats 1
    python benchmarks/inspect_checkpoint.py --tables 2000 5000 20000

Writes one table as safetensors and as .npy (from a folder on the disk, removed in the end), then
runs the command on each in a process of its own. Memory is the process's peak resident set, with
its two parts sampled: anonymous pages, which are the process's own, and pages of mapped files,
which the system may take back at any time but which every tool counts. With `--every N` one block
of rows in N is drawn, and the others are zeros that take no room on the disk; with `--tables` it
inspects files of so many small tables instead.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

PARTS = ("RssAnon", "RssFile", "VmHWM")
BLOCK = 250_000  # rows


def write(folder: Path, rows: int, width: int, smallest: float, every: int) -> list[Path]:
    """A table whose singular values fall evenly from 1 to `smallest`, in both formats; in one only
    where it has blocks of zeros, which the other's writer would put on the disk."""
    path = folder / "table.npy"
    table = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
    generator = np.random.default_rng(0)
    scale = np.geomspace(1, smallest, width, dtype=np.float32)
    for start in range(0, rows, BLOCK * every):
        part = table[start : start + BLOCK]
        part[:] = generator.standard_normal(part.shape, dtype=np.float32) * scale
    table.flush()
    if every > 1:
        return [path]
    save_file({"embedding": torch.from_numpy(table)}, folder / "table.safetensors")
    return [folder / "table.safetensors", path]


def write_many(folder: Path, count: int) -> Path:
    """So many tables of 4 to 60 rows and 8 columns."""
    generator = np.random.default_rng(0)
    rows = generator.integers(4, 61, count).tolist()
    path = folder / f"{count} tables"
    save_file({f"emb.{i}": torch.randn(n, 8) for i, n in enumerate(rows)}, path)
    return path


def memory(pid: int) -> dict[str, float]:
    """GB of each part of a process's memory; nothing once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split()[:2] for line in lines if line.startswith(PARTS))
    return {name.rstrip(":"): int(kib) * 1024 / 1e9 for name, kib in pairs}


def measure(path: Path) -> tuple[float, float, dict[str, float]]:
    """Seconds, CPU seconds and peak memory of the command on a file."""
    command = [
        sys.executable,
        "-m",
        "embedding_collapse",
        "inspect",
        str(path),
        f"--output={path}.html",
    ]
    start, before = time.perf_counter(), os.times()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = dict.fromkeys(PARTS, 0.0)
    while process.poll() is None:
        for name, size in memory(process.pid).items():
            peak[name] = max(peak[name], size)
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"inspect failed on {path}")
    seconds, after = time.perf_counter() - start, os.times()
    cpu = sum(after[i] - before[i] for i in (2, 3))  # of children, user and system
    return seconds, cpu, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument(
        "--smallest", type=float, default=0.05, help="singular value; below 1e-4 a slower path"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="draw one block of rows in N"
    )
    parser.add_argument("--tables", type=int, nargs="+", metavar="N", default=[])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where to write the table; the system's by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if args.tables:
            paths = [write_many(Path(folder), count) for count in args.tables]
        else:
            paths = write(Path(folder), args.rows, args.width, args.smallest, args.every)
            print(f"{args.rows:,} x {args.width} float32")
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
        print("file                seconds   CPU seconds   peak GB: all   anonymous   mapped")
        for _ in range(args.repeats):
            for path in paths:
                seconds, cpu, peak = measure(path)
                print(
                    f"{path.name:18s} {seconds:8.1f} {cpu:13.1f} {peak['VmHWM']:14.2f} "
                    f"{peak['RssAnon']:11.2f} {peak['RssFile']:8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
