"""How time per step and memory grow with features, fields, K and M: the record behind a page.

    python benchmarks/cost.py [--device cpu] [--rounds 5] [--output results/speed]

One axis is changed at a time around a DCNv2 of 12 fields, 100,000 features, K = 10 and M = 1, in
batches of 512. Each measurement is the second epoch in a process of its own; rounds go over all of
them in turn. Kept is the fastest round, what the machine can do, with the slowest beside it.
"""

import argparse
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from embedding_collapse.files import store_json
from embedding_collapse.lab.checkpoint import Fit
from embedding_collapse.lab.cost import step_cost
from embedding_collapse.lab.data import Dataset, Field
from embedding_collapse.lab.device import choose_device, peak_memory, reset_peak_memory
from embedding_collapse.lab.environment import environment
from embedding_collapse.lab.models import Size, build
from embedding_collapse.lab.training import Training, fit

MODEL, BATCH = "dcnv2", 512
CENTRE = {"features": 100_000, "fields": 12, "K": 10, "M": 1}
SMALL = CENTRE | {"fields": 2, "features": 20}
AXES = {
    "features": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "fields": (6, 12, 24, 48),
    "K": (5, 10, 20, 40),
    "M": (1, 2, 4, 8),
}
BLOCK = 32  # steps from flush to flush in the engine: an epoch of features' axis has as many
FEWER = 10  # steps in an epoch of the other axes
GRAPHS = 8 * BLOCK  # steps in an epoch on a GPU, where the first window is no graph yet


def size_of(point: dict[str, int]) -> Size:
    return Size(point["fields"], point["M"], point["K"])


def cardinalities(point: dict[str, int]) -> list[int]:
    """The features spread evenly over the fields."""
    return [point["features"] // point["fields"]] * point["fields"]


def make_dataset(point: dict[str, int], steps: int) -> Dataset:
    """Ids that favour low numbers, labels by chance."""
    generator = np.random.default_rng(0)
    rows, sizes = int(BATCH * steps / 0.8), cardinalities(point)
    ids = (generator.random((rows, len(sizes))) ** 4 * sizes).astype(np.int32)
    labels = (generator.random(rows) < 0.25).astype(np.uint8)
    fields = tuple(Field(f"f{i}", size) for i, size in enumerate(sizes))
    return Dataset("cost", ids, labels, fields, "benchmark")


def train(
    point: dict[str, int], dataset: Dataset, epochs: int, device: torch.device, engine: bool
) -> Fit:
    model = build(MODEL, dataset.cardinalities, size_of(point))
    training = Training(epochs=epochs, batch_size=BATCH, engine=engine)
    return fit(model, dataset, training, device=device)


def measure(job: tuple[dict[str, int], int, bool, str]) -> dict[str, float]:
    """Seconds per step and peak memory in bytes, of one point."""
    point, steps, engine, name = job
    device, dataset = choose_device(name), make_dataset(point, steps)
    # what libraries set up when first used is no part of the model
    train(SMALL, make_dataset(SMALL, 1), 1, device, engine)
    reset_peak_memory(device)
    before = peak_memory(device) or 0
    run = train(point, dataset, 2, device, engine)
    return {"seconds": run.epochs[1]["seconds"] / steps, "memory": (run.peak_memory or 0) - before}


def main() -> None:
    """Measure every point and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--rounds", type=int, default=5, help="(default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round, an axis's first point")
    parser.add_argument("--output", type=Path, default=Path("results/speed"))
    options = parser.parse_args()
    on_gpu, rounds = options.device == "cuda", 1 if options.quick else options.rounds
    steps = dict.fromkeys(AXES, GRAPHS if on_gpu else FEWER) | (
        {} if on_gpu else {"features": BLOCK}
    )
    jobs = [
        (axis, value, CENTRE | {axis: value}, steps[axis], engine)
        for axis, values in AXES.items()
        for value in values[: 1 if options.quick else None]
        for engine in ((False, True) if axis == "features" else (on_gpu,))
    ]
    found: list[list[dict[str, float]]] = [[] for _ in jobs]
    # a fresh process for each, forked where nothing has run yet, so that it starts at once
    way = multiprocessing.get_context("forkserver")
    way.set_forkserver_preload(["embedding_collapse.lab.training"])
    with way.Pool(1, maxtasksperchild=1) as pool:
        order = [place for _ in range(rounds) for place in range(len(jobs))]
        todo = ((*jobs[place][2:], options.device) for place in order)
        for place, one in zip(order, tqdm(pool.imap(measure, todo), total=len(order)), strict=True):
            found[place].append(one)
    points: list[dict[str, Any]] = []
    for (axis, value, point, _, engine), measured in zip(jobs, found, strict=True):
        cost = step_cost(MODEL, cardinalities(point), size_of(point), BATCH)
        block = BLOCK if engine else None
        times = [one["seconds"] for one in measured]
        points.append(
            {
                "axis": axis, "value": value, "engine": engine,
                "seconds": min(times), "slowest": max(times),
                "memory": int(np.median([one["memory"] for one in measured])),
                "computed_memory": sum(cost.memory(block).values()),
                "best_epoch": 4 * (cost.embedding + cost.dense),
                "flops": cost.flops,
            }
        )  # fmt: skip
    content = {
        "model": MODEL, "batch": BATCH, "centre": CENTRE, "rounds": rounds,
        "environment": environment(torch.device(options.device)), "points": points,
    }  # fmt: skip
    store_json(options.output / f"{options.device}.json", content)


if __name__ == "__main__":
    main()
