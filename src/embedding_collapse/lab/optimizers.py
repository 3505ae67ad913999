"""A small table trained by several optimizers, to see which of them is dense Adam.

Ids follow Zipf's law, as features do: most rows of the table are in few batches, and what dense
Adam does to a row between them, weight decay and momentum, is what a lazy optimizer leaves out.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blocked_adam import ExactBlockedAdam

ROWS, WIDTH, LOOK_UPS, STEPS = 2000, 8, 256, 256  # of the trial
RATE = 0.01  # of learning and of decay: large, so that whatever is forgotten shows


class Trial(NamedTuple):
    """A small table trained on ids that follow Zipf's law, by several optimizers.

    Attributes:
        touched: different rows in a batch, the mean.
        distances: per optimizer the relative distance from dense Adam in float64 after each step;
            of blocked Adam in the rows that the step's batch looks up, which are up to date.
        ends: the same of all rows after the last flush.
        same_bits: whether flushes at every step end in the same bits as every `block` steps.
    """

    touched: float
    distances: dict[str, list[float]]
    ends: dict[str, float]
    same_bits: bool


def trial(block: int) -> Trial:
    """Train the table by Adam in float64 and in float32, blocked Adam, and a lazy Adam."""
    chances = 1 / np.arange(1, ROWS + 1)
    draws = np.random.default_rng(0).choice(ROWS, (STEPS, LOOK_UPS), p=chances / chances.sum())
    batches = torch.from_numpy(draws)

    def adam(table: list[Tensor]) -> torch.optim.Adam:
        return torch.optim.Adam(table, RATE, weight_decay=RATE)

    def blocked(every: int) -> list[Tensor]:
        return _tables(lambda t: ExactBlockedAdam(t, RATE, block=every, weight_decay=RATE), batches)

    exact = _tables(adam, batches, torch.float64)
    tables = {
        "dense Adam": _tables(adam, batches),
        "blocked Adam": blocked(block),
        "lazy Adam": _tables(lambda t: torch.optim.SparseAdam(t, RATE), batches),
    }
    distances = {
        name: [_distance(table, true) for table, true in zip(steps, exact, strict=True)]
        for name, steps in tables.items()
    }
    distances["blocked Adam"] = [
        _distance(table[ids], true[ids])
        for table, true, ids in zip(tables["blocked Adam"], exact, batches, strict=True)
    ]
    end = STEPS // block * block - 1  # the last step that ended in a flush
    return Trial(
        float(np.mean([len(ids.unique()) for ids in batches])),
        distances,
        {name: _distance(steps[end], exact[end]) for name, steps in tables.items()},
        torch.equal(tables["blocked Adam"][end], blocked(1)[end]),
    )


def _tables(
    optimizer_of: Callable[[list[Tensor]], torch.optim.Optimizer],
    batches: Tensor,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """The table after each step."""
    values = np.random.default_rng(1).standard_normal((ROWS, WIDTH))
    table = torch.nn.Parameter(torch.tensor(values, dtype=dtype))
    optimizer, after = optimizer_of([table]), []
    sparse = isinstance(optimizer, ExactBlockedAdam | torch.optim.SparseAdam)
    for ids in batches:
        if isinstance(optimizer, ExactBlockedAdam):
            optimizer.catch_up(table, ids)
        optimizer.zero_grad()
        F.embedding(ids, table, sparse=sparse).sin().sum().backward()
        optimizer.step()
        after.append(table.detach().double().clone())
    return after


def _distance(table: Tensor, other: Tensor) -> float:
    return ((table - other).norm() / other.norm()).item()
