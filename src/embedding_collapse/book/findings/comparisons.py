"""Comparisons of runs with what is expected of them: the stuff that claims are made of.

Each comparison comes out as claimed, against the claim, or inside the noise, by the 95% confidence
interval of a difference; runs of one seed are not compared. The thresholds were fixed before the
runs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.measures import NOTABLE
from embedding_collapse.lab.metrics import Difference, welch
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record, design_label

SAME_ORDER = 0.5  # rank correlation from which two sets' weights count as one pattern
OUTCOMES = ("as claimed", "inside the noise", "against the claim", "not run")

Key = tuple[str, str, int]  # model, design, scale
Cells = dict[Key, list[Record]]  # of one dataset
Measure = Callable[[Sequence[Record], Sequence[Record]], Difference]


class Comparison(NamedTuple):
    """One difference that a claim is about.

    Attributes:
        what: the two sides; the runs alone where their own number is told.
        change: the difference, new minus old; None where either side lacks runs of two seeds.
        expected: "higher", "lower", or "no gain".
        level: what the runs' own number is held against; 0 of a difference.
    """

    what: str
    change: Difference | None
    expected: str
    level: float = 0.0

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`."""
        if self.change is None:
            return "not run"
        if self.expected == "no gain":
            if self.change.high < NOTABLE:
                return "as claimed"
            return "against the claim" if self.change.low > 0 else "inside the noise"
        if self.change.verdict == "not told apart":
            return "inside the noise"
        return "as claimed" if self.change.verdict == self.expected else "against the claim"


Compare = Callable[[Cells], Iterable[Comparison]]


# --- measures -------------------------------------------------------------------------------------


def _welch_of(value: Callable[[Record], float]) -> Measure:
    """Compare a number per run over seeds."""
    return lambda new, old: welch([value(r) for r in new], [value(r) for r in old])


abundance = _welch_of(measures.ABUNDANCE.value)
fair_abundance = _welch_of(measures.FAIR_ABUNDANCE.value)
diversity = _welch_of(measures.DIVERSITY.value)
projected_abundance = _welch_of(measures.PROJECTED_ABUNDANCE.value)
decline = _welch_of(measures.DECLINE.value)


def joined_abundance(new: Sequence[Record], old: Sequence[Record]) -> Difference:
    """IA / K of ME's sets side by side, against SE's one table of the same width."""
    value = measures.JOINED_ABUNDANCE.value
    return welch([value(r) for r in new], [value(r) for r in old])


# --- comparisons ----------------------------------------------------------------------------------


def _compare(
    cells: Cells, pairs: Iterable[tuple[Key, Key]], measure: Measure, expected: str
) -> Iterator[Comparison]:
    """The pairs of cells, new and old."""
    for new, old in pairs:
        change = measure(cells[new], cells[old]) if _enough(cells, new, old) else None
        yield Comparison(_both(new, old), change, expected)


def _enough(cells: Cells, *keys: Key) -> bool:
    return all(len(cells.get(key, [])) > 1 for key in keys)


def _both(new: Key, old: Key) -> str:
    """The two sides; a model's name once where it is the same."""
    other = design_label(*old[1:]) if new[0] == old[0] else _name(old)
    return f"{_name(new)} against {other}"


def _name(key: Key) -> str:
    model, design, scale = key
    return f"{MODELS[model].name} {design_label(design, scale)}"


def scaled(
    models: Sequence[str],
    design: str,
    measure: Measure,
    expected: str,
    scales: Sequence[int] = (10,),
) -> Compare:
    """A claim on each model, scaled up, against its base."""
    pairs = [((m, design, s), (m, "se", 1)) for m in models for s in scales]
    return lambda cells: _compare(cells, pairs, measure, expected)


def me_against_se(
    models: Sequence[str], measure: Measure, expected: str, scales: Sequence[int] = (4, 10)
) -> Compare:
    """A claim on each model's ME against its SE of the same embedding size."""
    pairs = [((m, "me", s), (m, "se", s)) for m in models for s in scales]
    return lambda cells: _compare(cells, pairs, measure, expected)


def between(
    new: str, old: str, design: str, measure: Measure, expected: str, scales: Sequence[int] = (10,)
) -> Compare:
    """A claim on one model against another."""
    pairs = [((new, design, s), (old, design, s)) for s in scales]
    return lambda cells: _compare(cells, pairs, measure, expected)


def of_runs(
    statistic: Callable[[Record], float], threshold: float, expected: str, keys: Sequence[Key]
) -> Compare:
    """A claim on a number of each run, against a threshold."""

    def compare(cells: Cells) -> Iterator[Comparison]:
        for key in keys:
            change = None
            if _enough(cells, key):
                values = [statistic(record) for record in cells[key]]
                # against a constant, Welch's test is the t-test of one sample
                change = welch(values, [threshold] * len(values))
            yield Comparison(_name(key), change, expected, threshold)

    return compare


def beyond_chance(
    statistic: Callable[[Record], float],
    by_chance: Callable[[Cells, Key], Sequence[float]],
    expected: str,
    keys: Sequence[Key],
) -> Compare:
    """A claim on a number of each run, against the same number had nothing been learned."""

    def compare(cells: Cells) -> Iterator[Comparison]:
        for key in keys:
            chance = by_chance(cells, key) if _enough(cells, key) else []
            change = welch([statistic(r) for r in cells[key]], chance) if chance else None
            yield Comparison(_name(key), change, expected)

    return compare
