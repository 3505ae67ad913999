"""How sure one may be of a difference between groups of runs.

The model: run s of cell g, tested on rows T, has the value

    y = mean_g + seed_gs + rows_gT + both_gsT,

where `seed` is what initial weights, shuffling and dropout add, `rows` what the choice of test
rows adds to all runs of the cell, and `both` what it adds to one run alone. A contrast is a sum of
the cells' means with a weight each (new minus old has +1 and -1). Runs are independent, the rows
are the same for all, so its variance is

    sum of weight^2 * var(seed + both) / runs   +   var(sum of weights * rows_g),

the first from the spread between seeds, the second from the placements of the test rows (DeLong et
al. 1988), averaged over seeds. Those averages still hold `both / runs`, which the first part has
too; it is estimated from how runs of one cell differ row by row, and taken off once. The interval
is Student's with degrees of freedom after Welch and Satterthwaite. Its tests simulate its coverage.
Test rows count as independent: where many are of one user, intervals are too narrow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats takes long to import

from .metrics import Placements

POWER = 0.8  # with which the smallest effect that could have been seen would be seen


class Group(NamedTuple):
    """The runs of one cell, and how they count in a contrast.

    Attributes:
        weight: of their mean.
        values: one per run, of different seeds.
        placements: one per run, all of the same test rows (see `metrics.grouped`); None for values
            that depend on no test rows.
    """

    weight: float
    values: Sequence[float] | np.ndarray
    placements: Sequence[Placements] | None = None


class Effect(NamedTuple):
    """A contrast with its confidence interval.

    Attributes:
        value: the estimate.
        low, high: the interval's ends; infinite where the noise is not known: a cell has one run
            only, or a class one test row, or all values of each cell are equal.
        p: two-sided, of the hypothesis that it is zero; 1 where the noise is not known.
        smallest: the size that an effect needs to be seen with a chance of `POWER`: for its
            interval to leave out zero.
    """

    value: float
    low: float
    high: float
    p: float
    smallest: float

    @property
    def half_width(self) -> float:
        """How far the interval reaches to either side."""
        return (self.high - self.low) / 2

    def __format__(self, spec: str) -> str:
        """The estimate and its interval, "+0.012 [+0.008, +0.016]", each number as `spec` says, no
        zero with a minus; without an interval the estimate alone."""
        sign = spec[:1] if spec[:1] in ("+", "-", " ") else ""
        spec = f"{sign}z{spec.removeprefix(sign)}"
        value = format(self.value, spec)
        if not np.isfinite(self.half_width):
            return value
        return f"{value} [{format(self.low, spec)}, {format(self.high, spec)}]"


def contrast(groups: Sequence[Group], level: float = 0.95, against: float = 0.0) -> Effect:
    """The weighted sum of the cells' means.

    Args:
        groups: cells that share no run; at least one.
        level: of the interval.
        against: what is taken off the sum: the value that it is tested against.

    Raises:
        ValueError: no groups, a group without runs, or placements of different numbers of rows.

    Example:
        Two models of one's own, two seeds of each, all tested on the same rows in the same, random
        order. Of a `Record` these numbers are `test_auc` and `score_summary`.

        >>> import torch
        >>> from embedding_collapse.lab.contrast import Group, contrast
        >>> from embedding_collapse.lab.metrics import auc, grouped, placements
        >>> labels = torch.arange(1000) % 2
        >>> def group(weight, runs):
        ...     stand = [grouped(placements(scores, labels)) for scores in runs]
        ...     return Group(weight, [auc(scores, labels) for scores in runs], stand)
        >>> draw = torch.Generator().manual_seed(0)
        >>> several, wide = (
        ...     [gain * labels + torch.randn(1000, generator=draw) for seed in range(2)]
        ...     for gain in (1.5, 0.5)
        ... )
        >>> effect = contrast([group(+1, several), group(-1, wide)])
        >>> 0 < effect.low < effect.value < effect.high
        True
    """
    if not groups or not all(len(group.values) for group in groups):
        raise ValueError(
            f"{len(groups)} groups, of {[len(g.values) for g in groups]} runs; at "
            "least one run in each is needed"
        )
    value = float(sum(group.weight * np.mean(group.values) for group in groups)) - against
    unsure = Effect(value, -np.inf, np.inf, 1.0, np.inf)
    if any(len(group.values) < 2 for group in groups):
        return unsure
    parts = [
        (
            float(group.weight**2 * np.var(group.values, ddof=1) / len(group.values)),
            len(group.values) - 1,
        )
        for group in groups
    ]
    of_rows = [(group.weight, group.placements) for group in groups if group.placements is not None]
    if of_rows:
        parts.append(_rows_variance(of_rows))
    variances, freedom = np.array(parts, float).T
    variance = variances.sum()
    if not variance > 0:
        return unsure
    degrees = variance**2 / (variances**2 / freedom).sum()
    error = np.sqrt(variance)
    reach = stdtrit(degrees, (1 + level) / 2)
    return Effect(
        value,
        float(value - reach * error),
        float(value + reach * error),
        float(2 * stdtr(degrees, -abs(value) / error)),
        float((reach + stdtrit(degrees, POWER)) * error),
    )


def joined(groups: Sequence[Group]) -> Group:
    """Cells whose first runs, second runs and so on are drawn together, as runs of one seed are
    where they begin alike: their weighted sums count as the values of one cell's runs, so what they
    share is no noise.

    Args:
        groups: of equally many runs, in one order of the draws; at least one.
    """
    draws = list(zip(*(group.values for group in groups), strict=True))
    weights = [group.weight for group in groups]
    values = [float(np.dot(weights, draw)) for draw in draws]
    of_rows = [group.placements for group in groups if group.placements is not None]
    if len(of_rows) < len(groups):
        return Group(1.0, values)
    sums = (_weighted(list(zip(weights, draw, strict=True))) for draw in zip(*of_rows, strict=True))
    return Group(1.0, values, [Placements(*sides) for sides in sums])


def difference(new: Sequence[float] | np.ndarray, old: Sequence[float] | np.ndarray) -> Effect:
    """The mean of the new values minus that of the old, each of a run; see `contrast`, which test
    metrics need: this interval is over seeds alone, as if the test rows were all there are."""
    return contrast([Group(1, new), Group(-1, old)])


def mean_of(values: Sequence[float] | np.ndarray) -> Effect:
    """The mean of values, each of a run; see `contrast`. The interval is over runs alone."""
    return contrast([Group(1, values)])


def _rows_variance(groups: Sequence[tuple[float, Sequence[Placements]]]) -> tuple[float, int]:
    """What the choice of test rows adds beside the spread between seeds, and its freedom; from
    each group's weight and placements."""
    means = [_mean(runs) for _, runs in groups]
    sizes = {tuple(map(len, mean)) for mean in means}
    if len(sizes) > 1:
        raise ValueError(f"placements of {sorted(sizes)} rows; the same rows are needed in all")
    weighted = _weighted([(weight, mean) for (weight, _), mean in zip(groups, means, strict=True)])
    variance = _delong(weighted)
    for (weight, runs), mean in zip(groups, means, strict=True):
        apart = [
            _delong([part - whole for part, whole in zip(run, mean, strict=True)]) for run in runs
        ]
        # a run's own part is 1 - 1/n of it once their mean is taken off
        variance -= weight**2 * float(np.mean(apart)) / (len(runs) - 1)
    return max(variance, 0.0), min(map(len, weighted)) - 1  # NaN stays


def _weighted(terms: Sequence[tuple[float, Sequence[np.ndarray]]]) -> list[np.ndarray]:
    """The weighted sum of placements, of either class's rows."""
    return [
        np.sum([weight * part for (weight, _), part in zip(terms, parts, strict=True)], axis=0)
        for parts in zip(*(stand for _, stand in terms), strict=True)
    ]


def _mean(placements: Sequence[Placements]) -> list[np.ndarray]:
    return [np.mean(part, axis=0) for part in zip(*placements, strict=True)]


def _delong(parts: Sequence[np.ndarray]) -> float:
    """The variance of an AUC, or of a sum of AUCs, from the placements of either class's rows; NaN
    where a class has one row, which tells none."""
    known = all(len(part) > 1 for part in parts)
    return float(sum(part.var(ddof=1) / len(part) for part in parts)) if known else np.nan


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values adjusted for being several, after Holm 1979: the chance that any of them is found
    small by accident is at most what it says.

    Args:
        p: of the hypotheses tested together.

    Returns:
        float64, in the order given.
    """
    values = np.asarray(p, float)
    order = np.argsort(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
