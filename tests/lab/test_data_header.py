"""The first row names the columns, and names may be anything."""

import zipfile
from pathlib import Path

import pytest

from embedding_collapse.lab.data import Dataset, DataSpec, delimited, load
from embedding_collapse.lab.data.sources import own_table
from embedding_collapse.parameters import ParameterError

NASTY = [
    '<b onclick="x()">&',
    "two\nlines",
    "\x1b[31mred",
    "../../etc/passwd",
    "{0} {x}",
    "x" * 10_000,
]


def table(path: Path) -> DataSpec:
    return DataSpec("table", label="y", path=str(path), content="unread")


def written(path: Path, names: list[str], delimiter: str = ",") -> Path:
    """A table of that header, with label y: every row but one can be used."""
    header = ['"' + name.replace('"', '""') + '"' for name in ["y", *names]]
    rows = [[str(row % 2), *[str(row % 3)] * len(names)] for row in range(200)]
    rows.append(["0", *["few"] * len(names)])
    lines = [delimiter.join(row) for row in [header, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return path


def loaded(path: Path, **options: object) -> Dataset:
    return load("table", path=path, label="y", cache=path.parent / "cache", **options)


def test_names_may_hold_line_ends_quotes_markup_and_ten_thousand_characters(tmp_path):
    path = written(tmp_path / "own.csv", NASTY)
    data = loaded(path)
    assert [field.name for field in data.fields] == NASTY
    assert {one.name for one in tmp_path.iterdir()} == {"own.csv", "cache"}  # a name is no path
    numeric = loaded(path, numeric=NASTY[:-1])
    left_out, rejected = numeric.notes
    assert left_out.startswith("left out, since columns are named: xxx") and len(left_out) < 200
    assert rejected == "1 row rejected: line 202: <b onclick=\"x()\">& is 'few', not a number"
    first = loaded(path, numeric=NASTY[1:2])
    assert first.notes[1:] == ("1 row rejected: line 202: two\\nlines is 'few', not a number",)
    braces = loaded(path, numeric=NASTY[4:5])
    assert braces.notes[1:] == ("1 row rejected: line 202: {0} {x} is 'few', not a number",)


def test_messages_name_columns_in_one_line_of_a_length_that_can_be_read(tmp_path):
    path = written(tmp_path / "own.csv", NASTY + [f"c{i}" for i in range(100)])
    with pytest.raises(ParameterError) as caught:
        load("table", path=path, label="missing", cache=tmp_path)
    text = str(caught.value)
    assert text.isprintable() and len(text) < 1500
    assert "two\\nlines" in text and "xxx...xxx" in text and text.endswith("and 77 more")


def test_a_delimiter_in_a_quoted_name_is_not_the_tables(tmp_path):
    data = loaded(written(tmp_path / "own.csv", ["a,b,c,d"], ";"))
    assert [field.name for field in data.fields] == ["a,b,c,d"]


def test_a_header_cell_may_be_longer_than_pythons_reader_takes(tmp_path):
    data = loaded(written(tmp_path / "own.csv", ["n" * 200_000]))
    assert len(data.fields[0].name) == 200_000


def test_a_byte_order_mark_may_stand_before_a_quoted_name(tmp_path):
    path = written(tmp_path / "own.csv", ["a"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(loaded(path)) == 201


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n0,1\n", "whose first line is blank; the names of its columns are needed"),
        (b'y,"a\n0,1\n', r'the quotes \("\) in its first row do not pair up'),
        (b"y,a" * 100, "its first row does not end within 64 bytes"),
        (b"\xff\xfe\n", r"whose first line is not UTF-8 text .*; UTF-8 text with a header"),
        (b'{"y": 1, "x": 2}\n', r"which holds JSON; UTF-8 text .* lines=True\).to_parquet"),
    ],
)
def test_a_first_row_that_names_no_columns_is_told(tmp_path, monkeypatch, content, said):
    monkeypatch.setattr(delimited, "BLOCK", 64)
    (tmp_path / "own.csv").write_bytes(content)
    with pytest.raises(ParameterError, match=said):
        own_table(table(tmp_path / "own.csv"))


def test_an_archive_that_python_cannot_unpack_is_told(tmp_path):
    path = tmp_path / "own.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("own.csv", "y,a\n0,1\n")
    whole = path.read_bytes()
    for place, value, said in ((6, 1, "encrypted"), (8, 99, "compression method")):
        content, central = bytearray(whole), whole.index(b"PK\x01\x02")
        content[place], content[central + place + 2] = value, value
        path.write_bytes(content)
        with pytest.raises(ParameterError, match=f"own.zip'; it cannot be read .*{said}"):
            own_table(table(path))
