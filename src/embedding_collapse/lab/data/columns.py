"""From the columns of a batch to fields: what each value stands for, which rows can be used."""

import hashlib
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_collapse.parameters import short

from .bins import whole_number_bins
from .reading import SHOWN, Batch, Table, is_utf8, matching
from .times import ACCEPTED, NUMBER, PARTS, moments, ranks
from .vocabulary import MINIMUM_COUNT

WHOLE = r"^-?[0-9]{1,18}(\.0*)?$"
NOTHING = ("nan", "NaN", "NaT", "<NA>", "\\N")  # what only tools write, for a blank
# in small letters: a blank among numbers and times, else a word
MISSING = (*map(str.lower, NOTHING[1:]), "na", "n/a", "null", "none")
LONGEST = 40  # characters that a message shows of a value

Kind = Literal["categorical", "whole", "numeric", "hour", "weekday"]
NOUN = {
    "categorical": "UTF-8 text",
    "whole": "a whole number",
    "numeric": "a number",
    "hour": ACCEPTED,
    "weekday": ACCEPTED,
}


class Source(NamedTuple):
    """A table, and what its columns mean.

    Attributes:
        name: of the dataset.
        table: where the rows are.
        label: the label's column.
        labels: 0 or 1 for each value that the label may have, in small letters; a whole number may
            also be 1.0 or 1.00, and blanks beside it don't matter.
        fields: kind of each field: "categorical" (a value is a feature), "whole" (whole numbers in
            the paper's bins), "numeric" (in bins of about equal size), "hour" or "weekday" (of a
            timestamp).
        columns: of the fields whose column has another name.
        positive, threshold, split_by: see `DataSpec`.
        held_out: tables of the same columns to validate and to test on, where the data say so.
        minimum_count: the fewest rows with which a value keeps an id of its own.
        notes: what opening it brought up.
    """

    name: str
    table: Table
    label: str
    labels: dict[str, int]
    fields: dict[str, Kind]
    columns: Mapping[str, str] = MappingProxyType({})
    positive: tuple[str, ...] = ()
    threshold: float | None = None
    split_by: str | None = None
    held_out: tuple[Table, ...] = ()
    minimum_count: int = MINIMUM_COUNT
    notes: tuple[str, ...] = ()

    def column_of(self, field: str) -> str:
        """Where a field's values are read."""
        return self.columns.get(field, field)

    @property
    def parts(self) -> list["Source"]:
        """This one, and likewise what is held out."""
        return [self._replace(table=table) for table in (self.table, *self.held_out)]

    def content(self, progress: bool) -> str:
        """Hash of all that is read; told whether to show a bar."""
        sums = [part.table.content(progress) for part in self.parts]
        return hashlib.sha256("".join(sums).encode()).hexdigest() if self.held_out else sums[0]

    @property
    def wanted(self) -> list[str]:
        """The columns to read."""
        order = [self.split_by] if self.split_by else []
        return list(dict.fromkeys([self.label, *map(self.column_of, self.fields), *order]))

    def label_of(self, value: str) -> int | None:
        """0 or 1; None for what is no label."""
        if self.positive:
            blank = not value or value in NOTHING
            return 1 if value in self.positive else None if blank else 0
        if self.threshold is not None:
            return int(float(value) >= self.threshold) if re.match(NUMBER, value) else None
        return self.labels.get(re.sub(r"(?<=^[01])\.0+$", "", value.strip().lower()))

    @property
    def accepted(self) -> str:
        """What the label may be, for messages."""
        if self.positive:
            return "a value"
        if self.threshold is not None:
            return "a number"
        truth = ", true or false" if "true" in self.labels else ""
        return " or ".join(value for value in self.labels if value.isdigit()) + truth


class Accepted(NamedTuple):
    """The rows of a batch that can be used.

    Attributes:
        codes: int32 `[N, rows]`, number of the value in the batch.
        values: of each field.
        labels: uint8 `[rows]`.
        numbers: int64 `[rows]`, of the rows in the batch, from 0 up.
        rejected: int64, ascending, numbers of the other rows in the batch.
        why: what is wrong with the first `SHOWN` of these.
        quoted: see `Batch`.
        label_values: all that the label's column holds.
        order: float64 or int64 `[rows]`, what the rows are split by, if they are.
        order_kinds: whether these are "numbers" or "times".
    """

    codes: np.ndarray
    values: list[pa.StringArray]
    labels: np.ndarray
    numbers: np.ndarray
    rejected: np.ndarray
    label_values: list[str]
    order: np.ndarray | None
    order_kinds: set[str]
    why: dict[int, str]
    quoted: tuple[int, int]

    def first(self, rows: int) -> "Accepted":
        """The batch as if it ended after so many rows."""
        return self._replace(
            codes=self.codes[:, :rows],
            labels=self.labels[:rows],
            numbers=self.numbers[:rows],
            rejected=self.rejected[self.rejected < self.numbers[rows - 1]],
            order=None if self.order is None else self.order[:rows],
            quoted=self.quoted if self.quoted[1] <= self.numbers[rows - 1] else (0, 0),
        )


def accept(source: Source, task: Callable[[], Batch]) -> Accepted:
    """Read a batch and tell its usable rows from the others."""
    batch = task()
    codes = np.empty((len(source.fields), batch.rows), np.int32)
    values, kept = [], np.ones(batch.rows, bool)
    wrong: dict[int, str] = {}
    for i, (name, kind) in enumerate(source.fields.items()):
        column = batch.columns[source.column_of(name)]
        codes[i] = column.indices
        texts, usable = meaning(column.dictionary, kind)
        values.append(texts)
        reject(kept, wrong, column, usable, source.column_of(name), NOUN[kind])
    label = batch.columns[source.label]
    label_values = [_show(value) for value in label.dictionary.to_pylist()]
    given = list(map(source.label_of, label_values))
    usable = np.array([value is not None for value in given], bool)
    reject(kept, wrong, label, usable, source.label, source.accepted)
    labels = np.array([value or 0 for value in given], np.uint8).take(label.indices)
    order, kinds = None, set[str]()
    if source.split_by:
        column = batch.columns[source.split_by]
        keys, kinds = ranks(meaning(column.dictionary, "categorical")[0])
        reject(kept, wrong, column, ~np.isnan(keys), source.split_by, f"a number or {ACCEPTED}")
        order = keys.take(column.indices)

    numbers = batch.numbers
    why = {int(numbers[row]): reason for row, reason in wrong.items()}
    for number, columns in zip(batch.skipped.tolist(), batch.counts, strict=False):
        why[number] = f"{columns} columns, {len(source.table.names)} are needed"
    rejected = np.sort(np.concatenate([numbers[~kept], batch.skipped]))
    if not kept.all():
        codes, labels, numbers = codes[:, kept], labels[kept], numbers[kept]
        order = None if order is None else order[kept]
    told = order, kinds, why, batch.quoted
    return Accepted(codes, values, labels, numbers, rejected, label_values, *told)


def reject(
    kept: np.ndarray,
    wrong: dict[int, str],
    column: pa.DictionaryArray,
    usable: np.ndarray,
    name: str,
    needed: str,
) -> None:
    """Take out the rows whose value cannot be used, and tell why of the first of them."""
    if usable.all():
        return
    codes = column.indices.to_numpy()
    rows = np.flatnonzero(kept & ~usable[codes])
    kept[rows] = False
    for row in rows[:SHOWN].tolist():
        value = _show(column.dictionary[codes[row]].as_py())
        value = value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
        wrong[row] = f"{short(name)} is {value!r}, not {needed}"


def _show(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def blanked(texts: pa.StringArray) -> pa.StringArray:
    """Texts with "" for what `MISSING` lists."""
    return pc.if_else(pc.is_in(pc.utf8_lower(texts), pa.array(MISSING)), "", texts)


def meaning(values: pa.BinaryArray, kind: Kind) -> tuple[pa.StringArray, np.ndarray]:
    """What the values of a column stand for, and which of them (bool) are what they should be.

    A blank is a value of every kind, and stands for those that cannot be used as well; among
    numbers and times what `MISSING` lists is one too. Whole numbers become the names of their bins.
    """
    try:
        texts, usable = values.cast(pa.string()), np.ones(len(values), bool)
    except pa.ArrowInvalid:  # not UTF-8
        usable = np.array([is_utf8(value) for value in values.to_pylist()])
        texts = pc.if_else(usable, values, b"").cast(pa.string())
    if kind == "categorical":
        return texts, usable
    if kind != "whole":
        texts = blanked(texts)
    named = np.full(len(texts), "", object)
    if kind in PARTS:
        seconds = moments(texts)
        fits = ~np.isnan(seconds)
        named[fits] = PARTS[kind](seconds[fits])
    else:
        fits = matching(texts, WHOLE if kind == "whole" else NUMBER)
    usable &= fits | pc.equal(texts, "").to_numpy(zero_copy_only=False)
    if kind == "numeric":
        return pc.if_else(fits, texts, ""), usable
    if kind == "whole":
        digits = pc.replace_substring_regex(texts.filter(pa.array(fits)), r"\.0*$", "")
        named[fits] = whole_number_bins(digits.cast(pa.int64()).to_numpy())
    return pa.array(named, pa.string()), usable
