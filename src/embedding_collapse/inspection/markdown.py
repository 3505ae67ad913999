"""The report as Markdown, short enough for a pull request."""

from collections.abc import Mapping, Sequence

from embedding_collapse.collapse import MEASURES
from embedding_collapse.verdict import COLLAPSED, PARTLY

from .comparison import comparison, unmatched
from .course import course_table
from .report import Inspection, code, measured_with, table

LEFT_OUT = {*MEASURES.values()} - {"IA/random"}  # of the report's measures
MOST_TABLES, MOST_FINDINGS = 50, 3


def markdown(
    inspection: Inspection, second: Inspection | None = None, *, course: Sequence[Inspection] = ()
) -> str:
    """The whole report: headline, what to do, the tables, what was left out, how it was measured.

    Args:
        inspection: from `inspect`.
        second: one more, to stand beside it.
        course: those of a run's checkpoints up to this one.
    """
    parts = [_one(inspection)]
    if course:
        parts += ["## The course of the run", _rows(course_table(course))]
    if second:
        parts += [_one(second), "## Side by side", _rows(comparison(inspection, second))]
        parts += filter(None, [unmatched(inspection, second)])
    parts.append(
        f"IA/random is information abundance as a share of a random table's of the same shape; "
        f"with the mean of the rows taken off, below {COLLAPSED:g} a table is called collapsed, "
        f"below {PARTLY:g} partly."
    )
    return "\n\n".join(parts) + "\n"


def _one(inspection: Inspection) -> str:
    worst = table(inspection, worst_first=True)
    rows = [{title: row[title] for title in row if title not in LEFT_OUT} for row in worst]
    more = len(rows) - MOST_TABLES
    findings = [
        f"- {code(one.name)}: **{one.verdict}**. {one.rests_on}. {one.advice}"
        for one in inspection.findings[:MOST_FINDINGS]
    ]
    notes = [f"- {_text(note)}" for note in inspection.notes]
    return "\n\n".join(
        [
            f"# {inspection.headline}",
            f"{code(inspection.name)}. {_text(inspection.summary)}",
            *(["\n".join(findings)] if findings else []),
            _rows(rows[:MOST_TABLES]) + (f"\n\nand {more:,} more tables" if more > 0 else ""),
            *(["\n".join(notes)] if notes else []),
            _text(measured_with(inspection)),
        ]
    )


def _rows(rows: Sequence[Mapping[str, str]]) -> str:
    """A table; names are code, in which a bar would end the cell."""
    titles = list(rows[0])
    lines = [titles, ["---" if title == "table" else "---:" for title in titles]]
    for row in rows:
        cells = {**row, "table": code(row["table"]).replace("|", "\\|")}
        lines.append([cells[title] for title in titles])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(line: str) -> str:
    """A line, in which names may hold anything, as text."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#|!&~" else c for c in line)
