"""Has this table collapsed? Its measures, a verdict by stated thresholds, and what to try.

The verdict compares the table's information abundance with that of a random table of the same
shape, so that neither a small K nor a field with few features counts as collapse. The thresholds
are a convention, fixed here and the same for every table. For scale: the token table of a language
model (wordllama) has 0.47; of the fields of DCNv2 at ten times its base width the mean has 0.40 to
0.56 and the lowest 0.22 to 0.25, with ten embedding sets instead 0.83 to 0.92 (results/grid).
"""

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .inspection.tables import Table, by_set
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
MEASURES = (
    "abundance",
    "relative_abundance",
    "against_random",
    "effective_rank",
    "stable_rank",
    "directions_90",
    "directions_99",
)
VERDICTS = [COLLAPSED_IS, PARTLY_IS, HEALTHY_IS, FEW_IS, UNMEASURED_IS]


@dataclass(frozen=True)
class Collapse:
    """A table's measures and verdict.

    Attributes:
        name, rows, width, sets, note: of the table: D, K and M.
        known_by: what says that it is a table, see `tables.Table`.
        spectra: float64 `[M, K]`, zeros where it has fewer rows than columns; None if not measured.
        random: `[K]`, the spectrum of a random table of that shape.
        measures: those of `MEASURES`, see `measures_of`; the mean over the sets.
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
    known_by: str = ""
    spectra: Tensor | None = field(default=None, repr=False)
    random: Tensor | None = field(default=None, repr=False)
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


def measure(
    table: Tensor | np.ndarray, weights: Tensor | np.ndarray | None = None, *, name: str = "table"
) -> Collapse:
    """Has this table collapsed? Measure it and judge it.

    Args:
        table: `[D, K]`, a row per feature; or `[D, M, K]`, M embedding sets side by side.
        weights: `[D]`, how often each row is looked up, to measure with rows weighted too.
        name: of the table, in what is said of it.

    Returns:
        Its measures, verdict and what to try. A table that cannot be measured, such as one with
        an entry that is not finite, says why in `note`, and its verdict is "not measured".

    Raises:
        ParameterError: no array of two or three dimensions; weights of another length, or that are
            no weights.

    Example:
        >>> import torch, embedding_collapse
        >>> numbers = torch.Generator().manual_seed(0)
        >>> flat = torch.randn(5000, 4, generator=numbers) @ torch.randn(4, 64, generator=numbers)
        >>> table = flat + 0.1 * torch.randn(5000, 64, generator=numbers)
        >>> collapse = embedding_collapse.measure(table)
        >>> collapse.verdict, round(collapse.measures["against_random"], 2)
        ('collapsed', 0.08)
    """
    values = _tensor("table", table)
    if values.ndim not in (2, 3):
        raise ParameterError(
            f"table has shape {tuple(values.shape)}; [D, K] and [D, M, K] are accepted"
        )
    sets_first = by_set(values) if values.ndim == 2 else values.transpose(0, 1)
    return inspect_table(
        Table(name, sets_first), None if weights is None else _tensor("weights", weights)
    )


def _tensor(name: str, array: Tensor | np.ndarray) -> Tensor:
    """Without a gradient; of numpy's arrays a view where torch can have one."""
    if isinstance(array, Tensor):
        return array.detach()
    kind = type(array).__name__
    if isinstance(array, np.ndarray):
        kind = f"an array of {array.dtype}"
        native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
        with warnings.catch_warnings(), contextlib.suppress(TypeError):
            warnings.simplefilter("ignore", UserWarning)  # that it may be read-only: it is read
            return torch.from_numpy(native)
    raise ParameterError(f"{name} is {kind}; a torch tensor or a numpy array of numbers is needed")


def inspect_table(table: Table, weights: Tensor | None = None) -> Collapse:
    """Measure a table and judge it; one that cannot be measured says why.

    Args:
        table: from `tables.find`.
        weights: `[D]`, how often each row is looked up; None weighs them equally.

    Raises:
        ParameterError: weights of another length, or that are no weights.
    """
    sets, rows, width = table.values.shape
    unmeasured = Collapse(table.name, rows, width, sets, "", UNMEASURED_IS, _MEND, table.known_by)
    if problem := _problem(table.values):
        return replace(unmeasured, note=problem)
    if weights is not None:
        _check_weights(weights, table)
    try:
        spectra, random, per_set = measure_sets(table.values)
    except ValueError as error:
        return replace(unmeasured, note=str(error))
    joined = None
    if sets > 1:
        whole = _padded(singular_values(table.values, side_by_side=True), sets * width)
        joined = measures_of(whole, _random(rows, sets * width))
    measures = _mean(per_set)
    return replace(
        unmeasured,
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
    """Spectra `[M, K]` of a table's sets, that of a random table `[K]`, and `measures_of` each."""

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
    return Sets(spectra, random, [measures_of(spectrum, random) for spectrum in spectra])


def measures_of(spectrum: Tensor, random: Tensor) -> dict[str, float]:
    """What a spectrum `[K]` says, beside that of a random table of the shape.

    Returns:
        By the names of `MEASURES`: `abundance`, `relative_abundance` (IA / K), `against_random`
        (IA over the random table's), `effective_rank`, `stable_rank`, and `directions_90` and
        `directions_99`: how many singular directions hold that share of the energy, the sum of
        squares.
    """
    abundance = information_abundance(spectrum).item()
    return {
        "abundance": abundance,
        "relative_abundance": abundance / len(spectrum),
        "against_random": abundance / information_abundance(random).item(),
        "effective_rank": effective_rank(spectrum).item(),
        "stable_rank": stable_rank(spectrum).item(),
        "directions_90": float(directions(spectrum, 0.9)),
        "directions_99": float(directions(spectrum, 0.99)),
    }


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
    per_set = [measures_of(spectrum, _random(rows, width)) for spectrum in spectra]
    return _mean(per_set) | {"rows": float(rows)}


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
