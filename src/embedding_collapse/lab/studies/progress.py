"""How far runs have come: what is done, what it cost, and what the rest may take."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from embedding_collapse.lab.cost import step_cost
from embedding_collapse.lab.models import Size
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec

FIELDS = 10  # of a nominal data set; how models and sizes compare depends little on it
ASIDE = 3e5  # multiplications that take as long as what else a row does, once and for each set


class Progress(NamedTuple):
    """How far a study, or some of its runs, have come.

    Attributes:
        done, runs: how many of how many runs have their record.
        spent, left: core-seconds of the finished runs, and what the others may take; None while no
            run is finished to judge by.
    """

    done: int
    runs: int
    spent: float
    left: float | None

    def __str__(self) -> str:
        ahead = f", about {_core_time(self.left)} left" if self.left else ""
        return f"{self.done} of {self.runs} runs; {_core_time(self.spent)}{ahead}"


def progress(specs: Sequence[Spec], records: Sequence[Record]) -> Progress:
    """How far these runs have come.

    Args:
        specs: the runs.
        records: also of other runs; what is left is foreseen from all of them.
    """
    keys, recorded = {spec.key for spec in specs}, {record.key for record in records}
    spent = sum(core_seconds(record) for record in records if record.key in keys)
    waiting = [spec for spec in specs if spec.key not in recorded]
    left = _foreseen(waiting, records) if records else None
    return Progress(len(specs) - len(waiting), len(specs), spent, left)


def core_seconds(record: Record) -> float:
    """Seconds of all threads that training and validation took."""
    return sum(epoch["cpu_seconds"] for epoch in record.epochs)


def cost(spec: Spec, rows: float = 1) -> float:
    """A rough measure of a run's time, to foresee that of others by: the arithmetic of its matrix
    products, with what else a row takes for each set.

    Args:
        spec: the run's.
        rows: of its data, where the spec takes all there are.
    """
    size = Size(FIELDS, spec.sets, spec.width, spec.hidden, cross_layers=spec.cross_layers)
    work = _flops(spec.model, size, spec.batch_size) + ASIDE * (1 + spec.sets)
    return spec.epochs * (spec.data.rows or rows) * work


@lru_cache
def _flops(model: str, size: Size, batch: int) -> float:
    return step_cost(model, [FIELDS] * size.fields, size, batch).flops / batch


def _foreseen(waiting: Sequence[Spec], records: Sequence[Record]) -> float:
    """Core-seconds that runs may take: what records of the same runs with other seeds took where
    there are any; else what those of the same model on the same data did, else any there, else any,
    in proportion to `cost`."""
    read = [(Spec.read(record.spec), record) for record in records]
    rows = {spec.data: record.dataset["rows"] for spec, record in read}
    usual = float(np.mean([*rows.values()]))  # of data of which there is no record yet
    alike: defaultdict[Spec, list[float]] = defaultdict(list)
    rates: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for spec, record in read:
        if spec.members is None:  # an ensemble's members are runs of their own
            alike[replace(spec, seed=0)].append(core_seconds(record))
            for kind in _kinds(spec):
                rates[kind].append(core_seconds(record) / cost(spec, rows[spec.data]))
    seconds = 0.0
    for spec in waiting:
        if spec.members is not None:
            continue
        if same := alike.get(replace(spec, seed=0)):
            seconds += float(np.mean(same))
        elif rate := next((rates[kind] for kind in _kinds(spec) if kind in rates), None):
            seconds += float(np.mean(rate)) * cost(spec, rows.get(spec.data, usual))
    return seconds


def _kinds(spec: Spec) -> list[tuple[str, str]]:
    """What runs take a like time for like work, the most alike first."""
    return [(spec.data.name, spec.model), (spec.data.name, ""), ("", "")]


def _core_time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} core-seconds"
    return (
        f"{seconds / 60:.0f} core-minutes" if seconds < 3600 else f"{seconds / 3600:.1f} core-hours"
    )
