"""What the ids of a table stand for, so that rows it never held have ids too."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_collapse.parameters import ParameterError, count, listed, printable, short

from .bins import Bins
from .columns import NOUN, Kind, Source, meaning, reject
from .reading import SHOWN, Batch, Table
from .sources import check_columns, open_file
from .typed import open_frame
from .vocabulary import RARE

LOG = logging.getLogger(__name__)
TELLING = 10  # rows, from which on it is told that a column has no value that is known


class Entry(NamedTuple):
    """How the values of a column become the ids of a field.

    Attributes:
        field: its name.
        column: where its values are read.
        kind: see `columns.Source`.
        values: strings `[cardinality - 1]`, what the ids from 1 up stand for.
        bins: of a numeric field; None of others, and of one that an earlier version encoded.
    """

    field: str
    column: str
    kind: Kind
    values: pa.StringArray
    bins: Bins | None

    def number(self, texts: pa.ChunkedArray) -> np.ndarray:
        """The ids, int32, of what `columns.meaning` made of values; what has none is `RARE`."""
        known = pc.index_in(texts, value_set=self.values).fill_null(RARE - 1).to_numpy() + 1
        if self.bins is None:
            return known
        blank = pc.equal(texts, "")
        numbers = pc.if_else(blank, "nan", texts).cast(pa.float64()).to_numpy()
        return np.where(blank.to_numpy(), known, self.bins.number(numbers))


class Codebook(NamedTuple):
    """How a dataset's ids were made of a table, enough to make those of other rows.

    Attributes:
        fingerprint: of the dataset.
        entries: of its fields.
    """

    fingerprint: str
    entries: tuple[Entry, ...]

    @classmethod
    def of(
        cls,
        fingerprint: str,
        source: Source,
        values: Mapping[str, pa.StringArray],
        bins: Mapping[str, Any],
    ) -> "Codebook":
        """That of what was read of a source: values by field, and bins as `written_bins` has them;
        an earlier version kept none."""
        entries = (
            Entry(field, source.column_of(field), kind, values[field], read_bins(bins.get(field)))
            for field, kind in source.fields.items()
        )
        return cls(fingerprint, tuple(entries))

    @property
    def whole(self) -> bool:
        """Whether the bins of all numeric fields are known."""
        return all(entry.bins is not None for entry in self.entries if entry.kind == "numeric")

    def number(self, rows: Any, *, progress: bool = False) -> np.ndarray:
        """The ids of rows, int32 `[rows, N]`, as reading the dataset would have given them.

        A value without an id of its own, never seen or rare, is in the field's rare bucket. A value
        that cannot be used, such as a text among numbers, counts as a blank, and a note in the log
        says how many rows have one.

        Args:
            rows: a DataFrame or a file, as `data.load` takes them; with the columns of the fields,
                in any order, and whatever others.
            progress: show a bar where reading takes more than a few seconds.

        Raises:
            ParameterError: a column that is not there, or no rows, or what cannot be read.
        """
        table = open_file(Path(rows).expanduser()) if isinstance(rows, str | Path) else None
        table = open_frame(rows) if table is None else table
        wanted = list(dict.fromkeys(entry.column for entry in self.entries))
        check_columns(table, wanted)
        batches = [task() for task in table.read(wanted, progress)]
        _check(table, batches)
        ids = np.empty((sum(batch.rows for batch in batches), len(self.entries)), np.int32)
        kept = [np.ones(batch.rows, bool) for batch in batches]
        wrong: list[dict[int, str]] = [{} for _ in batches]
        for i, entry in enumerate(self.entries):
            columns = [batch.columns[entry.column] for batch in batches]
            texts = []
            for column, own, why in zip(columns, kept, wrong, strict=True):
                meant, usable = meaning(column.dictionary, entry.kind)
                texts.append(meant)
                reject(own, why, column, usable, entry.column, NOUN[entry.kind])
            of_values = entry.number(pa.chunked_array(texts, pa.string()))
            parts = np.split(of_values, np.cumsum([len(own) for own in texts])[:-1])
            taken = [own.take(column.indices) for own, column in zip(parts, columns, strict=True)]
            ids[:, i] = np.concatenate(taken)
        self._tell(table, ids, kept, wrong)
        return ids

    def _tell(
        self, table: Table, ids: np.ndarray, kept: list[np.ndarray], wrong: list[dict[int, str]]
    ) -> None:
        """What reading the rows brought up."""
        first = table.first + np.cumsum([0, *map(len, kept)])
        shown = [
            f"{table.unit} {start + row}: {why}"
            for start, reasons in zip(first.tolist(), wrong, strict=False)
            for row, why in sorted(reasons.items())
        ]
        notes = []
        if lost := sum(int((~own).sum()) for own in kept):
            more = "; ..." if lost > SHOWN else ""
            what = f"{count(lost, 'row')} with a value that cannot be used, taken for a blank"
            notes.append(f"{what}: {'; '.join(shown[:SHOWN])}{more}")
        unknown = [
            entry.field
            for entry, own in zip(self.entries, ids.T, strict=True)
            if len(entry.values) and len(own) >= TELLING and (own == RARE).all()
        ]
        if unknown:
            notes.append(f"no row has a value that training knew: {listed(unknown, 200)}")
        for note in notes:
            LOG.warning("%s", printable(f"{table.path}: {note}"))

    def written(self) -> dict[str, Any]:
        """As JSON takes it; numbers as text, for JSON has no infinity."""
        return {
            "fingerprint": self.fingerprint,
            "entries": [
                {
                    "field": entry.field,
                    "column": entry.column,
                    "kind": entry.kind,
                    "values": entry.values.to_pylist(),
                    "bins": None if entry.bins is None else written_bins(entry.bins),
                }
                for entry in self.entries
            ],
        }

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> "Codebook":
        """The codebook that was written so."""
        entries = [
            Entry(
                one["field"],
                one["column"],
                cast(Kind, one["kind"]),
                pa.array(one["values"], pa.string()),
                read_bins(one["bins"]),
            )
            for one in written["entries"]
        ]
        return cls(written["fingerprint"], tuple(entries))


def _check(table: Table, batches: list[Batch]) -> None:
    """Raise a `ParameterError` unless there are rows, each with as many columns as it should have:
    a score for each comes in their order."""
    number = table.first
    for batch in batches:
        if len(batch.skipped):
            raise ParameterError(
                f"path is {short(table.path)!r}; {table.unit} {number + int(batch.skipped[0])} has "
                f"{count(batch.counts[0], 'column')}, {len(table.names)} are needed in each"
            )
        number += batch.rows
    if number == table.first:
        raise ParameterError(f"path is {short(table.path)!r}, which holds no rows; one is needed")


def written_bins(bins: Bins) -> dict[str, list[Any]]:
    """Bins as JSON takes them, to the last bit."""
    return {"starts": [str(start) for start in bins.starts.tolist()], "ids": bins.ids.tolist()}


def read_bins(written: Mapping[str, Any] | None) -> Bins | None:
    """The bins that were written so."""
    if written is None:
        return None
    return Bins(np.array(written["starts"], np.float64), np.array(written["ids"], np.int32))
