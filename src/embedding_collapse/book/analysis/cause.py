"""Collapse's part: does how far tables collapse foretell what size gains?

A cell is a data set, a model and a size. Two questions, fixed before the study ran
(`book/protocol.md`): does the collapse of the base model's tables foretell by how much ME beats
SE, and does the fall of IA/K along SE's sizes foretell how much SE gains? A correlation over a few
cells shows what goes together, not what causes what. Cells of one data set and model share their
base runs, so intervals are by bootstrap over these pairs and not over cells.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from embedding_collapse.lab.models import PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec
from embedding_collapse.spectrum import normalised_abundance

from .ledger import by_spec
from .measures import ABUNDANCE, AUC, FAIR_ABUNDANCE

BOOTSTRAPS = 10_000
# cells that a correlation asks for, since of four one order in 12 is perfect by chance; and pairs
# that its interval asks for, since resamples of two or three leave out what they should hold
FEWEST = 5
RANK = 0.01  # of the largest singular value: what counts as a direction in use


class Gains(NamedTuple):
    """One cell: how far its tables collapse, and what its size gains.

    Attributes:
        data, model, scale: which.
        base: IA/K (or another form of it) of the base model's tables, the mean over its runs.
        fall: by how much SE's lies below it at this size.
        gain_of_se: test AUC of SE at this size minus that of the base model.
        gain_of_me: test AUC of ME at this size minus that of SE.
    """

    data: str
    model: str
    scale: int
    base: float
    fall: float
    gain_of_se: float
    gain_of_me: float


# What stands for collapse, and the gain that it should foretell, as attributes of a cell.
QUESTIONS = {
    "base collapse and ME's gain over SE": ("base", "gain_of_me"),
    "fall along SE and SE's gain": ("fall", "gain_of_se"),
}
OVER = {"over all": None, "within models": "model", "within sizes": "scale"}  # of `Gains`


class Correlation(NamedTuple):
    """A rank correlation over cells.

    Attributes:
        value: Spearman's; nan of fewer than `FEWEST` cells, or where one side has no order.
        low, high: its 95% interval, by bootstrap over pairs of data set and model; nan of fewer
            than `FEWEST` pairs.
        cells: how many.
    """

    value: float
    low: float
    high: float
    cells: int


def _of_spectra(kind: str, share: Callable[[Tensor], Tensor]) -> Callable[[Record], float]:
    return lambda record: (
        share(torch.tensor(getattr(record, kind), dtype=torch.float64)).mean().item()
    )


def _without_the_first(spectra: Tensor) -> Tensor:
    """NaN of one column, of which nothing is left."""
    rest = spectra[..., 1:]
    return normalised_abundance(rest) if rest.shape[-1] else torch.full(rest.shape[:-1], torch.nan)


def _share_in_use(spectra: Tensor) -> Tensor:
    return (spectra >= RANK * spectra.amax(-1, keepdim=True)).double().mean(-1)


FORMS: dict[str, Callable[[Record], float]] = {
    "IA/K": ABUNDANCE.value,
    "IA against random": FAIR_ABUNDANCE.value,
    "IA/K, mean row taken off": _of_spectra("centred_spectra", normalised_abundance),
    "IA/K without the first singular value": _of_spectra("spectra", _without_the_first),
    "IA/K, rows weighted by frequency": _of_spectra("weighted_spectra", normalised_abundance),
    "share of directions above 1%": _of_spectra("spectra", _share_in_use),
}


def cells(records: Iterable[Record], form: str = "IA/K") -> list[Gains]:
    """Every cell of the paper's models for which base, SE and ME were run, and the form of collapse
    has a value.

    Args:
        records: of a study; runs that differ from the others' settings make cells of their own.
        form: of collapse, one of `FORMS`.
    """
    runs = by_spec(records)
    collapse, auc = FORMS[form], AUC.value

    def mean(spec: Spec, value: Callable[[Record], float]) -> float:
        return float(np.mean([value(record) for record in runs[spec]]))

    complete = []
    for me in runs:
        if me.design != "me" or me.model not in PAPER:
            continue
        se, base = (replace(me, design="se", scale=scale) for scale in (me.scale, 1))
        if se in runs and base in runs:
            start, ends = mean(base, collapse), mean(se, auc)
            complete.append(
                Gains(
                    me.data.name,
                    me.model,
                    me.scale,
                    start,
                    start - mean(se, collapse),
                    ends - mean(base, auc),
                    mean(me, auc) - ends,
                )
            )
    return [cell for cell in complete if not np.isnan(cell.base)]


def correlation(
    cells: Sequence[Gains], first: str, second: str, *, within: str | None = None
) -> Correlation:
    """The rank correlation of two attributes of `Gains` over cells.

    Args:
        cells: from `cells`.
        first, second: names of attributes.
        within: a third, such as "model": ranks are taken among the cells that have it in common,
            about their mean there, which leaves out what models differ in.
    """
    x = np.array([getattr(cell, first) for cell in cells])
    y = np.array([getattr(cell, second) for cell in cells])
    groups = np.array([getattr(cell, within) if within else "" for cell in cells])
    (value,) = _correlations(x, y, groups, np.ones((1, len(cells))))
    pairs = sorted({(cell.data, cell.model) for cell in cells})
    if np.isnan(value) or len(pairs) < FEWEST:
        return Correlation(value, np.nan, np.nan, len(cells))
    pair_of = [pairs.index((cell.data, cell.model)) for cell in cells]
    draws = np.random.default_rng(0).multinomial(
        len(pairs), np.full(len(pairs), 1 / len(pairs)), size=BOOTSTRAPS
    )
    low, high = np.nanquantile(_correlations(x, y, groups, draws[:, pair_of]), [0.025, 0.975])
    return Correlation(value, float(low), float(high), len(cells))


def _correlations(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """For each row of `counts`, `[B, n]`, the rank correlation of a sample that holds each of the
    `n` entries so many times; NaN where there is none.

    About its group's mean, a rank is half of how many entries of the group are smaller less how
    many are larger.
    """
    if len(x) < FEWEST:
        return np.full(len(counts), np.nan)
    alike = groups[:, None] == groups
    ranks = [counts @ (np.sign(values - values[:, None]) * alike) for values in (x, y)]
    x_x, x_y, y_y = ((counts * ranks[i] * ranks[j]).sum(1) for i, j in ((0, 0), (0, 1), (1, 1)))
    with np.errstate(invalid="ignore"):  # all alike
        return x_y / np.sqrt(x_x * y_y)
