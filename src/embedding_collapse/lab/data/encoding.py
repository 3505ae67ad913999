"""From a table to integer ids on disk, in memory that does not grow with the rows.

The table is read once. Each batch numbers its own values, and those numbers go to disk with the
values; then each field's values are put together, counted and given their ids; then the ids take
the numbers' place on disk.
"""

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from embedding_collapse.parameters import ParameterError, listed, printable, short

from .cache import stored
from .columns import Source, accept
from .dataset import Dataset, Field, split_rows
from .numbering import number_fields
from .parallel import available_cores, in_order
from .reading import SHOWN
from .spec import DataSpec

LOG = logging.getLogger(__name__)
VERSION = 1  # of what reading and encoding make of a table: raise it with any change to that
LISTS = pa.schema([("values", pa.list_(pa.string()))])


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
    spec: DataSpec,
    *,
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
        "content": spec.content,
        "label": [source.label, source.labels],
        "fields": list(source.fields.items()),
        "minimum_count": source.minimum_count,
        "vocabulary": spec.vocabulary,
        "rows": spec.rows,
    }

    def build(folder: Path) -> dict[str, Any]:
        threads = workers or available_cores()
        with ThreadPoolExecutor(threads) as pool:
            read = _read(source, spec.rows, folder, pool, threads, progress)
            _check(source, spec.rows, max_rejected, read)
            return _number(source, spec.vocabulary, read, folder, pool, progress)

    kept = stored(source.name, truth, build, cache, progress)
    about = kept.about
    _check_rejected(source, max_rejected, about["total"], about["rejected"], about["shown"])
    with pa.memory_map(str(kept.folder / "vocabulary.arrow")) as file:
        known = pa.ipc.open_file(file).read_all()["values"].chunk(0)
    fields = [
        Field(name, len(known[i].values) + 1, known[i].values)
        for i, name in enumerate(source.fields)
    ]
    notes = (*source.notes, *_notes(about))
    for note in notes:
        LOG.warning("%s", printable(f"{source.table.path}: {note}"))
    facts = {
        "label_rate": float(kept.labels.mean()),
        "rejected_share": about["rejected"] / about["total"],
    }
    try:
        return Dataset(
            source.name,
            kept.ids,
            kept.labels,
            tuple(fields),
            kept.fingerprint,
            facts,
            notes,
            spec,
        )
    except ParameterError as error:  # a split without one of the classes
        raise ParameterError(f"path is {source.table.path!r}; {error}") from None


def _notes(about: dict[str, Any]) -> Iterator[str]:
    count, shown = about["rejected"], about["shown"]
    if count:
        more = "; ..." if count > len(shown) else ""
        yield f"{count:,} row{'s' * (count > 1)} rejected: {'; '.join(shown)}{more}"
    if about["blank"]:
        yield f"blank in every row: {listed(about['blank'], 200)}"
    if about["rare"]:
        yield f"no value is frequent enough for an id of its own: {listed(about['rare'], 200)}"


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
            f"path is {source.table.path!r}, where {short(source.label)} is {read.labels[0]} in "
            f"all {have:,} rows; both classes are needed"
        )


def _check_rejected(
    source: Source, most: float, total: int, rejected: int, shown: list[str]
) -> None:
    if rejected > most * total:
        raise ParameterError(
            f"path is {source.table.path!r}; {rejected:,} of {total:,} rows cannot be used "
            f"({'; '.join(shown)}); a share of {most:g} is accepted, and max_rejected sets it"
        )


def _read(
    source: Source,
    rows: int | None,
    folder: Path,
    pool: ThreadPoolExecutor,
    threads: int,
    progress: bool,
) -> Read:
    """Read the table, or as many of its first usable rows as asked for, into two files."""
    count = len(source.fields)
    sizes, labels, rejected = [], [np.empty(0, np.uint8)], 0
    shown: list[str] = []
    number, left = source.table.first, sys.maxsize if rows is None else rows
    with (
        (folder / "ids.npy").open("wb") as ids,
        pa.OSFile(str(folder / "values.arrow"), "wb") as file,
        pa.ipc.new_stream(file, LISTS) as values,
        closing(source.table.read([source.label, *source.fields], progress)) as batches,
    ):
        _write_header(ids, 0, count)
        tasks = (partial(accept, source, batch) for batch in batches)
        for batch in in_order(pool, tasks, ahead=threads):
            size = len(batch.labels) + len(batch.rejected)
            batch = batch if len(batch.labels) <= left else batch.first(left)
            rejected += len(batch.rejected)
            shown += [
                f"{source.table.unit} {number + place}: {batch.why[place]}"
                for place in batch.rejected[: SHOWN - len(shown)].tolist()
            ]
            number += size
            if len(batch.labels):
                ids.write(np.ascontiguousarray(batch.codes).data)
                values.write(_lists(batch.values))
                labels.append(batch.labels)
                sizes.append(batch.codes.size)
            left -= len(batch.labels)
            if left == 0:
                break
        joined = np.concatenate(labels)
        ids.seek(0)
        _write_header(ids, len(joined), count)  # numpy leaves room for the number of rows to grow
    np.save(folder / "labels.npy", joined)
    total = len(joined) + rejected
    if len(joined) == 0:
        return Read([], [], joined, total, rejected, shown)
    flat = np.asarray(np.load(folder / "ids.npy", mmap_mode="r+")).reshape(-1)
    codes = [part.reshape(count, -1) for part in np.split(flat, np.cumsum(sizes)[:-1])]
    with pa.memory_map(str(folder / "values.arrow")) as file:
        lists = pa.ipc.open_stream(file).read_all()["values"].chunks
    return Read(codes, lists, joined, total, rejected, shown)


def _write_header(file: Any, rows: int, columns: int) -> None:
    header = {"descr": "<i4", "fortran_order": False, "shape": (rows, columns)}
    np.lib.format.write_array_header_1_0(file, header)


def _lists(values: list[pa.StringArray]) -> pa.RecordBatch:
    """Lists of different lengths as the rows of one column."""
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    return pa.record_batch([pa.ListArray.from_arrays(ends, pa.concat_arrays(values))], LISTS)


def _number(
    source: Source,
    vocabulary: str,
    read: Read,
    folder: Path,
    pool: ThreadPoolExecutor,
    progress: bool,
) -> dict[str, Any]:
    """Turn what was read into ids, and write down what they stand for."""
    counted = None
    if vocabulary == "train":
        counted = np.zeros(len(read.labels), bool)
        counted[split_rows(len(counted))[0]] = True
    kinds, minimum, scratch = list(source.fields.values()), source.minimum_count, folder / "scratch"
    known = number_fields(read.codes, read.values, kinds, minimum, counted, scratch, pool, progress)
    (folder / "values.arrow").unlink()
    with (
        pa.OSFile(str(folder / "vocabulary.arrow"), "wb") as file,
        pa.ipc.new_file(file, LISTS) as writer,
    ):
        writer.write(_lists([field.values for field in known]))
    named = list(zip(source.fields, known, strict=True))
    return {
        "total": read.total,
        "rejected": read.rejected,
        "shown": read.shown,
        "blank": [name for name, field in named if field.blank],
        "rare": [name for name, field in named if len(field.values) == 0],
    }
