"""Tables that no tool would write: read, or refused with a word of the project's own."""

import contextlib
import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from embedding_collapse.lab.data import load, summarise

from .mutate import chance, mutate_bytes, pick
from .reading import Reader, mutated
from .runs import DATA, Case

ROWS = 200
TOKENS = [
    "",
    " ",
    "0",
    "1",
    "-1",
    "1e999",
    "nan",
    "inf",
    "-0",
    "1" * 400,
    "0.1",
    "1.5e-320",
    ".",
    "-",
    "١٢",
    "½",
    "true",
    "NULL",
    "\x00",
    "\ufeff",
    "\u2028",
    "\udcff",
    '"',
    '""',
    "'",
    "\\",
    ",",
    "\t",
    "a" * 70_000,
    "=cmd()",
    "<b>",
    "\r",
    "\n",
    "9223372036854775808",
    "0x10",
    "1_000",
    "é" * 300,
]


def csv_tables(quick: bool) -> Iterator[Case]:
    return _cases(partial(_text, partial(_own, ",")), ".csv", _read_own, quick)


def tsv_tables(quick: bool) -> Iterator[Case]:
    return _cases(partial(_text, partial(_own, "\t")), ".tsv", _read_own, quick)


def criteo_tables(quick: bool) -> Iterator[Case]:
    read = partial(_read, "criteo")
    return _cases(
        partial(_text, partial(_sample, "criteo_format.txt.gz", "\t")), ".txt", read, quick
    )


def avazu_tables(quick: bool) -> Iterator[Case]:
    read = partial(_read, "avazu")
    return _cases(partial(_text, partial(_sample, "avazu_format.csv.gz", ",")), ".csv", read, quick)


def parquet_tables(quick: bool) -> Iterator[Case]:
    return _cases(_parquet, ".parquet", _read_own, quick)


def _cases(make: Callable, suffix: str, read: Callable[[Path], Any], quick: bool) -> Iterator[Case]:
    return mutated(Reader(make, suffix, read), 3 if quick else 2000)


def _read(name: str, path: Path, **options: Any) -> int:
    data = load(name, path=path, cache=path.parent / "cache", progress=False, **options)
    summarise(data)
    return len(data)


def _read_own(path: Path) -> int:
    return _read("table", path, label="clicked")


# --- text -----------------------------------------------------------------------------------------


@lru_cache
def _own(delimiter: str) -> tuple[list[list[str]], str]:
    """Rows of a table of one's own, the header first."""
    random = np.random.default_rng(0)
    columns = {
        "clicked": random.integers(0, 2, ROWS),
        "shop": random.choice(["a", "b, c", 'say "d"', "é\nf", ""], ROWS),
        "count": random.integers(-5, 1000, ROWS),
        "price": random.exponential(9, ROWS).round(2),
        "day": random.choice(["Mon", "Tue"], ROWS),
    }
    rows = zip(*columns.values(), strict=True)
    return [list(columns), *([str(value) for value in row] for row in rows)], delimiter


@lru_cache
def _sample(name: str, delimiter: str) -> tuple[list[list[str]], str]:
    """The first rows of a file in the format of Criteo or Avazu."""
    with gzip.open(DATA / name, "rt") as file:
        lines = [next(file).rstrip("\n") for _ in range(ROWS)]
    return [line.split(delimiter) for line in lines], delimiter


def _text(
    make: Callable[[], tuple[list[list[str]], str]], random: np.random.Generator, harm: bool
) -> tuple[bytes, int, str]:
    """Text with values, rows and bytes that it should not have, at times packed."""
    rows, delimiter = make()
    rows = [list(row) for row in rows]
    quoted = rows[0][0] == "clicked"
    if not harm:
        return _joined(rows, delimiter, quoted).encode(), 0, ""
    if chance(random, 0.7):
        for _ in range(int(random.integers(1, 6))):
            _harm_rows(rows, random)
    end = pick(random, ("\n", "\n", "\n", "\r\n", "\r"))
    text = _joined(rows, delimiter, quoted and chance(random, 0.8), end)
    encoding = pick(random, ("utf-8", "utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"))
    content = text.encode(encoding, errors="replace" if encoding == "latin-1" else "surrogatepass")
    if chance(random, 0.5):
        content = mutate_bytes(content, random)
    return _packed(content, random)


def _harm_rows(rows: list[list[str]], random: np.random.Generator) -> None:
    number = 0 if chance(random, 0.2) else int(random.integers(len(rows)))
    row = rows[number]
    place = int(random.integers(len(row))) if row else 0
    what = random.integers(9)
    if what < 3 and row:
        row[place] = pick(random, TOKENS)
    elif what == 3:
        del row[place : place + 1]
    elif what == 4:
        row[place:place] = [pick(random, TOKENS)] * int(random.integers(1, 30))
    elif what == 5 and row:  # a whole column of it
        for each in rows[1:]:
            each[place : place + 1] = [pick(random, TOKENS)]
    elif what == 6 and row:
        row[place] = pick(random, row)  # in the header, the same name twice
    elif what == 7:
        del rows[max(1, number) :]
        rows += [[]]
    elif chance(random, 0.3):
        row += ["x"] * 5000  # or, of a header, columns


def _joined(rows: list[list[str]], delimiter: str, quoted: bool, end: str = "\n") -> str:
    if not quoted:
        return end.join(delimiter.join(row) for row in rows)
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(rows)
    return file.getvalue()


def _packed(content: bytes, random: np.random.Generator) -> tuple[bytes, int, str]:
    """Plain, or as .gz or .zip, whose own bytes may be harmed too; its size unpacked."""
    how, size = random.integers(8), len(content)
    if how > 1:
        return content, size, ""
    if how == 0:
        packed, suffix = gzip.compress(content, mtime=0), ".gz"
    else:
        file, suffix = io.BytesIO(), ".zip"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("train.txt", "../other.txt")[: 1 + chance(random, 0.2)]:
                archive.writestr(name, content)
        packed = file.getvalue()
    return (mutate_bytes(packed, random) if chance(random, 0.5) else packed), size, suffix


# --- Parquet --------------------------------------------------------------------------------------


def _parquet(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    rows, _ = _own(",")
    columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
    arrays: dict[str, Any] = {
        "clicked": pa.array([int(value) for value in columns["clicked"]]),
        "shop": pa.array(columns["shop"]).dictionary_encode(),
        "count": pa.array([int(value) for value in columns["count"]], pa.int32()),
        "price": pa.array([float(value) for value in columns["price"]]),
        "day": pa.array(columns["day"]),
    }
    options: dict[str, Any] = {}
    if harm:
        if chance(random, 0.4):
            arrays[pick(random, [*arrays, "odd"])] = pick(random, _odd())
        options = {
            "compression": pick(random, ("none", "snappy", "zstd", "gzip")),
            "use_dictionary": chance(random, 0.5),
            "row_group_size": pick(random, (1, 50, 1000)),
            "data_page_version": pick(random, ("1.0", "2.0")),
        }
    names = list(arrays)
    if harm and chance(random, 0.1):
        names[-1] = pick(random, [*names, "", "../x", "a.b", "x" * 10_000, "\x00"])
    file = io.BytesIO()
    pa.parquet.write_table(pa.table(list(arrays.values()), names), file, **options)
    content = file.getvalue()
    size = sum(array.nbytes for array in arrays.values())
    if harm and chance(random, 0.75):
        content = mutate_bytes(content, random)
    return content, size, ""


@lru_cache
def _odd() -> list[pa.Array]:
    """Columns of every type that a Parquet file can hold."""
    numbers = list(range(ROWS))
    columns = [
        pa.nulls(ROWS),
        pa.array([[n] for n in numbers]),
        pa.array([{"a": n} for n in numbers]),
        pa.array([{"k": n} for n in numbers], pa.map_(pa.string(), pa.int64())),
        pa.array(numbers, pa.decimal128(38, 10)),
        pa.array(numbers, pa.timestamp("ns", "Europe/Berlin")),
        pa.array([2**62] * ROWS, pa.timestamp("s")),
        pa.array(numbers, pa.date32()),
        pa.array(numbers, pa.duration("us")),
        pa.array(numbers, pa.time64("ns")),
        pa.array([b"\xff\x00"] * ROWS, pa.binary(2)),
        pa.array([b"\xff\xfe"] * ROWS, pa.large_binary()),
        pa.array(["x" * 70_000] * ROWS, pa.large_string()),
        pa.array([float("nan"), float("inf"), -0.0, None] * (ROWS // 4)),
        pa.array(np.arange(ROWS, dtype=np.float16)),
        pa.array([True, None] * (ROWS // 2)),
        pa.array([2**64 - 1] * ROWS, pa.uint64()),
        pa.array([None, "a"] * (ROWS // 2)).dictionary_encode(),
        pa.array(["a"] * ROWS, pa.string_view()),
    ]
    found = []
    for column in columns:
        with contextlib.suppress(pa.ArrowException):
            pa.parquet.write_table(pa.table([column], ["x"]), io.BytesIO())
            found.append(column)
    return found
