"""What the ids of a table stand for, so that rows it never held have ids too."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import bdtrc  # scipy.stats takes long to import

from embedding_collapse.parameters import ParameterError, at_home, count, listed, printable, short

from .columns import NOUN, meaning, reject
from .entry import Entry, blanks, read_bins, written_bins
from .reading import SHOWN, Batch, Table
from .sources import check_columns, open_rows, own_names
from .typed import open_frame
from .vocabulary import RARE

LOG = logging.getLogger(__name__)
VERSION = 3  # of what reading and encoding make of a table: raise it with any change to that
PART = 1 << 18  # rows that are numbered at once
FEW = 0.01  # a share of rows in the rare bucket that is not told
CHANCE = 1e-3  # of a note where there is nothing to tell


class Codebook(NamedTuple):
    """How a dataset's ids were made of a table, enough to make those of other rows.

    Attributes:
        fingerprint: of the dataset.
        entries: of its fields.
    """

    fingerprint: str
    entries: tuple[Entry, ...]

    @property
    def cardinalities(self) -> list[int]:
        """Ids per field, the rare bucket included."""
        return [len(entry.values) + 1 for entry in self.entries]

    def number(self, rows: Any, *, progress: bool = False) -> np.ndarray:
        """The ids of rows, int32 `[rows, N]`, as reading the dataset would have given them.

        A value without an id of its own, never seen or rare, is in the field's rare bucket; a note
        in the log says in which fields clearly more are than in training, and whose bucket no row
        trained. Whole numbers, truth values and blanks may be written as other tools do: 3 as 3.0,
        true as True, 02139 as 2139 where all have five digits, and "NA" as a blank, which is told;
        so may those that were too rare in training for an id, beside a spelling that was not. A
        value that cannot be used, such as a text among numbers, counts as a blank, and a note says
        how many rows have one.

        Args:
            rows: a DataFrame or a file, as `data.load` takes them; with the columns of the fields,
                in any order, blanks around their names or not, and whatever others. Criteo's text
                needs no header.
            progress: show a bar where reading takes more than a few seconds.

        Raises:
            ParameterError: a column that is not there, or no rows, or what cannot be read.
        """
        return np.concatenate(list(self.parts(rows, progress=progress)))

    def parts(self, rows: Any, *, progress: bool = False) -> Iterator[np.ndarray]:
        """The same some rows at a time, in memory that does not grow with them."""
        wanted = list(dict.fromkeys(entry.column for entry in self.entries))
        if isinstance(rows, str | Path):
            table = open_rows(at_home(rows), wanted)
        else:
            table = open_frame(rows, wanted, least=1)
        own = dict(zip(wanted, own_names(table, wanted), strict=True))
        check_columns(table, list(own.values()), others=False)
        entries = tuple(entry._replace(column=own[entry.column]) for entry in self.entries)
        told = _Told()
        for batches in _groups(table, list(own.values()), progress):
            yield self._replace(entries=entries)._number(table, batches, told)
        for note in told.notes(self.entries, table.unit):
            LOG.warning("%s", printable(f"{table.path}: {note}"))

    def _number(self, table: Table, batches: list[Batch], told: "_Told") -> np.ndarray:
        """The ids of some rows, int32 `[rows, N]`."""
        ids = np.empty((sum(batch.rows for batch in batches), len(self.entries)), np.int32)
        kept = [np.ones(batch.rows, bool) for batch in batches]
        wrong: list[dict[int, str]] = [{} for _ in batches]
        empty = np.ones(len(ids), bool)
        for i, entry in enumerate(self.entries):
            columns = [batch.columns[entry.column] for batch in batches]
            texts = []
            for column, own, why in zip(columns, kept, wrong, strict=True):
                meant, usable = meaning(column.dictionary, entry.kind)
                texts.append(meant)
                reject(own, why, column, usable, entry.column, NOUN[entry.kind])
            values = pa.chunked_array(texts, pa.string())
            of_values, none = entry.number(values), blanks(values).to_numpy()
            blank = pc.equal(values, "").to_numpy()
            starts = np.cumsum([0, *map(len, texts)]).tolist()
            places = np.concatenate(
                [
                    np.asarray(one.indices) + start
                    for one, start in zip(columns, starts, strict=False)
                ]
            )
            ids[:, i] = of_values[places]
            empty &= blank[places]
            counts = np.bincount(places, minlength=len(values))
            rare = of_values == RARE
            told.rare[entry.field] += int(counts[rare].sum())
            told.blank[entry.field] += int(counts[rare & none].sum())
            if entry.kind == "categorical":
                for place in np.flatnonzero(none & ~rare).tolist():
                    text, known = values[place].as_py(), entry.values[of_values[place] - 1].as_py()
                    if text != known:
                        told.spelled[entry.field, text, known] += int(counts[place])
        told.empty += int((empty & np.concatenate(kept)).sum())  # where all can be used
        told.reject(kept, wrong, table.first)
        return ids

    def written(self) -> dict[str, Any]:
        """As JSON takes it; numbers as text, for JSON has no infinity."""
        return {
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "entries": [
                entry._asdict()
                | {"values": entry.values.to_pylist(), "bins": written_bins(entry.bins)}
                for entry in self.entries
            ],
        }

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> "Codebook":
        """The codebook that was written so, by a version of the same `VERSION`."""
        entries = [
            Entry(**entry)._replace(
                values=pa.array(entry["values"], pa.string()), bins=read_bins(entry["bins"])
            )
            for entry in written["entries"]
        ]
        return cls(written["fingerprint"], tuple(entries))


@dataclass
class _Told:
    """What numbering rows brings up.

    Attributes:
        rows: how many there were.
        lost: how many of them have a value that cannot be used.
        empty: how many of them are blank in every field, as an empty line of text is.
        shown: number of the row, and what is wrong with it, of the first of these.
        spelled: rows with a blank of some field, by that, its spelling, and that in training.
        rare, blank: by field, the rows that are in the rare bucket, and those of them that are
            blank.
    """

    rows: int = 0
    lost: int = 0
    empty: int = 0
    shown: list[tuple[int, str]] = field(default_factory=list)
    spelled: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    rare: Counter[str] = field(default_factory=Counter)
    blank: Counter[str] = field(default_factory=Counter)

    def reject(self, kept: list[np.ndarray], wrong: list[dict[int, str]], first: int) -> None:
        """Take in which rows of some batches can be used, and what is wrong with others."""
        for own, why in zip(kept, wrong, strict=True):
            start = first + self.rows
            self.shown += [(start + row, reason) for row, reason in sorted(why.items())]
            self.shown = self.shown[:SHOWN]
            self.lost += int((~own).sum())
            self.rows += len(own)

    def notes(self, entries: Sequence[Entry], unit: str) -> Iterator[str]:
        """In sentences."""
        if self.lost:
            more = "; ..." if self.lost > SHOWN else ""
            reasons = "; ".join(f"{unit} {row}: {why}" for row, why in self.shown)
            what = f"{count(self.lost, 'row')} with a value that cannot be used, taken for a blank"
            yield f"{what}: {reasons}{more}"
        if self.empty:
            yield f"{count(self.empty, 'row')} blank in every field, as an empty line is"
        for (name, text, known), rows in self.spelled.items():
            yield (
                f"{count(rows, 'row')} of {short(name)} with {text!r} taken for {known!r}, "
                "the one spelling of a blank that training had"
            )
        for entry in entries:
            rare, blank = self.rare[entry.field], self.blank[entry.field]
            if bdtrc(rare - 1, self.rows, _usual(entry.rare)) < CHANCE:
                none = f" ({blank:,} of them blank)" if blank else ""
                yield (
                    f"{rare / self.rows:.1%} of the rows{none} have a value of "
                    f"{short(entry.field)} that is new or rare, {entry.rare:.1%} of those it was "
                    "trained on"
                )
        bare = {
            entry.field: self.rare[entry.field]
            for entry in entries
            if self.rare[entry.field] and not entry.rare
        }
        if bare:
            yield (
                f"nothing trained the rare bucket of {listed(bare, 200)}, where up to "
                f"{count(max(bare.values()), 'row')} of {self.rows:,} are; a larger min_count in "
                "training puts rare values there"
            )


def _usual(rare: float) -> float:
    """The share of new rows that may be in the bucket where `rare` of the training rows were, with
    nothing to tell: more are, as some have values that no training row had. Up to twice the odds;
    a binomial test asks whether it is more."""
    return max(FEW, 2 * rare / (1 + rare))


def _groups(table: Table, wanted: list[str], progress: bool) -> Iterator[list[Batch]]:
    """The batches of a table, together of `PART` rows or little more.

    Raises:
        ParameterError: there are no rows, or one has not as many columns as it should have: a score
            for each comes in their order.
    """
    number, group, rows = table.first, list[Batch](), 0
    for task in table.read(wanted, progress):
        batch = task()
        if len(batch.skipped):
            raise ParameterError(
                f"path is {short(table.path)!r}; {table.unit} {number + int(batch.skipped[0])} has "
                f"{count(batch.counts[0], 'column')}, {len(table.names)} are needed in each"
            )
        group.append(batch)
        number, rows = number + batch.rows, rows + batch.rows
        if rows >= PART:
            yield group
            group, rows = [], 0
    if rows:
        yield group
    if number == table.first:
        raise ParameterError(f"path is {short(table.path)!r}, which holds no rows; one is needed")
