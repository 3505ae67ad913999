"""Delimited text, plain or packed, parsed block by block."""

import gzip
import lzma
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.csv
from tqdm.auto import tqdm

from embedding_collapse.files import checksum
from embedding_collapse.parameters import ParameterError, listed

from .reading import SHOWN, Batch, Batches, Table, check_file, is_utf8, stamps, whole
from .rows import last_row_end, longest_quoted, pieces, quotes, row_ends

BLOCK = 8 << 20  # bytes of text in a batch: small enough for its dictionaries to stay in cache
LONGEST = 8 * BLOCK  # that one row may have
MANY_LINES = 20  # in a quoted value: two quotes that pair up by accident swallow what is between
CELLS = 1 << 21  # in a batch: a block of blank lines would hold millions of rows
BOM = b"\xef\xbb\xbf"
ACCEPTED = "UTF-8 text with a header (plain, .gz, .zip) and Parquet are read"
TEXT = pa.dictionary(pa.int32(), pa.binary())
IN_QUOTES = re.compile(rb'"[^"]*"')
DAMAGE = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    UnicodeDecodeError,  # of a name in a .zip
)


def open_text(path: Path, names: list[str]) -> Table:
    """Text of columns between tabs, without a header, where quotes have no meaning.

    Args:
        path: plain, .gz, or a .zip of one file.
        names: of the columns.

    Raises:
        ParameterError: no such file, or an empty one; while it is read: one that is cut short.
    """
    check_file(path)
    read = partial(_text_batches, path, names, "\t", None)
    return Table(str(path), names, partial(checksum, path), read, opened=stamps([path]))


def open_text_with_header(path: Path, delimiters: str = ",\t;|") -> Table:
    """Text whose first row names the columns; quotes may enclose a delimiter or a line end.

    Args:
        path: plain, .gz, or a .zip of one file.
        delimiters: one of these is taken, the one most frequent in the header outside quotes.

    Raises:
        ParameterError: no such file, an empty one, one that is no text; while it is read: one that
            is cut short, or whose quotes do not pair up.
    """
    check_file(path)
    opened = stamps([path])
    with _unpacked(path) as (file, _):
        start = file.read(BLOCK)
    mark = len(BOM) if start.startswith(BOM) else 0
    header = _first_row(path, start[mark:], delimiters.encode())
    outside = IN_QUOTES.sub(b"", header).decode()
    delimiter = max(delimiters, key=outside.count)
    names = pa.csv.read_csv(
        pa.BufferReader(header + b"\n"),  # a second line end makes a row, which matters not
        pa.csv.ReadOptions(use_threads=False, block_size=len(header) + 2),
        pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    ).column_names
    read = partial(_text_batches, path, names, delimiter, mark + len(header))
    return Table(str(path), names, partial(checksum, path), read, first=2, opened=opened)


def _first_row(path: Path, text: bytes, delimiters: bytes) -> bytes:
    """The row that names the columns, with its line end."""
    ends = row_ends(text, delimiters)
    if len(ends):
        row = text[: ends[0]]
    elif len(quotes(text, delimiters)) % 2:
        raise ParameterError(
            f'path is {str(path)!r}; the quotes (") in its first row do not pair up'
        )
    elif len(text) > BLOCK - len(BOM) - 1:
        raise ParameterError(
            f"path is {str(path)!r}; its first row does not end within {BLOCK:,} bytes: "
            "delimited text is accepted"
        )
    else:
        row = text
    if not row.strip(b"\r\n"):
        raise ParameterError(
            f"path is {str(path)!r}, whose first line is blank; the names of its columns are needed"
        )
    try:
        row.decode()
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"path is {str(path)!r}, whose first line is not UTF-8 text ({error.reason}); "
            f"{ACCEPTED}"
        ) from None
    if row.lstrip().startswith((b'{"', b'[{"')):
        raise ParameterError(
            f"path is {str(path)!r}, which holds JSON; {ACCEPTED}. pandas.read_json(path, "
            "lines=True).to_parquet(name) makes Parquet of it"
        )
    return row


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[BufferedIOBase, BufferedIOBase]]:
    """Open a plain file, a .gz, or the file of a .zip; gives its content, and the file as it is."""
    with damage_told(path), path.open("rb") as packed:
        if path.suffix == ".gz":
            with gzip.open(packed) as file:
                yield file, packed
        elif path.suffix == ".zip":
            with (
                zipfile.ZipFile(packed) as archive,
                # what `open` returns to who reads
                cast(zipfile.ZipExtFile, archive.open(_only(archive, path))) as file,
            ):
                yield file, packed
        else:
            yield packed, packed


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Raise a `ParameterError` where a file cannot be read, or a compressed one is cut short or
    damaged."""
    try:
        yield
    except DAMAGE as error:
        raise ParameterError(
            f"path is {str(path)!r}; the file is cut short or damaged ({error}): fetch it again"
        ) from None
    except (OSError, RuntimeError) as error:  # no permission; a password, an unknown compression
        raise ParameterError(f"path is {str(path)!r}; it cannot be read ({error})") from None


def _only(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/")]
    if len(names) != 1:
        raise ParameterError(
            f"path is {str(path)!r}, which holds {len(names)} files "
            f"({listed(names, 5)}); a .zip of one file is accepted"
        )
    return names[0]


def _text_batches(
    path: Path,
    names: Sequence[str],
    delimiter: str,
    header: int | None,
    wanted: Sequence[str],
    progress: bool,
) -> Batches:
    """Tasks that parse some rows each; without a header, of that many bytes, quotes are text."""
    size, title = path.stat().st_size, f"reading {path.name}"
    quoting = b"" if header is None else delimiter.encode()
    with (
        _unpacked(path) as (file, packed),
        tqdm(
            total=size, desc=title, unit="B", unit_scale=True, disable=not progress, delay=3
        ) as bar,
    ):
        start = file.read(len(BOM) if header is None else header)
        rest = start if header is None and start != BOM else b""
        for block in _blocks(file, rest, quoting, path):
            for rows in pieces(block, quoting, max(1, CELLS // len(names))):
                yield partial(_parse, rows, names, wanted, delimiter, bool(quoting))
            bar.update(packed.tell() - bar.n)


def _blocks(file: BufferedIOBase, rest: bytes, quoting: bytes, path: Path) -> Iterator[memoryview]:
    """What was read already, and the rest of the file, in pieces that end where a row does."""
    while True:
        block = bytearray(len(rest) + BLOCK)  # read into, for copies would be dear
        block[: len(rest)] = rest
        read = file.readinto(memoryview(block)[len(rest) :])
        if not read:
            break
        del block[len(rest) + read :]
        end = last_row_end(block, quoting)
        if end == 0 and len(block) > LONGEST:
            open_ = len(quotes(block, quoting)) % 2
            why = "a quote that does not close" if open_ else "a row that long"
            raise ParameterError(
                f"path is {str(path)!r}; no row ends within {LONGEST:,} bytes ({why}): "
                "delimited text is accepted"
            )
        rest = bytes(memoryview(block)[end:])
        if end:
            yield memoryview(block)[:end]
    places = quotes(rest, quoting)
    if len(places) % 2:
        lines = len(rest[places[-1] :].splitlines())
        raise ParameterError(
            f'path is {str(path)!r}; the quotes (") in its last {lines} lines do not pair up'
        )
    if rest:
        yield memoryview(rest)


def _parse(
    block: memoryview, names: Sequence[str], wanted: Sequence[str], delimiter: str, quoted: bool
) -> Batch:
    skipped = array("q")
    counts: list[int] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        skipped.append(row.number - 1)
        if len(counts) < SHOWN:
            counts.append(row.actual_columns)
        return "skip"

    as_it_is = is_utf8(block)  # else pyarrow has no row to hand over, and takes none of them
    text = block if as_it_is else bytes(block).decode("latin-1").encode()
    if text[: len(BOM)] == BOM:  # inside a file it is text, and pyarrow drops the first
        text = BOM + bytes(text)
    table = pa.csv.read_csv(
        pa.BufferReader(text),
        # one thread, or rows would not know their numbers; several blocks are parsed at once
        pa.csv.ReadOptions(column_names=names, use_threads=False, block_size=2 * len(block) + 4),
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
    columns = {name: whole(table[name]) for name in wanted}
    if not as_it_is:
        columns = {name: _bytes_again(column) for name, column in columns.items()}
    codes = np.frombuffer(block, np.uint8)
    lines = max(np.count_nonzero(codes == end) for end in b"\n\r")
    longest = 0, 0
    if quoted and lines > len(table) + len(skipped) + MANY_LINES:  # else nobody has to look
        longest = longest_quoted(block, delimiter.encode())
    few = longest[0] <= MANY_LINES
    return Batch(columns, np.array(skipped, np.int64), counts, (0, 0) if few else longest)


def _bytes_again(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """Values whose bytes were taken for Latin-1, as the bytes that they are."""
    values = [value.decode().encode("latin-1") for value in column.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(column.indices, pa.array(values, pa.binary()))
