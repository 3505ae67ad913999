"""From a table to integer ids on disk, in memory that does not grow with the rows.

The table is read once. Each batch numbers its own values, and those numbers go to disk with the
values; then each field's values are put together, counted and given their ids; then the ids take
the numbers' place on disk.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm.auto import tqdm

from ..parameters import ParameterError
from .bins import equal_bins, whole_number_bins
from .cache import stored
from .dataset import Dataset, Field, split_rows
from .parallel import available_cores, in_order
from .reading import Batch, Table
from .vocabulary import MINIMUM_COUNT, RARE, number_values

LOG = logging.getLogger(__name__)
VERSION = 1  # of what the encoding makes of a table: raise it with any change to that
SHOWN = 5  # rejected rows that the notes list
WHOLE = r"^-?[0-9]{1,18}(\.0*)?$"
NUMBER = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
LISTS = pa.schema([("values", pa.list_(pa.string()))])

Kind = Literal["categorical", "whole", "numeric"]
NOUN = {"categorical": "UTF-8 text", "whole": "a whole number", "numeric": "a number"}
T = TypeVar("T")


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
        rejected: what is wrong with the other rows, by their number in the batch.
    """

    codes: np.ndarray
    values: list[pa.StringArray]
    labels: np.ndarray
    numbers: np.ndarray
    rejected: dict[int, str]

    def first(self, rows: int) -> "Accepted":
        """The batch as if it ended after so many rows."""
        last = self.numbers[rows - 1]
        rejected = {number: why for number, why in self.rejected.items() if number < last}
        return Accepted(
            self.codes[:, :rows], self.values, self.labels[:rows], self.numbers[:rows], rejected
        )


class Read(NamedTuple):
    """What was read of a table.

    Attributes:
        codes: int32 `[N, rows]` of each batch, on disk.
        values: of each batch, on disk: the N fields' values.
        labels: uint8 `[rows]`, of all batches.
        total: how many rows were read, rejected ones included.
        rejected: how many cannot be used.
        shown: what is wrong with the first of them.
    """

    codes: list[np.ndarray]
    values: list[pa.ListArray]
    labels: np.ndarray
    total: int
    rejected: int
    shown: list[str]


def encode(
    source: Source,
    *,
    rows: int | None,
    vocabulary: str,
    max_rejected: float,
    cache: str | Path | None,
    workers: int | None,
    progress: bool,
) -> Dataset:
    """Encode a table, or map what was encoded before; see `data.load` for the arguments.

    The ids depend on the table alone, not on the number of workers.

    Returns:
        A `Dataset` over memory maps, with facts `label_rate` and `rejected_share`.

    Raises:
        ParameterError: a table that cannot be read, with too few rows, too many rejected ones, or
            one class only.

    Warns:
        UserWarning: the cache holds a damaged copy; it is encoded anew.
    """
    truth = {
        "version": VERSION,
        "content": source.table.content,
        "label": [source.label, source.labels],
        "fields": list(source.fields.items()),
        "minimum_count": source.minimum_count,
        "vocabulary": vocabulary,
        "rows": rows,
    }

    def build(folder: Path) -> dict[str, Any]:
        with ThreadPoolExecutor(workers or available_cores()) as pool:
            read = _read(source, rows, folder, pool, progress)
            _check(source, rows, max_rejected, read)
            return _number_all(source, vocabulary == "train", read, folder, pool, progress)

    found = stored(source.name, truth, build, cache)
    about = found.about
    _check_rejected(source, max_rejected, about["total"], about["rejected"], about["shown"])
    with pa.memory_map(str(found.folder / "vocabulary.arrow")) as file:
        known = pa.ipc.open_file(file).read_all()["values"].chunk(0)
    fields = [
        Field(name, len(known[i].values) + 1, known[i].values)
        for i, name in enumerate(source.fields)
    ]
    notes = (*source.notes, *_notes(about))
    for note in notes:
        LOG.warning("%s: %s", source.table.path, note)
    facts = {
        "label_rate": float(found.labels.mean()),
        "rejected_share": about["rejected"] / about["total"],
    }
    return Dataset(
        source.name, found.ids, found.labels, tuple(fields), found.fingerprint, facts, notes
    )


def _notes(about: dict[str, Any]) -> Iterator[str]:
    count, shown = about["rejected"], about["shown"]
    if count:
        more = "; ..." if count > len(shown) else ""
        yield f"{count:,} row{'s' * (count > 1)} rejected: {'; '.join(shown)}{more}"
    if about["blank"]:
        yield f"blank in every row: {', '.join(about['blank'])}"
    if about["rare"]:
        yield f"no value is frequent enough for an id of its own: {', '.join(about['rare'])}"


def _check(source: Source, rows: int | None, max_rejected: float, read: Read) -> None:
    have = len(read.labels)
    _check_rejected(source, max_rejected, read.total, read.rejected, read.shown)
    if have < 10:
        held = f"{have} rows that can be used" if have else "no rows"
        raise ParameterError(f"path is {source.table.path!r}, which holds {held}; 10 are needed")
    if rows is not None and have < rows:
        raise ParameterError(
            f"rows is {rows}; {source.table.path!r} has {have} rows, and 10 to {have} are accepted"
        )
    if read.labels.min() == read.labels.max():
        raise ParameterError(
            f"path is {source.table.path!r}, where {source.label} is {read.labels[0]} in all "
            f"{have:,} rows; both classes are needed"
        )


def _check_rejected(
    source: Source, most: float, total: int, rejected: int, shown: list[str]
) -> None:
    if rejected > most * total:
        raise ParameterError(
            f"path is {source.table.path!r}; {rejected:,} of {total:,} rows cannot be used "
            f"({'; '.join(shown)}); a share of {most:g} is accepted, and max_rejected sets it"
        )


# --- reading --------------------------------------------------------------------------------------


def _read(
    source: Source, rows: int | None, folder: Path, pool: ThreadPoolExecutor, progress: bool
) -> Read:
    """Read the table, or as many of its first usable rows as asked for, into two files."""
    count = len(source.fields)
    sizes, labels, rejected, shown = [], [np.empty(0, np.uint8)], 0, []
    number, left = source.table.first, float("inf") if rows is None else rows
    with (
        (folder / "ids.npy").open("wb") as ids,
        pa.OSFile(str(folder / "values.arrow"), "wb") as file,
        pa.ipc.new_stream(file, LISTS) as values,
        closing(source.table.read([source.label, *source.fields], progress)) as batches,
    ):
        _write_header(ids, 0, count)
        tasks = (partial(_accept, source, batch) for batch in batches)
        for batch in in_order(pool, tasks, ahead=pool._max_workers):
            size = len(batch.labels) + len(batch.rejected)
            batch = batch if len(batch.labels) <= left else batch.first(left)
            rejected += len(batch.rejected)
            shown += [
                f"{source.table.unit} {number + place}: {batch.rejected[place]}"
                for place in sorted(batch.rejected)[: SHOWN - len(shown)]
            ]
            number += size
            if len(batch.labels):
                ids.write(np.ascontiguousarray(batch.codes))
                values.write(_lists(batch.values))
                labels.append(batch.labels)
                sizes.append(batch.codes.size)
            left -= len(batch.labels)
            if left == 0:
                break
        labels = np.concatenate(labels)
        ids.seek(0)
        _write_header(ids, len(labels), count)  # numpy leaves room for the number of rows to grow
    np.save(folder / "labels.npy", labels)
    total = len(labels) + rejected
    if len(labels) == 0:
        return Read([], [], labels, total, rejected, shown)
    flat = np.asarray(np.load(folder / "ids.npy", mmap_mode="r+")).reshape(-1)
    codes = [part.reshape(count, -1) for part in np.split(flat, np.cumsum(sizes)[:-1])]
    with pa.memory_map(str(folder / "values.arrow")) as file:
        lists = pa.ipc.open_stream(file).read_all()["values"].chunks
    return Read(codes, lists, labels, total, rejected, shown)


def _write_header(file: Any, rows: int, columns: int) -> None:
    header = {"descr": "<i4", "fortran_order": False, "shape": (rows, columns)}
    np.lib.format.write_array_header_1_0(file, header)


def _lists(values: list[pa.StringArray]) -> pa.RecordBatch:
    """Lists of different lengths as the rows of one column."""
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    return pa.record_batch([pa.ListArray.from_arrays(ends, pa.concat_arrays(values))], LISTS)


def _accept(source: Source, task: Callable[[], Batch]) -> Accepted:
    """Read a batch and tell its usable rows from the others."""
    batch = task()
    codes = np.empty((len(source.fields), batch.rows), np.int32)
    values, wrong = [], {}
    for i, (name, kind) in enumerate(source.fields.items()):
        column = batch.columns[name]
        codes[i] = column.indices
        texts, usable = meaning(column.dictionary, kind)
        values.append(texts)
        _reject(wrong, column, usable, f"{name} is {{}}, not {NOUN[kind]}")
    label = batch.columns[source.label]
    found = [source.labels.get(_show(value)) for value in label.dictionary.to_pylist()]
    usable = np.array([value is not None for value in found], bool)
    _reject(wrong, label, usable, f"{source.label} is {{}}, not {' or '.join(source.labels)}")
    labels = np.array([value or 0 for value in found], np.uint8).take(label.indices)

    numbers = batch.numbers
    rejected = {int(numbers[row]): why for row, why in wrong.items()}
    for number, columns in batch.skipped.items():
        rejected[number] = f"{columns} columns, {len(source.table.names)} are needed"
    if wrong:
        kept = np.delete(np.arange(batch.rows), list(wrong))
        codes, labels, numbers = codes[:, kept], labels[kept], numbers[kept]
    return Accepted(codes, values, labels, numbers, rejected)


def _reject(
    wrong: dict[int, str], column: pa.DictionaryArray, usable: np.ndarray, why: str
) -> None:
    """Note the rows whose value cannot be used, save those noted already."""
    if usable.all():
        return
    codes = column.indices.to_numpy()
    for row in np.flatnonzero(~usable[codes]).tolist():
        wrong.setdefault(row, why.format(repr(_show(column.dictionary[codes[row]].as_py()))))


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
        usable = np.array([_is_utf8(value) for value in values.to_pylist()])
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


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- numbering ------------------------------------------------------------------------------------


def _number_all(
    source: Source,
    train_only: bool,
    read: Read,
    folder: Path,
    pool: ThreadPoolExecutor,
    progress: bool,
) -> dict[str, Any]:
    """Turn what was read into ids, on disk, and write down what they stand for."""
    names, minimum = list(source.fields), source.minimum_count
    counted = [slice(None)] * len(read.codes)
    if train_only:
        train = np.zeros(len(read.labels), bool)
        train[split_rows(len(train))[0]] = True
        counted = np.split(train, np.cumsum([codes.shape[1] for codes in read.codes])[:-1])

    # the id of each value, batch by batch and in it field by field: too many to hold in memory
    sizes = [len(lists[i].values) for lists in read.values for i in range(len(names))]
    ids_file = np.memmap(folder / "numbers", np.int32, "w+", shape=sum(sizes))
    ids = np.split(np.asarray(ids_file), np.cumsum(sizes)[:-1])

    def number(field: int) -> tuple[pa.StringArray, bool]:
        """Give a field's values their ids.

        Returns what the ids from 1 up stand for, and whether all rows are blank.
        """
        seen = pa.chunked_array([lists[field].values for lists in read.values])
        seen = seen.dictionary_encode().chunks  # each with the dictionary of them all
        places = [chunk.indices.to_numpy() for chunk in seen]
        values = seen[0].dictionary
        counts = np.zeros(len(values), np.int64)
        for codes, among, place in zip(read.codes, counted, places, strict=True):
            here = np.bincount(codes[field][among], minlength=len(place))
            np.add.at(counts, place, here)
        only_blank = counts.sum() == counts[np.array(pc.equal(values, ""))].sum()
        group = np.arange(len(values))
        if source.fields[names[field]] == "numeric":
            numbers = pc.if_else(pc.equal(values, ""), "nan", values).cast(pa.float64()).to_numpy()
            values = pa.array(equal_bins(numbers, counts), pa.string()).dictionary_encode()
            group, values = values.indices.to_numpy(), values.dictionary
            counts = np.bincount(group, counts).astype(np.int64)
        numbering = number_values(counts, minimum)
        for batch, place in enumerate(places):
            ids[batch * len(names) + field][:] = numbering[group[place]]
        return values.filter(numbering != RARE), bool(only_blank)

    def replace(batch: int) -> None:
        codes = read.codes[batch]
        new = np.empty_like(codes)
        for field in range(len(names)):
            ids[batch * len(names) + field].take(codes[field], out=new[field], mode="clip")
        codes.reshape(-1, len(names))[:] = new.T  # from field by field to row by row

    known, only_blank = zip(*_run(pool, number, len(names), "numbering", progress), strict=True)
    _run(pool, replace, len(read.codes), "writing ids", progress)
    with (
        pa.OSFile(str(folder / "vocabulary.arrow"), "wb") as file,
        pa.ipc.new_file(file, LISTS) as writer,
    ):
        writer.write(_lists(known))
    (folder / "values.arrow").unlink()
    (folder / "numbers").unlink()
    return {
        "total": read.total,
        "rejected": read.rejected,
        "shown": read.shown,
        "blank": [name for name, blank in zip(names, only_blank, strict=True) if blank],
        "rare": [name for name, values in zip(names, known, strict=True) if len(values) == 0],
    }


def _run(
    pool: ThreadPoolExecutor, task: Callable[[int], T], count: int, title: str, progress: bool
) -> list[T]:
    with closing(pool.map(task, range(count))) as results:  # closing cancels what has not begun
        return list(tqdm(results, title, count, disable=not progress, delay=3))
