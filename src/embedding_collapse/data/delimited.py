"""Delimited text, plain or packed, parsed block by block."""

import csv
import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
from tqdm.auto import tqdm

from ..files import checksum
from ..parameters import ParameterError
from .reading import Batch, Table, check_file, whole

BLOCK = 8 << 20  # bytes of text in a batch: small enough for its dictionaries to stay in cache
LONGEST = 8 * BLOCK  # that one row may have
BOM = b"\xef\xbb\xbf"
TEXT = pa.dictionary(pa.int32(), pa.binary())


def open_text(path: Path, delimiter: str, names: list[str], member: str | None = None) -> Table:
    """Text without a header, where quotes have no meaning.

    Args:
        path: plain, .gz, or a .zip of one file.
        delimiter: one character.
        names: of the columns.
        member: the file to read of a .zip that holds several.

    Raises:
        ParameterError: no such file, or an empty one; while it is read: one that is cut short.
    """
    check_file(path)
    read = partial(_text_batches, path, member, names, delimiter, False, False)
    return Table(str(path), names, partial(checksum, path), read)


def open_text_with_header(path: Path, delimiters: str = ",\t;|") -> Table:
    """Text whose first line names the columns; quotes may enclose a delimiter or a line end.

    Args:
        path: plain, .gz, or a .zip of one file.
        delimiters: one of these is taken, the one most frequent in the header.

    Raises:
        ParameterError: no such file, an empty one, one that is no text; while it is read: one that
            is cut short, or whose quotes do not pair up.
    """
    check_file(path)
    with _unpacked(path) as (file, _):
        line = file.readline(BLOCK).removeprefix(BOM)
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"path is {str(path)!r}, whose first line is not UTF-8 text ({error.reason})"
        ) from None
    delimiter = max(delimiters, key=text.count)
    try:
        names = next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error as error:
        raise ParameterError(
            f"path is {str(path)!r}, whose first line names no columns ({error})"
        ) from None
    read = partial(_text_batches, path, None, names, delimiter, True, True)
    return Table(str(path), names, partial(checksum, path), read, first=2)


@contextmanager
def _unpacked(path: Path, member: str | None = None) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a plain file, a .gz, or one file of a .zip; gives its content, and the file as it is.

    Raises:
        ParameterError: a compressed file that is cut short or damaged, here or while it is read.
    """
    try:
        with path.open("rb") as packed:
            if path.suffix == ".gz":
                with gzip.open(packed) as file:
                    yield file, packed
            elif path.suffix == ".zip":
                with (
                    zipfile.ZipFile(packed) as archive,
                    archive.open(member or _only(archive, path)) as file,
                ):
                    yield file, packed
            else:
                yield packed, packed
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise ParameterError(
            f"path is {str(path)!r}; the file is cut short or damaged ({error}): fetch it again"
        ) from None


def _only(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/")]
    if len(names) != 1:
        raise ParameterError(
            f"path is {str(path)!r}, which holds {len(names)} files "
            f"({', '.join(names[:5])}); a .zip of one file is accepted"
        )
    return names[0]


def _text_batches(
    path: Path,
    member: str | None,
    names: Sequence[str],
    delimiter: str,
    quoted: bool,
    header: bool,
    wanted: Sequence[str],
    progress: bool,
) -> Iterator[Callable[[], Batch]]:
    size, title = path.stat().st_size, f"reading {path.name}"
    with (
        _unpacked(path, member) as (file, packed),
        tqdm(
            total=size, desc=title, unit="B", unit_scale=True, disable=not progress, delay=3
        ) as bar,
    ):
        if header:
            file.readline()
        for block in _blocks(file, quoted, path):
            yield partial(_parse, path, block, names, wanted, delimiter, quoted)
            bar.update(packed.tell() - bar.n)


def _blocks(file: BinaryIO, quoted: bool, path: Path) -> Iterator[memoryview]:
    """The file in pieces that end where a row does."""
    rest = b""
    while True:
        block = bytearray(len(rest) + BLOCK)  # read into, for copies would be dear
        block[: len(rest)] = rest
        read = file.readinto(memoryview(block)[len(rest) :])
        if not read:
            break
        held = len(rest) + read
        end = block.rfind(b"\n", 0, held) + 1
        while quoted and block.count(b'"', 0, end) % 2:  # inside quotes a line end ends no row
            end = block.rfind(b"\n", 0, end - 1) + 1
        if end == 0 and held > LONGEST:
            why = "a quote that does not close" if quoted and b'"' in block else "a row that long"
            raise ParameterError(
                f"path is {str(path)!r}; no row ends within {LONGEST:,} bytes ({why}): "
                "delimited text is accepted"
            )
        rest = bytes(memoryview(block)[end:held])
        if end:
            yield memoryview(block)[:end]
    if quoted and rest.count(b'"') % 2:
        raise ParameterError(
            f'path is {str(path)!r}; the quotes (") in its last {len(rest.splitlines())} '
            "lines do not pair up"
        )
    if rest:
        yield memoryview(rest)


def _parse(
    path: Path,
    block: memoryview,
    names: Sequence[str],
    wanted: Sequence[str],
    delimiter: str,
    quoted: bool,
) -> Batch:
    parse = partial(_table, block, names, wanted, delimiter, quoted)
    skipped = {}

    def skip(row: pa.csv.InvalidRow) -> str:
        skipped[row.number - 1] = row.actual_columns
        return "skip"

    try:
        return Batch(parse(None, "utf8"), {})
    except pa.ArrowInvalid:  # rows of too few or too many columns, as a rule
        encoding = _encoding(block)
    try:
        columns = parse(skip, encoding)
    except pa.ArrowInvalid as error:
        raise ParameterError(f"path is {str(path)!r}; {error}") from None
    if encoding == "latin1":
        columns = {name: _from_latin1(column) for name, column in columns.items()}
    return Batch(columns, skipped)


def _encoding(block: memoryview) -> str:
    """UTF-8, or Latin-1, which reads any bytes: rows to skip must be text, says pyarrow."""
    try:
        str(block, "utf8")
    except UnicodeDecodeError:
        return "latin1"
    return "utf8"


def _from_latin1(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """The column with its values' bytes as they are in the file."""
    values = [value.decode().encode("latin1") for value in column.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(column.indices, pa.array(values, pa.binary()))


def _table(
    block: memoryview,
    names: Sequence[str],
    wanted: Sequence[str],
    delimiter: str,
    quoted: bool,
    skip: Callable[[pa.csv.InvalidRow], str] | None,
    encoding: str,
) -> dict[str, pa.DictionaryArray]:
    table = pa.csv.read_csv(
        pa.BufferReader(block),
        # one thread, or rows would not know their numbers; several blocks are parsed at once
        pa.csv.ReadOptions(
            column_names=names, use_threads=False, block_size=2 * len(block) + 1, encoding=encoding
        ),
        pa.csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoted else False,
            newlines_in_values=quoted,
            ignore_empty_lines=False,
            invalid_row_handler=skip,
        ),
        pa.csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, TEXT),
            include_columns=wanted,
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    return {name: whole(table[name]) for name in wanted}
