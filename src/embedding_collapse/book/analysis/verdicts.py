"""Claims of groups of runs, each answered by one contrast, all corrected together."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from embedding_collapse.lab.contrast import Effect
from embedding_collapse.lab.groups import Cell
from embedding_collapse.lab.records import Record

from .claims import Expected
from .ledger import Judged, Verdict, judge
from .measures import Measure

Runs = list[Record]  # of one cell: they differ in the seed alone
Cells = Mapping[Cell, Runs]  # as `lab.groups.by_cell` makes them


class Claim(NamedTuple):
    """What is claimed of groups of runs.

    Attributes:
        text: the claim in our words.
        measure: what is compared.
        expected: which way new minus old should go: "no gain" is no more than the measure's band.
        pairs: new and old; of several the mean of the differences is meant. An empty group is one
            that was not run.
    """

    text: str
    measure: Measure
    expected: Expected
    pairs: Sequence[tuple[Runs, Runs]]

    def effect(self, against: float = 0.0) -> Effect | None:
        """New minus old as one contrast, in which runs that several pairs share count once; None
        where a group was not run."""
        if not self.pairs or not all(new and old for new, old in self.pairs):
            return None
        return self.measure.mean_difference(self.pairs, against=against)


class Answer(NamedTuple):
    """What became of a claim: the verdict, and new minus old; None where it was not run."""

    verdict: Verdict
    effect: Effect | None


def answers(claims: Sequence[Claim]) -> list[Answer]:
    """The claims' verdicts, corrected for there being several (Holm)."""
    judged = []
    for claim in claims:
        band = claim.measure.band if claim.expected == "no gain" else 0.0
        judged.append(Judged(claim.effect(band), claim.expected, claim.measure))
    verdicts = zip(claims, judge(judged), strict=True)
    return [Answer(verdict, claim.effect()) for claim, verdict in verdicts]
