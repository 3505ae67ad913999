"""The first pass over a table: its usable rows, numbered within each batch, on disk."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from embedding_collapse.parameters import ParameterError

from .columns import Accepted, Source, accept
from .dataset import SPLIT_SEED, split_sizes
from .parallel import in_order
from .reading import SHOWN

ORDER = "order.npy"
LISTS = pa.schema([("values", pa.list_(pa.string()))])


class Part(NamedTuple):
    """What became of the rows of a table, or of a part of it that is held out.

    Attributes:
        rows: how many can be used.
        rejected: how many cannot.
        shown: what is wrong with the first of these.
    """

    rows: int
    rejected: int
    shown: list[str]


class Read(NamedTuple):
    """What was read of a table.

    Attributes:
        codes: int32 `[N, rows]` of each batch, on disk.
        values: of each batch, on disk: the N fields' values.
        labels: uint8 `[rows]`, of all batches.
        parts: one, or those to train, validate and test on.
        label_values: all that the label's column holds, where some of them count as 1.
        order: int64 `[rows]`, see `Dataset`; None where rows are held out at random.
        sizes: how many rows train, validate and test.
        quoted: line ends in the quoted value with the most, if many, and where it begins.
    """

    codes: list[np.ndarray]
    values: list[pa.ListArray]
    labels: np.ndarray
    parts: list[Part]
    label_values: list[str]
    order: np.ndarray | None
    sizes: Sequence[int]
    quoted: tuple[int, str]


def read_rows(
    source: Source,
    rows: int | None,
    folder: Path,
    pool: ThreadPoolExecutor,
    threads: int,
    progress: bool,
) -> Read:
    """Read the table, or as many of its first usable rows as asked for, into two files; and
    behind it what is held out.

    Args:
        source: the table.
        rows: how many that can be used; None for all.
        folder: where the files go: ids, values, labels, and the rows' order where they have one.
        pool: of that many threads, which parse.
        threads: how many batches are ahead of what is written.
        progress: show a bar where it takes more than a few seconds.

    Raises:
        ParameterError: rows cannot be ordered by the column that splits them.
    """
    count = len(source.fields)
    parts, sizes, labels = list[Part](), [], [np.empty(0, np.uint8)]
    quoted = (0, "")
    label_values: set[str] = set()
    keys, kinds = list[np.ndarray](), set[str]()
    with (
        (folder / "ids.npy").open("wb") as ids,
        pa.OSFile(str(folder / "values.arrow"), "wb") as file,
        pa.ipc.new_stream(file, LISTS) as values,
    ):
        _write_header(ids, 0, count)
        for part, most in zip(source.parts, [rows, None, None], strict=False):
            number, size, rejected = part.table.first, 0, 0
            shown: list[str] = []
            where = f"{part.table.path}, " if source.held_out else ""
            for batch in _accepted(part, most, pool, threads, progress):
                rejected += len(batch.rejected)
                shown += [
                    f"{where}{part.table.unit} {number + place}: {batch.why[place]}"
                    for place in batch.rejected[: SHOWN - len(shown)].tolist()
                ]
                lines, row = batch.quoted
                quoted = max(quoted, (lines, f"{where}{part.table.unit} {number + row}"))
                number += len(batch.labels) + len(batch.rejected)
                size += len(batch.labels)
                if source.positive:
                    label_values.update(batch.label_values)
                if batch.order is not None:
                    keys.append(batch.order)
                    kinds |= batch.order_kinds
                if len(batch.labels):
                    ids.write(np.ascontiguousarray(batch.codes).data)
                    values.write(as_lists(batch.values))
                    labels.append(batch.labels)
                    sizes.append(batch.codes.size)
            parts.append(Part(size, rejected, shown))
        joined = np.concatenate(labels)
        ids.seek(0)
        _write_header(ids, len(joined), count)  # numpy leaves room for the number of rows to grow
    np.save(folder / "labels.npy", joined)
    order = None
    shares = [part.rows for part in parts] if source.held_out else split_sizes(len(joined))
    if source.split_by:
        order = _shuffled(_ordered(source, np.concatenate(keys or [joined]), kinds), shares)
    elif source.held_out:
        order = _shuffled(np.arange(len(joined)), shares)
    if order is not None:
        np.save(folder / ORDER, order)
    about = parts, sorted(label_values), order, shares, quoted
    if len(joined) == 0:
        return Read([], [], joined, *about)
    flat = np.asarray(np.load(folder / "ids.npy", mmap_mode="r+")).reshape(-1)
    codes = [part.reshape(count, -1) for part in np.split(flat, np.cumsum(sizes)[:-1])]
    with pa.memory_map(str(folder / "values.arrow")) as file:
        lists = pa.ipc.open_stream(file).read_all()["values"].chunks
    return Read(codes, lists, joined, *about)


def _accepted(
    source: Source, rows: int | None, pool: ThreadPoolExecutor, threads: int, progress: bool
) -> Iterator[Accepted]:
    """The usable rows of a table, or as many of the first as asked for."""
    left = sys.maxsize if rows is None else rows
    with closing(source.table.read(source.wanted, progress)) as batches:
        tasks = (partial(accept, source, batch) for batch in batches)
        for batch in in_order(pool, tasks, ahead=threads):
            yield batch if len(batch.labels) <= left else batch.first(left)
            left -= len(batch.labels)
            if left <= 0:
                return


def _ordered(source: Source, keys: np.ndarray, kinds: set[str]) -> np.ndarray:
    """The rows by what they are split by; those of the same time as they lie."""
    if len(kinds) > 1:
        raise ParameterError(
            f"split_by is {source.split_by!r}, a column that holds {' and '.join(sorted(kinds))}; "
            "either is accepted"
        )
    order = np.argsort(keys, kind="stable")
    if len(keys) and keys[order[0]] == keys[order[-1]]:
        raise ParameterError(
            f"split_by is {source.split_by!r}, a column that is the same in all rows"
        )
    return order


def _shuffled(order: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The order with its rows that validate and those that test each in a fixed random order.

    In time's order, or a file's, neighbours are alike, and the parts that a run's summary of its
    test rows has (see `metrics.grouped`) would differ by more than chance.
    """
    rank = np.random.Philox(key=SPLIT_SEED).random_raw(len(order))  # the same in every numpy
    train, *held_out = np.split(order, np.cumsum(sizes)[:-1])
    shuffled = (part[np.argsort(rank[part], kind="stable")] for part in held_out)
    return np.concatenate([train, *shuffled])


def _write_header(file: Any, rows: int, columns: int) -> None:
    header = {"descr": "<i4", "fortran_order": False, "shape": (rows, columns)}
    np.lib.format.write_array_header_1_0(file, header)


def as_lists(values: list[pa.StringArray]) -> pa.RecordBatch:
    """Lists of different lengths as the rows of one column."""
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    return pa.record_batch([pa.ListArray.from_arrays(ends, pa.concat_arrays(values))], LISTS)
