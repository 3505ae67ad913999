"""A checkpoint's tables, measured one by one; and what is printed of them."""

import glob
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from embedding_collapse.collapse import MEASURES, inspect_table
from embedding_collapse.parameters import ParameterError, count, listed, printable, short
from embedding_collapse.verdict import (
    COLLAPSED,
    COLLAPSED_IS,
    HEALTHY_IS,
    OFFSET_IS,
    PARTLY,
    PARTLY_IS,
    UNMEASURED_IS,
    UNTRAINED_IS,
    VERDICTS,
    Collapse,
)

from . import tables, weights
from .field_dims import FieldDims, fields_of, read_field_dims, record_beside
from .recognition import GUESS
from .row_weights import RowWeights, match, read_counts
from .tables import LeftOut

NUMBER = re.compile(r"(?<![^./_\[(])\d+(?![^./_\])])")  # of a layer, in a name
MOST_NAMES = 6  # of what shares a line
MOST_FINDINGS = 10  # that are printed
PACKED = "torch.ScriptObject"  # what stands for a quantised layer's weights
HEADLINES = {
    COLLAPSED_IS: "collapsed",
    UNTRAINED_IS: "rare rows that hide what training did to the others",
    PARTLY_IS: "collapsed in part",
    OFFSET_IS: "an offset that all rows share, and none has collapsed",
}
NOTABLE = VERDICTS[: VERDICTS.index(UNMEASURED_IS)]  # verdicts that ask for something


@dataclass(frozen=True)
class Inspection:
    """The tables of a checkpoint, measured; printed, it is what the command prints.

    Attributes:
        name: of the file.
        tables: in the file's order.
        left_out: every other tensor of two or three dimensions, and why it was not measured.
        asked: what the caller asked for, by the options' names.
        remarks: notes of what was given.
    """

    name: str
    tables: list[Collapse]
    left_out: list[LeftOut]
    asked: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """The worst verdict in one short sentence."""
        total, counts = len(self.tables), Counter(table.verdict for table in self.tables)
        number = counts[UNMEASURED_IS]
        unmeasured = f", {number:,} not measured" if number else ""
        for verdict, predicate in HEADLINES.items():
            if number := counts[verdict]:
                has = "has" if number == 1 else "have"
                return f"{number:,} of {count(total, 'table')} {has} {predicate}{unmeasured}"
        if counts[HEALTHY_IS]:
            return f"{count(total, 'table')}, none of them collapsed{unmeasured}"
        return f"{count(total, 'table')}, and no verdict{unmeasured}"

    @property
    def summary(self) -> str:
        """How many tables got which verdict, and which is the first to look at."""
        counts = Counter(table.verdict for table in self.tables)
        verdicts = ", ".join(f"{counts[one]} {one}" for one in VERDICTS if counts[one])
        text = f"{count(len(self.tables), 'table')}: {verdicts}."
        if len(self.tables) > 1:
            worst = self.worst_first[0]
            text += f" The first to look at: {short(worst.name)}, {worst.verdict}."
        return text

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the tables, and of what was not measured; a line each.

        Tensors that were left out for the same reason share a line, and those whose names differ in
        a number alone share an entry.
        """
        notes = [f"{short(t.name)}: {printable(t.note)}" for t in self.tables if t.note]
        notes += self.remarks
        if guesses := sum(table.known_by.endswith(GUESS) for table in self.tables):
            notes.append(f"{guesses:,} taken for tables by a guess; --exclude PATTERN leaves out")
        reasons: dict[str, dict[str, list[str]]] = {}
        for tensor in self.left_out:
            shape = " x ".join(f"{extent:,}" for extent in tensor.shape)
            alike = f"{NUMBER.sub('*', short(tensor.name))} {shape}"
            those = reasons.setdefault(tensor.why, {}).setdefault(alike, [])
            those.append(f"{short(tensor.name)} {shape}")
        for why, entries in reasons.items():
            names = [
                f"{len(those)} times {alike}" if len(those) > 1 else those[0]
                for alike, those in entries.items()
            ]
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
        return [t for t in worst if t.verdict in NOTABLE] or [t for t in worst if t.measures]

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
            "notes": self.notes,
            "not measured": [one._asdict() for one in self.left_out],
            "asked": self.asked,
            "versions": versions(),
        }


def inspect(
    checkpoint: str | Path | nn.Module | Mapping[str, Any],
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    field_dims: FieldDims | None = None,
    sets: int | None = None,
    row_weights: RowWeights | None = None,
    progress: bool = False,
) -> Inspection:
    """Measure every embedding table of a checkpoint.

    Args:
        checkpoint: a file or folder, see `weights.read`; or a module, or its tensors by name.
            Of a table of three dimensions the shorter of the two first is taken for its sets; a
            `MultiEmbedding`'s, whose names hold "stacked.", have them first.
        include, exclude, field_dims, sets: see `tables.find`. Without `field_dims` they come from
            the record beside the checkpoint, where this library wrote one.
        row_weights: a `.npy` file with one number per row, for the tables with that many rows; a
            `.npz` of such by the tables' names; or such an array, or arrays by name.
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
    record = None
    if isinstance(checkpoint, str | os.PathLike):
        weights.check(path := weights.named(checkpoint))
        record = record_beside(path)
        name, tensors = path.name, weights.read(path)
    elif isinstance(checkpoint, nn.Module | Mapping):
        name = type(checkpoint).__name__
        if isinstance(checkpoint, Mapping):  # such as numpy's of an archive
            checkpoint = dict(checkpoint)
        tensors = weights.tensors_in(checkpoint, name, name)
    else:
        raise ParameterError(
            f"checkpoint is {type(checkpoint).__name__}; a path, a module and tensors by name are "
            "accepted, and measure() takes a table alone"
        )
    if field_dims is not None:
        field_dims = read_field_dims(field_dims)
    include, exclude = tables.patterns(include), tables.patterns(exclude)
    if (
        field_dims is None
        and record is not None
        and "table" in tensors
        and tables.reading("table", tensors, include, exclude, tensors.known).is_table
    ):
        field_dims = fields_of(record)
    try:
        embeddings, left_out = tables.find(
            tensors,
            include=include,
            exclude=exclude,
            field_dims=field_dims,
            sets=sets,
            known=tensors.known,
        )
    except tables.NoTableError as error:
        packed = f"; {_packed(name)}" if PACKED in tensors.strangers else ""
        raise tables.NoTableError(f"{name}: {error}{packed}{_beside(checkpoint)}") from None
    row_weights_of: list[Tensor | None] = [None] * len(embeddings)
    called, remark = "row_weights", ""
    if row_weights is not None:
        if isinstance(row_weights, str | os.PathLike):
            called = Path(row_weights).name
        row_weights_of, remark = match(read_counts(row_weights), embeddings, called)
    bar = tqdm(embeddings, "measuring", unit="table", disable=not progress, delay=3)
    measured = [
        inspect_table(one.values, weight, name=one.name, known_by=one.known_by, note=one.note)
        for one, weight in zip(bar, row_weights_of, strict=True)
    ]
    asked = {
        "--tables": ", ".join(include),
        "--exclude": ", ".join(exclude),
        "--field-dims": "" if field_dims is None else f"{len(field_dims):,} fields",
        "--sets": "" if sets is None else str(sets),
        "--rows-weight": "" if row_weights is None else called,
    }
    given = {option: value for option, value in asked.items() if value}
    remarks = [remark] if remark else []
    if tensors.strangers:
        classes = listed([short(one) for one in tensors.strangers], MOST_NAMES)
        remarks.append(
            f"{name} holds objects of {classes}: none of their code was run, and the tensors in "
            "them were read"
        )
    if PACKED in tensors.strangers:
        remarks.append(_packed(name))
    # not of one far larger than others: where each field has its own, sizes differ as much
    if len(embeddings) == 1 and field_dims is None and not isinstance(checkpoint, nn.Module):
        remarks.append("it is the only table; if it joins several fields, --field-dims cuts it")
    return Inspection(name, measured, left_out, given, remarks)


def _packed(name: str) -> str:
    return f"{name} has packed weights that are not read ({PACKED}); its state_dict() has them open"


def _beside(checkpoint: Any) -> str:
    """The arrays that lie beside a file under its name, as gensim saves large ones; or ""."""
    if not isinstance(checkpoint, str | os.PathLike):
        return ""
    path = weights.named(Path(checkpoint))
    arrays = sorted(one.name for one in path.parent.glob(f"{glob.escape(path.name)}.*.npy"))
    return f"; beside it lies {listed(map(short, arrays), MOST_NAMES)}" if arrays else ""


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
            **{title: number(table.measures, name) for name, title in MEASURES.items()},
            "random tables": "{:.2f} to {:.2f}".format(*table.band) if table.measures else "-",
            "IA/random, centred": number(table.centred, "against_random"),
        }
        if weighted:
            row["IA/random, weighted"] = number(table.weighted, "against_random")
        rows.append(row | {"verdict": table.verdict, "known by": table.known_by})
    return rows


def aligned(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of `table` or `comparison.comparison` for a terminal; numbers stand to the right."""
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


def number(measures: Mapping[str, float] | None, name: str) -> str:
    """A measure as text; a dash where there is none."""
    value = (measures or {}).get(name)
    if value is None:
        return "-"
    if name.startswith("directions"):
        return f"{value:.0f}" if value == int(value) else f"{value:.1f}"
    return f"{value:.3f}" if name in ("relative_abundance", "against_random") else f"{value:.2f}"
