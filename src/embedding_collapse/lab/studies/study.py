"""A study is a named list of runs and the question that they answer."""

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import Timeout

from embedding_collapse.files import DamagedError
from embedding_collapse.lab import records
from embedding_collapse.lab.experiment import Spec
from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import check_choice

from .sweep import Failure, cost, missing, run_one, title


class Part(NamedTuple):
    """Some runs of a study, and the question that they answer."""

    name: str
    question: str
    specs: Sequence[Spec]


@dataclass(frozen=True)
class Study:
    """A question, and the runs that are to answer it, in the order in which they are made.

    Attributes:
        name: of the study, and of its folder in `results/`.
        question: what it is to decide.
        chapter: that reads it.
        parts: what it consists of; a run may belong to several.
    """

    name: str
    question: str
    chapter: str
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part:
        """The part of that name.

        Raises:
            ParameterError: there is none.
        """
        by_name = {part.name: part for part in self.parts}
        check_choice("part", name, by_name)
        return by_name[name]

    @property
    def folder(self) -> Path:
        """Where the repository keeps its records.

        Raises:
            ParameterError: the package runs without the repository.
        """
        return records.in_repository("results") / self.name

    def records(self, part: str | None = None, folder: Path | None = None) -> list[Record]:
        """The records that are there, of a part or of all, in the order of the runs.

        Warns:
            UserWarning: a damaged record, which is left out.
        """
        made = []
        for spec in with_members(self.parts) if part is None else self.part(part).specs:
            try:
                made.append(records.load(records.path_of(folder or self.folder, spec.key)))
            except FileNotFoundError:
                continue
            except DamagedError as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
        return made


def with_members(parts: Sequence[Part]) -> list[Spec]:
    """Every run of the parts once, in their order; an ensemble's members come before it."""
    ordered: dict[str, Spec] = {}
    for part in parts:
        for spec in part.specs:
            for one in (*(spec.runs if spec.members else ()), spec):
                ordered.setdefault(one.key, one)
    return list(ordered.values())


class Progress(NamedTuple):
    """How far a study, or a part of it, has come.

    Attributes:
        done, runs: how many of how many runs have their record.
        spent, left: core-hours of the finished runs, and what the others may take; None while no
            run is finished to judge by.
    """

    done: int
    runs: int
    spent: float
    left: float | None


def progress(specs: Sequence[Spec], made: Sequence[Record]) -> Progress:
    """How far these runs have come, given the records of the study."""
    keys = {record.key for record in made}
    own = [record for record in made if record.key in {spec.key for spec in specs}]
    spent = sum(map(core_seconds, own)) / 3600
    waiting = [spec for spec in specs if spec.key not in keys]
    foreseen = Forecast(made)
    left = None if not made else sum(map(foreseen, waiting)) / 3600
    return Progress(len(specs) - len(waiting), len(specs), spent, left)


def core_seconds(record: Record) -> float:
    """Seconds of all threads that training and validation took."""
    return sum(epoch.get("cpu_seconds", epoch["seconds"]) for epoch in record.epochs)


class Forecast:
    """Foresees core-seconds of runs from records: those of the same run with other seeds where
    there are any; else of the same model, else of any, in proportion to `sweep.cost` and rows."""

    def __init__(self, made: Sequence[Record]) -> None:
        self.alike: dict[Spec, list[float]] = {}
        self.rates: dict[str, list[float]] = {}
        for record in made:
            spec, seconds = Spec.read(record.spec), core_seconds(record)
            if spec.members is None:
                self.alike.setdefault(replace(spec, seed=0), []).append(seconds)
                rate = seconds / _size(spec)
                for model in (spec.model, ""):
                    self.rates.setdefault(model, []).append(rate)

    def __call__(self, spec: Spec) -> float:
        if spec.members is not None:  # its members are runs of their own
            return 0.0
        if alike := self.alike.get(replace(spec, seed=0)):
            return float(np.mean(alike))
        rates = self.rates.get(spec.model) or self.rates.get("") or [0.0]
        return float(np.mean(rates)) * _size(spec)


def _size(spec: Spec) -> float:
    return cost(spec) * (spec.data.rows or 1)


class Outcome(NamedTuple):
    """What a call of `run_study` leaves: how many runs it made, and what failed."""

    made: int
    failures: list[Failure]


def run_study(
    specs: Sequence[Spec],
    folder: Path,
    *,
    minutes: float | None = None,
    workers: int = 1,
    device: str = "auto",
    tell: Callable[[str], None] = print,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Make the runs that are missing, in their order; none is begun once the time is up.

    Each worker is a process of its own with one thread. It may be stopped at any time: what was
    interrupted goes on from its last epoch. Others may work in the same folder.

    Args:
        specs: of a study.
        folder: of records.
        minutes: after which no run is begun; those at work are finished first. None is no end.
        workers: runs at a time.
        device: see `experiment.run`.
        tell: gets a line after each run.
        clock: what tells the time.

    Raises:
        ChildProcessError: somebody killed a worker.
    """
    until = float("inf") if minutes is None else clock() + 60 * minutes
    todo = missing(specs, folder, _keeps_weights)
    task = partial(_run_alone, output=folder.absolute(), device=device)
    made, failures, busy = 0, [], []
    for waits, runs in ((False, todo), (True, busy)):  # what another process is at comes last
        due = (spec for spec in runs if clock() < until)
        for spec, outcome in _side_by_side(partial(task, wait=waits), due, workers):
            if outcome is None:
                busy.append(spec)
            elif isinstance(outcome, str):
                failures.append(Failure(spec, outcome))
                tell(f"failed: {title(spec)}: {outcome}")
            else:
                made += 1
                tell(f"{title(spec)}: test AUC {outcome.test['auc']:.5f} "
                     f"({core_seconds(outcome):,.0f} core-seconds)")  # fmt: skip
    return Outcome(made, failures)


def _end_with_the_driver() -> None:
    """A worker whose driver was killed would train on, unseen, beside those of the next call."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_alone(spec: Spec, *, output: Path, device: str, wait: bool) -> Record | str | None:
    """A record, in words why there is none, or None where another process is at it."""
    torch.set_num_threads(1)
    weights = _keeps_weights(spec)
    try:
        return run_one(spec, output=output, device=device, weights=weights, wait=wait)
    except Timeout:
        return None


def _keeps_weights(spec: Spec) -> bool:
    return spec.design == "se" and spec.scale == 1  # ensembles are made of them


def _side_by_side(
    task: Callable[[Spec], Record | str | None], specs: Iterator[Spec], workers: int
) -> Iterator[tuple[Spec, Record | str | None]]:
    """Each spec and what the task made of it; so many at a time, the next when one ends.

    Raises:
        ChildProcessError: somebody killed a worker.
    """
    processes = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, processes, initializer=_end_with_the_driver) as pool:
        running: dict[Future, Spec] = {}
        while True:
            while len(running) < workers and (spec := next(specs, None)) is not None:
                running[pool.submit(task, spec)] = spec
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    raise ChildProcessError(
                        "a worker process was killed; the same command goes on from its last epoch"
                    ) from None
                yield running.pop(future), outcome
