"""SIGKILL at any moment: the same command goes on and ends with the same bits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import psutil

from embedding_collapse.lab import training

from .child import Outcome, command, finish, isolated, start
from .runs import (
    EPOCHS,
    ONE_RUN,
    RUN,
    SWEEP,
    SWEEP_EPOCHS,
    SWEPT,
    Case,
    NotHere,
    difference,
    essence,
    last_line,
)

PATIENCE = 120.0  # seconds of processor time that a small run may take
RAY_PATIENCE = 900.0  # seconds by the clock: a busy machine starts Ray slowly
RAY_ENDS = 120.0  # seconds by the clock until all that Ray had started has ended too
VICTIMS = ("driver", "worker", "agent")
AT_WORK = "ray::_call"
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")  # Ray ends a node that has lost one


def killed_runs(quick: bool) -> Iterator[Case]:
    """A run, killed by the clock and before it touches a file, in turn."""
    attempt = partial(_attempt, RUN, EPOCHS)
    return (Case("run", partial(attempt, n % 2 == 0)) for n in range(2 if quick else 30))


def killed_sweeps(quick: bool) -> Iterator[Case]:
    """A sweep, killed as a run is."""
    attempt = partial(_attempt, SWEEP, SWEPT * SWEEP_EPOCHS)
    return (Case("sweep", partial(attempt, n % 2 == 0)) for n in range(2 if quick else 10))


def killed_runs_on_ray(quick: bool) -> Iterator[Case]:
    """A run on Ray of which the driver, a worker, or an agent of Ray's is killed, in turn."""
    return _killed_on_ray("run", ONE_RUN, 30, quick)


def killed_sweeps_on_ray(quick: bool) -> Iterator[Case]:
    """A sweep on Ray, killed as a run there is."""
    return _killed_on_ray("sweep", SWEEP, 10, quick)


def _killed_on_ray(name: str, arguments: list[str], count: int, quick: bool) -> Iterator[Case]:
    if quick:
        raise NotHere("it takes minutes, and tests/lab/test_studies_sweep.py kills a worker")
    if find_spec("ray") is None:
        raise NotHere("Ray is not installed")
    for number in range(count):
        victim = VICTIMS[number % len(VICTIMS)]
        yield Case(f"{name} on Ray, {victim} killed", partial(_on_ray, arguments, victim))


def _task(arguments: list[str], folder: Path) -> Callable[[], int]:
    """The command, with a line in `folder/epochs` at the beginning of each epoch."""
    run = command(*arguments, "--output", str(folder / "output"), cache=folder / "cache")

    def counted(*arguments: Any) -> Iterator[int]:
        with (folder / "epochs").open("a") as file:
            file.write("one\n")
        return epoch(*arguments)

    def task() -> int:
        training.StepByStep.epoch = counted
        return run()

    epoch = training.StepByStep.epoch
    return task


@lru_cache
def _undisturbed(command: tuple[str, ...]) -> tuple[dict[str, Any], float, int]:
    """What comes of the command, its seconds, and how often it touches files below its folder."""
    folder, started = Path(mkdtemp()), time.monotonic()
    touched = isolated(_counting(_task(list(command), folder), folder), seconds=PATIENCE)
    assert touched.kind == "value" and touched.value[0] == 0, touched
    return essence(folder / "output"), time.monotonic() - started, touched.value[1]


def _counting(task: Callable[[], int], folder: Path) -> Callable[[], tuple[int, int]]:
    count = 0

    def counted() -> tuple[int, int]:
        sys.addaudithook(count_up)
        return task(), count

    def count_up(event: str, arguments: tuple) -> None:
        nonlocal count
        count += touches(event, arguments, folder)

    return counted


def touches(event: str, arguments: tuple, folder: Path) -> bool:
    """Whether an audit event is about a file below the folder."""
    named = event == "open" or event.startswith(("os.", "shutil."))
    return named and any(str(each).startswith(str(folder)) for each in arguments)


def _attempt(
    arguments: list[str], epochs: int, by_clock: bool, folder: Path, random: np.random.Generator
) -> str | None:
    expected, seconds, touched = _undisturbed(tuple(arguments))
    task, share = _task(arguments, folder), random.uniform()
    while True:
        first = _kill(task, seconds * share) if by_clock else _stop(task, folder, touched * share)
        if first.kind != "value":
            break
        share /= 2  # it had ended before
        _clear(folder)
    if first.kind != "killed":
        return f"first start: {first.kind} {first.text}"
    second = isolated(task, seconds=PATIENCE)
    return _wrong(second, folder, expected) or _lost(folder, epochs)


def _clear(folder: Path) -> None:
    for part in folder.iterdir():
        shutil.rmtree(part) if part.is_dir() else part.unlink()


def _kill(task: Callable[[], int], seconds: float) -> Outcome:
    """Kill it after so many seconds."""
    child = start(task)
    time.sleep(seconds)
    os.kill(child.process, signal.SIGKILL)
    return finish(child)


def _stop(task: Callable[[], int], folder: Path, touched: float) -> Outcome:
    """Kill it when it has touched files so many times and is about to do so again."""
    left = int(touched) + 1

    def audit(event: str, arguments: tuple) -> None:
        nonlocal left
        if touches(event, arguments, folder):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)  # an event itself

    return finish(start(task, audit), seconds=PATIENCE)


def _wrong(outcome: Outcome, folder: Path, expected: dict[str, Any]) -> str | None:
    if outcome.kind != "value" or outcome.value != 0:
        told = outcome.text or last_line(outcome.said)
        return f"not resumed: {outcome.kind} {outcome.value} {told}"
    changed = difference(essence(folder / "output"), expected)
    if changed:
        return f"another result: {changed}"
    names = {path.name for path in (folder / "output").iterdir()}
    return f"left behind: {sorted(names - expected.keys())}" if names - expected.keys() else None


def _lost(folder: Path, epochs: int) -> str | None:
    begun = (folder / "epochs").read_text().count("one")
    return None if begun <= epochs + 1 else f"epochs lost: {begun - epochs}"


def _on_ray(
    arguments: list[str], victim: str, folder: Path, random: np.random.Generator
) -> str | None:
    """Ray itself starts a worker again; without an agent it ends its node."""
    expected, seconds, _ = _undisturbed(tuple(arguments))
    family, delay = None, random.uniform(0, seconds)
    while family is None:
        _clear(folder)
        first = _start_ray(arguments, folder)
        family = _killed(first, victim, delay, folder, random)
        delay /= 2  # or it may end before again
    kept = _seconds(folder)
    outcome = _end_ray(first, folder)
    if victim != "worker" and outcome.value != 0:
        for left in psutil.wait_procs(family, timeout=RAY_ENDS)[1]:
            return f"left running: {_name(left)[:60]}"
        outcome = _end_ray(_start_ray(arguments, folder), folder)
    wrong = _wrong(outcome, folder, expected)
    if wrong is None and not kept <= _seconds(folder):
        return "epochs lost: one that was stored was trained again"
    return wrong


def _killed(
    first: subprocess.Popen, victim: str, delay: float, folder: Path, random: np.random.Generator
) -> list[psutil.Process] | None:
    """Kill such a process so many seconds after the first file is there.

    Returns:
        All that the driver had started, or None where it had ended before.
    """
    while first.poll() is None and not list(folder.glob("output/*")):
        time.sleep(0.02)
    time.sleep(delay)
    if first.poll() is None:
        driver = psutil.Process(first.pid)
        family = driver.children(recursive=True)
        named = [(one, _name(one)) for one in family]
        victims = {
            "driver": [driver],
            "worker": [one for one, name in named if name.startswith(AT_WORK)],
            "agent": [one for one, name in named if name in AGENTS],
        }[victim]
        if victims:
            victims[random.integers(len(victims))].kill()
            return family
    _end_ray(first, folder)
    return None


def _start_ray(arguments: list[str], folder: Path) -> subprocess.Popen:
    arguments = [*arguments, "--output", str(folder / "output"), "--ray", "2"]
    environment = os.environ | {"EMBEDDING_COLLAPSE_CACHE": str(folder / "cache")}
    with (folder / "said").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "embedding_collapse", *arguments],
            env=environment,
            stdout=said,
            stderr=said,
        )


def _end_ray(process: subprocess.Popen, folder: Path) -> Outcome:
    try:
        return Outcome("value", process.wait(RAY_PATIENCE), said=(folder / "said").read_text())
    except subprocess.TimeoutExpired:
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            one.kill()
        return Outcome("hung", said=(folder / "said").read_text())


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def _seconds(folder: Path) -> set[float]:
    """The time of every epoch that a JSON file below the folder holds: no two are alike."""
    found = set()
    for path in folder.glob("output/**/*.json"):
        try:
            epochs = json.loads(path.read_text())["epochs"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found |= {epoch["seconds"] for epoch in epochs}
    return found
