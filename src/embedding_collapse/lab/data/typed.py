"""Tables whose columns have types: Parquet files, and whatever comes as Arrow's batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
from tqdm.auto import tqdm

from embedding_collapse.files import checksum
from embedding_collapse.parameters import ParameterError, short

from .reading import Batch, Batches, Table, check_file, whole

ROWS = 1 << 15  # in a batch


def open_parquet(path: Path) -> Table:
    """A Parquet file, read row group by row group.

    Raises:
        ParameterError: a file that is not there or damaged.
    """
    check_file(path)
    with _named(path, "not a whole Parquet file"), pa.parquet.ParquetFile(path) as file:
        names, rows = file.schema_arrow.names, file.metadata.num_rows

    def batches(wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        read = 0
        with _named(path, "a damaged Parquet file"), pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS, columns=list(wanted)):
                read += batch.num_rows
                yield batch
            if read != rows:
                raise pa.ArrowInvalid(f"it says that it has {rows:,} rows, and has {read:,}")

    return typed_table(str(path), names, partial(checksum, path), batches, rows)


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
    texts = {}
    for name, column in columns.items():
        if isinstance(column, pa.ChunkedArray):
            column = whole(column)
        try:
            texts[name] = _dictionary_of(column)
        except pa.ArrowException:
            raise ParameterError(
                f"path is {path!r}, where column {short(name)} is of type {column.type}; text, "
                "numbers, truth values, dates and times are accepted"
            ) from None
    return Batch(texts)


def _dictionary_of(column: pa.Array) -> pa.DictionaryArray:
    """Values as text, with "" for a blank."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    if pa.types.is_floating(column.type):  # NaN is how many tools write a blank
        column = pa.compute.if_else(pa.compute.is_nan(column), None, column)
    encoded = column.dictionary_encode(null_encoding="encode")
    values = encoded.dictionary
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        values = values.cast(pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, values.cast(pa.binary()).fill_null(b""))
