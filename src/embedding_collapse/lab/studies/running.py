"""Many runs: what is missing of them is made, on this machine or on Ray.

What the store has is not run again, what was interrupted goes on from its last epoch, and a run
that fails is told of and leaves the others alone.
"""

import logging
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from filelock import Timeout
from tqdm.auto import tqdm

from embedding_collapse.errors import message
from embedding_collapse.lab import records, store
from embedding_collapse.lab.data import DataSpec, load_spec
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec
from embedding_collapse.parameters import ParameterError, check_number, check_whole, printable

from .definition import title
from .executors import InThisProcess, OnRay, processes
from .progress import core_seconds, progress

LOG = logging.getLogger(__name__)
TICK = 5  # seconds between a bar's drawings while no run ends


class Failure(NamedTuple):
    """A run that did not end in a record, and why."""

    spec: Spec
    reason: str

    def __str__(self) -> str:
        return f"failed: {title(self.spec)}: {self.reason}"


class Outcome(NamedTuple):
    """What a call of `run_all` leaves.

    Attributes:
        records: those there are now, in the order of the specs.
        trained: how many of them came during the call; it made them, or another that ran beside it.
        failures: what failed.
    """

    records: list[Record]
    trained: int
    failures: list[Failure]


def run_all(
    specs: Sequence[Spec],
    folder: Path | None,
    *,
    weights: Collection[Spec] = (),
    minutes: float | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    gpu_share: float = 1,
    device: str = "auto",
    max_rejected: float = 0.01,
    bars: bool = False,
    tell: Callable[[str], None] = print,
) -> Outcome:
    """Make the runs that are missing, in their order; none is begun once the time is up.

    It may be stopped at any time: what was interrupted goes on from its last epoch. Others may
    work in the same folder; what they are at comes last.

    Args:
        specs: the runs.
        folder: of records; on a cluster one that all machines should see. None keeps nothing.
        weights: those of the runs whose weights are kept too.
        minutes: after which no run is begun; those at work are finished first. None is no end.
        workers: runs at a time on this machine, each in a process of its own with one thread; with
            Ray one per core by default, else one run after another in this process.
        ray_address: of a Ray cluster, or "local" for Ray on this machine.
        gpu_share: with Ray, the share of a GPU that each run asks for where there are any.
        device: see `experiment.run`.
        max_rejected: see `data.load`.
        bars: show one of each run where that is made in this process, else one of all runs.
        tell: gets a line after each run.

    Raises:
        ParameterError: a number out of range, records made on different data of one description, or
            Ray is asked for and not there.
        ChildProcessError: somebody killed a worker.
    """
    if minutes is not None:
        check_number("minutes", minutes, 0)
    if workers is not None:
        check_whole("workers", workers, least=1)
    if not 0 <= gpu_share <= 1:
        raise ParameterError(f"gpu_share is {gpu_share!r}; numbers from 0 to 1 are accepted")
    kept = set(weights)
    by_key, waiting, made_on = _recorded(specs, folder, kept) if folder else ({}, list(specs), {})
    trained, failures = 0, []
    busy: list[Spec] = []
    until = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    with (
        _executor(workers, ray_address if waiting else None, gpu_share) as executor,
        _bar(len(waiting), shown=bars and not isinstance(executor, InThisProcess)) as bar,
    ):
        places = workers or 1
        if isinstance(executor, OnRay):  # which holds a queue itself, but none that ends in time
            places = len(waiting) if minutes is None else executor.places
        for waits, runs in ((False, waiting), (True, busy)):
            call = partial(
                _run_one,
                output=folder and folder.absolute(),
                device=device,
                wait=waits,
                max_rejected=max_rejected,
                made_on=made_on,
                progress=bars and isinstance(executor, InThisProcess),
            )
            due = (spec for spec in runs if time.monotonic() < until)
            for spec, outcome in _side_by_side(executor, call, kept, due, places, bar):
                bar.update(outcome is not None)
                if outcome is None:
                    busy.append(spec)
                elif isinstance(outcome, str):
                    failures.append(Failure(spec, outcome))
                    tell(str(failures[-1]))
                else:
                    if folder and not records.path_of(folder, spec.key).exists():
                        records.save(outcome, folder)  # of a run on another machine's disk
                    by_key[spec.key], trained = outcome, trained + 1
                    tell(
                        f"{title(spec)}: test AUC {outcome.test_auc:.5f}, "
                        f"{core_seconds(outcome):,.0f} core-seconds "
                        f"({progress(specs, list(by_key.values()))})"
                    )
    ordered = [by_key[spec.key] for spec in specs if spec.key in by_key]
    return Outcome(ordered, trained, failures)


def _recorded(
    specs: Sequence[Spec], folder: Path, weights: Collection[Spec]
) -> tuple[dict[str, Record], list[Spec], dict[DataSpec, tuple[str, str]]]:
    """The records of which all that is asked for is there and whole, by key, and the runs without;
    and for each data that any record was made on, its key and the data's fingerprint. What kills
    have left of whole records is cleared away.

    Raises:
        ParameterError: records of one description that were made on different data.
    """
    by_key: dict[str, Record] = {}
    waiting: list[Spec] = []
    made_on: dict[DataSpec, tuple[str, str]] = {}
    left = {each.name.partition("-")[0] for each in folder.glob("*.checkpoint")}
    for spec in specs:
        record = records.find(folder, spec.key)
        if record:
            now = record.dataset["fingerprint"]
            store.check_data(folder, *made_on.setdefault(spec.data, (spec.key, now)), now)
        if record is None or (spec in weights and store.weights_lack(record, folder)):
            waiting.append(spec)
        else:
            by_key[spec.key] = record
            if spec.key in left:
                store.clear_away(spec.key, folder)
    return by_key, waiting, made_on


def _executor(workers: int | None, ray_address: str | None, gpu_share: float) -> Executor:
    if ray_address is not None:
        return OnRay(ray_address, workers, gpu_share)
    return InThisProcess() if workers is None else processes(workers)


def _bar(runs: int, shown: bool) -> tqdm:
    return tqdm(total=runs, unit="run", disable=not (shown and runs), leave=False)


def _side_by_side(
    executor: Executor,
    call: Callable[..., "Attempt"],
    weights: Collection[Spec],
    specs: Iterator[Spec],
    places: int,
    bar: tqdm,
) -> Iterator[tuple[Spec, "Record | str | None"]]:
    """Each spec and what came of it; so many at a time, the next when one ends."""
    running: dict[Future, Spec] = {}
    while True:
        while len(running) < places and (spec := next(specs, None)) is not None:
            submitted = executor.submit(call, _path_in_full(spec), weights=spec in weights)
            running[submitted] = spec
        if not running:
            return
        while not (done := wait(running, TICK, FIRST_COMPLETED).done):
            bar.refresh()
        for future in done:
            spec = running.pop(future)
            try:
                attempt: Attempt = future.result()
            except BrokenProcessPool:
                raise ChildProcessError(
                    "a worker process was killed; the same command goes on from its last epoch"
                ) from None
            except Exception as error:  # what Ray says of a worker that it has lost for good
                attempt = Attempt(f"{type(error).__name__}: {error}", [])
            for text in attempt.warnings:
                warnings.warn(f"{title(spec)}: {text}", stacklevel=3)
            yield spec, attempt.outcome


def _path_in_full(spec: Spec) -> Spec:
    """The same spec, whose data are found from other folders too: Ray's workers have their own."""
    path = spec.data.path
    if path is None or not Path(path).exists():  # none is needed, or it is a name on the Hub
        return spec
    return replace(spec, data=replace(spec.data, path=str(Path(path).absolute())))


class Attempt(NamedTuple):
    """What came of a run, wherever it took place.

    Attributes:
        outcome: its record, in words why there is none, or None where another process is at it.
        warnings: that nobody would see where it took place.
    """

    outcome: Record | str | None
    warnings: list[str]


def _run_one(spec: Spec, **options: Any) -> Attempt:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        outcome = _record_or_reason(spec, **options)
    return Attempt(outcome, [str(one.message) for one in caught if one.category is UserWarning])


def _record_or_reason(
    spec: Spec,
    max_rejected: float,
    progress: bool,
    output: Path | None,
    made_on: Mapping[DataSpec, tuple[str, str]],
    **options: object,
) -> Record | str | None:
    try:
        data = _load(spec.data, max_rejected=max_rejected, progress=progress)
        if output and spec.data in made_on:  # else what is trained now fits no earlier run
            store.check_data(output, *made_on[spec.data], data.fingerprint)
        return run(spec, data, output=output, progress=progress, **options)  # type: ignore[arg-type]
    except Timeout:
        return None
    except Exception as error:
        reason = message(error)
        if reason is None:  # a fault of the program; the other runs go on all the same
            LOG.exception("%s", title(spec))
        return printable(f"{type(error).__name__}: {reason or error}")


_load = lru_cache(maxsize=2)(load_spec)  # a grid keeps to few datasets for many runs
