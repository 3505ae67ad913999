"""How time per step and memory grow with the sizes of a model: the record behind a page.

    python benchmarks/cost.py [--device cpu] [--rounds 5] [--output results/speed]

One axis is changed at a time around a DCNv2 of 12 fields, 100,000 features, K = 10 and M = 1, in
batches of 512; along the axis of features with dense and with blocked Adam. Each measurement is the
second epoch in a process of its own; rounds go over all of them in turn. Kept is the fastest round,
what the machine can do, with the slowest beside it, the least of the processor's time and the
floor: the step's products and then its bytes at the rates that `training.rates` measures here.
"""

import argparse
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from training import rates

from embedding_collapse.files import store_json
from embedding_collapse.lab.checkpoint import Fit
from embedding_collapse.lab.cost import step_cost
from embedding_collapse.lab.data import Dataset, Field
from embedding_collapse.lab.device import choose_device, peak_memory, reset_peak_memory
from embedding_collapse.lab.engine.captured import BLOCK, LONGER
from embedding_collapse.lab.environment import environment
from embedding_collapse.lab.models import Size, build
from embedding_collapse.lab.training import Training, fit

MODEL = "dcnv2"
CENTRE = {"features": 100_000, "fields": 12, "K": 10, "M": 1, "batch": 512, "threads": 1}
SMALL = CENTRE | {"fields": 2, "features": 20}
CORES = os.cpu_count() or 1
AXES = {
    "features": (10_000, 100_000, 1_000_000, 10_000_000),
    "fields": (6, 12, 24, 48),
    "K": (5, 10, 20, 40),
    "M": (1, 2, 4, 8),
    "batch": (128, 512, 2048, 8192),
    "threads": tuple(n for n in (1, 2, 4, 8, 16) if n <= CORES),
}
FEWER = 10  # steps in an epoch, where no flush of blocked Adam ends it
GRAPHS = 8 * BLOCK  # on a GPU, where the first window is no graph yet


def size_of(point: dict[str, int]) -> Size:
    return Size(point["fields"], point["M"], point["K"])


def cardinalities(point: dict[str, int]) -> list[int]:
    """The features spread evenly over the fields."""
    return [point["features"] // point["fields"]] * point["fields"]


def make_dataset(point: dict[str, int], steps: int) -> Dataset:
    """Ids that favour low numbers, labels by chance."""
    generator = np.random.default_rng(0)
    rows, sizes = int(point["batch"] * steps / 0.8), cardinalities(point)
    ids = (generator.random((rows, len(sizes))) ** 4 * sizes).astype(np.int32)
    labels = (generator.random(rows) < 0.25).astype(np.uint8)
    fields = tuple(Field(f"f{i}", size) for i, size in enumerate(sizes))
    return Dataset("cost", ids, labels, fields, "benchmark")


def train(
    point: dict[str, int], dataset: Dataset, epochs: int, device: torch.device, engine: bool
) -> Fit:
    model = build(MODEL, dataset.cardinalities, size_of(point))
    training = Training(epochs=epochs, batch_size=point["batch"], engine=engine)
    return fit(model, dataset, training, device=device)


def measure(job: tuple[dict[str, int], int, bool, str]) -> dict[str, float]:
    """Seconds and the processor's seconds per step, peak memory in bytes, and the different rows of
    a batch, of one point."""
    point, steps, engine, name = job
    torch.set_num_threads(point["threads"])
    device, dataset = choose_device(name), make_dataset(point, steps)
    # what libraries set up when first used is no part of the model
    train(SMALL, make_dataset(SMALL, 1), 1, device, engine)
    reset_peak_memory(device)
    before = peak_memory(device) or 0
    run = train(point, dataset, 2, device, engine)
    last, batch = run.epochs[1], dataset.ids[: point["batch"]]
    return {
        "seconds": last["seconds"] / steps,
        "cpu_seconds": last["cpu_seconds"] / steps,
        "memory": (run.peak_memory or 0) - before,
        "touched": sum(len(np.unique(field)) for field in batch.T),
    }


def rates_of(job: tuple[int, str]) -> tuple[float, float]:
    """`training.rates` with so many threads, on a CPU by the time that each of them had of the
    processor: what else runs on the machine counts less."""
    threads, device = job[0], choose_device(job[1])
    torch.set_num_threads(threads)
    if device.type == "cuda":
        return rates(device, None)
    return rates(device, None, lambda: time.process_time() / threads)


def main() -> None:
    """Measure every point and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--rounds", type=int, default=5, help="(default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round, an axis's first point")
    parser.add_argument("--output", type=Path, default=Path("results/speed"))
    options = parser.parse_args()
    on_gpu, rounds = options.device == "cuda", 1 if options.quick else options.rounds
    axes = {axis: AXES[axis] for axis in AXES if axis != "threads" or not on_gpu}
    flush = BLOCK if on_gpu else LONGER  # the steps from one to the next
    steps = GRAPHS if on_gpu else FEWER
    many = steps if on_gpu or options.quick else flush
    jobs = [
        (axis, value, CENTRE | {axis: value}, many if engine else steps, engine)
        for axis, values in axes.items()
        for value in values[: 1 if options.quick else None]
        for engine in ((False, True) if axis == "features" else (on_gpu,))
    ]
    found: list[list[dict[str, float]]] = [[] for _ in jobs]
    # a fresh process for each, forked where nothing has run yet, so that it starts at once
    way = multiprocessing.get_context("forkserver")
    way.set_forkserver_preload(["embedding_collapse.lab.training", "torch._dynamo"])
    with way.Pool(1, maxtasksperchild=1) as pool:
        order = [place for _ in range(rounds) for place in range(len(jobs))]
        todo = ((*jobs[place][2:], options.device) for place in order)
        for place, one in zip(order, tqdm(pool.imap(measure, todo), total=len(order)), strict=True):
            found[place].append(one)
        threads = sorted({point["threads"] for _, _, point, _, _ in jobs})
        pairs = [(count, options.device) for count in threads]
        fastest = dict(zip(threads, pool.map(rates_of, pairs), strict=True))
    points: list[dict[str, Any]] = []
    for (axis, value, point, _, engine), measured in zip(jobs, found, strict=True):
        cost = step_cost(MODEL, cardinalities(point), size_of(point), point["batch"])
        block = flush if engine else None
        times = [one["seconds"] for one in measured]
        moved = sum(cost.traffic(measured[0]["touched"], block).values())
        products, copies = fastest[point["threads"]]
        points.append(
            {
                "axis": axis,
                "value": value,
                "engine": engine,
                "seconds": min(times),
                "slowest": max(times),
                "cpu_seconds": min(one["cpu_seconds"] for one in measured),
                "floor": cost.flops / products + moved / copies,
                "memory": int(np.median([one["memory"] for one in measured])),
                "computed_memory": sum(cost.memory(block).values()),
                "best_epoch": 4 * (cost.embedding + cost.dense),
                "threads": point["threads"],
                "flops": cost.flops,
            }
        )
    content = {
        "model": MODEL,
        "centre": CENTRE,
        "rounds": rounds,
        "load": os.getloadavg()[1],
        "rates": {str(n): fast for n, fast in fastest.items()},
        "environment": environment(torch.device(options.device)),
        "points": points,
    }
    store_json(options.output / f"{options.device}.json", content)


if __name__ == "__main__":
    main()
