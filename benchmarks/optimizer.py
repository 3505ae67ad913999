"""Dense Adam against ExactBlockedAdam on an embedding table: milliseconds per step, and the ratio.

    python benchmarks/optimizer.py [--device cpu] [--columns 10] [--block 32]

The table has the rows of the synthetic law (1,327,180) and the batches its ids: 2048 rows of 39
fields. A step is the look-up, the gradient of the looked-up rows, and the optimizer. Both take
turns, window by window, so that a slow spell of the machine hits both; on a GPU each window is a
CUDA graph. On a CPU blocked Adam is its plain-PyTorch reference, which is there for its results and
not for its speed.
"""

import argparse
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
from embedding_collapse.lab.device import choose_device
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
    """The same, look_ups together, and a flush."""
    plans = group_look_ups(batches, len(table))
    for number, ids in enumerate(batches):
        optimizer.catch_up(table, plans.of_step(number))
        F.embedding(ids, table.detach())
        optimizer.give(table, plans.of_step(number), gradient)
        optimizer.step()
    optimizer.flush()


def captured(window: Callable[[], None], optimizer: torch.optim.Adam, steps: int) -> Callable:
    """The window as a CUDA graph; it has run once before."""
    blocked = isinstance(optimizer, ExactBlockedAdam)
    if blocked:
        optimizer.announce(steps)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # nothing is computed, but the host counts the steps
        window()
    if blocked:
        optimizer.replayed(-steps)

    def replay() -> None:
        if blocked:
            optimizer.announce(steps)
        graph.replay()
        if blocked:
            optimizer.replayed(steps)

    return replay


def seconds_per_step(window: Callable[[], None], steps: int, device: torch.device) -> float:
    """Of one window."""
    started = time.perf_counter()
    window()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--columns", type=int, default=10, help="(default %(default)s)")
    parser.add_argument("--block", type=int, default=32, help="(default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="windows (default %(default)s)")
    parser.add_argument("--output", type=Path, help="a file for the record (JSON)")
    options = parser.parse_args()
    device = choose_device(options.device)
    dataset = make_dataset("synthetic", BATCH * options.block)
    rows = sum(dataset.cardinalities)
    ids = torch.from_numpy(dataset.ids).long() + dataset.offsets
    batches = ids.view(options.block, -1).to(device)  # a flush ends each window
    touched = statistics.mean(len(batch.unique()) for batch in batches)

    gradient = torch.randn(batches.shape[1], options.columns, device=device)

    windows: dict[str, Callable[[], None]] = {}
    tables = []
    for kind, window in ((torch.optim.Adam, dense_window), (ExactBlockedAdam, blocked_window)):
        table = nn.Parameter(torch.zeros(rows, options.columns, device=device))
        nn.init.normal_(table, std=0.01, generator=torch.Generator(device).manual_seed(0))
        more = {"block": options.block} if kind is ExactBlockedAdam else {}
        optimizer = kind([table], lr=1e-3, weight_decay=1e-6, fused=True,
                         capturable=device.type == "cuda", **more)  # fmt: skip
        steps = partial(window, table, optimizer, batches, gradient)
        steps()  # to make the state
        if device.type == "cuda":
            steps = captured(steps, optimizer, options.block)
        windows[kind.__name__] = steps
        tables.append(table.detach())
    found: dict[str, list[float]] = {name: [] for name in windows}
    for _ in range(options.rounds):
        for name, window in windows.items():
            found[name].append(seconds_per_step(window, options.block, device))

    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    print(f"{hardware}, {torch.get_num_threads()} threads, torch {torch.__version__}; table "
          f"{rows:,} x {options.columns}, {touched:,.0f} rows touched a step")  # fmt: skip
    for (name, seconds), block in zip(found.items(), (None, options.block), strict=True):
        moved = table_traffic(rows, options.columns, touched, batches.shape[1], block)
        print(f"{name}: {statistics.median(seconds) * 1e3:.2f} ms a step "
              f"({min(seconds) * 1e3:.2f} to {max(seconds) * 1e3:.2f}); "
              f"{moved / 1e6:,.0f} MB must move")  # fmt: skip
    dense, blocked = (statistics.median(seconds) for seconds in found.values())
    change = (tables[0] - tables[1]).abs().max().item()
    print(f"dense over blocked: {dense / blocked:.2f}; the tables differ by {change:.1e} at most")
    if options.output:
        content = {"rows": rows, "columns": options.columns, "block": options.block,
                   "touched": touched, "look_ups": batches.shape[1], "seconds_per_step": found,
                   "difference": change, "environment": environment(device)}  # fmt: skip
        store_json(options.output, content)


if __name__ == "__main__":
    main()
