"""Time per step and peak memory of training, every model, SE and ME, beside what they must take.

    python benchmarks/training.py [--device cpu] [--official PATH] [--quick] [--precision bf16]

Each cell stands beside its floor: the products of its step at the rate of this machine's best
product, and after them (Adam waits for the gradients) the bytes that it must move at the speed of a
large copy; both counted from the model's shapes by `embedding_collapse.lab.cost`.

DNN and DCNv2 are timed beside a plain loop over the sets as well and, with `--official PATH`
pointing at a checkout of the paper's code (github.com/thuml/Multi-Embedding), beside its model in
its training loop. Its data loader is left out, in its favour: all variants find their batches on
the device.
Our loop over sets trains as the batched form does (fused Adam, freed memory kept); the official
loop trains as the official code does. With `--dense`, on a CPU, ours is timed with dense Adam too
where by default it trains its tables by blocked Adam.

Every measurement is the second epoch in a process of its own; rounds go over all variants in turn,
so that a slow spell of the machine hits all of them. Shown are medians over rounds, and ratios.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import embedding_collapse  # noqa: F401 - before torch, which reads how its threads wait

# isort: split
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from embedding_collapse.lab.cost import step_cost
from embedding_collapse.lab.data import Dataset, Field
from embedding_collapse.lab.data.synthetic import LAWS, draw_zipf, words, zipf_table
from embedding_collapse.lab.device import choose_device, peak_memory, reset_peak_memory
from embedding_collapse.lab.engine.captured import BLOCK, LONGER
from embedding_collapse.lab.engine.products import products
from embedding_collapse.lab.environment import processor
from embedding_collapse.lab.models import MODELS, PAPER, Size, build
from embedding_collapse.lab.training import Training, fit

BATCH = 2048  # the paper's
COMPARED = ("dnn", "dcnv2")  # beside a loop over the sets and the official code
CELLS = [("se", 1), ("se", 10), ("me", 10)]
MORE_CELLS = [("se", 1), ("se", 4), ("me", 4), ("se", 10), ("me", 10)]  # of the compared ones


class LoopedSets(nn.Module):
    """ME as one would first write it: a Python loop over separate tables and interactions."""

    def __init__(self, name: str, cardinalities: list[int], size: Size) -> None:
        super().__init__()
        single = Size(size.fields, 1, size.width)
        self.sets = nn.ModuleList(
            build(name, cardinalities, single, seed=m) for m in range(size.sets)
        )
        self.head = self.sets[0].head
        for one in self.sets:
            one.head = None

    def forward(self, ids: Tensor) -> Tensor:
        outputs = [one.interaction(one.embed(ids)).squeeze(0) for one in self.sets]
        return self.head(torch.stack(outputs).mean(0))

    def loss(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        return F.binary_cross_entropy_with_logits(self(ids), labels.float()), None


def make_dataset(shape: str, rows: int) -> Dataset:
    """Zipf ids from the synthetic law's whole vocabulary, so that tables have their full size."""
    law = LAWS[shape]()
    ids = np.empty((rows, len(law.sizes)), np.int32)
    for i, size in enumerate(law.sizes):
        ids[:, i] = draw_zipf(zipf_table(size, law.shift), words(0, i, rows))
    labels = (words(0, len(law.sizes), rows) % 4 == 0).astype(np.uint8)
    fields = tuple(map(Field, law.names, law.sizes))
    return Dataset(shape, ids, labels, fields, fingerprint="benchmark")


def official_model(name: str, cardinalities: list[int], size: Size) -> nn.Module:
    """The paper's own model of that cell, from a checkout in the modules' path."""
    common = {"mlp_dims": (size.hidden, size.hidden), "dropout": size.dropout}
    if name == "dnn":
        from torchfm.model.mwd import DNNModel as Single
        from torchfm.model.mwd import MultiDNNModel as Multi
    else:
        from torchfm.model.awesome import MultiDCNnew2 as Multi
        from torchfm.model.dcnv2 import CrossNetworkV2Model as Single

        common["num_layers"] = size.cross_layers
    if size.sets == 1:
        return Single(cardinalities, embed_dim=size.width, **common)
    return Multi(cardinalities, embed_dims=[size.width] * size.sets, **common)


def official_seconds(model: nn.Module, dataset: Dataset, device: torch.device) -> float:
    """Seconds of the second epoch, in the steps that the official training loop takes."""
    model.to(device).train()
    train = dataset.split[0]
    ids = torch.from_numpy(dataset.ids)[train].long().to(device)
    labels = torch.from_numpy(dataset.labels)[train].to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6)
    batches = list(zip(ids.split(BATCH), labels.split(BATCH), strict=True))
    for _ in range(2):
        started = time.perf_counter()
        official_epoch(model, optimizer, batches)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - started
    return seconds


def official_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[tuple[Tensor, Tensor]]
) -> None:
    """Its steps over batches of ids `[B, N]` and labels `[B]`."""
    criterion = nn.BCELoss()
    for fields, target in batches:
        loss = criterion(model(fields), target.float())
        loss.item()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def measure(name: str, design: str, scale: int, variant: str, options: argparse.Namespace) -> dict:
    """One measurement, in this process: samples per second and peak memory in bytes."""
    device = choose_device(options.device)
    dataset = make_dataset(options.shape, int(options.steps * BATCH / 0.8))
    cardinalities = dataset.cardinalities
    size = size_of(name, design, scale, len(cardinalities))
    rows = dataset.split_sizes[0]
    reset_peak_memory(device)
    before = peak_memory(device) or 0  # of the process, on a CPU: libraries and data
    if variant == "official":
        sys.path.insert(0, options.official)
        model = official_model(name, cardinalities, size)
        seconds = official_seconds(model, dataset, device)
        return {"speed": rows / seconds, "memory": (peak_memory(device) or 0) - before}
    make = LoopedSets if variant == "loop" else build
    training = Training(
        epochs=2,
        batch_size=BATCH,
        precision=options.precision,
        engine=None if variant == "ours" else False,
        compile=device.type == "cuda",
    )
    run = fit(make(name, cardinalities, size), dataset, training, device=device)
    return {
        "speed": rows / run.epochs[1]["seconds"],
        "memory": (run.peak_memory or 0) - before,
        "engine": run.engine,
        "cpu": run.epochs[1]["cpu_seconds"] / options.steps,  # of a step, validation included
        "touched": touched(dataset),
    }


def attempt(job: tuple, options: argparse.Namespace) -> dict | str:
    """A measurement, or in words why there is none."""
    try:
        return measure(*job, options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def size_of(name: str, design: str, scale: int, fields: int) -> Size:
    """The cell's dimensions, from the paper's K of the model."""
    width = MODELS[name].embedding_size
    return Size(fields, scale, width) if design == "me" else Size(fields, 1, width * scale)


def touched(dataset: Dataset, batches: int = 5) -> float:
    """Different rows of the table in a batch, the mean over so many batches or all there are."""
    batches = min(batches, len(dataset.ids) // BATCH)
    ids = dataset.ids[: batches * BATCH].reshape(-1, BATCH, len(dataset.fields))
    return float(np.mean([sum(len(np.unique(field)) for field in batch.T) for batch in ids]))


def rates(
    device: torch.device, precision: str | None, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """The best of five large products, in FLOP a second, and of five copies, in bytes a second."""
    large = 8192 if device.type == "cuda" else 2048
    x = torch.randn(large, large, device=device)
    source = torch.zeros(2**28 if device.type == "cuda" else 2**25, device=device)
    target = torch.zeros_like(source)

    def seconds(work: Callable[[], object]) -> float:
        found = []
        for _ in range(6):
            started = clock()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            found.append(clock() - started)
        return min(found[1:])

    with products(precision, device):
        low = x.bfloat16() if precision == "bf16" else x
        product = seconds(lambda: low @ low)
    return 2 * large**3 / product, 2 * source.nbytes / seconds(lambda: target.copy_(source))


def main() -> None:
    """Measure every cell and variant, each in its own process, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--official", metavar="PATH", help="a checkout of the paper's code")
    parser.add_argument("--dense", action="store_true", help="beside dense Adam on all tables")
    parser.add_argument("--shape", choices=LAWS, help="default: synthetic on a GPU, else -mini")
    parser.add_argument(
        "--steps", type=int, help="per epoch (default: 256 on a GPU, 8 graphs; else 20)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(default %(default)s)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of a few steps, no 4x",
    )
    parser.add_argument("--models", default=",".join(PAPER), metavar="M,M", help="(all six)")
    parser.add_argument("--precision", choices=["tf32", "bf16"], help="of products; else float32")
    parser.add_argument(
        "--one",
        nargs=4,
        metavar=("MODEL", "DESIGN", "SCALE", "VARIANT"),
        help="measure one variant of one cell and print JSON",
    )
    options = parser.parse_args()
    device = choose_device(options.device)
    options.shape = options.shape or ("synthetic" if device.type == "cuda" else "synthetic-mini")
    options.steps = options.steps or (8 * BLOCK if device.type == "cuda" else 20)
    if options.quick:
        options.rounds, options.steps = 1, 2 * BLOCK if device.type == "cuda" else 5
    if options.one:
        name, design, scale, variant = options.one
        print(json.dumps(measure(name, design, int(scale), variant, options)))
        return

    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    law = LAWS[options.shape]()
    print(
        f"{hardware}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"{len(law.sizes)} fields, {sum(law.sizes):,} features, batch {BATCH}, "
        f"{options.rounds} rounds of {options.steps} steps"
    )
    jobs = [
        (name, design, scale, variant)
        for name in options.models.split(",")
        for design, scale in (MORE_CELLS if name in COMPARED and not options.quick else CELLS)
        for variant in ("ours", "dense", "loop", "official")
        if variant in ("ours", "dense") or name in COMPARED
        if variant != "dense" or options.dense
        if variant != "loop" or design == "me"
        if variant != "official" or options.official
    ]
    before = rates(device, options.precision)
    found: dict[tuple, list[dict]] = {job: [] for job in jobs}
    todo = jobs * options.rounds
    # a fresh process for each, forked where nothing has run yet, so that it starts at once
    way = multiprocessing.get_context("forkserver")
    way.set_forkserver_preload(["embedding_collapse.lab.training", "torch._dynamo"])
    with way.Pool(1, maxtasksperchild=1) as pool:
        done = pool.imap(partial(attempt, options=options), todo)
        for job, one in zip(todo, tqdm(done, "measuring", len(todo), leave=False), strict=True):
            if isinstance(one, str):
                tqdm.write(f"{' '.join(map(str, job))} failed: {one}")
            else:
                found[job].append(one)
    failed = sum(len(measured) < options.rounds for measured in found.values())
    after = rates(device, options.precision)
    best = max(before[0], after[0]), max(before[1], after[1])
    print(
        f"best product {best[0] / 1e12:.3g} TFLOP/s, best copy {best[1] / 1e9:.3g} GB/s, "
        f"products in {options.precision or 'float32'}"
    )
    print_table(found, law.sizes, best, BLOCK if device.type == "cuda" else LONGER)
    if failed:
        sys.exit(f"{failed} of {len(jobs)} were not measured in all rounds; why is told above")


def print_table(
    found: dict[tuple, list[dict]],
    cardinalities: Sequence[int],
    best: tuple[float, float],
    block: int,
) -> None:
    """A Markdown table: medians over rounds, the spread of ours, floors and ratios; of the fastest
    round too the ratio over the floor, which is made of the fastest product and copy.

    Args:
        found: per cell and variant its measurements.
        cardinalities: of the data.
        best: see `rates`.
        block: of blocked Adam, where that trained the table.
    """

    def speed(*job: object) -> float:
        values = [one["speed"] for one in found.get(job, [])]
        return statistics.median(values) if values else float("nan")

    def ratio(value: float) -> str:
        return "" if value != value else f"{value:.2f}x"

    print(
        "\n| model | samples/s (min to max) | ms per step | floor: products + bytes "
        "| over floor (fastest round) "
        "| peak memory | computed | against dense Adam | against the loop | against official "
        "| against SE |"
    )
    print("|---" * 11 + "|")
    for (name, design, scale, variant), ours in found.items():
        if variant == "ours" and ours:
            cost = step_cost(
                name, cardinalities, size_of(name, design, scale, len(cardinalities)), BATCH
            )
            of_table = None if ours[0]["engine"] == "loop" else block
            moved = sum(cost.traffic(ours[0]["touched"], of_table).values())
            floors = cost.flops / best[0] * 1e3, moved / best[1] * 1e3
            computed = sum(cost.memory(of_table).values()) + 4 * (cost.embedding + cost.dense)
            median = speed(name, design, scale, "ours")
            step = BATCH / median * 1e3
            speeds = [one["speed"] for one in ours]
            fastest = BATCH / max(speeds) * 1e3
            memory = statistics.median(one["memory"] for one in ours) / 1e9
            label = f"{name} {design.upper()} {scale}x" if scale > 1 else f"{name} base"
            against_se = median / speed(name, "se", scale, "ours") if design == "me" else np.nan
            print(
                f"| {label} | {median:,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f}) "
                f"| {step:.2f} | {floors[0]:.2f} + {floors[1]:.2f} ms "
                f"| {ratio(step / sum(floors))} ({ratio(fastest / sum(floors))}) "
                f"| {memory:.2f} GB | {computed / 1e9:.2f} GB "
                f"| {ratio(median / speed(name, design, scale, 'dense'))} "
                f"| {ratio(median / speed(name, design, scale, 'loop'))} "
                f"| {ratio(median / speed(name, design, scale, 'official'))} "
                f"| {ratio(against_se)} |"
            )


if __name__ == "__main__":
    main()
