"""What the claims are asked of, data set by data set, and the first question of them all."""

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import pandas as pd

from embedding_collapse.lab.contrast import Effect
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies.decide import (
    BASE,
    BASES,
    ME4,
    ME10,
    SE4,
    SE10,
    STUDY,
    TELLING,
    DesignAtScale,
)

from . import measures
from .claims import Comparison, Runs, compared
from .ledger import (
    MODEL,
    Finding,
    Judged,
    Verdict,
    bases,
    by_spec,
    effect_of,
    judge,
    ledger,
    sharing,
)
from .measures import Measure

ORDER = (*TELLING, *(model for model in PAPER if model not in TELLING))
DIFFERENCES = {
    "SE 10x - base": (SE10, BASE),
    "ME 10x - base": (ME10, BASE),
    "ME 4x - SE 4x": (ME4, SE4),
    "ME 10x - SE 10x": (ME10, SE10),
}
FURTHER = {"SE 10x - SE 4x": (SE10, SE4), "ME 10x - ME 4x": (ME10, ME4)}
PAIRS = {"SE 4x - base": (SE4, BASE), "ME 4x - base": (ME4, BASE), "ME 4x - SE 4x": (ME4, SE4)}


class Setting(NamedTuple):
    """Runs of one data set that differ in model, size and seed alone, and the claims put to them.

    Attributes:
        base: the base run that they depart from; see `ledger.bases`.
        runs: those that the settings are shared by.
        findings: from `ledger.ledger`, to which runs beside them belong, such as controls.
    """

    base: Spec
    runs: list[Record]
    findings: list[Finding]

    @property
    def rows(self) -> int:
        """How many the spec asks for, or all."""
        return self.base.data.rows or self.runs[0].dataset["rows"]

    @property
    def source(self) -> str:
        """The data set; what was read with the start of its hash, as files of one kind have one
        name."""
        data = self.base.data
        return f"{data.name} {data.content[:6]}" if data.content else data.name

    @property
    def name(self) -> str:
        """The data set with its number of rows."""
        split = ", split by time" if self.base.data.split == "time" else ""
        return f"{self.source}, {self.rows:,} rows{split}"


def settings(runs: Sequence[Record]) -> list[Setting]:
    """The data sets with the claims put to them: the study's two, what else it asks, then others;
    of these, those with the most runs first."""
    ordered = sorted(bases(runs), key=lambda base: (base not in BASES, not _of_study(base)))
    return [Setting(base, sharing(base, runs), ledger(runs, base)) for base in ordered]


def one_each(asked: Sequence[Setting]) -> list[Setting]:
    """The first setting of each data set: cells tell data sets apart by their names alone.

    Warns:
        UserWarning: another file of the same kind, whose runs are left out.
    """
    first: dict[str, Setting] = {}
    for one in asked:
        kept = first.setdefault(one.base.data.name, one)
        if kept.source != one.source:
            warnings.warn(f"{one.name} is left out here, beside {kept.name}", stacklevel=2)
    return list(first.values())


def lines(settings: Sequence[Setting], numbers: Container[int]) -> pd.DataFrame:
    """Some lines of the ledger: a row per claim, a column of findings per data set."""
    return pd.DataFrame(
        {
            one.name: {
                f"{number}. {finding.claim.text}": finding
                for number, finding in enumerate(one.findings, 1)
                if number in numbers
            }
            for one in settings
        },
        dtype=object,
    )


def _of_study(base: Spec) -> bool:
    return replace(base, data=BASES[0].data) == BASES[0]


class Gain(NamedTuple):
    """A difference between two sizes of a model on one data set."""

    where: str
    model: str
    pair: str
    effect: Effect
    verdict: Verdict

    @property
    def short_name(self) -> str:
        """Model and runs, as a phone has room for."""
        where = self.where.replace(" rows", "").replace("split by", "by")
        return f"{MODELS[self.model].name}, {where}"


def first_question(settings: Sequence[Setting]) -> list[Gain]:
    """What four times the size gains, and ME beside SE, wherever there are two seeds; verdicts on
    "higher", corrected over all of them, and over those that the study has planned."""
    asked = []
    planned = _planned() if any(_of_study(one.base) for one in settings) else set()
    for setting in settings:
        runs = by_spec(setting.runs)
        for model, (pair, sizes) in product(TELLING, PAIRS.items()):
            cells = [compared(setting.base, model, size) for size in sizes]
            if all(len(runs.get(spec, [])) > 1 for spec in cells):
                comparison = Comparison(*cells)
                effect = effect_of([comparison], runs, measures.AUC)
                asked.append((setting.name, model, pair, effect))
                planned.discard(comparison)
    claims = [Judged(effect, "higher", measures.AUC) for *_, effect in asked]
    judged = judge(claims, coming=len(planned))
    return [Gain(*gain, verdict) for gain, (verdict, _) in zip(asked, judged, strict=True)]


def _planned() -> set[Comparison]:
    """All of the study's comparisons that `first_question` is to answer."""
    specs = {replace(spec, seed=0) for spec in STUDY.specs}
    bases = {spec for spec in specs if spec.model == MODEL and spec.scale == 1 and _of_study(spec)}
    pairs = {
        Comparison(*(compared(base, model, size) for size in pair))
        for base, model, pair in product(bases, TELLING, PAIRS.values())
    }
    return {pair for pair in pairs if {*pair} <= specs}


def differences(
    settings: Sequence[Setting],
    measure: Measure = measures.AUC,
    pairs: Mapping[str, tuple[DesignAtScale, DesignAtScale]] = DIFFERENCES,
    effect: Callable[[Sequence[Comparison], Runs, Measure], Effect] = effect_of,
) -> pd.DataFrame:
    """Differences between sizes, by default what ten times the size gains with one set and with
    ten, and ME minus SE; where they are between designs also what part of SE's parameters ME has,
    at 4x and at 10x. A row per data set and model of the paper that has run there.

    `effect` is `effect_of` or another of `ledger`'s that is called so."""
    rows: dict[tuple[str, str], dict[str, Effect | str]] = {}
    groups = {one.name: by_spec(one.runs) for one in settings}
    for one, model in product(settings, ORDER):
        runs, shares = groups[one.name], []
        row: dict[str, Effect | str] = dict.fromkeys(pairs, "")
        for pair, sizes in pairs.items():
            new, old = (compared(one.base, model, size) for size in sizes)
            if new in runs and old in runs:
                row[pair] = effect([Comparison(new, old)], runs, measure)
                if new.scale == old.scale:
                    me, se = (measures.total_parameters(runs[spec]) for spec in (new, old))
                    shares.append(f"{me / se:.2f}")
        if shares:
            row["parameters, ME / SE"] = ", ".join(shares)
        if any(row.values()):
            rows[one.name, MODELS[model].name] = row
    return pd.DataFrame.from_dict(rows, orient="index")
