"""From the columns of a batch to fields: what each value stands for, which rows can be used."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_collapse.parameters import short

from .bins import whole_number_bins
from .reading import SHOWN, Batch, Table, is_utf8
from .vocabulary import MINIMUM_COUNT

WHOLE = r"^-?[0-9]{1,18}(\.0*)?$"
NUMBER = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
LONGEST = 40  # characters that a message shows of a value

Kind = Literal["categorical", "whole", "numeric"]
NOUN = {"categorical": "UTF-8 text", "whole": "a whole number", "numeric": "a number"}


class Source(NamedTuple):
    """A table, and what its columns mean.

    Attributes:
        name: of the dataset.
        table: where the rows are.
        label: the label's column.
        labels: 0 or 1 for each value that the label may have.
        fields: kind of each column that is a field: "categorical" (a value is a feature), "whole"
            (whole numbers in the paper's bins) or "numeric" (in bins of about equal size).
        minimum_count: the fewest rows with which a value keeps an id of its own.
        notes: what opening it brought up.
    """

    name: str
    table: Table
    label: str
    labels: dict[str, int]
    fields: dict[str, Kind]
    minimum_count: int = MINIMUM_COUNT
    notes: tuple[str, ...] = ()


class Accepted(NamedTuple):
    """The rows of a batch that can be used.

    Attributes:
        codes: int32 `[N, rows]`, number of the value in the batch.
        values: of each field.
        labels: uint8 `[rows]`.
        numbers: int64 `[rows]`, of the rows in the batch, from 0 up.
        rejected: int64, ascending, numbers of the other rows in the batch.
        why: what is wrong with the first `SHOWN` of these.
    """

    codes: np.ndarray
    values: list[pa.StringArray]
    labels: np.ndarray
    numbers: np.ndarray
    rejected: np.ndarray
    why: dict[int, str]

    def first(self, rows: int) -> "Accepted":
        """The batch as if it ended after so many rows."""
        return Accepted(
            self.codes[:, :rows],
            self.values,
            self.labels[:rows],
            self.numbers[:rows],
            self.rejected[self.rejected < self.numbers[rows - 1]],
            self.why,
        )


def accept(source: Source, task: Callable[[], Batch]) -> Accepted:
    """Read a batch and tell its usable rows from the others."""
    batch = task()
    codes = np.empty((len(source.fields), batch.rows), np.int32)
    values, kept = [], np.ones(batch.rows, bool)
    wrong: dict[int, str] = {}
    for i, (name, kind) in enumerate(source.fields.items()):
        column = batch.columns[name]
        codes[i] = column.indices
        texts, usable = meaning(column.dictionary, kind)
        values.append(texts)
        _reject(kept, wrong, column, usable, name, NOUN[kind])
    label = batch.columns[source.label]
    given = [source.labels.get(_show(value)) for value in label.dictionary.to_pylist()]
    usable = np.array([value is not None for value in given], bool)
    accepted = " or ".join(value for value in source.labels if value.isdigit())
    _reject(kept, wrong, label, usable, source.label, accepted)
    labels = np.array([value or 0 for value in given], np.uint8).take(label.indices)

    numbers = batch.numbers
    why = {int(numbers[row]): reason for row, reason in wrong.items()}
    for number, columns in zip(batch.skipped.tolist(), batch.counts, strict=False):
        why[number] = f"{columns} columns, {len(source.table.names)} are needed"
    rejected = np.sort(np.concatenate([numbers[~kept], batch.skipped]))
    if not kept.all():
        codes, labels, numbers = codes[:, kept], labels[kept], numbers[kept]
    return Accepted(codes, values, labels, numbers, rejected, why)


def _reject(
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


def meaning(values: pa.BinaryArray, kind: Kind) -> tuple[pa.StringArray, np.ndarray]:
    """What the values of a column stand for, and which of them (bool) are what they should be.

    A blank is a value of every kind, and stands for those that cannot be used as well. Whole
    numbers become the names of their bins.
    """
    try:
        texts, usable = values.cast(pa.string()), np.ones(len(values), bool)
    except pa.ArrowInvalid:  # not UTF-8
        usable = np.array([is_utf8(value) for value in values.to_pylist()])
        texts = pc.if_else(usable, values, b"").cast(pa.string())
    if kind == "categorical":
        return texts, usable
    fits = pc.match_substring_regex(texts, WHOLE if kind == "whole" else NUMBER)
    usable &= pc.or_(fits, pc.equal(texts, "")).to_numpy(zero_copy_only=False)
    if kind == "numeric":
        return pc.if_else(fits, texts, ""), usable
    named = np.full(len(texts), "", object)
    digits = pc.replace_substring_regex(texts.filter(fits), r"\.0*$", "")
    named[fits.to_numpy(zero_copy_only=False)] = whole_number_bins(
        digits.cast(pa.int64()).to_numpy()
    )
    return pa.array(named, pa.string()), usable
