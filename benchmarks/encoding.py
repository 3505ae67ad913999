"""How fast a file in Criteo's format becomes ids: ours, the paper's code and FuxiCTR's.

    python benchmarks/encoding.py --rows 300000 1000000 3000000 --repeats 3 \
        --official PATH --fuxictr VENV/bin/python

PATH is a clone of the paper's repository (github.com/thuml/Multi-Embedding; `pip install lmdb`),
VENV an environment of its own with `pip install "fuxictr==2.3.10" "polars<1.30"`. Each is left out
where its option is. All read the same file, made anew by `criteo_file.py` for each number of rows,
each in a process of its own and in turns; what is timed is the encoding, not the imports. CPU time
is that of the process and its children, less sensitive to what else runs on the machine. Memory
is the peak of the anonymous pages of the process and its children (Linux), sampled: mapped files
are left out, for the system takes their pages back when it needs them.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

INTEGERS = [f"I{i}" for i in range(1, 14)]
TOKENS = [f"C{i}" for i in range(1, 27)]
GIB = 1 << 30


def ours(file: Path, folder: Path) -> Callable[[], object]:
    """Encoding into an empty cache."""
    from embedding_collapse.lab.data import load

    return lambda: load("criteo", path=file, cache=folder, progress=False)


def again(file: Path, folder: Path) -> Callable[[], object]:
    """Loading what the cache holds."""
    ours(file, folder)()
    return ours(file, folder)


def official(file: Path, folder: Path) -> Callable[[], object]:
    """The paper's code: count in Python, then write rows into LMDB."""
    from torchfm.dataset.criteo import CriteoDataset

    return lambda: CriteoDataset(str(file), str(folder / "cache"))


def fuxictr(file: Path, folder: Path) -> Callable[[], object]:
    """FuxiCTR with its own settings for Criteo, on the file with a header."""
    from fuxictr.datasets.criteo import CustomizedFeatureProcessor
    from fuxictr.preprocess import build_dataset
    from fuxictr.preprocess.build_dataset import init_ray

    kinds = {"type": "categorical", "active": True}
    columns = [
        {"name": INTEGERS, "dtype": "float", "preprocess": "convert_to_bucket"} | kinds,
        {"name": TOKENS, "dtype": "str"} | kinds,
    ]
    label = {"name": "label", "dtype": "float"}
    processor = CustomizedFeatureProcessor(columns, label, "criteo", str(folder))
    init_ray()  # starting Ray is not encoding
    return lambda: build_dataset(processor, train_data=f"{file}.csv", sep="\t", min_categr_count=10)


CONTENDERS = {one.__name__: one for one in (ours, again, official, fuxictr)}


def work(name: str, file: Path) -> None:
    """In a process of its own: encode; the last line printed is seconds and CPU seconds."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        encode = CONTENDERS[name](file, Path(folder))
        start, cpu = time.perf_counter(), cpu_seconds()
        encode()
        print(f"\n{time.perf_counter() - start} {cpu_seconds() - cpu}", flush=True)
    os._exit(0)  # without what libraries say when they end


def measure(name: str, file: Path, python: str, path: str) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak GiB of anonymous memory."""
    code, said, peak = spawn([python, __file__, "--one", name, str(file)], path)
    if code:
        sys.exit(f"{name} failed:\n{said[-3000:]}")
    seconds, cpu = map(float, said.splitlines()[-1].split())
    return seconds, cpu, peak / GIB


def spawn(command: list[str], path: str) -> tuple[int, str, int]:
    """Run it with that PYTHONPATH: exit code, what it printed, peak bytes of anonymous memory."""
    environment = os.environ | {"PYTHONPATH": path}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, text=True
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(anonymous, family(process.pid))))
            time.sleep(0.05)
        output.seek(0)
        return process.returncode, output.read(), peak


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from family(int(child))


def anonymous(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    return 0


def cpu_seconds() -> float:
    """CPU time so far of this process, its children and theirs."""
    ticks = 0
    for pid in family(os.getpid()):
        with contextlib.suppress(OSError):
            numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, numbers[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def make_files(folder: Path, rows: int) -> Path:
    """The file, and a copy with a header for FuxiCTR."""
    from criteo_file import write_criteo

    file = folder / f"{rows}.txt"
    write_criteo(file, rows)
    with file.open("rb") as plain, Path(f"{file}.csv").open("wb") as headed:
        headed.write("\t".join(["label", *INTEGERS, *TOKENS]).encode() + b"\n")
        while part := plain.read(1 << 24):
            headed.write(part)
    return file


def table(rows: int, results: dict[str, list[tuple[float, float, float]]]) -> Iterator[str]:
    """Markdown rows: rates with their spread, CPU, memory, and how many times theirs ours is."""
    rate = {name: rows / statistics.median(r[0] for r in runs) for name, runs in results.items()}
    for name, runs in results.items():
        seconds, cpu, gib = zip(*runs, strict=True)
        spread = f"({rows / max(seconds):,.0f} to {rows / min(seconds):,.0f})"
        times = "" if name in ("ours", "again") else f"{rate['ours'] / rate[name]:.1f}x"
        yield (
            f"| {rows:,} | {name} | {rate[name]:,.0f} {spread} | {rows / rate[name]:.2f} "
            f"| {statistics.median(cpu) / rows * 1e6:.1f} | {max(gib):.2f} | {times} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, 1_000_000, 3_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--official", metavar="PATH", help="clone of the paper's repository")
    parser.add_argument("--fuxictr", metavar="PYTHON", help="python of an environment with it")
    parser.add_argument("--folder", type=Path, help="where the files are made; by default in /tmp")
    parser.add_argument("--json", type=Path, help="write every single measurement there")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return work(args.one[0], Path(args.one[1]))

    pythons = {"ours": (sys.executable, ""), "again": (sys.executable, "")}
    if args.official:
        pythons["official"] = (sys.executable, str(Path(args.official).resolve()))
    if args.fuxictr:
        pythons["fuxictr"] = (str(Path(args.fuxictr).absolute()), "")
    print(f"{os.cpu_count()} cores, {args.repeats} repeats\n")
    titles = ["rows", "encoder", "rows/s: median (least to most)", "seconds", "CPU us/row"]
    titles += ["peak GiB", "ours is"]
    print("|", " | ".join(titles), "|")
    print("|---" * len(titles) + "|", flush=True)
    every = {}
    for rows in args.rows:
        results = {name: [] for name in pythons}
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            file = make_files(Path(folder), rows)
            for _ in range(args.repeats):
                for name, (python, path) in pythons.items():
                    results[name].append(measure(name, file, python, path))
        every[rows] = results
        print(*table(rows, results), sep="\n", flush=True)
    if args.json:
        args.json.write_text(json.dumps(every))


if __name__ == "__main__":
    main()
