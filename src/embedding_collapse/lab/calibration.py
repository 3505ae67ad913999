"""How often the verdict is wrong, on tables of which the truth is known.

`python -m embedding_collapse.lab.calibration` makes `results/verdict/calibration.json` anew. A
table that is sound by construction and gets another verdict is a false alarm; one that is not and
passes as sound a miss.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from embedding_collapse.collapse import measure
from embedding_collapse.files import store_json
from embedding_collapse.verdict import (
    COLLAPSED_IS,
    FEW_IS,
    HEALTHY_IS,
    OFFSET_IS,
    PARTLY_IS,
    UNTRAINED_IS,
)

from . import records
from .environment import environment

SHAPES = [(6, 16), (12, 16), (100, 16), (2000, 16), (100, 64), (2000, 64), (100_000, 64)]
SEEDS = 12
NOISE = 0.05  # of an entry of 1, across the directions that a collapsed table has
TRUTHS = {  # what is true of a table, and the verdicts that say so; the first is the plainest
    "sound": (HEALTHY_IS,),
    "offset": (OFFSET_IS, HEALTHY_IS),  # a small one leaves the plain IA above the threshold
    "collapsed": (COLLAPSED_IS, UNTRAINED_IS, PARTLY_IS),
    "partly collapsed": (PARTLY_IS, UNTRAINED_IS, COLLAPSED_IS),
}


class Table(NamedTuple):
    """A table `[D, K]`, and how often each row was looked up where it was trained."""

    values: Tensor
    counts: Tensor | None = None


class Case(NamedTuple):
    """Tables of one kind: what is true of them, and what makes one of `[D, K]`."""

    truth: str
    make: Callable[[int, int, torch.Generator], Table]


def normal(rows: int, width: int, numbers: torch.Generator) -> Tensor:
    """Independent normal entries, float64 `[rows, width]`."""
    return torch.randn(rows, width, generator=numbers, dtype=torch.float64)


def low_rank(rows: int, width: int, numbers: torch.Generator, part: int = 16) -> Tensor:
    """A sixteenth of the directions, or another part of them, and noise across all."""
    rank = max(1, width // part)
    flat = normal(rows, rank, numbers) @ normal(rank, width, numbers) / rank**0.5
    return flat + NOISE * normal(rows, width, numbers)


def quarter_rank(rows: int, width: int, numbers: torch.Generator) -> Tensor:
    """A quarter of the directions, and noise across all."""
    return low_rank(rows, width, numbers, 4)


def quantised(table: Tensor) -> Tensor:
    """As int8 keeps it, a scale for each row."""
    scale = table.abs().amax(-1, keepdim=True) * 2 / 255
    return (table / scale).round() * scale


def trained(target: Tensor, start: float, numbers: torch.Generator, weighted: bool) -> Table:
    """What SGD makes of a table whose rows are looked up by Zipf's law, each drawn to its target.

    A step of 0.1 on half the squared distance, n_i times for row i, with a gradient's noise of
    0.1: its expectation and variance are known in closed form. There are three lookups for each row
    on average, so most rows have had none or one.

    Args:
        target: `[D, K]`.
        start: standard deviation of the initial entries.
        numbers: random ones.
        weighted: whether the counts are given too.
    """
    rows, width = target.shape
    share = torch.arange(1, rows + 1, dtype=torch.float64) ** -1.2
    looked_up = torch.multinomial(share, 3 * rows, replacement=True, generator=numbers)
    counts = torch.bincount(looked_up, minlength=rows).double()
    left = 0.9 ** counts[:, None]
    spread = (0.1 / 1.9 * (1 - left**2)).sqrt() * 0.1
    values = target + (start * normal(rows, width, numbers) - target) * left
    values = values + spread * normal(rows, width, numbers)
    return Table(values, counts if weighted else None)


CASES: dict[str, Case] = {
    "normal": Case("sound", lambda d, k, g: Table(normal(d, k, g))),
    "uniform": Case("sound", lambda d, k, g: Table(torch.rand(d, k, generator=g) - 0.5)),
    "orthogonal": Case("sound", lambda d, k, g: Table(torch.linalg.qr(normal(d, k, g)).Q)),
    "unit length": Case("sound", lambda d, k, g: Table(F.normalize(normal(d, k, g), dim=1))),
    "int8": Case("sound", lambda d, k, g: Table(quantised(normal(d, k, g)))),
    "bfloat16": Case("sound", lambda d, k, g: Table(normal(d, k, g).bfloat16())),
    "Zipf, all directions": Case("sound", lambda d, k, g: trained(normal(d, k, g), 1, g, False)),
    "Zipf, all directions, small start": Case(
        "sound", lambda d, k, g: trained(normal(d, k, g), 0.01, g, False)
    ),
    "Zipf, all directions, counts given": Case(
        "sound", lambda d, k, g: trained(normal(d, k, g), 1, g, True)
    ),
    "normal with an offset of 1": Case("offset", lambda d, k, g: Table(normal(d, k, g) + 1)),
    "normal with an offset of 3": Case("offset", lambda d, k, g: Table(normal(d, k, g) + 3)),
    "low rank": Case("collapsed", lambda d, k, g: Table(low_rank(d, k, g))),
    "low rank with an offset of 3": Case("collapsed", lambda d, k, g: Table(low_rank(d, k, g) + 3)),
    "low rank, int8": Case("collapsed", lambda d, k, g: Table(quantised(low_rank(d, k, g)))),
    "Zipf, low rank": Case("collapsed", lambda d, k, g: trained(low_rank(d, k, g), 1, g, False)),
    "Zipf, low rank, small start": Case(
        "collapsed", lambda d, k, g: trained(low_rank(d, k, g), 0.01, g, False)
    ),
    "Zipf, low rank, counts given": Case(
        "collapsed", lambda d, k, g: trained(low_rank(d, k, g), 1, g, True)
    ),
    "quarter rank": Case("partly collapsed", lambda d, k, g: Table(quarter_rank(d, k, g))),
    "Zipf, quarter rank": Case(
        "partly collapsed", lambda d, k, g: trained(quarter_rank(d, k, g), 1, g, False)
    ),
    "Zipf, quarter rank, small start": Case(
        "partly collapsed", lambda d, k, g: trained(quarter_rank(d, k, g), 0.01, g, False)
    ),
}


def verdicts(case: Case, rows: int, width: int, seeds: int = SEEDS) -> Counter[str]:
    """How often tables of a kind and shape get which verdict."""
    counts: Counter[str] = Counter()
    for seed in range(seeds):
        table = case.make(rows, width, torch.Generator().manual_seed(seed))
        counts[measure(table.values, table.counts).verdict] += 1
    return counts


def rates(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """False alarms and misses over cases, those too small to tell left out of both.

    Args:
        cases: each with its `truth` and its `verdicts`, as `calibrate` keeps them.
    """
    alarms, sound, misses, unsound, small = 0, 0, 0, 0, 0
    for case in cases:
        counts = Counter(case["verdicts"])
        small += counts.pop(FEW_IS, 0)
        wrong = sum(n for verdict, n in counts.items() if verdict not in TRUTHS[case["truth"]])
        if case["truth"] in ("sound", "offset"):
            alarms, sound = alarms + wrong, sound + counts.total()
        else:
            misses, unsound = misses + wrong, unsound + counts.total()
    return {
        "false alarms": alarms,
        "of sound tables": sound,
        "misses": misses,
        "of collapsed tables": unsound,
        "too small to tell": small,
    }


def calibrate() -> dict[str, Any]:
    """Judge all `CASES` at all `SHAPES`, so many tables of each."""
    cases = [
        {
            "kind": kind,
            "truth": case.truth,
            "rows": rows,
            "width": width,
            "verdicts": dict(verdicts(case, rows, width)),
        }
        for kind, case in CASES.items()
        for rows, width in SHAPES
    ]
    return {"seeds": SEEDS, "rates": rates(cases), "cases": cases}


def record(path: Path | None = None) -> Path:
    """Calibrate and store what was found; takes some minutes."""
    path = path or records.in_repository("results") / "verdict" / "calibration.json"
    content = calibrate() | {"environment": environment(torch.device("cpu"))}
    store_json(path, content)
    return path


if __name__ == "__main__":
    print(record())
