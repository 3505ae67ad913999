"""What `CollapseMonitor` costs a training loop.

    python benchmarks/monitor.py --seconds 60

Trains base DCNv2 (12 fields, K = 10) in a plain loop and asks the monitor how much of the time it
took, at its default setting, and at `every=100` for comparison. Beside it stand the same loop's
steps per second with and without the monitor, in turns; on a shared machine they scatter more than
the overhead.
"""

import argparse
import itertools
import os
import statistics
import time

import torch

from embedding_collapse.lab.data import load
from embedding_collapse.lab.spec import Spec, build_model
from embedding_collapse.monitor import CollapseMonitor


def loop(batch: int, seconds: float, options: dict | None) -> tuple[float, CollapseMonitor | None]:
    """Steps per second of training for so long, with a monitor if it has options."""
    clicks = load("synthetic-mini", progress=False)
    model = build_model(Spec(), clicks.cardinalities)
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=1e-6)
    ids, labels = torch.from_numpy(clicks.ids[:]), torch.from_numpy(clicks.labels[:])
    fields = {
        field.name: count for field, count in zip(clicks.fields, clicks.cardinalities, strict=True)
    }
    monitor = None
    if options is not None:
        monitor = CollapseMonitor(model, field_dims=fields, include=["table"], **options)
    start, generator = time.perf_counter(), torch.Generator().manual_seed(0)
    for steps in itertools.count(1):
        chosen = torch.randint(0, len(ids), (batch,), generator=generator)
        optimizer.zero_grad()
        model.loss(ids[chosen], labels[chosen])[0].backward()
        optimizer.step()
        if monitor:
            monitor.step()
        if (took := time.perf_counter() - start) > seconds:
            return steps / took, monitor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="of each loop")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, "
        f"batch {args.batch}, {args.repeats} loops of {args.seconds:g} s each"
    )
    settings = {"none": None, "default": {}, "every=100": {"every": 100}}
    speeds = {name: [] for name in settings}
    shares, counts = {name: [] for name in settings}, {name: [] for name in settings}
    for _ in range(args.repeats):
        for name, options in settings.items():
            speed, monitor = loop(args.batch, args.seconds, options)
            speeds[name].append(speed)
            if monitor:
                shares[name].append(monitor.overhead)
                counts[name].append(len({row["step"] for row in monitor.history}) - 1)
    print("monitor      steps/s: median (least to most)   measurements   share of the time: most")
    for name in settings:
        speed = speeds[name]
        spread = f"{statistics.median(speed):.1f} ({min(speed):.1f} to {max(speed):.1f})"
        told = f"{statistics.median(counts[name]):.0f}" if counts[name] else ""
        share = f"{max(shares[name]):.2%}" if shares[name] else ""
        print(f"{name:12s} {spread:33s} {told:>12s}   {share:>10s}")


if __name__ == "__main__":
    main()
