"""The course of a run: its checkpoints one after the other, table by table."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from embedding_collapse.parameters import (
    NotInstalledError,
    ParameterError,
    at_home,
    count,
    listed,
    short,
)
from embedding_collapse.verdict import COLLAPSED, PARTLY

from . import weights
from .drawing import LEFT, framed, grid, level, place, under
from .report import Inspection

BARS = "▁▂▃▄▅▆▇█"


class Course(NamedTuple):
    """A table in each of the checkpoints.

    Attributes:
        name: of the table.
        values: IA/random, as the verdict goes by; None where a checkpoint lacks the table or has no
            such number.
        verdict: in the last checkpoint, "-" where that lacks the table.
    """

    name: str
    values: list[float | None]
    verdict: str


def checkpoints_in(folder: str | Path) -> tuple[list[Path], list[str]]:
    """The checkpoints in a folder, by the numbers in their names, and what was left out of them.

    What cannot be read is one, a damaged one, if it is named like one that can be but for numbers.

    Raises:
        ParameterError: no folder, or fewer than two checkpoints with a number in their names that
            can be read as far as their first bytes tell.
    """
    folder = at_home(folder)
    if not folder.is_dir():
        raise ParameterError(f"follow is {str(folder)!r}; a folder of checkpoints is needed")
    numbered: list[Path] = []
    left_out: list[Path] = []
    unreadable: list[Path] = []
    missing: list[str] = []
    for path in sorted(folder.iterdir()):
        try:
            weights.check(path)
        except NotInstalledError as error:
            missing.append(str(error))
        except (weights.UnreadableError, OSError):  # logs, settings, what a killed run was writing
            unreadable.append(path)
        else:
            (numbered if re.search(r"\d", path.stem) else left_out).append(path)
    called = {_but_numbers(path) for path in numbered}
    damaged = [path for path in unreadable if _but_numbers(path) in called]
    if len(missing) > 1:
        missing[1:] = [f"{count(len(missing) - 1, 'more file')} like it"]
    if len(numbered) < 2:
        have = listed(path.name for path in numbered) or "none"
        have += f" ({listed(path.name for path in damaged)} cannot be read)" if damaged else ""
        raise ParameterError(
            f"follow is {str(folder)!r}; two checkpoints or more with a number in their names, "
            f"such as step_100.pt, are needed, and it has {'; '.join([have, *missing])}"
        )
    names = listed(path.name for path in left_out)
    without = [f"left out, without a number: {names}"] if names else []
    numbered += damaged
    numbered.sort(key=lambda path: [int(digits) for digits in re.findall(r"\d+", path.stem)])
    return numbered, [*without, *missing]


def _but_numbers(path: Path) -> str:
    return re.sub(r"\d+", "#", path.name)


def course(inspections: Sequence[Inspection]) -> list[Course]:
    """Every table of a run's checkpoints, those first that the last one has most to say of."""
    by_name = [{table.name: table for table in one.tables} for one in inspections]
    names = [table.name for table in inspections[-1].worst_first]
    lines = []
    for name in dict.fromkeys([*names, *(name for tables in by_name for name in tables)]):
        tables = [tables.get(name) for tables in by_name]
        values = [one.judged_by if one and one.measures else None for one in tables]
        lines.append(Course(name, values, tables[-1].verdict if tables[-1] else "-"))
    return lines


def course_table(inspections: Sequence[Inspection]) -> list[dict[str, str]]:
    """A row per table, for `report.aligned`: its value at the first and the last checkpoint, its
    course, and its verdict."""
    first, last = inspections[0].name, inspections[-1].name
    return [
        {
            "table": short(table.name),
            f"first, {short(first)}": _number(table.values[0]),
            f"last, {short(last)}": _number(table.values[-1]),
            "IA/random": bars(table.values),
            "verdict": table.verdict,
        }
        for table in course(inspections)
    ]


def bars(values: Sequence[float | None]) -> str:
    """Values from 0 to 1 as blocks of growing height; a blank for one that isn't there."""
    top = len(BARS) - 1
    return "".join(
        " " if value is None else BARS[min(top, max(0, round(value * top)))] for value in values
    )


def as_json(inspections: Sequence[Inspection]) -> dict[str, object]:
    """The course as plain lists and numbers."""
    return {
        "checkpoints": [one.name for one in inspections],
        "tables": [one._asdict() for one in course(inspections)],
    }


def cards(inspections: Sequence[Inspection]) -> str:
    """Every table's course as a drawing, with the thresholds of the verdicts."""
    names = [one.name for one in inspections]
    drawn = grid(
        f'<section class="card"><h3>{escape(short(table.name))}</h3>{_drawing(table, names)}'
        f"<p>{escape(table.verdict)}</p></section>"
        for table in course(inspections)
    )
    return (
        f"<p>IA/random of each table over {len(names)} checkpoints, as the verdicts go by: below "
        f"{COLLAPSED:g} a table is called collapsed, below {PARTLY:g} partly.</p>{drawn}"
    )


def _drawing(table: Course, names: Sequence[str]) -> str:
    top = max([1.0, *(value for value in table.values if value is not None)])
    last = max(1, len(names) - 1)
    levels = {0: "grid", COLLAPSED: "random", PARTLY: "random", 1: "grid"}
    parts = [level(value, value / top, kind) for value, kind in levels.items()]
    parts += [under(0, short(names[0], 24), "start"), under(1, short(names[-1], 24), "end")]
    points = [place(n / last, v / top) for n, v in enumerate(table.values) if v is not None]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(f'<polyline class="measured a" points="{line}"/>')
    parts += [f'<circle class="measured a" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in points]
    parts.append(f'<text x="{LEFT}" y="14">IA/random</text>')
    numbers = ", ".join(_number(value) for value in table.values)
    return framed(parts, f"IA/random of {short(table.name)} over the checkpoints: {numbers}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
