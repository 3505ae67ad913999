"""Many runs: a grid of specs, one after another here or many at a time on Ray.

What the store has is not run again, what was interrupted goes on, and a run that fails is told of
and leaves the others alone.
"""

import contextlib
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_args

from filelock import Timeout
from tqdm.auto import tqdm

from embedding_collapse.errors import message
from embedding_collapse.lab import records, store
from embedding_collapse.lab.data import DataSpec, load_spec
from embedding_collapse.lab.experiment import Design, Spec, run
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import (
    ParameterError,
    check_choice,
    check_installed,
    check_whole,
    printable,
)

LOG = logging.getLogger(__name__)
BASE_SIZE = 10  # the paper's K, to which each model's own stands in a fixed proportion


def grid(
    *,
    datasets: Sequence[DataSpec],
    models: Sequence[str] = tuple(PAPER),
    designs: Sequence[str] = ("se", "me"),
    scales: Sequence[int] = (1, 2, 3, 4, 10),
    seeds: Sequence[int] = (0, 1, 2),
    embedding_size: int | None = None,
    **parameters: Any,
) -> list[Spec]:
    """Every combination once; the defaults are the paper's grid. One seed after another, and for
    each, dataset by dataset, model by model.

    At scale 1, where SE and ME are one, there is one base run.

    Args:
        datasets: what to train on.
        models, designs, scales, seeds: see `experiment.Spec`.
        embedding_size: K of the base model; models that the paper gives another K than 10 (NFwFM:
            50) get theirs in proportion.
        parameters: the rest of the specs.

    Raises:
        ParameterError: an empty list, or what `Spec` raises.
    """
    lists = {"datasets": datasets, "models": models, "designs": designs, "scales": scales,
             "seeds": seeds}  # fmt: skip
    for name, values in lists.items():
        if not values:
            raise ParameterError(f"{name} is empty; at least one is needed")
    for design in designs:  # at scale 1 no spec would see it
        check_choice("design", design, get_args(Design))
    specs = {}
    for seed, dataset, model, scale, design in product(seeds, datasets, models, scales, designs):
        spec = Spec(
            data=dataset,
            model=model,
            design="se" if scale == 1 else design,
            scale=scale,
            seed=seed,
            embedding_size=_in_proportion(model, embedding_size),
            **parameters,
        )
        specs[spec.key] = spec
    return list(specs.values())


def _in_proportion(model: str, embedding_size: int | None) -> int | None:
    if embedding_size is None or model not in MODELS:
        return embedding_size
    check_whole("embedding_size", embedding_size, least=1)
    return embedding_size * MODELS[model].embedding_size // BASE_SIZE


class Failure(NamedTuple):
    """A run that did not end in a record, and why."""

    spec: Spec
    reason: str


class Sweep(NamedTuple):
    """What a sweep leaves: the records in the order of the specs, and what failed."""

    records: list[Record]
    trained: int
    failures: list[Failure]


def sweep(
    specs: Sequence[Spec],
    output: Path,
    *,
    device: str = "auto",
    weights: bool = True,
    progress: bool = True,
    ray_address: str | None = None,
    workers: int | None = None,
    gpu_share: float = 1,
) -> Sweep:
    """Run what the folder does not hold yet; several sweeps may share a folder.

    Args:
        specs: the runs, see `grid`.
        output: folder of records.
        device, weights: see `experiment.run`.
        progress: show a bar with the time left.
        ray_address: of a Ray cluster, or "local"; None runs one after another in this process. On
            a cluster the folder should be one that all machines see.
        workers: with Ray on this machine, how many runs at a time; by default one per core.
        gpu_share: with Ray, the share of a GPU that each run asks for where there are any.

    Raises:
        ParameterError: Ray is asked for and not installed, or for a share or number that it cannot
            give.
    """
    if ray_address is not None:
        check_installed("a sweep on Ray", ("ray",), "ray")
        if not 0 <= gpu_share <= 1:
            raise ParameterError(f"gpu_share is {gpu_share!r}; numbers from 0 to 1 are accepted")
        if workers is not None:
            check_whole("workers", workers, least=1)
    pending = missing(specs, output, lambda _: weights)
    one = partial(run_one, output=output.absolute(), device=device, weights=weights)
    if ray_address is None or not pending:
        outcomes = _in_this_process(pending, one)
    else:
        outcomes = _on_ray(pending, one, ray_address, workers, gpu_share)
    failures = []
    with tqdm(
        desc=f"{len(specs) - len(pending)} of {len(specs)} runs were there",
        total=sum(map(cost, pending)), disable=not progress or not pending,
        bar_format="{percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left; {desc}",
    ) as bar:  # fmt: skip
        for done, (spec, outcome) in enumerate(outcomes, 1):
            if isinstance(outcome, str):
                failures.append(Failure(spec, outcome))
                if progress:
                    bar.write(f"failed: {title(spec)}: {outcome}", file=sys.stderr)
            else:
                records.save(outcome, output)  # it is there, unless another machine's disk holds it
            bar.set_description_str(f"{done} of {len(pending)} runs done", refresh=False)
            bar.update(cost(spec))
    found = [record for spec in specs if (record := records.find(output, spec.key))]
    return Sweep(found, len(pending) - len(failures), failures)


def missing(specs: Sequence[Spec], output: Path, weights: Callable[[Spec], bool]) -> list[Spec]:
    """The runs of which not all that is asked for is there and whole; what kills have left of the
    others is cleared away.

    Args:
        specs: the runs.
        output: folder of records.
        weights: whether a run's weights are asked for.
    """
    found = []
    for spec in specs:
        if store.recorded(spec.key, output, weights(spec)) is None:
            found.append(spec)
        else:
            store.clear_away(spec.key, output)
    return found


def title(spec: Spec) -> str:
    """A run in a few words."""
    return f"{spec.data.name}, {spec.model} {spec.label}, seed {spec.seed}"


def cost(spec: Spec) -> float:
    """A rough measure of a run's time, good enough to foresee the time left: it grows with the
    square of a set's width and with the number of sets."""
    return spec.epochs * spec.sets * (1 + spec.width / 10) ** 2


Outcome = tuple[Spec, Record | str]

# holds on to processes, so that no later one with their number is mistaken for them, and waits for
# the end of whoever holds the other end of its input
WATCHDOG = """
import contextlib, os, signal, sys
held = []
for process in sys.argv[1:]:
    with contextlib.suppress(ProcessLookupError):
        held.append(os.pidfd_open(int(process)))
sys.stdin.read()
for one in held:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(one, signal.SIGKILL)
"""


def run_one(spec: Spec, **options: Any) -> Record | str:
    """A record, or in words why there is none."""
    try:
        return run(spec, _load(spec.data), progress=False, **options)
    except Timeout:
        raise
    except Exception as error:
        told = message(error)
        if told is None:  # a fault of the program; the other runs go on all the same
            LOG.exception("%s", title(spec))
        return printable(f"{type(error).__name__}: {told or error}")


_load = lru_cache(maxsize=2)(load_spec)  # a grid keeps to few datasets for many runs


def _in_this_process(specs: Sequence[Spec], one: partial) -> Iterator[Outcome]:
    """One run after another; those that another process is at come last."""
    busy = []
    for wait, todo in ((False, specs), (True, busy)):
        for spec in todo:
            try:
                yield spec, one(spec, wait=wait)
            except Timeout:
                busy.append(spec)


def _on_ray(
    specs: Sequence[Spec],
    one: partial,
    address: str,
    workers: int | None,
    gpu_share: float,
) -> Iterator[Outcome]:
    """As many runs at a time as the machines hold. Ray starts a lost one again, and it resumes."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    import ray

    here, before = address == "local", _descendants(os.getpid())
    try:
        ray.init(
            address=address,
            num_cpus=workers if here else None,
            include_dashboard=False if here else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except ValueError as error:
        raise ParameterError(f"ray_address is {address!r}; Ray says: {error}") from None
    started = [process for process in _descendants(os.getpid()) if process not in before]
    watchdog = _end_with_this_process(started) if here else None
    try:
        share = gpu_share if ray.cluster_resources().get("GPU") else 0
        remote = ray.remote(num_cpus=1, num_gpus=share, max_retries=3)(run_elsewhere)
        waiting = {remote.remote(spec, **one.keywords): spec for spec in specs}
        while waiting:
            (first, *_), _ = ray.wait(list(waiting))
            spec = waiting.pop(first)
            try:
                outcome, said = ray.get(first)
                for text in said:
                    warnings.warn(f"{title(spec)}: {text}", stacklevel=2)
                yield spec, outcome
            except ray.exceptions.RayError as error:
                yield spec, f"{type(error).__name__}: {error}"
    finally:
        ray.shutdown()
        if watchdog:
            watchdog.communicate()


def run_elsewhere(spec: Spec, **options: Any) -> tuple[Record | str, list[str]]:
    """What comes of a run, and the warnings that nobody would see where it takes place."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        outcome = run_one(spec, **options)
    return outcome, [str(one.message) for one in caught if one.category is UserWarning]


def _descendants(process: int) -> list[int]:
    """The processes that one has started, and those that they have; none outside Linux."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def _end_with_this_process(processes: Sequence[int]) -> subprocess.Popen | None:
    """Have processes killed once this one has ended, were it by a kill.

    Ray's own end with the driver, but for the agents beside them, which find out after a minute.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    command = [sys.executable, "-c", WATCHDOG, *map(str, processes)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
