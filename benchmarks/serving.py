"""What a request costs once a model serves: the time to score rows, by model and size.

    python benchmarks/serving.py [--rounds 15] [--output results/speed]

Models of 39 fields with 10,000 features each, in the paper's hidden sizes, score one row, and 256
at once as of one user's candidates, in eager mode on one thread of a CPU. Rounds go over a model's
sizes in turn, and each request has other rows. Kept are the processor's times, from the least up.
"""

import argparse
import time
from pathlib import Path

import torch
from tqdm import tqdm

from embedding_collapse.files import store_json
from embedding_collapse.lab.environment import environment
from embedding_collapse.lab.models import PAPER, Recommender
from embedding_collapse.lab.spec import Spec, build_model
from embedding_collapse.lab.studies.decide import SIZES

FIELDS, FEATURES = 39, 10_000
REQUESTS = {1: 20, 256: 2}  # in a measurement, of so many rows


def seconds(model: Recommender, rows: int) -> float:
    """Of a request."""
    count = REQUESTS[rows]
    requests = torch.randint(0, FEATURES, (count, rows, FIELDS))
    start = time.process_time()
    for ids in requests:
        model(ids)
    return (time.process_time() - start) / count


def measured(name: str, rounds: int) -> list[dict]:
    """A cell per size and number of rows: the times of a request, from the least up."""
    specs = [Spec(model=name, design=design, scale=scale) for design, scale in SIZES]
    # as freshly initialised: trained weights take no other time
    models = {spec.label: build_model(spec, [FEATURES] * FIELDS).eval() for spec in specs}
    times = {(label, rows): [] for label in models for rows in REQUESTS}
    for turn in range(rounds + 1):
        for (label, rows), kept in times.items():
            took = seconds(models[label], rows)
            if turn:  # the first warms up
                kept.append(took)
    return [
        {"model": name, "size": label, "rows": rows, "cpu_seconds": sorted(kept)}
        for (label, rows), kept in times.items()
    ]


def main() -> None:
    """Measure every cell and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="(default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("results/speed"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        cells = [cell for name in tqdm(PAPER, "models") for cell in measured(name, options.rounds)]
    content = {
        "fields": FIELDS,
        "features": FEATURES * FIELDS,
        "cells": cells,
        "environment": environment(torch.device("cpu")),
    }
    store_json(options.output / "serving-cpu.json", content)
    for cell in cells:
        print(cell["model"], cell["size"], cell["rows"], f"{1e6 * cell['cpu_seconds'][0]:,.0f} us")


if __name__ == "__main__":
    main()
