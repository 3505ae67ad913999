"""Dense Adam against ExactBlockedAdam on an embedding table: milliseconds per step, and the ratio.

    python benchmarks/optimizer.py [--device cpu] [--columns 10] [--block 32]

The table has the rows of the synthetic law (1,327,180) and the batches its ids: 2048 rows of 39
fields. A step is the look-up, the gradient of the looked-up rows, and the optimizer; on a CPU
dense Adam is timed a second time with the gradient at hand, its step alone. They take turns, window
by window, so that a slow spell of the machine hits all; a window of blocked Adam is `block` steps
and a flush, one of dense Adam as many steps, 32 at most. On a GPU each window is a CUDA graph.
Beside the time on the clock stands the processors' time, of all threads, which other work on the
machine stretches far less.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training import BATCH, make_dataset

from blocked_adam import ExactBlockedAdam, group_look_ups
from embedding_collapse.files import store_json
from embedding_collapse.lab.cost import table_traffic
from embedding_collapse.lab.device import choose_device, prepare
from embedding_collapse.lab.engine.captured import BLOCK, LONGER, TOGETHER
from embedding_collapse.lab.environment import environment, processor


def dense_window(
    table: nn.Parameter, optimizer: torch.optim.Adam, batches: Tensor, gradient: Tensor
) -> None:
    """The steps of batches `[steps, n]`, each with that gradient of what it looks up."""
    for ids in batches:
        optimizer.zero_grad()
        F.embedding(ids, table).backward(gradient)
        optimizer.step()


def blocked_window(
    table: nn.Parameter, optimizer: ExactBlockedAdam, batches: Tensor, gradient: Tensor
) -> None:
    """The same, with look-ups grouped as the engine groups them, and a flush."""
    for part in batches.split(len(batches) if batches.is_cuda else TOGETHER):
        plans = group_look_ups(part, len(table))
        for number, ids in enumerate(part):
            optimizer.catch_up(table, plans.of_step(number))
            F.embedding(ids, table.detach())
            optimizer.give(table, plans.of_step(number), gradient)
            optimizer.step()
    optimizer.flush()


def steps_alone(optimizer: torch.optim.Adam, steps: int) -> None:
    """Steps with the gradient that is there."""
    for _ in range(steps):
        optimizer.step()


def captured(window: Callable[[], None], optimizer: torch.optim.Adam, steps: int) -> Callable:
    """The window as a CUDA graph; it has run once before."""
    blocked = isinstance(optimizer, ExactBlockedAdam)
    if blocked:
        optimizer.announce(steps)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # nothing is computed, but the host counts the steps
        window()
    if blocked:
        optimizer.count_steps(-steps)

    def replay() -> None:
        if blocked:
            optimizer.announce(steps)
        graph.replay()
        if blocked:
            optimizer.count_steps(steps)

    return replay


def seconds_per_step(
    window: Callable[[], None], steps: int, device: torch.device
) -> tuple[float, float]:
    """Of one window: on the clock, and of the processors."""
    started, cpu_started = time.perf_counter(), time.process_time()
    window()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    taken = time.perf_counter() - started, time.process_time() - cpu_started
    return taken[0] / steps, taken[1] / steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--columns", type=int, default=10, help="(default %(default)s)")
    parser.add_argument("--block", type=int, help=f"(default: {BLOCK} on a GPU, else {LONGER})")
    parser.add_argument("--rounds", type=int, default=5, help="windows (default %(default)s)")
    parser.add_argument("--output", type=Path, help="a file for the record (JSON)")
    options = parser.parse_args()
    device = choose_device(options.device)
    on_gpu = device.type == "cuda"
    prepare(device)
    options.block = options.block or (BLOCK if on_gpu else LONGER)
    dense_steps = options.block if on_gpu else min(options.block, BLOCK)
    dataset = make_dataset("synthetic", BATCH * options.block)
    sizes = torch.tensor(dataset.cardinalities)
    rows = int(sizes.sum())
    ids = torch.from_numpy(dataset.ids) + sizes.cumsum(0) - sizes  # rows of the joint table
    batches = ids.view(options.block, -1).to(device)  # a flush ends each window
    touched = statistics.mean(len(batch.unique()) for batch in batches)

    gradient = torch.randn(batches.shape[1], options.columns, device=device)

    windows: dict[str, tuple[Callable[[], None], int]] = {}
    tables = []
    for kind, window in ((torch.optim.Adam, dense_window), (ExactBlockedAdam, blocked_window)):
        table = nn.Parameter(torch.zeros(rows, options.columns, device=device))
        nn.init.normal_(table, std=0.01, generator=torch.Generator(device).manual_seed(0))
        more = {"block": options.block} if kind is ExactBlockedAdam else {}
        optimizer = kind([table], lr=1e-3, weight_decay=1e-6, fused=True, capturable=on_gpu, **more)
        window(table, optimizer, batches, gradient)  # makes the state; and what is compared
        tables.append(table.detach().clone())
        count = options.block if more else dense_steps
        steps = partial(window, table, optimizer, batches[:count], gradient)
        if on_gpu:
            steps = captured(steps, optimizer, count)
        elif not more:
            windows["Adam, its step alone"] = partial(steps_alone, optimizer, count), count
        windows[kind.__name__] = steps, count
    change = (tables[0] - tables[1]).abs().max().item()
    del tables
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in windows}
    for _ in range(options.rounds):
        for name, (window, count) in windows.items():
            found[name].append(seconds_per_step(window, count, device))

    hardware = torch.cuda.get_device_name(device) if on_gpu else processor()
    print(
        f"{hardware}, {torch.get_num_threads()} threads, torch {torch.__version__}; table "
        f"{rows:,} x {options.columns}, {touched:,.0f} rows touched a step"
    )
    blocked = found[ExactBlockedAdam.__name__]
    for name, taken in found.items():
        line = [f"{name:22}"]
        for kind, times, ours in zip(
            ("ms a step", "ms of CPU"),
            zip(*taken, strict=True),
            zip(*blocked, strict=True),
            strict=True,
        ):
            ratio = statistics.median(times) / statistics.median(ours)
            least = min(times) / min(ours)
            line.append(
                f"{statistics.median(times) * 1e3:7.2f} {kind} ({min(times) * 1e3:.2f} to "
                f"{max(times) * 1e3:.2f}; over blocked {ratio:.2f}, "
                f"of the least {least:.2f})"
            )
        print("; ".join(line))
    for name, block in (("dense", None), ("blocked", options.block)):
        moved = table_traffic(rows, options.columns, touched, batches.shape[1], block)
        print(f"{name}: {moved / 1e6:,.0f} MB a step must move")
    print(
        f"the tables differ by {change:.1e} at most after {options.block} steps; load averages "
        + " ".join(f"{load:.1f}" for load in os.getloadavg())
    )
    if options.output:
        content = {
            "rows": rows,
            "columns": options.columns,
            "block": options.block,
            "touched": touched,
            "look_ups": batches.shape[1],
            "seconds_per_step": {name: [one for one, _ in taken] for name, taken in found.items()},
            "cpu_seconds_per_step": {
                name: [one for _, one in taken] for name, taken in found.items()
            },
            "difference": change,
            "environment": environment(device),
        }
        store_json(options.output, content)


if __name__ == "__main__":
    main()
