"""Has this table collapsed? Its measures, a verdict by stated thresholds, and what to try.

The verdict compares the table's information abundance with that of a random table of the same
shape, so that neither a small K nor a field with few features counts as collapse. The thresholds
are a convention, fixed here and the same for every table. For scale: the token table of a language
model (wordllama) has 0.47; of the fields of DCNv2 at ten times its base width the mean has 0.40 to
0.56 and the lowest 0.22 to 0.25, with ten embedding sets instead 0.83 to 0.92 (results/grid).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .inspection.tables import Table
from .parameters import ParameterError
from .spectrum import (
    directions,
    effective_rank,
    information_abundance,
    random_spectrum,
    singular_values,
    stable_rank,
)

COLLAPSED, PARTLY = 0.25, 0.5  # of a random table's IA: below the first, below the second
ONE_DIRECTION = 1.5  # stable rank: below, the first direction holds two thirds of the energy
FEW = 4  # rows or columns: below, chance decides
MOST_SETS = 1000  # of one table: more are no embedding sets
COLLAPSED_IS, PARTLY_IS, HEALTHY_IS = "collapsed", "partly collapsed", "not collapsed"
FEW_IS, UNMEASURED_IS = "too small to tell", "not measured"
VERDICTS = [COLLAPSED_IS, PARTLY_IS, HEALTHY_IS, FEW_IS, UNMEASURED_IS]


@dataclass(frozen=True)
class Collapse:
    """What was found of a table.

    Attributes:
        name, rows, width, sets, note: of the table: D, K and M.
        spectra: float64 `[M, K]`, zeros where it has fewer rows than columns; None if not measured.
        random: `[K]`, the spectrum of a random table of that shape.
        measures: from `measure`; the mean over the sets.
        per_set: the same of each set.
        joined: the same of the M sets side by side as one table; None for a single set.
        weighted: the same with rows weighted, and `rows`, as many equally weighted rows as they
            amount to; None without weights.
        verdict: one of `VERDICTS`.
        advice: what to try, a sentence or two.
    """

    name: str
    rows: int
    width: int
    sets: int
    note: str
    verdict: str
    advice: str
    spectra: Tensor | None = None
    random: Tensor | None = None
    measures: dict[str, float] = field(default_factory=dict)
    per_set: list[dict[str, float]] = field(default_factory=list)
    joined: dict[str, float] | None = None
    weighted: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain lists and numbers."""
        content = dict(vars(self))
        for name in ("spectra", "random"):
            if content[name] is not None:
                content[name] = _rounded(content[name])
        return content


def inspect_table(table: Table, weights: Tensor | None = None) -> Collapse:
    """Measure a table and judge it; one that cannot be measured says why.

    Args:
        table: from `tables.find`.
        weights: `[D]`, how often each row is looked up; None weighs them equally.

    Raises:
        ParameterError: weights of another length, or that are no weights.
    """
    sets, rows, width = table.values.shape
    facts = {"name": table.name, "rows": rows, "width": width, "sets": sets}
    if problem := _problem(table.values):
        return Collapse(**facts, note=problem, verdict=UNMEASURED_IS, advice=_MEND)
    if weights is not None:
        _check_weights(weights, table)
    try:
        spectra, random, per_set = measure_sets(table.values)
    except ValueError as error:
        return Collapse(**facts, note=str(error), verdict=UNMEASURED_IS, advice=_MEND)
    joined = None
    if sets > 1:
        whole = _padded(singular_values(table.values, side_by_side=True), sets * width)
        joined = measure(whole, _random(rows, sets * width))
    measures = _mean(per_set)
    return Collapse(
        **facts,
        note=table.note,
        verdict=judge(measures["against_random"], rows, width),
        advice=advise(measures, rows, width, sets),
        spectra=spectra,
        random=random,
        measures=measures,
        per_set=per_set,
        joined=joined,
        weighted=None if weights is None else _weighted(table.values, weights),
    )


class Sets(NamedTuple):
    """Spectra `[M, K]` of a table's sets, that of a random table `[K]`, and `measure` of each."""

    spectra: Tensor
    random: Tensor
    per_set: list[dict[str, float]]


def measure_sets(values: Tensor) -> Sets:
    """Measure every set of a table `[M, D, K]`.

    Raises:
        ValueError: as `spectrum.singular_values` does.
    """
    rows, width = values.shape[1:]
    spectra, random = _padded(singular_values(values), width).cpu(), _random(rows, width)
    return Sets(spectra, random, [measure(spectrum, random) for spectrum in spectra])


def measure(spectrum: Tensor, random: Tensor) -> dict[str, float]:
    """What a spectrum `[K]` says, beside that of a random table of the shape.

    Returns:
        `abundance`, `relative_abundance` (IA / K), `against_random` (IA over the random table's),
        `effective_rank`, `stable_rank`, and `directions_90` and `directions_99`: how many singular
        directions hold that share of the energy, the sum of squares.
    """
    abundance = information_abundance(spectrum).item()
    found = {
        "abundance": abundance,
        "relative_abundance": abundance / len(spectrum),
        "against_random": abundance / information_abundance(random).item(),
        "effective_rank": effective_rank(spectrum).item(),
        "stable_rank": stable_rank(spectrum).item(),
    }
    for share in (90, 99):
        found[f"directions_{share}"] = float(directions(spectrum, share / 100))
    return found


def judge(against_random: float, rows: int, width: int) -> str:
    """The verdict: IA as a share of a random table's against `COLLAPSED` and `PARTLY`."""
    if min(rows, width) < FEW:
        return FEW_IS
    if against_random < COLLAPSED:
        return COLLAPSED_IS
    return PARTLY_IS if against_random < PARTLY else HEALTHY_IS


def advise(measures: Mapping[str, float], rows: int, width: int, sets: int) -> str:
    """What to try with a table of that verdict."""
    verdict = judge(measures["against_random"], rows, width)
    held = f"{measures['directions_90']:.0f} of {width} directions hold 90% of its energy"
    if verdict == FEW_IS:
        return "Leave it: with so few rows or columns the measures mostly show chance."
    if measures["abundance"] == 0:
        return "Every entry is zero: it was never trained, or something clears it."
    if measures["stable_rank"] < ONE_DIRECTION:
        held += (
            ", and one holds most of it. Look whether that is the mean of the rows: a shared offset"
            " grows in the first steps from a small initialisation, and needs no table"
        )
    elif rows < width:
        return (
            f"It has fewer rows than columns, so at most {rows} directions exist: a width of "
            f"{rows} holds as much."
        )
    if verdict == COLLAPSED_IS:
        step = (
            "A wider table would leave more of it unused. At the same total size try several "
            "embedding sets, each with its own interaction (MultiEmbedding)"
        )
        if sets > 1:
            step = "Its sets have collapsed as well: try fewer columns per set, and more sets"
        return f"{held}. {step}; and see whether a narrower table predicts as well."
    if verdict == PARTLY_IS:
        return f"{held}. Before widening it, compare with several sets of the present width."
    return f"{held}. They are in use; if width is what you lack, widening is worth a trial."


_MEND = "Mend what the note says and inspect it again."


def _problem(values: Tensor) -> str:
    """Why a table cannot be measured, or ""."""
    sets, rows, width = values.shape
    if 0 in values.shape:
        return f"the table is empty ({rows} x {width})"
    if values.is_meta:
        return (
            "its entries cannot be read: it is sparse or a meta tensor, many of its entries share "
            "memory, or they are of a type that torch lacks; save it dense to have it measured"
        )
    if sets > MOST_SETS:
        return f"{sets:,} sets of {rows:,} x {width:,}; up to {MOST_SETS:,} sets are measured"
    kind = str(values.dtype).removeprefix("torch.")
    if values.is_complex() or values.dtype is torch.bool:
        return f"numbers of type {kind}; real numbers have a spectrum here"
    if not values.is_floating_point():
        return (
            f"whole numbers ({kind}): quantised with scales that the file does not tie to them, "
            "so it was not de-quantised; save it as float to have it measured"
        )
    try:
        values[:1, :1, :1].double()
    except NotImplementedError:
        return f"numbers of type {kind}, which torch cannot turn into others"
    return ""


def _check_weights(weights: Tensor, table: Table) -> None:
    if weights.shape != (table.values.shape[1],):
        raise ParameterError(
            f"weights have shape {tuple(weights.shape)}; {table.name} has "
            f"{table.values.shape[1]:,} rows"
        )
    if not weights.isfinite().all() or (weights < 0).any() or weights.sum() == 0:
        raise ParameterError(
            f"the weights of {table.name} must be finite, not negative, and not all zero"
        )


def _weighted(values: Tensor, weights: Tensor) -> dict[str, float]:
    """The measures with rows weighted, against a random table with as many effective rows.

    Kish's effective number, (sum w)^2 / sum w^2: a table in which few rows are looked up has few.
    """
    width = values.shape[-1]
    weights = weights.double()
    rows = max(1, round((weights.sum().square() / weights.square().sum()).item()))
    spectra = _padded(singular_values(values, weights), width)
    return _mean([measure(spectrum, _random(rows, width)) for spectrum in spectra]) | {
        "rows": float(rows)
    }


@lru_cache(maxsize=4096)
def _random(rows: int, width: int) -> Tensor:
    """As `spectrum.normalised_abundance` has it; fewer draws of wide tables, which hardly vary."""
    return random_spectrum(rows, width, draws=max(1, min(16, 4096 // width)))


def _padded(spectra: Tensor, width: int) -> Tensor:
    return F.pad(spectra, (0, width - spectra.shape[-1]))


def _mean(per_set: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in per_set) / len(per_set) for name in per_set[0]}


def _rounded(values: Tensor) -> list:
    if values.ndim > 1:
        return [_rounded(part) for part in values]
    return [float(f"{value:.6g}") for value in values.tolist()]
