"""How fast the 39-field synthetic dataset is drawn, and in how much memory.

    python benchmarks/synthetic.py --rows 1000000 --repeats 3

Each draw runs in a process of its own, into an empty cache; the numbers of workers take turns, so
that a slow minute of the machine falls on all of them. Memory is the peak of the process's
anonymous pages (Linux), sampled: pages of the mapped files are left out, for the system takes them
back when it needs them.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from embedding_collapse.lab.data import load
from embedding_collapse.lab.data.parallel import available_cores


def anonymous_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def measure(rows: int, workers: int) -> tuple[float, float, float, float]:
    """Rows per second, CPU microseconds per row, peak MiB, and seconds to map the rows again."""
    before = anonymous_mib()
    peak, done = [before], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak.append(anonymous_mib())

    watcher = threading.Thread(target=watch)
    with tempfile.TemporaryDirectory() as cache:
        watcher.start()
        start, cpu = time.perf_counter(), time.process_time()
        load("synthetic", rows, cache=cache, workers=workers, progress=False)
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        done.set()
        watcher.join()
        again = time.perf_counter()
        load("synthetic", rows, cache=cache, workers=workers, progress=False)
        return rows / took, cpu / rows * 1e6, max(peak), time.perf_counter() - again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", help="default: 1, 2, 4, ... all cores")
    args = parser.parse_args()
    cores = available_cores()
    workers = args.workers or sorted({*(2**i for i in range(cores.bit_length())), cores})
    results = {count: [] for count in workers}
    spawn = multiprocessing.get_context("spawn")
    for _ in range(args.repeats):
        for count in workers:
            with ProcessPoolExecutor(1, spawn) as pool:
                results[count].append(pool.submit(measure, args.rows, count).result())

    print(f"{args.rows:,} rows of 39 fields, {cores} cores, {args.repeats} repeats")
    print("workers   rows/s: median (least to most)   CPU us/row   peak MiB   seconds to map again")
    for count, runs in results.items():
        rates, cpus, peaks, maps = zip(*runs, strict=True)
        spread = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        cpu, again = statistics.median(cpus), statistics.median(maps)
        print(f"{count:7}   {spread:32} {cpu:10.2f} {max(peaks):10.0f} {again:22.2f}")


if __name__ == "__main__":
    main()
