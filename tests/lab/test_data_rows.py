"""Where rows end: as Python's own reader of delimited text has it, and wherever blocks end."""

import csv
import io
import random
from pathlib import Path

import pytest

from embedding_collapse.lab.data import delimited
from embedding_collapse.lab.data.rows import last_row_end, longest_quoted, pieces, quotes, row_ends
from embedding_collapse.parameters import ParameterError

ALPHABETS = [
    ["a", ",", '"', "\n"],
    ["0", ",", '"', "\n", "\r", "\r\n"],
    ['"', "\n", ",", "\xff", "é", "x"],
    ['""', '"\n"', '"', "\n", ",", "b", ",c\n"],
]

Rows = list[tuple[int, list[bytes]]]


def rows_of(path: Path) -> tuple[Rows, list[int]]:
    """The rows of a table with their numbers, and the numbers of those with other columns."""
    table, first = delimited.open_text_with_header(path), 0
    rows, skipped = [], []
    for task in table.read(table.names, False):
        batch = task()
        columns = [column.to_pylist() for column in batch.columns.values()]
        rows += zip(
            (batch.numbers + first).tolist(), map(list, zip(*columns, strict=True)), strict=True
        )
        skipped += (batch.skipped + first).tolist()
        first += batch.rows + len(batch.skipped)
    return rows, skipped


def rows_by_python(body: bytes) -> tuple[Rows, list[int]]:
    rows, skipped = [], []
    lines = io.StringIO(body.decode("latin-1"), newline="")
    for number, row in enumerate(csv.reader(lines)):
        values = [value.encode("latin-1") for value in row or ["", ""]]  # a blank line has blanks
        rows.append((number, values)) if len(values) == 2 else skipped.append(number)
    return rows, skipped


def test_rows_are_those_of_pythons_reader_wherever_blocks_end(tmp_path, monkeypatch):
    chance, compared = random.Random(0), 0
    for number in range(150):
        alphabet = chance.choice(ALPHABETS)
        letters = chance.choices(alphabet, k=chance.choice([5, 20, 60]))
        body = "".join(letters).encode(chance.choice(["latin-1", "utf-8"]))
        path = tmp_path / f"{number}.csv"
        path.write_bytes(b"y,a\n" + body)
        for block, cells in ((1 << 20, 1 << 20), (7, 1 << 20), (16, 1 << 20), (1 << 20, 4)):
            monkeypatch.setattr(delimited, "BLOCK", block)
            monkeypatch.setattr(delimited, "CELLS", cells)
            monkeypatch.setattr(delimited, "LONGEST", 1 << 20)
            try:
                found = rows_of(path)
            except ParameterError as error:  # Python closes a quote where the file ends
                assert "do not pair up" in str(error) and len(quotes(body, b",")) % 2
                continue
            assert found == rows_by_python(body), (body, block, cells)
            compared += 1
    assert compared > 300


@pytest.mark.parametrize(
    ("text", "end", "ends"),
    [
        (b"", 0, []),
        (b"a,b\nc", 4, [4]),
        (b"a,b\r\nc\r\n", 8, [5, 8]),
        (b"a\rb\rc", 4, [2, 4]),
        (b"a\rb\r", 2, [2, 4]),  # the last may be half of a line end
        (b'a,"b\nc"\nd', 8, [8]),
        (b'a,"b\nc\n', 0, []),
        (b'a,5"\nb,6"\n', 10, [5, 10]),  # inches
        (b'"a""\n"\nb\n', 9, [7, 9]),
        (b'a,"b"c"\n"d', 8, [8]),
    ],
)
def test_a_line_end_in_quotes_ends_no_row_and_a_quote_in_a_value_opens_none(text, end, ends):
    assert last_row_end(text, b",") == end
    assert row_ends(text, b",").tolist() == ends


def test_a_quote_that_stays_open_is_looked_for_once(monkeypatch):
    """A block of many lines behind it took minutes: each of them was tried from the start."""
    text = b'0,"\n' + b"1,22\n" * 400_000
    calls = []
    monkeypatch.setattr(
        "embedding_collapse.lab.data.rows.quotes", lambda *of: calls.append(of) or quotes(*of)
    )
    assert last_row_end(text, b",") == 0
    assert len(calls) == 1


def test_blank_lines_come_in_parts_and_none_is_lost():
    text = bytearray(b"\n" * 1000 + b'"\n\n\n",1\n' + b"\r\n" * 10)
    parts = list(pieces(memoryview(text), b",", 100))
    assert b"".join(parts) == text
    rows = [len(row_ends(bytes(part), b",")) for part in parts]
    assert sum(rows) == 1011 and max(rows) == 100
    assert all(part[-1:] == b"\n" for part in parts)


def test_the_longest_quoted_value_is_told_with_its_row():
    assert longest_quoted(b'a,b\n"x\n\n",2\n"y\n",3\n', b",") == (2, 1)
    assert longest_quoted(b'a,b\n1"x,2\n\n\n', b",") == (0, 0)  # a quote within a value opens none
