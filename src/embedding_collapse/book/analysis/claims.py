"""The claims: what the paper or a reader says, and the cells of a study that answer it.

A claim is a list of comparisons (new cell minus old, or a cell's own number) and what is expected
of them. They were fixed before the study `decide` ran, but for what it says was added; `ledger`
answers them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies.decide import (
    BASE,
    EQUAL,
    ME4,
    ME10,
    REGULARISATIONS,
    SE4,
    SE10,
    TELLING,
    DesignAtScale,
)
from embedding_collapse.lab.studies.sweep import in_proportion

from . import measures
from .measures import Measure

Expected = Literal["higher", "lower", "no gain"]
Runs = dict[Spec, list[Record]]  # by spec without its seed
SAME_ORDER = 0.5  # rank correlation from which two sets' weights count as one pattern
READERS = "a question of readers"  # where a claim is from that is not the paper's
CONTROL = "a control"


# by which cells of one model may differ beside design and scale, and how that is written
OPTIONS = {
    "embedding_size": "K =",
    "hidden": "hidden units",
    "cross_layers": "cross layers",
    "dropout": "dropout",
    "weight_decay": "weight decay",
}


class Comparison(NamedTuple):
    """Two cells, or one.

    Attributes:
        new, old: specs, whose seed does not matter; None for `old` compares the cell's own number
            with the claim's level.
    """

    new: Spec
    old: Spec | None = None

    @property
    def label(self) -> str:
        """What is compared, in a few words."""
        name = f"{MODELS[self.new.model].name} {self.new.label}"
        if self.old is None:
            return name
        if self.old.model != self.new.model:
            return f"{name} - {MODELS[self.old.model].name} {self.old.label}"
        apart = [key for key in OPTIONS if getattr(self.new, key) != getattr(self.old, key)]
        new, old = (
            "".join(f", {OPTIONS[key]} {getattr(spec, key)}" for key in apart)
            for spec in (self.new, self.old)
        )
        return f"{name}{new} - {self.old.label}{old}"


class Entry(NamedTuple):
    """An entry of the ledger: what is claimed, and how it is answered.

    Attributes:
        text: the claim in our words.
        where: in the paper; `READERS` or `CONTROL` where it is not the paper's.
        measure: what is compared.
        expected: which way the effect should go: "no gain" is no more than the measure's band.
        compare: the comparisons beside a base run, whose data and settings they share, given the
            runs that there are.
        level: what a cell's own number is held against.
        each: every comparison has to go as expected, so that the least sure one stands for all.
    """

    text: str
    where: str
    measure: Measure
    expected: Expected
    compare: Callable[[Spec, Runs], Sequence[Comparison]]
    level: float = 0.0
    each: bool = False


# --- the comparisons ------------------------------------------------------------------------------


def compared(base: Spec, model: str, size: DesignAtScale, **options: Any) -> Spec:
    """The run of a model at a size that shares a base run's data and settings, but for options."""
    design, scale = size
    width = base.embedding_size
    if model != base.model:  # whose own width may be in proportion to nothing
        width = in_proportion(model, width)
    own = {"embedding_size": width} | options
    return replace(base, model=model, design=design, scale=scale, seed=0, **own)


def _sizes(models: Sequence[str], *pairs: tuple[DesignAtScale, DesignAtScale]) -> Callable:
    """A new size against an old one, of each model."""
    return lambda base, runs: [
        Comparison(compared(base, model, new), compared(base, model, old))
        for model, (new, old) in product(models, pairs)
    ]


def _models(new: str, old: str, *sizes: DesignAtScale) -> Callable:
    """A model against another, at each size."""
    return lambda base, runs: [
        Comparison(compared(base, new, size), compared(base, old, size)) for size in sizes
    ]


def _alone(model: str, *sizes: DesignAtScale) -> Callable:
    """A cell's own number."""
    return lambda base, runs: [Comparison(compared(base, model, size)) for size in sizes]


def _ensembles(average: str) -> Callable:
    return lambda base, runs: [
        Comparison(
            compared(base, model, ME4), compared(base, model, BASE, members=4, average=average)
        )
        for model in TELLING
    ]


def _controls(*names: str) -> Callable:
    """ME 4x of DCNv2 against base models that have as many parameters somewhere."""

    def compare(base: Spec, runs: Runs) -> list[Comparison]:
        equal = EQUAL.get(base.data.name)
        if equal is None:
            return []
        ways = {
            "all": {"embedding_size": equal["all"]},
            "head": {"hidden": equal["hidden"]},
            "interaction": {"embedding_size": equal["interaction"]},
            "layers": {"cross_layers": 16},
        }
        me = compared(base, "dcnv2", ME4)
        return [Comparison(me, compared(base, "dcnv2", BASE, **ways[name])) for name in names]

    return compare


def _me_with_ses_interaction(base: Spec, runs: Runs) -> list[Comparison]:
    if base.data.name not in EQUAL:
        return []
    more = compared(base, "dcnv2", ME4, embedding_size=EQUAL[base.data.name]["me"])
    return [Comparison(more, compared(base, "dcnv2", SE4))]


def _best_regularised(base: Spec, runs: Runs) -> list[Comparison]:
    """ME 4x against SE 4x of DNN, each with the dropout and weight decay that suit it best on the
    validation rows."""
    best = []
    for size in (ME4, SE4):
        tried = [compared(base, "dnn", size, **way) for way in ({}, *REGULARISATIONS)]
        scores = {spec: np.mean([_valid_auc(run) for run in runs[spec]])
                  for spec in tried if spec in runs}  # fmt: skip
        if len(scores) < len(tried):  # before all are there, none is the best
            return [Comparison(next(spec for spec in tried if spec not in scores))]
        best.append(max(scores, key=lambda spec: scores[spec]))
    return [Comparison(*best)]


def _valid_auc(record: Record) -> float:
    return max(epoch["valid_auc"] for epoch in record.epochs)


WIDE = ((SE4, BASE), (SE10, BASE))
LIKE = ((ME4, SE4), (ME10, SE10))
REGULARISED = "dcnv2-regularized"

CLAIMS = [
    Entry("Embeddings collapse as they grow: the wider the tables, the smaller the share of "
          "directions that they use.", "section 1", measures.ABUNDANCE, "lower",
          _sizes(PAPER, *WIDE)),
    Entry("The same, against random tables of the same shape.", READERS, measures.FAIR_ABUNDANCE,
          "lower", _sizes(PAPER, *WIDE)),
    Entry("Making embeddings wider brings no gain.", "sections 1 and 5", measures.AUC, "no gain",
          _sizes(PAPER, (SE10, BASE))),
    Entry("DNN, xDeepFM and FinalMLP even lose by it.", "table of results", measures.AUC, "lower",
          _sizes(("dnn", "xdeepfm", "finalmlp"), (SE10, BASE))),
    Entry("A sub-embedding's information abundance grows with that of the field it comes from.",
          "section 4, finding 1", measures.OWN_FIELD, "higher", _alone("dcnv2", BASE, SE4, SE10)),
    Entry("It grows as well with that of the field it is made for.", "section 4, finding 1",
          measures.PARTNER, "higher", _alone("dcnv2", BASE, SE4, SE10)),
    Entry("Regularised DCNv2, whose interaction keeps singular values, is less collapsed.",
          "section 4, finding 2", measures.ABUNDANCE, "higher",
          _models(REGULARISED, "dcnv2", SE10)),
    Entry("DNN, without explicit interaction, is less collapsed.", "section 4, finding 2",
          measures.ABUNDANCE, "higher", _models("dnn", "dcnv2", SE10)),
    Entry("Regularised DCNv2 and DNN gain nothing from size.", "section 4, finding 2",
          measures.AUC, "no gain", _sizes((REGULARISED, "dnn"), (SE10, BASE))),
    Entry("Regularised DCNv2 and DNN overfit more when larger.", "section 4, finding 2",
          measures.DECLINE, "higher", _sizes((REGULARISED, "dnn"), (SE10, BASE))),
    Entry("Multi-embedding gains from size.", "section 5", measures.AUC, "higher",
          _sizes(PAPER, (ME10, BASE))),
    Entry("Multi-embedding beats single-embedding of the same size.", "section 5", measures.AUC,
          "higher", _sizes(PAPER, *LIKE)),
    Entry("Multi-embedding is less collapsed, set by set.", "section 5", measures.ABUNDANCE,
          "higher", _sizes(PAPER, *LIKE)),
    Entry("The same again, against random tables of the same shape.", READERS,
          measures.FAIR_ABUNDANCE, "higher", _sizes(PAPER, *LIKE)),
    Entry("Multi-embedding is less collapsed, a field's sets side by side as one table.",
          "section 5", measures.JOINED_ABUNDANCE, "higher", _sizes(PAPER, *LIKE)),
    Entry("In multi-embedding the sub-embeddings are less collapsed too.", "section 5",
          measures.PROJECTED_ABUNDANCE, "higher", _sizes(("dcnv2",), *LIKE)),
    Entry("The embedding sets are diverse, more so than slices of one wide table.", "section 5",
          measures.DIVERSITY, "higher", _sizes(("dcnv2",), *LIKE)),
    Entry("Each set lets other pairs of fields interact than the rest do.", "section 5",
          measures.COMMON_PATTERN, "lower", _alone("dcnv2", ME4, ME10), SAME_ORDER),
    Entry("Held to equal patterns (aligned norms), multi-embedding loses.", "section 5",
          measures.AUC, "lower", _models("dcnv2-aligned", "dcnv2", ME4)),
    Entry("With one interaction shared by all sets, it loses.", "section 5", measures.AUC,
          "lower", _models("dcnv2-shared", "dcnv2", ME4)),
    Entry("The interaction of a set needs a non-linearity.", "section 5", measures.AUC, "lower",
          _models("dcnv2-linear", "dcnv2", ME4)),
    Entry("Multi-embedding is more than an ensemble of base models whose logits are averaged.",
          CONTROL, measures.AUC, "higher", _ensembles("logits")),
    Entry("It is more than an ensemble whose probabilities are averaged.", CONTROL, measures.AUC,
          "higher", _ensembles("probabilities")),
    Entry("Its gain is more than that of as many parameters in one set.", CONTROL, measures.AUC,
          "higher", _controls("all", "head"), each=True),
    Entry("It is more than that of as many parameters in the interaction of one set.", CONTROL,
          measures.AUC, "higher", _controls("interaction", "layers"), each=True),
    Entry("Four sets with as many interaction parameters as single-embedding's at 4x beat it.",
          CONTROL, measures.AUC, "higher", _me_with_ses_interaction),
    Entry("It is more than regularisation: DNN's multi-embedding beats single-embedding, each with "
          "the dropout and weight decay that suit it best.", CONTROL, measures.AUC, "higher",
          _best_regularised),
    Entry("What DCNv2 gains from a wide table is the table's: ten columns, projected to the same "
          "width, fall short of it.", CONTROL, measures.AUC, "lower",
          _models("dcnv2-lifted", "dcnv2", SE4, SE10)),
]  # fmt: skip
