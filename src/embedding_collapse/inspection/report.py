"""A checkpoint's tables, measured one by one; and what is printed of them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from embedding_collapse.collapse import inspect_table
from embedding_collapse.parameters import ParameterError, listed, printable, short
from embedding_collapse.verdict import (
    COLLAPSED,
    COLLAPSED_IS,
    HEALTHY_IS,
    OFFSET_IS,
    PARTLY,
    PARTLY_IS,
    UNTRAINED_IS,
    VERDICTS,
    Collapse,
)

from . import tables, weights
from .field_dims import fields_of, record_beside
from .recognition import GUESS
from .tables import LeftOut

NUMBER = re.compile(r"(?<![^./_\[(])\d+(?![^./_\])])")  # of a layer, in a name
MOST_NAMES = 6  # of what shares a line
MOST_FINDINGS = 10  # that are printed
HEADLINES = {
    COLLAPSED_IS: "collapsed",
    UNTRAINED_IS: "rare rows that hide what training did to the others",
    PARTLY_IS: "collapsed in part",
    OFFSET_IS: "an offset that all rows share, and none has collapsed",
}
FOUND = VERDICTS[: VERDICTS.index(HEALTHY_IS)]  # verdicts that ask for something

COLUMNS = {
    "abundance": "IA",
    "relative_abundance": "IA/K",
    "against_random": "IA/random",
    "effective_rank": "effective rank",
    "stable_rank": "stable rank",
    "directions_90": "90% energy",
    "directions_99": "99% energy",
}


@dataclass(frozen=True)
class Inspection:
    """The tables of a checkpoint, measured; printed, it is what the command prints.

    Attributes:
        name: of the file.
        tables: in the file's order.
        left_out: every other tensor of two or three dimensions, and why it was not measured.
        asked: what the caller asked for, by the options' names.
    """

    name: str
    tables: list[Collapse]
    left_out: list[LeftOut]
    asked: dict[str, str] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The worst verdict in one short sentence."""
        total, counts = len(self.tables), Counter(table.verdict for table in self.tables)
        for verdict, predicate in HEADLINES.items():
            if number := counts[verdict]:
                has = "has" if number == 1 else "have"
                return f"{number:,} of {count(total, 'table')} {has} {predicate}"
        if counts[HEALTHY_IS]:
            return f"{count(total, 'table')}, none of them collapsed"
        return f"{count(total, 'table')}, and no verdict"

    @property
    def summary(self) -> str:
        """How many tables got which verdict, and which is the first to look at."""
        counts = Counter(table.verdict for table in self.tables)
        verdicts = ", ".join(f"{counts[one]} {one}" for one in VERDICTS if counts[one])
        text = f"{count(len(self.tables), 'table')}: {verdicts}."
        if len(self.tables) > 1 and (worst := self.worst_first[0]).measures:
            text += f" The first to look at: {short(worst.name)}, {worst.verdict}."
        return text

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the tables, and of what was not measured; a line each.

        Tensors that were left out for the same reason share a line, and those whose names differ in
        a number alone share an entry.
        """
        notes = [f"{short(t.name)}: {printable(t.note)}" for t in self.tables if t.note]
        if guesses := sum(table.known_by.endswith(GUESS) for table in self.tables):
            notes.append(f"{guesses:,} taken for tables by a guess; --exclude PATTERN leaves out")
        reasons: dict[str, Counter[str]] = {}
        for tensor in self.left_out:
            shape = " x ".join(f"{extent:,}" for extent in tensor.shape)
            entry = f"{NUMBER.sub('*', short(tensor.name))} {shape}"
            reasons.setdefault(tensor.why, Counter())[entry] += 1
        for why, entries in reasons.items():
            names = [f"{n} times {entry}" if n > 1 else entry for entry, n in entries.items()]
            notes.append(f"not measured, {why}: {listed(names, MOST_NAMES)}")
        if self.left_out:
            notes.append("--tables PATTERN measures what it names")
        return notes

    @property
    def worst_first(self) -> list[Collapse]:
        """The tables by their verdicts, in the order of `VERDICTS`, and then by IA/random."""
        return sorted(self.tables, key=lambda one: (VERDICTS.index(one.verdict), one.judged_by))

    @property
    def findings(self) -> list[Collapse]:
        """The tables of which there is something to say, the worst first; all if there is none."""
        worst = self.worst_first
        return [t for t in worst if t.verdict in FOUND] or [t for t in worst if t.measures]

    def __str__(self) -> str:
        """What is printed: the table, the summary, each finding with what to try, and the notes."""
        lines = [
            f"{short(one.name)}: {one.verdict}. {one.rests_on}. {one.advice}"
            for one in self.findings[:MOST_FINDINGS]
        ]
        if (more := len(self.findings) - MOST_FINDINGS) > 0:
            lines.append(f"and {more:,} more, which the report has")
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([aligned(table(self)), "", self.summary, *lines, *notes])

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain lists and numbers."""
        return {
            "checkpoint": self.name,
            "headline": self.headline,
            "thresholds": {"collapsed below": COLLAPSED, "partly collapsed below": PARTLY},
            "summary": self.summary,
            "tables": [table.to_json() for table in self.tables],
            "not measured": [one._asdict() for one in self.left_out],
            "asked": self.asked,
            "versions": versions(),
        }


def inspect(
    path: str | Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    field_dims: Mapping[str, int] | None = None,
    sets: int | None = None,
    row_weights: str | Path | None = None,
    progress: bool = False,
) -> Inspection:
    """Measure every embedding table of a checkpoint.

    Args:
        path: see `weights.read`.
        include, exclude, field_dims, sets: see `tables.find`. Without `field_dims` they come from
            the record beside the checkpoint, where this library wrote one.
        row_weights: a `.npy` file with one number per row, for the tables with that many rows; or a
            `.npz` of such by the tables' names.
        progress: show a bar where measuring takes more than three seconds.

    Raises:
        ParameterError: a file that cannot be read, no table in it, or parameters that fit none.
        DamagedError: weights of this library that are not those of the record beside them.

    Warns:
        UserWarning: a damaged record beside the checkpoint, which tells no fields.

    Example:
        >>> import numpy, embedding_collapse
        >>> numbers = numpy.random.default_rng(0)
        >>> tables = {"user_table": numbers.normal(size=(500, 8)), "bias": numpy.zeros(8)}
        >>> numpy.savez("model.npz", **tables)
        >>> inspection = embedding_collapse.inspect("model.npz")
        >>> inspection.summary
        '1 table: 1 not collapsed.'
        >>> inspection.tables[0].name, inspection.tables[0].rows, inspection.tables[0].width
        ('user_table', 500, 8)
    """
    path = Path(path)
    weights.check(path)
    record = record_beside(path)
    tensors = weights.read(path)
    if field_dims is None and record is not None and "table" in tensors:
        field_dims = fields_of(record)
    embeddings, left_out = tables.find(
        tensors, include=include, exclude=exclude, field_dims=field_dims, sets=sets
    )
    counts = {} if row_weights is None else weights.read(row_weights)
    by_name = any(name in counts for table in embeddings for name in (table.name, table.source))
    row_weights_of = [_row_weights(counts, table, by_name) for table in embeddings]
    if counts and all(weight is None for weight in row_weights_of):
        shapes = [f"{short(name)} {list(values.shape)}" for name, values in counts.items()]
        raise ParameterError(
            f"{row_weights} weighs no table ({listed(shapes)}); one real number per row is needed, "
            f"{embeddings[0].source_rows:,} for {short(embeddings[0].source)}"
        )
    measured = []
    entries = sum(table.values.numel() for table in embeddings)
    with tqdm(
        total=entries,
        desc="measuring",
        unit=" entries",
        unit_scale=True,
        disable=not progress,
        delay=3,
    ) as bar:
        for table, weight in zip(embeddings, row_weights_of, strict=True):
            measured.append(inspect_table(table, weight))
            bar.update(table.values.numel())
    asked = {
        "--tables": ", ".join(include),
        "--exclude": ", ".join(exclude),
        "--field-dims": "" if field_dims is None else f"{len(field_dims):,} fields",
        "--sets": "" if sets is None else str(sets),
        "--rows-weight": "" if row_weights is None else Path(row_weights).name,
    }
    return Inspection(path.name, measured, left_out, {k: v for k, v in asked.items() if v})


def _row_weights(counts: Mapping[str, Tensor], table: tables.Table, by_name: bool) -> Tensor | None:
    """The weights of a table's rows: by its name, or where no name fits by the number of rows."""
    rows = table.values.shape[1]
    for name, values in counts.items():
        meant = not by_name or name in (table.name, table.source)
        if values.is_meta or values.is_complex() or not meant:
            continue
        if values.shape == (table.source_rows,):
            return values[table.start : table.start + rows].double()
        if values.shape == (rows,):
            return values.double()
    return None


def table(inspection: Inspection, *, worst_first: bool = False) -> list[dict[str, str]]:
    """A row per table, by the columns' titles: shape, measures (the mean over its sets), verdict.

    Several may look alike, such as two long names. They stand as in the file, or the worst first.
    """
    rows, weighted = [], any(table.weighted for table in inspection.tables)
    for table in inspection.worst_first if worst_first else inspection.tables:
        row = {
            "table": short(table.name),
            "rows": f"{table.rows:,}",
            "K": str(table.width) if table.sets == 1 else f"{table.sets} x {table.width}",
            **{title: _number(table.measures, name) for name, title in COLUMNS.items()},
            "random tables": "{:.2f} to {:.2f}".format(*table.band) if table.measures else "-",
            "IA/random, centred": _number(table.centred, "against_random"),
        }
        if weighted:
            row["IA/random, weighted"] = _number(table.weighted, "against_random")
        rows.append(row | {"verdict": table.verdict, "known by": table.known_by})
    return rows


def comparison(first: Inspection, second: Inspection) -> list[dict[str, str]]:
    """Two checkpoints side by side, tables matched by name; a dash where one lacks a table."""
    ours, theirs = (
        {table.name: table for table in inspection.tables} for inspection in (first, second)
    )
    rows = []
    for name in dict.fromkeys([*ours, *theirs]):
        pair = {"A": ours.get(name), "B": theirs.get(name)}
        measures = {label: table.measures if table else {} for label, table in pair.items()}
        row = {"table": short(name)}
        for key in ("relative_abundance", "against_random"):
            for label, of_table in measures.items():
                row[f"{COLUMNS[key]} {label}"] = _number(of_table, key)
        before, after = (of_table.get("against_random") for of_table in measures.values())
        row["B - A"] = "-" if before is None or after is None else f"{after - before:+.3f}"
        for label, table in pair.items():
            row[f"verdict {label}"] = table.verdict if table else "-"
        rows.append(row)
    return rows


def aligned(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of `table` or `comparison` for a terminal; numbers stand to the right."""
    titles = list(rows[0])
    widths = {title: max(len(title), *(len(row[title]) for row in rows)) for title in titles}
    lines = []
    for row in (dict(zip(titles, titles, strict=True)), *rows):
        cells = [
            row[title].ljust(width)
            if title == "table" or title.startswith(("verdict", "known"))
            else row[title].rjust(width)
            for title, width in widths.items()
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def advice(inspection: Inspection, most: int = 10) -> str:
    """What to try, as a Markdown list: the tables furthest below a random one come first."""
    first = inspection.worst_first[:most]
    return "\n".join(f"- {code(one.name)}, {one.verdict}: {one.advice}" for one in first)


def code(name: str) -> str:
    """A name as a Markdown code span, whatever is in it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    return f"{fence} {short(name)} {fence}" if "`" in name else f"`{short(name)}`"


def versions() -> dict[str, str]:
    """What the measuring was done with."""
    return {name: version(name) for name in ("embedding-collapse", "torch", "numpy")}


def measured_with(inspection: Inspection) -> str:
    """What was asked for and which versions measured it, in a sentence."""
    asked = ", ".join(f"{option} {short(value)}" for option, value in inspection.asked.items())
    made = ", ".join(f"{name} {number}" for name, number in versions().items())
    return f"Measured with {made}; {f'asked for: {asked}' if asked else 'as guessed, no options'}."


def count(number: int, noun: str) -> str:
    """A number and its noun: "1 table", "2 tables"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _number(measures: Mapping[str, float] | None, name: str) -> str:
    """A measure as text; a dash where there is none."""
    value = (measures or {}).get(name)
    if value is None:
        return "-"
    if name.startswith("directions"):
        return f"{value:.0f}" if value == int(value) else f"{value:.1f}"
    return f"{value:.3f}" if name in ("relative_abundance", "against_random") else f"{value:.2f}"
