"""The claims, each answered by one contrast of a study's cells.

A claim is a list of comparisons (new cell minus old, or a cell's own number) and what is expected
of them. Its effect is their mean, taken as one contrast, so that runs and test rows which several
comparisons share are counted once. The verdicts of a data set's claims are corrected for being
several (Holm 1979).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from embedding_collapse.lab.experiment import Spec
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.studies.decide import (
    BASE,
    BASES,
    EQUAL,
    ME4,
    ME10,
    REGULARISATIONS,
    SE4,
    SE10,
    TELLING,
    Size,
)
from embedding_collapse.lab.studies.sweep import BASE_SIZE, in_proportion

from . import measures
from .contrast import Effect, holm
from .measures import Measure

Expected = Literal["higher", "lower", "no gain"]
Verdict = Literal["holds", "fails", "undecided", "not run"]
MODEL = "dcnv2"  # of the base run whose settings tell runs apart
LEVEL = 0.95
SECOND_LOOK = 0.9706  # Pocock's, where seeds were added after a first look (see `studies.decide`)
LOOKS = (1 - LEVEL) / (1 - SECOND_LOOK)  # by which p-values grow where there were two
FIRST_LOOK = 5  # seeds, at the first look
CLOSE = 0.002  # half-width of ME minus SE that suffices, in AUC; or...
CLOSE_SHARE = 0.2  # ...this share of the effect
SAME_ORDER = 0.5  # rank correlation from which two sets' weights count as one pattern
READERS = "a question of readers"  # where a claim is from that is not the paper's
CONTROL = "a control"
Runs = dict[Spec, list[Record]]  # by spec without its seed


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
        same = self.old.model == self.new.model
        return f"{name} - {'' if same else MODELS[self.old.model].name + ' '}{self.old.label}"


class Claim(NamedTuple):
    """What is claimed, and how it is answered.

    Attributes:
        text: the claim in our words.
        where: in the paper; `READERS` or `CONTROL` where it is not the paper's.
        measure: what is compared.
        expected: which way the effect should go: "no gain" is no more than the measure's band.
        compare: the comparisons beside a base run, whose data and settings they share, given the
            runs that there are.
        level: what a cell's own number is held against.
    """

    text: str
    where: str
    measure: Measure
    expected: Expected
    compare: Callable[[Spec, Runs], Sequence[Comparison]]
    level: float = 0.0


class Finding(NamedTuple):
    """A claim on one data set, with one choice of settings.

    Attributes:
        claim: what was asked.
        effect: the mean of its comparisons that have runs; None where none has.
        parts: each of those comparisons and its own effect.
        missing: comparisons without runs.
        verdict: the answer.
    """

    claim: Claim
    effect: Effect | None
    parts: list[tuple[Comparison, Effect]]
    missing: list[Comparison]
    verdict: Verdict


def by_spec(records: Iterable[Record]) -> Runs:
    """Records of runs that differ in the seed alone, by their spec with seed 0."""
    groups: Runs = {}
    for record in records:
        spec = replace(Spec.read(record.spec), seed=0)
        groups.setdefault(spec, []).append(record)
    return groups


def effect_of(
    comparisons: Sequence[Comparison],
    runs: Runs,
    measure: Measure,
    *,
    level: float = LEVEL,
    against: float = 0.0,
) -> Effect:
    """The mean of the comparisons as one contrast.

    Args:
        comparisons: at least one, all of which have runs.
        runs: from `by_spec`.
        measure: what is compared.
        level: of the interval; `SECOND_LOOK` takes its place where a cell has more than
            `FIRST_LOOK` seeds.
        against: what the effect is held against; it is taken off.
    """
    pairs = [(runs[one.new], runs[one.old] if one.old else []) for one in comparisons]
    looked_twice = any(len(cell) > FIRST_LOOK for pair in pairs for cell in pair)
    level = SECOND_LOOK if looked_twice else level
    effect = measure.mean_difference(pairs, level=level, against=against)
    return effect._replace(p=min(1.0, effect.p * LOOKS)) if looked_twice else effect


def verdict_of(effect: Effect, expected: Expected, measure: Measure, p: float) -> Verdict:
    """What an effect says of a claim.

    Args:
        effect: of the comparisons; of "no gain" minus the band.
        expected: by the claim.
        measure: whose band says which difference counts as none.
        p: of the effect, corrected for the other claims.
    """
    side = 0 if p > 1 - LEVEL else int(np.sign(effect.value))
    wanted = {"higher": 1, "lower": -1, "no gain": -1}[expected]
    if side == wanted:
        return "holds"
    within = expected != "no gain" and -measure.band < effect.low and effect.high < measure.band
    return "fails" if side == -wanted or within else "undecided"


class Judged(NamedTuple):
    """What a verdict is spoken on: an effect, minus what it is held against; None of no runs."""

    effect: Effect | None
    expected: Expected
    measure: Measure


def judge(claims: Sequence[Judged]) -> list[Verdict]:
    """The verdicts on claims that are made together, corrected for being several (Holm)."""
    corrected = iter(holm([claim.effect.p for claim in claims if claim.effect]))
    return [
        verdict_of(claim.effect, claim.expected, claim.measure, float(next(corrected)))
        if claim.effect
        else "not run"
        for claim in claims
    ]


def bases(records: Iterable[Record]) -> list[Spec]:
    """What claims are asked of: for each data set the base run of `MODEL` that most of the others
    differ from in model, size and seed alone; the data set with the most runs first.

    A number of rows and a split make data sets of their own.
    """
    alike = Counter(base_of(Spec.read(record.spec)) for record in records)
    first: dict[object, Spec] = {}
    for base, _ in alike.most_common():
        first.setdefault(base.data, base)
    return list(first.values())


def base_of(spec: Spec) -> Spec:
    """The base run of `MODEL` with the data and settings of a run."""
    size = spec.embedding_size or BASE_SIZE
    return replace(
        spec, model=MODEL, design="se", scale=1, seed=0, members=None, average=None,
        embedding_size=size * MODELS[MODEL].embedding_size // MODELS[spec.model].embedding_size,
    )  # fmt: skip


def sharing(base: Spec, records: Iterable[Record]) -> list[Record]:
    """The runs that differ from a base run in model, size and seed alone."""
    specs = [(record, Spec.read(record.spec)) for record in records]
    return [record for record, spec in specs if not spec.members and base_of(spec) == base]


def ledger(records: Iterable[Record], base: Spec) -> list[Finding]:
    """Every claim, in the order of `CLAIMS`, of the runs that differ from a base run as it says.

    Args:
        records: of any runs.
        base: see `bases`.
    """
    runs = by_spec(records)
    drafts, judged = [], []
    for claim in CLAIMS:
        every = list(claim.compare(base, runs))
        have = [one for one in every if one.new in runs and (one.old is None or one.old in runs)]
        missing = [one for one in every if one not in have]
        parts = [(one, effect_of([one], runs, claim.measure)) for one in have]
        effect = effect_of(have, runs, claim.measure) if have else None
        against = claim.measure.band if claim.expected == "no gain" else claim.level
        held = effect
        if have and against:
            held = effect_of(have, runs, claim.measure, against=against)
        drafts.append((claim, effect, parts, missing))
        judged.append(Judged(held, claim.expected, claim.measure))
    return [Finding(*draft, verdict) for draft, verdict in zip(drafts, judge(judged), strict=True)]


def wanting_seeds(records: Iterable[Record]) -> list[tuple[Comparison, Effect]]:
    """The differences that the first look left too wide, which seeds 5 to 9 are run for, once.

    The rule was fixed before the study ran, see `lab.studies.decide`.
    """
    runs = by_spec(records)
    wide = []
    for base, model in product(BASES, TELLING):
        new, old = compared(base, model, ME4), compared(base, model, SE4)
        first = {
            spec: [run for run in runs.get(spec, []) if run.spec.get("seed", 0) < FIRST_LOOK]
            for spec in (new, old)
        }
        one = Comparison(new, old)
        if all(len(seeds) == FIRST_LOOK for seeds in first.values()):
            effect = effect_of([one], first, measures.AUC)
            if effect.half_width > max(CLOSE, CLOSE_SHARE * abs(effect.value)):
                wide.append((one, effect))
    return wide


# --- the comparisons ------------------------------------------------------------------------------


def compared(base: Spec, model: str, size: Size, **options: Any) -> Spec:
    """The run of a model at a size that shares a base run's data and settings, but for options."""
    design, scale = size
    own = {"embedding_size": in_proportion(model, base.embedding_size)} | options
    return replace(base, model=model, design=design, scale=scale, seed=0, **own)


def _sizes(models: Sequence[str], *pairs: tuple[Size, Size]) -> Callable:
    """A new size against an old one, of each model."""
    return lambda base, runs: [
        Comparison(compared(base, model, new), compared(base, model, old))
        for model, (new, old) in product(models, pairs)
    ]


def _models(new: str, old: str, *sizes: Size) -> Callable:
    """A model against another, at each size."""
    return lambda base, runs: [
        Comparison(compared(base, new, size), compared(base, old, size)) for size in sizes
    ]


def _alone(model: str, *sizes: Size) -> Callable:
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
PART = "<b>E</b><sub><i>i</i>→<i>j</i></sub>"  # the sub-embedding
REGULARISED = "dcnv2-regularized"

CLAIMS = [
    Claim("Embeddings collapse as they grow: the wider the tables, the smaller the share of "
          "directions that they use.", "section 1", measures.ABUNDANCE, "lower",
          _sizes(PAPER, *WIDE)),
    Claim("The same, against random tables of the same shape.", READERS, measures.FAIR_ABUNDANCE,
          "lower", _sizes(PAPER, *WIDE)),
    Claim("Making embeddings wider brings no gain.", "sections 1 and 5", measures.AUC, "no gain",
          _sizes(PAPER, (SE10, BASE))),
    Claim("DNN, xDeepFM and FinalMLP even lose by it.", "table of results", measures.AUC, "lower",
          _sizes(("dnn", "xdeepfm", "finalmlp"), (SE10, BASE))),
    Claim("A sub-embedding's information abundance grows with that of the field it comes from.",
          "section 4, finding 1", measures.OWN_FIELD, "higher", _alone("dcnv2", BASE, SE4, SE10)),
    Claim("It grows as well with that of the field it is made for: interacting with a collapsed "
          "field lowers information abundance.", "section 4, finding 1", measures.PARTNER,
          "higher", _alone("dcnv2", BASE, SE4, SE10)),
    Claim("Regularised DCNv2, whose interaction keeps singular values, is less collapsed.",
          "section 4, finding 2", measures.ABUNDANCE, "higher",
          _models(REGULARISED, "dcnv2", SE10)),
    Claim("DNN, without explicit interaction, is less collapsed.", "section 4, finding 2",
          measures.ABUNDANCE, "higher", _models("dnn", "dcnv2", SE10)),
    Claim("Less collapsed, these two gain nothing from size.", "section 4, finding 2",
          measures.AUC, "no gain", _sizes((REGULARISED, "dnn"), (SE10, BASE))),
    Claim("The reason is overfitting, which grows with size.", "section 4, finding 2",
          measures.DECLINE, "higher", _sizes((REGULARISED, "dnn"), (SE10, BASE))),
    Claim("Multi-embedding gains from size.", "section 5", measures.AUC, "higher",
          _sizes(PAPER, (ME10, BASE))),
    Claim("Multi-embedding beats single-embedding of the same size.", "section 5", measures.AUC,
          "higher", _sizes(PAPER, *LIKE)),
    Claim("Multi-embedding is less collapsed, set by set.", "section 5", measures.ABUNDANCE,
          "higher", _sizes(PAPER, *LIKE)),
    Claim("The same again, against random tables of the same shape.", READERS,
          measures.FAIR_ABUNDANCE, "higher", _sizes(PAPER, *LIKE)),
    Claim("Multi-embedding is less collapsed, a field's sets side by side as one table.",
          "section 5", measures.JOINED_ABUNDANCE, "higher", _sizes(PAPER, *LIKE)),
    Claim("In multi-embedding the sub-embeddings are less collapsed too.", "section 5",
          measures.PROJECTED_ABUNDANCE, "higher", _sizes(("dcnv2",), *LIKE)),
    Claim("The embedding sets are diverse, more so than blocks of one wide table.", "section 5",
          measures.DIVERSITY, "higher", _sizes(("dcnv2",), *LIKE)),
    Claim("Each set lets other pairs of fields interact.", "section 5", measures.COMMON_PATTERN,
          "lower", _alone("dcnv2", ME4, ME10), SAME_ORDER),
    Claim("Held to equal patterns (aligned norms), multi-embedding loses.", "section 5",
          measures.AUC, "lower", _models("dcnv2-aligned", "dcnv2", ME4)),
    Claim("With one interaction shared by all sets, it loses.", "section 5", measures.AUC,
          "lower", _models("dcnv2-shared", "dcnv2", ME4)),
    Claim("The interaction of a set needs a non-linearity.", "section 5", measures.AUC, "lower",
          _models("dcnv2-linear", "dcnv2", ME4)),
    Claim("Multi-embedding is more than an ensemble of base models whose logits are averaged.",
          CONTROL, measures.AUC, "higher", _ensembles("logits")),
    Claim("It is more than an ensemble whose probabilities are averaged.", CONTROL, measures.AUC,
          "higher", _ensembles("probabilities")),
    Claim("Its gain is more than that of as many parameters in one set.", CONTROL, measures.AUC,
          "higher", _controls("all", "head")),
    Claim("It is more than that of as many parameters in the interaction of one set.", CONTROL,
          measures.AUC, "higher", _controls("interaction", "layers")),
    Claim("Given as many parameters in the interaction as single-embedding has at 4x, it beats it.",
          CONTROL, measures.AUC, "higher", _me_with_ses_interaction),
    Claim("It is more than regularisation: DNN's multi-embedding beats single-embedding, each with "
          "the dropout and weight decay that suit it best.", CONTROL, measures.AUC, "higher",
          _best_regularised),
]  # fmt: skip
