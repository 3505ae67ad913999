"""Has this table collapsed? Its measures, a verdict by stated thresholds, and what to try next.

The verdict compares the table's information abundance with that of random tables of the same shape,
so that neither a small K nor a field with few features counts as collapse, and takes the mean of
the rows off first: an offset that all rows share is another matter, with a remedy of its own. Where
it is known how often rows are looked up, they count as often. The thresholds are a convention,
fixed here and the same for every table; how often the verdict is wrong on tables of which the truth
is known is measured by `lab.calibration`. For scale: the token table of a language model
(wordllama) has 0.47; of the fields of DCNv2 at ten times its base width the mean has 0.40 to 0.56
and the lowest 0.22 to 0.25, with ten embedding sets instead 0.83 to 0.92 (results/grid), all of
them as they are, their mean not taken off.
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
    random_abundances,
    random_spectrum,
    singular_values,
    spectra,
    stable_rank,
    weighted_random_abundances,
)
from .untrained import untrained

COLLAPSED, PARTLY = 0.25, 0.5  # of a random table's IA: below the first, below the second
MUCH_OFFSET = 0.05  # of the energy: below, it is a direction among others
MANY_UNTRAINED = 0.05  # of the rows: from here up they may change the verdict
MOST_SETS = 1000  # of one table: more are no embedding sets
COLLAPSED_IS, PARTLY_IS, HEALTHY_IS = "collapsed", "partly collapsed", "not collapsed"
OFFSET_IS, UNTRAINED_IS = "offset", "rare rows untrained"
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
VERDICTS = [
    COLLAPSED_IS, UNTRAINED_IS, PARTLY_IS, OFFSET_IS, HEALTHY_IS, FEW_IS, UNMEASURED_IS,
]  # fmt: skip


@dataclass(frozen=True)
class Collapse:
    """A table's measures and verdict.

    Attributes:
        name, rows, width, sets, note: of the table: D, K and M.
        known_by: what says that it is a table, see `tables.Table`.
        spectra: float64 `[M, K]`, zeros where it has fewer rows than columns; None if not measured.
        random: `[K]`, the spectrum of a random table of that shape.
        band: the lowest and the highest IA of random tables of that shape but for one in a
            hundred each, as a share of their mean.
        measures: those of `MEASURES`, see `measures_of`; the mean over the sets.
        centred: the same with the mean of the rows taken off.
        offset: the share of the energy that the mean of the rows holds; the mean over the sets.
        untrained: the share of the rows that lie as they were drawn, see `untrained`.
        trained: IA of the other rows, centred, as a share of a random table's; None if they are
            too few to tell.
        per_set: the measures of each set.
        joined: the same of the M sets side by side as one table; None for a single set.
        weighted: the same with rows weighted, beside random tables weighted alike, all centred, and
            `rows`, as many equally weighted rows as they amount to; None without weights.
        verdict: one of `VERDICTS`.
        rests_on: the measure that it rests on, in words.
        advice: what to try next and what it costs, a sentence or two.
    """

    name: str
    rows: int
    width: int
    sets: int
    note: str
    verdict: str
    advice: str
    known_by: str = ""
    rests_on: str = ""
    spectra: Tensor | None = field(default=None, repr=False)
    random: Tensor | None = field(default=None, repr=False)
    band: tuple[float, float] = (1.0, 1.0)
    measures: dict[str, float] = field(default_factory=dict)
    centred: dict[str, float] = field(default_factory=dict)
    offset: float = 0.0
    untrained: float = 0.0
    trained: float | None = None
    per_set: list[dict[str, float]] = field(default_factory=list)
    joined: dict[str, float] | None = None
    weighted: dict[str, float] | None = None

    @property
    def judged_by(self) -> float:
        """What the verdict compares with the thresholds: 1 for a random table, 0 for none left."""
        measures = self.weighted or self.centred
        return measures["against_random"] if measures else 1.0

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
        plain, centred, offset = (part.cpu() for part in spectra(table.values))
    except ValueError as error:
        return replace(unmeasured, note=str(error))
    random = _random(rows, width)
    plain = _padded(plain, width)
    per_set = [measures_of(spectrum, random) for spectrum in plain]
    without = _random(max(1, rows - 1), width)  # the mean taken off takes a dimension
    joined = None
    if sets > 1:
        whole = _padded(singular_values(table.values, side_by_side=True), sets * width)
        joined = measures_of(whole, _random(rows, sets * width))
    share, trained = _trained(table.values)
    return _judged(
        replace(
            unmeasured,
            note=table.note,
            spectra=plain,
            random=random,
            band=_band(rows, width),
            measures=_mean(per_set),
            centred=_mean([measures_of(one, without) for one in _padded(centred, width)]),
            offset=offset.mean().item(),
            untrained=share,
            trained=trained,
            per_set=per_set,
            joined=joined,
            weighted=None if weights is None else _weighted(table.values, weights),
        )
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


def judge(against_random: float) -> str:
    """IA as a share of a random table's against `COLLAPSED` and `PARTLY`."""
    if against_random < COLLAPSED:
        return COLLAPSED_IS
    return PARTLY_IS if against_random < PARTLY else HEALTHY_IS


def too_small(rows: int, width: int) -> bool:
    """Whether a shape allows no verdict.

    Either no table of it can fall below `COLLAPSED`, since IA is at least 1 and a random table's is
    not that much more; or one random table in a hundred falls below `PARTLY`.
    """
    return least(rows, width) >= COLLAPSED or _band(rows, width)[0] < PARTLY


def least(rows: int, width: int) -> float:
    """The least IA/random, the mean of the rows taken off, of any table of a shape."""
    return 1 / information_abundance(_random(max(1, rows - 1), width)).item()


def _judged(one: Collapse) -> Collapse:
    """A measured table with its verdict, what that rests on, and what to try."""
    low, high = one.band
    random = f"random tables of {one.rows:,} x {one.width} have {low:.2f} to {high:.2f}"
    if too_small(one.rows, one.width):
        lowest = least(one.rows, one.width)
        rests_on = f"no table of {one.rows:,} x {one.width} has IA/random below {lowest:.2f}"
        if lowest < COLLAPSED:
            rests_on = f"chance decides: {random}"
        verdict = FEW_IS
    elif one.weighted:
        verdict = judge(one.weighted["against_random"])
        rests_on = (
            f"IA/random {one.weighted['against_random']:.2f} with rows weighted and their mean "
            f"taken off; random tables weighted alike have 1"
        )
    elif _hidden(one):
        assert one.trained is not None
        verdict = UNTRAINED_IS
        rests_on = (
            f"{one.untrained:.0%} of the rows lie as they were drawn; of all rows IA/random is "
            f"{one.centred['against_random']:.2f}, of the others {one.trained:.2f}, "
            f"{judge(one.trained)}"
        )
    else:
        verdict = judge(one.centred["against_random"])
        rests_on = f"IA/random {one.centred['against_random']:.2f}, the mean of the rows taken off"
        if verdict == HEALTHY_IS and judge(one.measures["against_random"]) != HEALTHY_IS:
            verdict = OFFSET_IS if one.offset >= MUCH_OFFSET else HEALTHY_IS
            rests_on += f", {one.measures['against_random']:.2f} with it"
        rests_on += f"; {random}"
    judged = replace(one, verdict=verdict, rests_on=rests_on)
    return replace(judged, advice=advise(judged))


def _hidden(one: Collapse) -> bool:
    """Whether rows that lie as they were drawn hide what the others do."""
    if one.trained is None or one.untrained < MANY_UNTRAINED:
        return False
    return judge(one.trained) != judge(one.centred["against_random"])


def advise(one: Collapse) -> str:
    """What to try next with a table of that verdict, and what it costs."""
    size = one.rows * one.width * one.sets
    held = (one.weighted or one.centred)["directions_90"]
    energy = f"{held:.0f} of {one.width} directions hold 90% of its energy"
    if one.measures.get("abundance") == 0:
        return "Every entry is zero: it was never trained, or something clears it."
    if one.verdict == FEW_IS:
        return "Leave it: at this shape there is nothing to gain or to lose."
    if one.verdict == UNTRAINED_IS:
        return (
            "Next: count how often each row is looked up, and weigh rows by it (--rows-weight "
            "counts.npy): one pass over the training data, no training."
        )
    if one.verdict == OFFSET_IS:
        return (
            f"{one.offset:.0%} of its energy is one vector that all rows share, and that is no "
            "collapse. Next, if it is in the way: take the mean off the rows and give it to the "
            f"bias of the layer behind: {one.width} numbers, no training."
        )
    if one.verdict == COLLAPSED_IS and one.sets > 1:
        return (
            f"{energy}. Its sets have collapsed as well. Next: more sets with fewer columns each, "
            f"at the same {size:,} numbers: one training run for each seed."
        )
    if one.verdict == COLLAPSED_IS:
        return (
            f"{energy}. A wider table would leave more of it unused. Next, at the same {size:,} "
            "numbers: several embedding sets, each with its own interaction (MultiEmbedding), "
            f"beside a table of {held:.0f} columns, which saves {1 - held / one.width:.0%}: two "
            "training runs for each seed."
        )
    if one.verdict == PARTLY_IS:
        return (
            f"{energy}. Next, before widening it: several sets of the present width beside one "
            f"table as wide as they are together, {size:,} numbers more for each set: two "
            "training runs for each seed."
        )
    if one.rows < one.width:
        return (
            f"It has fewer rows than columns, so at most {one.rows} directions exist: a width of "
            f"{one.rows} holds as much."
        )
    if one.untrained > 1 - MANY_UNTRAINED:
        return (
            "Its rows look as if they had just been drawn: was it trained? Next: look at the same "
            "table in an earlier checkpoint (inspect EARLIER THIS): seconds."
        )
    return (
        f"{energy}. They are in use; if width is what you lack, twice as many columns are worth a "
        f"trial: {size:,} numbers more, one training run for each seed."
    )


def _trained(values: Tensor) -> tuple[float, float | None]:
    """The share of rows that lie as they were drawn, and what IA/random the others have alone."""
    share, others = untrained(values)
    if share < MANY_UNTRAINED:
        return share, None
    if others.shape[1] < 2 or too_small(*others.shape[1:]):
        return share, None
    count, width = others.shape[1:]
    centred = _padded(spectra(others).centred, width)
    random = information_abundance(_random(count - 1, width)).item()
    return share, (information_abundance(centred) / random).mean().item()


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
    """The centred measures with rows weighted, against random tables with rows weighted alike.

    Their `rows` are Kish's effective number, (sum w)^2 / sum w^2: a table in which few rows are
    looked up has few.
    """
    width = values.shape[-1]
    weights = weights.double()
    rows = (weights.sum().square() / weights.square().sum()).item()
    random = weighted_random_abundances(weights, width, draws=max(1, min(16, 4096 // width)))
    per_set = []
    for spectrum in _padded(spectra(values, weights).centred, width):
        measures = measures_of(spectrum, spectrum)
        measures["against_random"] = measures["abundance"] / random.mean().item()
        per_set.append(measures)
    return _mean(per_set) | {"rows": float(round(rows))}


@lru_cache(maxsize=4096)
def _random(rows: int, width: int) -> Tensor:
    """As `spectrum.normalised_abundance` has it; fewer draws of wide tables, which hardly vary."""
    return random_spectrum(rows, width, draws=max(1, min(16, 4096 // width)))


def _band(rows: int, width: int) -> tuple[float, float]:
    """How far IA of random tables goes from its mean, as shares of that, but for one in a hundred.

    It hardly depends on the rows where there are many, so shapes that are nearly alike share one;
    and very wide tables, which hardly vary, have that of one as slender and of 256 columns.
    """
    if (small := min(rows, width)) > 256:
        rows, width = rows * 256 // small, width * 256 // small
    if rows > 100:
        rows = int(float(f"{rows:.1e}"))
    return _draw_band(rows, width)


@lru_cache(maxsize=4096)
def _draw_band(rows: int, width: int) -> tuple[float, float]:
    small = min(rows, width)
    drawn = random_abundances(rows, width, draws=max(32, min(256, 8192 // small)))
    low, high = (drawn / drawn.mean()).quantile(torch.tensor([0.01, 0.99], dtype=drawn.dtype))
    return low.item(), high.item()


def _padded(spectra: Tensor, width: int) -> Tensor:
    return F.pad(spectra, (0, width - spectra.shape[-1]))


def _mean(per_set: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in per_set) / len(per_set) for name in per_set[0]}


def _rounded(values: Tensor) -> list:
    if values.ndim > 1:
        return [_rounded(part) for part in values]
    return [float(f"{value:.6g}") for value in values.tolist()]
