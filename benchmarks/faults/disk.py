"""A full disk and a read-only folder: a clear error, and no half file that is later taken for
whole."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np

from .child import Outcome, command, drop_privileges, isolated, own_namespace, remount
from .runs import CRITEO, DATA, RUN, SWEEP, Case, NotHere, essence, last_line

SECONDS = 60.0  # of processor time that a small run may take
LARGE = "512m"


class Job(NamedTuple):
    """A command, of which one part lies on the small disk.

    Attributes:
        command: made of the folder there and of one elsewhere.
        result: what came of it, from its outcome and the folder there.
        size: bytes that are more than it needs there.
    """

    command: Callable[[Path, Path], Callable[[], int]]
    result: Callable[[Outcome, Path], Any]
    size: int


def _writing(arguments: list[str]) -> Job:
    return Job(
        lambda small, other: command(*arguments, "--output", str(small / "out"), cache=other),
        lambda outcome, small: essence(small / "out"),
        6 << 20,
    )


def _caching(*arguments: str) -> Job:
    return Job(
        lambda small, other: command("data", *arguments, "--quiet", cache=small / "cache"),
        lambda outcome, small: outcome.printed,
        3 << 20,
    )


def _report(small: Path, other: Path) -> Callable[[], int]:
    checkpoint, page = str(DATA / "checkpoints" / "keras.npz"), str(small / "out" / "report.html")
    return command("inspect", checkpoint, "--output", page, "--output", f"{page}.json", cache=other)


JOBS = {
    "output of a run": _writing(RUN),
    "output of a sweep": _writing(SWEEP),
    "encoded cache": _caching("criteo", *CRITEO[2:]),
    "drawn cache": _caching("synthetic-mini", "--rows", "20000"),
    "report": Job(
        _report,
        lambda outcome, small: sorted(path.read_bytes() for path in (small / "out").iterdir()),
        64 << 10,
    ),
}


def full_disk(quick: bool) -> Iterator[Case]:
    """Each job on a disk that is too small, of a size at random; then again on a larger one."""
    _need_namespaces()
    for name in JOBS:
        for _ in range(1 if quick else 10):
            yield Case(name, partial(_full, name))


def read_only(quick: bool) -> Iterator[Case]:
    """Each job in a folder that may not be written to, empty or with its work done: a file system
    that is read-only, or a folder of someone else's; then again where it may."""
    _need_namespaces()
    for name in JOBS:
        for done in (False, True):
            for mounted in (True,) if quick else (True, False):
                yield Case(f"{name}, {done=}, {mounted=}", partial(_locked, name, done, mounted))


@lru_cache
def _need_namespaces() -> None:
    found = isolated(partial(own_namespace, Path(mkdtemp()), "64k"))
    if found.kind != "value":
        raise NotHere(f"no file system of one's own ({found.text})")


@lru_cache
def _expected(name: str) -> Any:
    small, other = Path(mkdtemp()), Path(mkdtemp())
    outcome = isolated(JOBS[name].command(small, other), seconds=SECONDS)
    assert (outcome.kind, outcome.value) == ("value", 0), outcome
    return JOBS[name].result(outcome, small)


def _full(name: str, folder: Path, random: np.random.Generator) -> str | None:
    expected, size = _expected(name), int(random.integers(4096, JOBS[name].size))
    small, other = folder / "small", folder / "other"
    small.mkdir()

    def task() -> str | None:
        room = size
        own_namespace(small, f"{room}")
        work = JOBS[name].command(small, other)
        while True:
            first = isolated(work, seconds=SECONDS)
            if (first.kind, first.value) != ("value", 0):
                break
            room //= 2  # it was large enough
            for path in sorted(small.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            remount(small, f"size={max(room, 4096)}")
        wrong = _unclear(first, ("No space left", "full"))
        remount(small, f"size={LARGE}")
        return _again(name, work, small, expected) or (wrong and f"{wrong} ({room:,} bytes)")

    return _told(isolated(task, seconds=10 * SECONDS), name)


def _locked(
    name: str, done: bool, mounted: bool, folder: Path, random: np.random.Generator
) -> str | None:
    expected = _expected(name)
    small, other = folder / "small", folder / "other"
    small.mkdir()

    def task() -> str | None:
        own_namespace(small, LARGE)
        work = JOBS[name].command(small, other)
        (small / "out").mkdir()
        (small / "cache").mkdir()
        if done:
            isolated(work, seconds=SECONDS)
        _lock(small, mounted)
        first = isolated(partial(_without_privileges, work), seconds=SECONDS)
        _unlock(small, mounted)
        if (first.kind, first.value) == ("value", 0) and done:
            return _same(name, first, small, expected)
        clear = ("Read-only", "Permission denied", "cannot be written", "not permitted")
        return _unclear(first, clear) or _again(name, work, small, expected)

    return _told(isolated(task, seconds=10 * SECONDS), name)


def _lock(small: Path, mounted: bool) -> None:
    for folder in [small, *small.rglob("*/")]:
        folder.chmod(0o755 if mounted else 0o555)
    if mounted:
        remount(small, f"size={LARGE}", read_only=True)


def _unlock(small: Path, mounted: bool) -> None:
    if mounted:
        remount(small, f"size={LARGE}")
    for folder in [small, *small.rglob("*/")]:
        folder.chmod(0o755)


def _without_privileges(work: Callable[[], int]) -> int:
    drop_privileges()
    return work()


def _unclear(outcome: Outcome, words: tuple[str, ...]) -> str | None:
    """What is wrong with the end of a command that could not write."""
    told = outcome.text or last_line(outcome.said)
    if outcome.kind != "value":
        return f"{outcome.kind} {told.partition(':')[0]}: {told[:200]}"
    if outcome.value == 0:
        return "no error: it ended as if all were well"
    if "Traceback" in outcome.said or not any(word in outcome.said for word in words):
        return f"unclear error: {told}"
    return None


def _again(name: str, work: Callable[[], int], small: Path, expected: Any) -> str | None:
    """What is wrong after the command was given once more, with room."""
    outcome = isolated(work, seconds=SECONDS)
    if (outcome.kind, outcome.value) != ("value", 0):
        told = outcome.text or last_line(outcome.said)
        return f"does not go on: {outcome.kind} {told[:200]}"
    return _same(name, outcome, small, expected)


def _same(name: str, outcome: Outcome, small: Path, expected: Any) -> str | None:
    return None if JOBS[name].result(outcome, small) == expected else "another result: later"


def _told(outcome: Outcome, name: str) -> str | None:
    assert outcome.kind == "value", outcome
    return None if outcome.value is None else f"{name}, {outcome.value}"
