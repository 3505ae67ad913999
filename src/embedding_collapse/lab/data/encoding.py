"""From a table to integer ids on disk, in memory that does not grow with the rows.

The table is read once. Each batch numbers its own values, and those numbers go to disk with the
values; then each field's values are put together, counted and given their ids; then the ids take
the numbers' place on disk.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from embedding_collapse.parameters import ParameterError, listed, printable, short

from .cache import stored
from .codebook import VERSION, Codebook, written_bins
from .columns import Accepted, Source, accept
from .dataset import SPLIT_SEED, Dataset, Field, split_rows, split_sizes
from .numbering import UNSEEN, UNTRAINED, number_fields
from .parallel import available_cores, in_order
from .reading import SHOWN
from .spec import DataSpec

LOG = logging.getLogger(__name__)
DERIVED = ("columns", "positive", "split_by")  # of a source, part of what is cached where given
SHOWN_LABELS = 20
ORDER = "order.npy"
SCORING = ("bins", "rare_share")  # of what is kept, for a codebook; earlier versions left them out
LISTS = pa.schema([("values", pa.list_(pa.string()))])


class Read(NamedTuple):
    """What was read of a table.

    Attributes:
        codes: int32 `[N, rows]` of each batch, on disk.
        values: of each batch, on disk: the N fields' values.
        labels: uint8 `[rows]`, of all batches.
        sizes: how many of these rows each part has: one, or those to train, validate and test on.
        label_values: all that the label's column holds, where some of them count as 1.
        order: int64 `[rows]`, see `Dataset`; None where rows are held out at random.
        total: how many rows were read, rejected ones included.
        rejected: how many cannot be used.
        shown: what is wrong with the first of them.
        quoted: line ends in the quoted value with the most, if many, and where it begins.
    """

    codes: list[np.ndarray]
    values: list[pa.ListArray]
    labels: np.ndarray
    sizes: list[int]
    label_values: list[str]
    order: np.ndarray | None
    total: int
    rejected: int
    shown: list[str]
    quoted: tuple[int, str]


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
    truth: dict[str, Any] = {
        "version": VERSION,
        "content": spec.content,
        "label": [source.label, source.labels],
        "fields": list(source.fields.items()),
        "minimum_count": source.minimum_count,
        "vocabulary": spec.counted_on,
        "rows": spec.rows,
    }
    truth |= {name: value for name in DERIVED if (value := getattr(source, name))}
    if source.threshold is not None:
        truth["threshold"] = source.threshold
    ordered = bool(source.split_by or source.held_out)
    if ordered:  # or rows in the order of earlier versions would pass for these
        truth["held_out"] = "in random order"

    def build(folder: Path) -> dict[str, Any]:
        threads = workers or available_cores()
        with ThreadPoolExecutor(threads) as pool:
            read = _read(source, spec.rows, folder, pool, threads, progress)
            _check(source, spec.rows, max_rejected, read)
            return _number(source, spec.counted_on, read, folder, pool, progress)

    kept = stored(source.name, truth, build, cache, progress, needed=SCORING)
    about = kept.about
    _check_rejected(source, max_rejected, about["total"], about["rejected"], about["shown"])
    with pa.memory_map(str(kept.folder / "vocabulary.arrow")) as file:
        known = pa.ipc.open_file(file).read_all()["values"].chunk(0)
    fields = [
        Field(name, len(known[i].values) + 1, known[i].values)
        for i, name in enumerate(source.fields)
    ]
    values = {field.name: field.values for field in fields}
    codebook = Codebook.of(kept.fingerprint, source, values, about["bins"], about["rare_share"])
    notes = (*source.notes, *about.get("choices", ()), *_notes(about, source.minimum_count))
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
            held_out=tuple(about["sizes"][1:]) if source.held_out else None,
            order=np.load(kept.folder / ORDER, mmap_mode="c") if ordered else None,
            codebook=codebook,
        )
    except ParameterError as error:  # a split without one of the classes
        raise ParameterError(f"path is {source.table.path!r}; {error}") from None


def _notes(about: dict[str, Any], minimum: int) -> Iterator[str]:
    count, shown = about["rejected"], about["shown"]
    if sizes := about.get("sizes"):
        yield f"{sizes[0]:,} rows train, {sizes[1]:,} validate and {sizes[2]:,} test, as given"
    if count:
        more = "; ..." if count > len(shown) else ""
        yield f"{count:,} row{'s' * (count > 1)} rejected: {'; '.join(shown)}{more}"
    if lines := about["quoted"][0]:
        where = about["quoted"][1]
        yield f"a quoted value spans {lines + 1:,} lines (from {where}); an unpaired quote?"
    if about["blank"]:
        yield f"blank in every row: {listed(about['blank'], 200)}"
    for name, share in about.get("unseen", {}).items():
        yield f"no training row has the value of {short(name)} that {share:.0%} of the others have"
    if bare := about.get("untrained"):
        yield (
            f"no training row is in the rare bucket of {listed(bare, 200)}, where up to "
            f"{max(bare.values()):.1%} of the others are: nothing trains its vector; a min_count "
            f"above {minimum} puts rare values there"
        )
    if about["rare"]:
        yield f"no value is frequent enough for an id of its own: {listed(about['rare'], 200)}"


def _check(source: Source, rows: int | None, max_rejected: float, read: Read) -> None:
    have = len(read.labels)
    trains = "" if len(read.sizes) == 1 else " to train on"
    _check_rejected(source, max_rejected, read.total, read.rejected, read.shown)
    if lost := [value for value in source.positive if value not in read.label_values]:
        yaml = "; YAML reads yes and no as true and false, unless they are quoted"
        raise ParameterError(
            f"positive is {','.join(source.positive)!r}, and no row has {listed(lost)}; "
            f"{short(source.label)} holds {listed(read.label_values, SHOWN_LABELS)}"
            f"{yaml if {'true', 'false'} & {*lost} else ''}"
        )
    if have < 10:
        held = f"{have} rows that can be used" if have else "no rows"
        raise ParameterError(f"path is {source.table.path!r}, which holds {held}; 10 are needed")
    if rows is not None and read.sizes[0] < rows:
        most = read.sizes[0]
        raise ParameterError(
            f"rows is {rows}; {source.table.path!r} has {most} rows{trains}, and 10 to {most} are "
            "accepted"
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
        others = source.name == "table" and any(f": {short(source.label)} is" in s for s in shown)
        hint = "; positive or threshold says which values of a label are 1" if others else ""
        raise ParameterError(
            f"path is {source.table.path!r}; {rejected:,} of {total:,} rows cannot be used "
            f"({'; '.join(shown)}); a share of {most:g} is accepted, and max_rejected sets it{hint}"
        )


def _read(
    source: Source,
    rows: int | None,
    folder: Path,
    pool: ThreadPoolExecutor,
    threads: int,
    progress: bool,
) -> Read:
    """Read the table, or as many of its first usable rows as asked for, into two files; and
    behind it what is held out."""
    count = len(source.fields)
    parts, sizes, labels, rejected = [], [], [np.empty(0, np.uint8)], 0
    shown: list[str] = []
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
            number, size = part.table.first, 0
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
                    values.write(_lists(batch.values))
                    labels.append(batch.labels)
                    sizes.append(batch.codes.size)
            parts.append(size)
        joined = np.concatenate(labels)
        ids.seek(0)
        _write_header(ids, len(joined), count)  # numpy leaves room for the number of rows to grow
    np.save(folder / "labels.npy", joined)
    total = len(joined) + rejected
    order = None
    if source.split_by:
        by_key = _ordered(source, np.concatenate(keys or [joined]), kinds)
        order = _shuffled(by_key, split_sizes(len(joined)))
    elif source.held_out:
        order = _shuffled(np.arange(len(joined)), parts)
    if order is not None:
        np.save(folder / ORDER, order)
    about = parts, sorted(label_values), order, total, rejected, shown, quoted
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
    trains = None
    if read.order is not None or vocabulary == "train":
        trains = np.zeros(len(read.labels), bool)
        trains[_training_rows(source, read)] = True
    kinds, minimum, scratch = list(source.fields.values()), source.minimum_count, folder / "scratch"
    known = number_fields(
        read.codes,
        read.values,
        kinds,
        minimum,
        trains,
        scratch,
        pool,
        progress,
        everywhere=vocabulary == "all",
    )
    (folder / "values.arrow").unlink()
    with (
        pa.OSFile(str(folder / "vocabulary.arrow"), "wb") as file,
        pa.ipc.new_file(file, LISTS) as writer,
    ):
        writer.write(_lists([field.values for field in known]))
    named = list(zip(source.fields, known, strict=True))
    about = {
        "total": read.total,
        "rejected": read.rejected,
        "shown": read.shown,
        "quoted": read.quoted,
        "blank": [name for name, field in named if field.blank],
        "rare": [name for name, field in named if len(field.values) == 0],
        "bins": {name: written_bins(field.bins) for name, field in named if field.bins},
        "rare_share": {name: field.rare for name, field in named},
    }
    if source.held_out:
        about["sizes"] = read.sizes
    if trains is not None:
        about["untrained"] = {
            name: field.untrained for name, field in named if field.untrained > UNTRAINED
        }
    if read.order is not None:
        about["unseen"] = {name: field.unseen for name, field in named if field.unseen > UNSEEN}
    if source.positive:
        others = [value for value in read.label_values if source.label_of(value) == 0]
        about["choices"] = [
            f"{short(source.label)} is 1 for {listed(source.positive)}, "
            f"0 for {listed(others, SHOWN_LABELS)}"
        ]
    return about


def _training_rows(source: Source, read: Read) -> np.ndarray:
    """The numbers of the rows that train, int64."""
    if read.order is None:
        return split_rows(len(read.labels))[0].numpy()
    return read.order[: read.sizes[0] if source.held_out else split_sizes(len(read.labels))[0]]
