"""The claims, each answered by one contrast of a study's cells.

A claim's effect is the mean of its comparisons, taken as one contrast, so that runs and test rows
which several comparisons share are counted once; or the least sure of them, where each has to go as
expected. The verdicts are corrected for how many claims are put to a data set (Holm 1979), those
included that the study has not reached: so a verdict does not wait for others to be asked.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal, NamedTuple, cast

import numpy as np

from embedding_collapse.lab.contrast import Effect, Group, contrast, holm, joined
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies.decide import STUDY

from . import measures
from .claims import CLAIMS, Comparison, Entry, Expected, Runs
from .measures import Measure

Verdict = Literal["holds", "fails", "undecided", "not run"]
MODEL = "dcnv2"  # of the base run whose settings tell runs apart
LEVEL = 0.95
# by how many looks there were at cells that got more seeds after the first (`book/protocol.md` has
# them): Pocock's levels, at which all looks together are wrong as often as one is at `LEVEL`
LEVELS = {1: LEVEL, 2: 0.9706, 3: 0.9779}
MORE = [STUDY.part(name).specs for name in ("second look", "closer look", "last look")]


class Finding(NamedTuple):
    """A claim on one data set, with one choice of settings.

    Attributes:
        claim: what was asked.
        effect: the mean of its comparisons that have runs, of several seeds if any has, or the
            least sure of them; None where none has.
        parts: each of those comparisons and its own effect.
        missing: comparisons without runs, or of one where others have several.
        p: of what the verdict is spoken on, corrected for the other claims, and against a claim of
            each comparison for the number of these; NaN without runs.
        verdict: the answer.
    """

    claim: Entry
    effect: Effect | None
    parts: list[tuple[Comparison, Effect]]
    missing: list[Comparison]
    p: float
    verdict: Verdict


def by_spec(records: Iterable[Record]) -> Runs:
    """Records of runs that differ in the seed alone, by their spec with seed 0; of each seed one,
    as at scale 1 SE and ME, both under "se", are the same run."""
    groups: dict[Spec, dict[int, Record]] = {}
    for record in records:
        spec = Spec.read(record.spec)
        cell = replace(spec, seed=0, design="se" if spec.scale == 1 else spec.design)
        groups.setdefault(cell, {}).setdefault(spec.seed, record)
    return {cell: list(by_seed.values()) for cell, by_seed in groups.items()}


def effect_of(
    comparisons: Sequence[Comparison], runs: Runs, measure: Measure, *, against: float = 0.0
) -> Effect:
    """The mean of the comparisons as one contrast.

    The interval's level is that of the cell with the most looks, of `LEVELS`; so is p corrected.

    Args:
        comparisons: at least one, all of which have runs.
        runs: from `by_spec`.
        measure: what is compared.
        against: what the effect is held against; it is taken off.
    """
    pairs = [(runs[one.new], runs[one.old] if one.old else []) for one in comparisons]
    return _of_pairs(pairs, measure, against)


def difference(
    new: Sequence[Record],
    old: Sequence[Record],
    measure: Measure = measures.AUC,
    *,
    against: float = 0.0,
) -> Effect:
    """The mean of one cell minus that of another, from the runs of each; see `effect_of`."""
    return _of_pairs([(list(new), list(old))], measure, against)


def weighted(
    cells: Iterable[tuple[float, Sequence[Record]]], measure: Measure = measures.AUC
) -> Effect:
    """The sum of cells' means, each times its weight, as one contrast; see `effect_of`."""
    cells = list(cells)
    level = level_of(of for _, of in cells)
    return _corrected(contrast(measure.groups(cells), level), level)


def seed_by_seed(comparisons: Sequence[Comparison], runs: Runs, measure: Measure) -> Effect:
    """The mean of the comparisons as `effect_of` takes it, but with a model's runs of one seed as
    one draw.

    Runs of one seed see their rows in the same order, and some begin with the same weights of the
    interaction (NFwFM's), so they need not be independent, as `contrast` takes them to be. Seeds
    that one of a model's cells lacks are left out; where less than two are in common, its cells are
    taken as independent.

    Args:
        comparisons: at least one, all of which have runs.
        runs: from `by_spec`.
        measure: what is compared.

    Raises:
        ParameterError: runs that were tested on other rows, or on the same in another order.
    """
    weights: dict[str, Counter[Spec]] = {}
    for one in comparisons:
        for spec, sign in ((one.new, 1), (one.old, -1)):
            if spec:
                weights.setdefault(one.new.model, Counter())[spec] += sign
    by_model = {
        model: [(weight / len(comparisons), runs[spec]) for spec, weight in of.items() if weight]
        for model, of in weights.items()
    }
    drawn = {model: _in_common(cells) for model, cells in by_model.items()}
    made = iter(measure.groups(cell for cells in drawn.values() for cell in cells))
    groups: list[Group] = []
    for model, cells in drawn.items():
        apart = [next(made) for _ in cells]
        groups += apart if cells is by_model[model] else [joined(apart)]
    level = level_of(some for cells in by_model.values() for _, some in cells)
    return _corrected(contrast(groups, level), level)


def _in_common(cells: list[tuple[float, list[Record]]]) -> list[tuple[float, list[Record]]]:
    """The same with the runs of the seeds that all have, in one order; as they are where less than
    two are in common."""
    by_seed = [{run.spec["seed"]: run for run in some} for _, some in cells]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    if len(seeds) < 2:
        return cells
    return [
        (weight, [some[seed] for seed in seeds])
        for (weight, _), some in zip(cells, by_seed, strict=True)
    ]


def _of_pairs(
    pairs: Sequence[tuple[list[Record], list[Record]]], measure: Measure, against: float
) -> Effect:
    level = level_of(runs for pair in pairs for runs in pair)
    return _corrected(measure.mean_difference(pairs, level=level, against=against), level)


def level_of(cells: Iterable[Sequence[Record]]) -> float:
    """The level of an interval over cells: that of the one with the most looks, of `LEVELS`."""
    of_spec = [item for runs in cells for item in by_spec(runs).items()]
    return LEVELS[max(looks(spec, len(runs)) for spec, runs in of_spec)]


def _corrected(effect: Effect, level: float) -> Effect:
    """With p for the looks that the level allows for."""
    return effect._replace(p=min(1.0, effect.p * (1 - LEVEL) / (1 - level)))


@cache
def looks(spec: Spec, seeds: int) -> int:
    """How often a cell with so many seeds was looked at: once, and again after each part of `MORE`
    that has added to it.

    Args:
        spec: with seed 0. A base model is always looked at once: it has more seeds for ensembles.
        seeds: how many of its runs there are.
    """
    if spec.scale == 1:
        return 1
    firsts = [[more.seed for more in part if replace(more, seed=0) == spec] for part in MORE]
    return 1 + sum(seeds > min(first) for first in firsts if first)


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


def judge(claims: Sequence[Judged], coming: int = 0) -> list[tuple[Verdict, float]]:
    """The verdicts on claims that are made together, and the p-value of each, corrected for their
    being several (Holm); NaN where there are no runs.

    Args:
        claims: made together.
        coming: how many more will be made, which are counted too.
    """
    made = [claim.effect.p for claim in claims if claim.effect]
    ps = iter(holm(made + [1.0] * coming))
    answers: list[tuple[Verdict, float]] = []
    for effect, expected, measure in claims:
        if effect is None:
            answers.append(("not run", math.nan))
        else:
            p = float(next(ps))
            answers.append((verdict_of(effect, expected, measure, p), p))
    return answers


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
    """The base run of `MODEL` with the data and settings of a run; of its own model, where `MODEL`
    has no embedding size in proportion: NFwFM's is five times it."""
    model, size = MODEL, cast(int, spec.embedding_size)  # `Spec` has written it out
    whole, rest = divmod(size * MODELS[model].embedding_size, MODELS[spec.model].embedding_size)
    if rest:
        model, whole = spec.model, size
    return replace(
        spec,
        model=model,
        design="se",
        scale=1,
        seed=0,
        members=None,
        average=None,
        embedding_size=whole,
    )


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
    runs, planned = by_spec(records), {replace(spec, seed=0) for spec in STUDY.specs}
    drafts, judged, coming = [], [], 0
    for claim in CLAIMS:
        every = list(claim.compare(base, runs))
        have = _answerable(every, runs)
        missing = [one for one in every if one not in have]
        coming += not have and any({one.new, one.old or one.new} <= planned for one in missing)
        parts = [(one, effect_of([one], runs, claim.measure)) for one in have]
        if claim.each:
            have = _least_sure(parts, claim.expected)
        effect = effect_of(have, runs, claim.measure) if have else None
        against = claim.measure.band if claim.expected == "no gain" else claim.level
        held = effect
        if have and against:
            held = effect_of(have, runs, claim.measure, against=against)
        if held and claim.each and held.value * (1 if claim.expected == "higher" else -1) < 0:
            # the least sure of several is against the claim as often as any of them is by chance
            held = held._replace(p=min(1.0, held.p * len(parts)))
        drafts.append((claim, effect, parts, missing))
        judged.append(Judged(held, claim.expected, claim.measure))
    findings = [
        Finding(*draft, p, verdict)
        for draft, (verdict, p) in zip(drafts, judge(judged, coming), strict=True)
    ]
    return [
        one._replace(verdict="undecided")  # whatever has to go as expected is not all there
        if one.claim.each and one.missing and one.verdict == "holds"
        else one
        for one in findings
    ]


def _answerable(comparisons: Sequence[Comparison], runs: Runs) -> list[Comparison]:
    """Those that have runs; where some have several seeds, those alone, for one run has no interval
    and would leave their mean without one."""
    fewest = {
        one: min(len(runs.get(spec, [])) for spec in (one.new, one.old) if spec)
        for one in comparisons
    }
    several = [one for one in comparisons if fewest[one] > 1]
    return several or [one for one in comparisons if fewest[one]]


def _least_sure(parts: Sequence[tuple[Comparison, Effect]], expected: Expected) -> list[Comparison]:
    """The comparison that says least for what is expected, or most against it; none of none."""
    side = 1 if expected == "higher" else -1
    says = {one: side * np.sign(effect.value) * (1 - effect.p) for one, effect in parts}
    return sorted(says, key=lambda one: says[one])[:1]
