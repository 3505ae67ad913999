"""Tables whose columns have types: Parquet files, and whatever comes as Arrow's batches."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
from tqdm.auto import tqdm

from embedding_collapse.files import checksum
from embedding_collapse.parameters import ParameterError, listed, short

from .reading import Batch, Batches, Table, check_file, stamps, whole

PANDAS_INDEX = "__index_level_"  # how pandas names the index that it writes beside the columns
BATCH_ROWS = 1 << 15  # in a batch


def open_parquet(path: Path) -> Table:
    """A Parquet file, or a folder of them with the same columns, read row group by row group, the
    files of a folder in the order of their names.

    Raises:
        ParameterError: a file that is not there or damaged, or has other columns than the first.
    """
    files = parts_in(path) if path.is_dir() else [path]
    opened = stamps(files)
    names: list[str] = []
    counts = []
    for one in files:
        check_file(one)
        with _named(one, "not a whole Parquet file"), pa.parquet.ParquetFile(one) as file:
            columns = file.schema_arrow.names
            counts.append(file.metadata.num_rows)
        names = names or columns
        if sorted(columns) != sorted(names):
            raise ParameterError(
                f"path is {str(path)!r}, whose {one.name} has the columns {listed(columns)}, and "
                f"{files[0].name} {listed(names)}; the same ones are needed"
            )

    def batches(wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for one, rows in zip(files, counts, strict=True):
            read = 0
            with _named(one, "a damaged Parquet file"), pa.parquet.ParquetFile(one) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=list(wanted)):
                    read += batch.num_rows
                    yield batch
                if read != rows:
                    raise pa.ArrowInvalid(f"it says that it has {rows:,} rows, and has {read:,}")

    def content(progress: bool) -> str:
        sums = [checksum(one, progress) for one in files]
        return hashlib.sha256("".join(sums).encode()).hexdigest() if path.is_dir() else sums[0]

    return typed_table(str(path), names, content, batches, sum(counts))._replace(opened=opened)


def parts_in(folder: Path) -> list[Path]:
    """The files of a folder, if all are Parquet but what begins with _ or ., as Spark leaves it."""
    files = sorted(one for one in folder.iterdir() if one.name[0] not in "_.")
    return files if all(one.suffix == ".parquet" for one in files) else []


def open_frame(
    frame: Any, wanted: Sequence[str] = (), drop: Sequence[str] = (), least: int = 10
) -> Table:
    """A table in memory: pandas, polars, pyarrow, datasets, or whatever else gives Arrow's columns.

    Its content is what its columns read as: a frame has the hash of any other with the same rows,
    whatever they are stored as, and whatever index without a name pandas has beside them.

    Args:
        frame: the table.
        wanted: the columns that will be read; by default all. Others may be of no type that Arrow
            has, in pandas and polars.
        drop: columns that will not be read, which may so too.
        least: how many rows are needed.

    Raises:
        ParameterError: what is no table, or has no rows.
    """
    kind = f"{type(frame).__module__.partition('.')[0]} {type(frame).__name__}"
    if kind == "datasets Dataset":
        frame = frame.with_format("arrow")[:]
    try:
        if kind in ("pandas DataFrame", "polars DataFrame"):
            table = _arrow(frame, wanted, drop)
        else:
            table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(
            f"frame is a {kind}; a DataFrame of pandas or polars, with columns of one type each, "
            f"is accepted{'' if wanted else ', and drop leaves others out'} ({reason})"
        ) from None

    names = enumerate(table.column_names)  # by number, as two columns of one name are told later
    table = table.select([i for i, name in names if not name.startswith(PANDAS_INDEX)])

    def batches(wanted: Sequence[str]) -> Iterator[pa.Table]:
        chosen = table.select(list(wanted))
        for start in range(0, len(table), BATCH_ROWS):
            yield chosen.slice(start, BATCH_ROWS)

    def content(progress: bool) -> str:
        hashed = hashlib.sha256(repr(table.column_names).encode())
        with tqdm(total=len(table), desc="hashing", disable=not progress, delay=3) as bar:
            for batch in batches(table.column_names):
                for column in batch.columns:
                    with suppress(pa.ArrowException):  # of a type that no field can be made of
                        values = _dictionary_of(whole(column))
                        texts = values.dictionary.to_pylist()
                        hashed.update(repr(texts).encode())
                        hashed.update(values.indices.to_numpy().astype("<i4").tobytes())
                bar.update(len(batch))
        return hashed.hexdigest()

    if len(table) == 0:
        needed = f"{least} {'is' if least == 1 else 'are'}"
        raise ParameterError(f"frame is a {kind} without rows; {needed} needed")
    return typed_table(kind, table.column_names, content, batches, len(table))


def _arrow(frame: Any, wanted: Collection[str], drop: Collection[str]) -> pa.Table:
    """A frame of pandas or polars, with nulls in place of columns that are not read. Those to drop
    are as they are where they can be, for all that can be read is part of a frame's content."""
    if wanted:
        needed = {name.strip() for name in wanted}
        return _with_nulls(frame, lambda name: name not in needed)
    try:
        return _of_types(frame)
    except (pa.ArrowException, TypeError, ValueError):
        dropped = {name.strip() for name in drop}
        return _with_nulls(frame, lambda name: name in dropped)


def _with_nulls(frame: Any, spare: Callable[[str], bool]) -> pa.Table:
    """The same with nulls in the columns that can be spared, told by names without blanks around
    them."""
    names = [str(name) for name in frame.columns]
    places = [place for place, name in enumerate(names) if not spare(name.strip())]
    table = _of_types(getattr(frame, "iloc", frame)[:, places])  # polars needs no iloc
    for name in dict.fromkeys(names):
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(frame)))
    return table


def _of_types(frame: Any) -> pa.Table:
    """The same where each column has a type: of polars' objects Arrow would get the addresses."""
    for name, kind in zip(frame.columns, frame.dtypes, strict=True):
        if str(kind) == "Object":
            raise TypeError(f"column {name} holds objects")
    return pa.table(frame)


@contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"path is {str(path)!r}, {what} ({reason})") from None


def typed_table(
    path: str,
    names: list[str],
    content: Callable[[bool], str],
    batches: Callable[[Sequence[str]], Iterator[pa.RecordBatch | pa.Table]],
    rows: int,
) -> Table:
    """A table that comes as Arrow's batches, of at least the columns wanted."""

    def read(wanted: Sequence[str], progress: bool) -> Batches:
        with tqdm(total=rows, desc=f"reading {path}", disable=not progress, delay=3) as bar:
            for batch in batches(wanted):
                yield partial(_as_text, path, {n: batch.column(n) for n in wanted})
                bar.update(batch.num_rows)

    return Table(path, names, content, read, unit="row")


def _as_text(path: str, columns: dict[str, pa.Array | pa.ChunkedArray]) -> Batch:
    texts, refused = {}, {}
    for name, column in columns.items():
        if isinstance(column, pa.ChunkedArray):
            column = whole(column)
        try:
            texts[name] = _dictionary_of(column)
        except pa.ArrowException:
            refused[name] = column.type
    if refused:
        types = ", ".join(f"{short(name)} is of type {kind}" for name, kind in refused.items())
        raise ParameterError(
            f"path is {path!r}, where column {types}; text, numbers, truth values, dates and times "
            f"are accepted, and drop={','.join(refused)!r} leaves the rest out"
        )
    return Batch(texts)


def _dictionary_of(column: pa.Array) -> pa.DictionaryArray:
    """Values as text, with "" for a blank."""
    if pa.types.is_dictionary(column.type):
        column = _plain(column.dictionary).take(column.indices)
    column = _plain(column)
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    if pa.types.is_floating(column.type):  # NaN is how many tools write a blank
        column = pa.compute.if_else(pa.compute.is_nan(column), None, column)
    encoded = column.dictionary_encode(null_encoding="encode")
    values = encoded.dictionary
    if pa.types.is_floating(values.type):
        values = _texts_of(values)
    elif not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        values = values.cast(pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, values.cast(pa.binary()).fill_null(b""))


def _texts_of(floats: pa.Array) -> pa.Array:
    """Floats as text: whole numbers that float64 tells apart as integers have them, and not as
    1.2345678901e+10, for a column with a blank is float64 in one part and int64 in another."""
    numbers = floats.cast(pa.float64()).fill_null(0.5).to_numpy()  # a blank is not whole
    whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
    integers = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.string())
    return pa.compute.if_else(pa.array(whole), integers, floats.cast(pa.string()))


def _plain(column: pa.Array) -> pa.Array:
    """Text as polars has it, as text that Arrow can tell apart."""
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column
