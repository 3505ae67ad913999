"""One folder, two processes; one folder, two tables."""

import shutil
import time
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from .child import Outcome, command, finish, isolated, start
from .runs import RUN, SIZE, SWEEP, Case, difference, essence, last_line

SECONDS = 60.0  # of processor time that a small run may take
TABLE = ["--dataset", "table", *SIZE, "--epochs", "1"]
COMMANDS = {
    "sweep": ["sweep", *TABLE, "--models", "dnn", "--scales", "1", "--seeds", "0"],
    "run": ["run", *TABLE, "--model", "dnn"],
}
SECOND = {  # what the second command differs in: file, label, options
    "another file": ("b.csv", "clicked", []),
    "the file's content": ("a.csv", "clicked", []),
    "the label": ("a.csv", "liked", ["--categorical", "shop,day"]),
    "the columns": ("a.csv", "clicked", ["--categorical", "shop"]),
    "the kind of a column": ("a.csv", "clicked", ["--numeric", "count"]),
    "the vocabulary": ("a.csv", "clicked", ["--vocabulary", "train"]),
}


def side_by_side(quick: bool) -> Iterator[Case]:
    """Two processes give one command on one output and one cache, the second a little later."""
    for number in range(2 if quick else 20):
        name, arguments = (("run", RUN), ("sweep", SWEEP))[number % 2]
        yield Case(name, partial(_together, arguments))


def mixed_up(quick: bool) -> Iterator[Case]:
    """Two tables of as many rows, or two readings of one, into one output: a record of each."""
    for name in COMMANDS:
        for change in list(SECOND)[:: 3 if quick else 1]:
            yield Case(f"{name}, {change}", partial(_apart, name, change))


@lru_cache
def _alone(arguments: tuple[str, ...]) -> tuple[dict[str, Any], float]:
    folder, started = Path(mkdtemp()), time.monotonic()
    _check(isolated(_task(arguments, folder), seconds=SECONDS))
    return essence(folder / "output"), time.monotonic() - started


def _task(arguments: Any, folder: Path) -> Any:
    return command(*arguments, "--output", str(folder / "output"), cache=folder / "cache")


def _check(outcome: Outcome) -> None:
    assert (outcome.kind, outcome.value) == ("value", 0), outcome


def _together(arguments: list[str], folder: Path, random: np.random.Generator) -> str | None:
    expected, seconds = _alone(tuple(arguments))
    first = start(_task(arguments, folder))
    time.sleep(random.uniform(0, seconds) * random.integers(2))
    second = start(_task(arguments, folder))
    for child in (first, second):
        outcome = finish(child, seconds=SECONDS)
        if (outcome.kind, outcome.value) != ("value", 0):
            return f"does not end well: {outcome.kind} {outcome.text or last_line(outcome.said)}"
    changed = difference(essence(folder / "output"), expected)
    if changed:
        return f"another result: {changed}"
    left = {path.name for path in (folder / "output").iterdir()} - expected.keys()
    return f"left behind: {sorted(left)}" if left else None


def _apart(name: str, change: str, folder: Path, random: np.random.Generator) -> str | None:
    for number, file in enumerate(("a.csv", "b.csv")):
        (folder / file).write_text(_rows(random, number))
    second, label, options = SECOND[change]
    tables = [("a.csv", "clicked", []), (second, label, options)]
    expected: dict[str, Any] = {}
    for number, (file, label, options) in enumerate(tables):
        if number and change == "the file's content":
            shutil.copy(folder / "b.csv", folder / "a.csv")
        asked = [*COMMANDS[name], "--path", str(folder / file), "--label", label, *options]
        fresh = folder / f"fresh{number}"
        _check(isolated(_task(asked, fresh), seconds=SECONDS))
        shared = isolated(_task(asked, folder), seconds=SECONDS)
        if (shared.kind, shared.value) != ("value", 0):
            return f"refused: {shared.text or last_line(shared.said)}"
        new = essence(fresh / "output")
        expected |= new
        found = essence(folder / "output")
        wrong = [key for key in new if found.get(key) != new[key]]
        if wrong:
            return f"the first table's record for the second: {', '.join(wrong)}"
    changed = difference(essence(folder / "output"), expected)
    return f"another result: {changed}" if changed else None


def _rows(random: np.random.Generator, number: int) -> str:
    lines = ["clicked,liked,shop,day,count"]
    for _ in range(400):
        click, like, shop, day, count = random.integers(0, (2, 2, 5 + number, 7, 50))
        lines.append(f"{click},{like},s{shop},d{day},{count}")
    return "\n".join(lines)
