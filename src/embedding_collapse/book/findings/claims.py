"""The paper's claims, each answered from records alone.

A verdict is computed, never written: a claim is a list of comparisons, see `comparisons`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from embedding_collapse.book.analysis.influence import at_random
from embedding_collapse.book.analysis.measures import (
    as_sets,
    common_pattern,
    with_own_field,
    with_partner,
)
from embedding_collapse.lab.groups import auc_change, by_cell
from embedding_collapse.lab.models import PAPER
from embedding_collapse.lab.records import Record

from .comparisons import (
    NOTABLE,
    SAME_ORDER,
    Cells,
    Compare,
    Comparison,
    Key,
    abundance,
    between,
    beyond_chance,
    decline,
    diversity,
    fair_abundance,
    joined_abundance,
    me_against_se,
    of_runs,
    projected_abundance,
    scaled,
)

ByChance = Callable[[Cells, Key], Sequence[float]]
VERDICTS = ("reproduced", "partly", "undecided", "not reproduced", "not run")
READERS = "a question of readers"  # where a claim is from that is not the paper's


class Claim(NamedTuple):
    """What the paper says, and what to compare.

    Attributes:
        text: the claim in our words.
        where: in the paper.
        criterion: what is compared, in words.
        figure: anchor of the figure that shows it in chapter 7.
        compare: from the records of one dataset to comparisons.
        chance: the same against what would be so had nothing been learned; None where the claim
            is no such number.
    """

    text: str
    where: str
    criterion: str
    figure: str
    compare: Compare
    chance: Compare | None = None

    @property
    def number(self) -> int:
        """Its place in the ledger, from 1."""
        return CLAIMS.index(self) + 1


class Finding(NamedTuple):
    """A claim on one dataset."""

    claim: Claim
    dataset: str
    comparisons: list[Comparison]
    chance: list[Comparison]

    def count(self, outcome: str) -> int:
        """How many comparisons came out so."""
        return sum(comparison.outcome == outcome for comparison in self.comparisons)

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`: "reproduced" where every comparison is as claimed, "partly" where some
        are. Where none is, "not reproduced" needs one whose interval lies on the other side (of a
        claim that there is no gain: a gain); "undecided" is all inside the noise."""
        claimed, every = self.count("as claimed"), len(self.comparisons)
        if self.count("not run") == every:
            return "not run"
        if claimed:
            return "reproduced" if claimed == every else "partly"
        return "not reproduced" if self.count("against the claim") else "undecided"

    @property
    def beyond_chance(self) -> str:
        """How many of the numbers are beyond what chance gives; "" where that is not asked or not
        known."""
        ran = [comparison.outcome for comparison in self.chance if comparison.change]
        return f"{ran.count('as claimed') or 'none'} of {len(ran)} beyond chance" if ran else ""


def ledger(records: Iterable[Record]) -> list[Finding]:
    """Every claim on every dataset that has records, claim by claim."""
    groups = by_cell(records)
    datasets = list(dict.fromkeys(cell.dataset for cell in groups))
    cells = {
        name: {cell[1:]: group for cell, group in groups.items() if cell.dataset == name}
        for name in datasets
    }
    return [
        Finding(
            claim,
            name,
            list(claim.compare(cells[name])),
            list(claim.chance(cells[name])) if claim.chance else [],
        )
        for claim in CLAIMS
        for name in datasets
    ]


def _projected_at_random(statistic: Callable[[Record], float]) -> ByChance:
    """What random projections of the same tables give."""
    return lambda cells, key: [
        statistic(at_random(r)) for r in cells[key] if r.projection_norms is not None
    ]


def _trained_apart(cells: Cells, key: Key) -> Sequence[float]:
    """How alike the patterns of base models are that were trained apart."""
    base = [r for r in cells.get((key[0], "se", 1), []) if r.projection_norms is not None]
    return [common_pattern(pair) for pair in as_sets(base)]


WIDE = [("dcnv2", "se", scale) for scale in (1, 4, 10)]
SETS = [("dcnv2", "me", scale) for scale in (4, 10)]
SUPPRESSED = ("dcnv2-regularized", "dnn")  # models whose interaction is weaker than DCNv2's
PART = "<b>E</b><sub><i>i</i>→<i>j</i></sub>"  # the sub-embedding
NORM = "‖<b>W</b><sub><i>i</i>→<i>j</i></sub>‖<sub>F</sub>"

CLAIMS = [
    Claim(
        "Embeddings collapse as they grow: the wider the tables, the smaller the share of "
        "directions that they use.",
        "section 1", "mean IA/K over fields, SE 4x and 10x lower than base, each model",
        "collapse-against-scale", scaled(PAPER, "se", abundance, "lower", (4, 10)),
    ),
    Claim(
        "The same, against random tables of the same shape: they too cannot fill many directions "
        "with few features.",
        READERS, "mean over fields of IA against that of a random table, SE 4x and "
        "10x lower than base, each model; added after the runs", "collapse-against-scale",
        scaled(PAPER, "se", fair_abundance, "lower", (4, 10)),
    ),
    Claim(
        "Making embeddings wider brings no gain.",
        "sections 1 and 5", f"test AUC, SE 10x above base by less than {NOTABLE}, each model",
        "auc-against-scale", scaled(PAPER, "se", auc_change, "no gain"),
    ),
    Claim(
        "DNN, xDeepFM and FinalMLP even lose by it.",
        "table of results", "test AUC, SE 10x lower than base, these three",
        "auc-against-scale", scaled(("dnn", "xdeepfm", "finalmlp"), "se", auc_change, "lower"),
    ),
    Claim(
        "A sub-embedding's information abundance grows with that of the field it comes from.",
        "section 4, finding 1", f"rank correlation over <i>i</i> of IA({PART}) with "
        "IA(<b>E</b><sub><i>i</i></sub>), above 0, DCNv2 at base, SE 4x and 10x; chance is a "
        "random projection of the same tables", "sub-embeddings",
        of_runs(with_own_field, 0, "higher", WIDE),
        beyond_chance(with_own_field, _projected_at_random(with_own_field), "higher", WIDE),
    ),
    Claim(
        "It grows as well with that of the field it is made for: interacting with a collapsed "
        "field lowers information abundance.",
        "section 4, finding 1", f"rank correlation over <i>j</i> of IA({PART}) with "
        "IA(<b>E</b><sub><i>j</i></sub>), above 0, DCNv2 at base, SE 4x and 10x", "sub-embeddings",
        of_runs(with_partner, 0, "higher", WIDE),
    ),
    Claim(
        "Regularised DCNv2, whose interaction keeps singular values, is less collapsed.",
        "section 4, finding 2", "mean IA/K at SE 10x, higher than DCNv2's",
        "ways-to-suppress-interaction",
        between("dcnv2-regularized", "dcnv2", "se", abundance, "higher"),
    ),
    Claim(
        "DNN, without explicit interaction, is less collapsed.",
        "section 4, finding 2", "mean IA/K at SE 10x, higher than DCNv2's",
        "collapse-against-scale", between("dnn", "dcnv2", "se", abundance, "higher"),
    ),
    Claim(
        "Less collapsed, these two gain nothing from size.",
        "section 4, finding 2", f"test AUC, SE 10x above base by less than {NOTABLE}",
        "ways-to-suppress-interaction", scaled(SUPPRESSED, "se", auc_change, "no gain"),
    ),
    Claim(
        "The reason is overfitting, which grows with size.",
        "section 4, finding 2", "fall of validation AUC from its best epoch to the last, larger at "
        "SE 10x than at base", "overfitting", scaled(SUPPRESSED, "se", decline, "higher"),
    ),
    Claim(
        "Multi-embedding gains from size.",
        "section 5", "test AUC, ME 10x higher than base, each model",
        "auc-against-scale", scaled(PAPER, "me", auc_change, "higher"),
    ),
    Claim(
        "Multi-embedding beats single-embedding of the same size.",
        "section 5", "test AUC at 4x and 10x, ME higher than SE, each model",
        "auc-against-scale", me_against_se(PAPER, auc_change, "higher"),
    ),
    Claim(
        "Multi-embedding is less collapsed, set by set.",
        "section 5", "mean IA/K at 4x and 10x, the mean over ME's sets higher than SE, each model",
        "collapse-against-scale", me_against_se(PAPER, abundance, "higher"),
    ),
    Claim(
        "The same again, against random tables of the same shape.",
        READERS, "mean over fields of IA against that of a random table, at 4x and "
        "10x, the mean over ME's sets higher than SE, each model; added after the runs",
        "collapse-against-scale", me_against_se(PAPER, fair_abundance, "higher"),
    ),
    Claim(
        "Multi-embedding is less collapsed, a field's sets side by side as one table.",
        "section 5", "mean IA/K at 4x and 10x, ME's joined tables higher than SE, each model",
        "collapse-against-scale", me_against_se(PAPER, joined_abundance, "higher"),
    ),
    Claim(
        "In multi-embedding the sub-embeddings are less collapsed too.",
        "section 5", f"mean IA/K of {PART} at 4x and 10x, ME higher than SE, DCNv2",
        "sub-embeddings", me_against_se(("dcnv2",), projected_abundance, "higher"),
    ),
    Claim(
        "The embedding sets are diverse, more so than blocks of one wide table.",
        "section 5", "diversity at 4x and 10x, between ME's sets higher than between SE's blocks, "
        "DCNv2", "diversity-against-scale", me_against_se(("dcnv2",), diversity, "higher"),
    ),
    Claim(
        "Each set lets other pairs of fields interact.",
        "section 5", f"rank correlation of two sets' {NORM}, below {SAME_ORDER}, DCNv2 at ME 4x "
        "and 10x; chance is the same of two models trained apart", "diversity-against-scale",
        of_runs(common_pattern, SAME_ORDER, "lower", SETS),
        beyond_chance(common_pattern, _trained_apart, "lower", SETS),
    ),
    Claim(
        "Held to equal patterns (aligned norms), multi-embedding stops scaling.",
        "section 5", "test AUC at 10x, lower than ME's own, DCNv2",
        "variants-of-multi-embedding",
        between("dcnv2-aligned", "dcnv2", "me", auc_change, "lower"),
    ),
    Claim(
        "With one interaction shared by all sets, it stops scaling.",
        "section 5", "test AUC at 10x, lower than ME's own, DCNv2",
        "variants-of-multi-embedding", between("dcnv2-shared", "dcnv2", "me", auc_change, "lower"),
    ),
    Claim(
        "The interaction of a set needs a non-linearity.",
        "section 5", "test AUC at 10x, lower without it than with it, DCNv2",
        "variants-of-multi-embedding", between("dcnv2-linear", "dcnv2", "me", auc_change, "lower"),
    ),
]  # fmt: skip
