"""Files as they come: every way to write them is read, every fault is told, nothing is lost."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from embedding_collapse.lab.data import Dataset, delimited, load
from embedding_collapse.parameters import ParameterError

ROWS = 400


def criteo_lines(rows: int = ROWS) -> list[str]:
    """Rows in the format of Criteo's train.txt."""
    return [
        "\t".join([str(i % 2), *[str(i % 7)] * 13, *[f"{i % 5:08x}"] * 26]) for i in range(rows)
    ]


@pytest.fixture
def criteo(tmp_path):
    """Loads lines, or bytes, as Criteo's train.txt."""

    def load_lines(content: list[str] | bytes, name: str = "train.txt", **options) -> Dataset:
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join(f"{line}\n" for line in content).encode()
        path.write_bytes(content)
        return load("criteo", path=path, cache=tmp_path / "cache", progress=False, **options)

    return load_lines


@pytest.fixture
def table(tmp_path):
    """Loads text as a table of one's own, with label y."""

    def load_text(text: str | bytes, name: str = "own.csv", label: str = "y", **options) -> Dataset:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load("table", path=path, label=label, cache=tmp_path / "cache", **options)

    return load_text


# --- as it may be written -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["gz", "zip", "crlf", "bom", "no last line end"])
def test_the_same_rows_come_of_every_way_to_write_them(criteo, tmp_path, way):
    plain = "\n".join(criteo_lines()).encode() + b"\n"
    name, content = "other.txt", plain
    if way == "gz":
        name, content = "other.txt.gz", gzip.compress(plain)
    elif way == "zip":
        name = "other.zip"
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("dac/train.txt", plain)
        content = (tmp_path / name).read_bytes()
    elif way == "crlf":
        content = plain.replace(b"\n", b"\r\n")
    elif way == "bom":
        content = b"\xef\xbb\xbf" + plain
    elif way == "no last line end":
        content = plain[:-1]
    expected, found = criteo(plain), criteo(content, name)
    assert np.array_equal(found.ids, expected.ids)
    assert np.array_equal(found.labels, expected.labels)
    assert [f.values for f in found.fields] == [f.values for f in expected.fields]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_is_the_one_in_the_header(table, delimiter):
    text = f"a{delimiter}y{delimiter}b\n" + f"1{delimiter}0{delimiter}2\n" * 50
    data = table(text + text.split("\n", 1)[1].replace("0", "1"))
    assert [field.name for field in data.fields] == ["a", "b"]


def test_a_header_may_begin_with_a_byte_order_mark_and_end_in_crlf(table):
    data = table(b"\xef\xbb\xbfy,a\r\n" + b"0,1\r\n1,2\r\n" * 50)
    assert [field.name for field in data.fields] == ["a"]
    assert data.fields[0].decode(2) == "2"


# --- rows that cannot be used ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (0, "2", "label is '2', not 0 or 1"),
        (0, "", "label is '', not 0 or 1"),
        (3, "many", "I3 is 'many', not a whole number"),
        (3, "1.5", "I3 is '1.5', not a whole number"),
        (3, "x" * 60, f"I3 is '{'x' * 40}...', not a whole number"),
        (3, "9" * 19, f"I3 is '{'9' * 19}', not a whole number"),
        (20, b"\xff\xfe", r"C7 is '\\xff\\xfe', not UTF-8 text"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_line(criteo, monkeypatch, column, value, told):
    monkeypatch.setattr(delimited, "BLOCK", 3000)
    lines = [line.encode().split(b"\t") for line in criteo_lines()]
    lines[7].pop()  # a row of another fault before it
    lines[300][column] = value if isinstance(value, bytes) else value.encode()
    data = criteo(b"".join(b"\t".join(line) + b"\n" for line in lines))
    assert len(data) == ROWS - 2
    assert data.notes[0] == (
        f"2 rows rejected: line 8: 39 columns, 40 are needed; line 301: {told}"
    )


def test_blank_lines_are_counted_and_do_not_shift_the_others(criteo):
    lines = criteo_lines()
    lines[100] = ""
    lines[200] += "\textra"
    data = criteo(lines)
    assert data.notes == (
        "2 rows rejected: line 101: label is '', not 0 or 1; line 201: 41 columns, 40 are needed",
    )


def test_a_row_of_bytes_in_no_encoding_is_rejected_and_its_block_is_read(criteo):
    lines = [line.encode().split(b"\t") for line in criteo_lines()]
    lines[30] = [b"\xff\xfe\x80"]
    lines[40][-1] = b"\xff"
    for line in lines[100:120]:
        line[-1] = "é中".encode()
    data = criteo(b"".join(b"\t".join(line) + b"\n" for line in lines))
    (note,) = data.notes
    assert note.startswith("2 rows rejected: line 31: 1 columns, 40 are needed; line 41: C26 is ")
    assert data.fields[-1].values.to_pylist().count("é中") == 1
    assert len(data) == ROWS - 2


def test_a_byte_order_mark_inside_a_file_is_text_wherever_a_block_begins(criteo, monkeypatch):
    lines = [line.encode() for line in criteo_lines()]
    lines[200] = b"\xef\xbb\xbf" + lines[200]
    content = b"\n".join([*lines, b"\xef\xbb\xbf"])  # the last one has a block of its own
    for block in (len(b"\n".join(lines[:200])) + 10, delimited.BLOCK):
        monkeypatch.setattr(delimited, "BLOCK", block)
        data = criteo(content, f"blocks-{block}.txt")
        assert len(data) == ROWS - 1 and data.facts["rejected_share"] == 2 / (ROWS + 1)


def test_only_the_first_few_rejected_rows_are_shown_and_all_are_counted(criteo, caplog):
    lines = criteo_lines(1000)
    lines[10:20] = ["x"] * 10
    data = criteo(lines)
    assert data.notes[0].startswith("10 rows rejected: line 11: 1 columns")
    assert data.notes[0].count("line") == 5
    assert data.notes[0].endswith("; ...")
    assert data.notes[0] in caplog.text


def test_more_than_one_in_a_hundred_rejected_is_an_error_unless_allowed(criteo):
    lines = criteo_lines()
    lines[10:20] = ["x"] * 10
    for _ in range(2):  # the second time it could be in the cache
        with pytest.raises(ParameterError, match=r"10 of 400 rows cannot be used \(line 11: 1 col"):
            criteo(lines)
        assert len(criteo(lines, max_rejected=0.03)) == 390


@pytest.mark.parametrize("share", [-0.1, 1, "some"])
def test_a_share_that_cannot_be_is_named(criteo, share):
    with pytest.raises(ParameterError, match=f"max_rejected is {share!r}; numbers from 0 to below"):
        criteo(criteo_lines(), max_rejected=share)


def test_it_is_named_before_a_file_is_read(tmp_path):
    with pytest.raises(ParameterError, match="max_rejected is 7"):
        load("criteo", path=tmp_path / "none.txt", max_rejected=7)
    with pytest.raises(ParameterError, match="workers is 0"):
        load("criteo", path=tmp_path / "none.txt", workers=0)


def test_a_column_that_is_blank_in_every_row_is_told(criteo):
    lines = ["\t".join([*line.split("\t")[:-1], ""]) for line in criteo_lines()]
    data = criteo(lines)
    assert data.notes == ("blank in every row: C26",)
    assert data.fields[-1].cardinality == 2
    assert data.fields[-1].decode(1) == ""


# --- files that cannot be used --------------------------------------------------------------------


def test_a_missing_path_is_told(tmp_path):
    with pytest.raises(ParameterError, match=r"path is '.*none.txt'; there is no such file"):
        load("criteo", path=tmp_path / "none.txt")


def test_a_folder_is_told(tmp_path):
    with pytest.raises(ParameterError, match="a folder; a file is accepted"):
        load("criteo", path=tmp_path)


def test_an_empty_file_is_told(criteo, table):
    with pytest.raises(ParameterError, match="an empty file; rows are needed"):
        criteo(b"")
    with pytest.raises(ParameterError, match="an empty file; rows are needed"):
        table("")


@pytest.mark.parametrize("text", ["y,a", "y,a\n", "y,a\r\n"])
def test_a_header_alone_is_told(table, text):
    with pytest.raises(ParameterError, match="which holds no rows; 10 are needed"):
        table(text, categorical="a")
    with pytest.raises(ParameterError, match="which holds no rows; 10 are needed"):
        table(text)


def test_too_few_rows_are_told(criteo):
    with pytest.raises(ParameterError, match="which holds 9 rows that can be used; 10 are needed"):
        criteo(criteo_lines(9))


@pytest.mark.parametrize("only", ["0", "1"])
def test_one_class_only_is_told(criteo, only):
    lines = [only + line[1:] for line in criteo_lines()]
    with pytest.raises(ParameterError, match=f"where label is {only} in all 400 rows; both"):
        criteo(lines)


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.9999])
def test_a_truncated_gz_is_told(criteo, kept):
    whole = gzip.compress("\n".join(criteo_lines(3000)).encode())
    with pytest.raises(ParameterError, match="the file is cut short or damaged"):
        criteo(whole[: int(len(whole) * kept)], "train.txt.gz")


def test_an_altered_gz_is_told(criteo):
    whole = bytearray(gzip.compress("\n".join(criteo_lines(3000)).encode()))
    whole[len(whole) // 2] ^= 255
    with pytest.raises(ParameterError, match="the file is cut short or damaged"):
        criteo(bytes(whole), "train.txt.gz")


def test_a_gz_or_zip_by_name_only_is_told(criteo):
    for name in ("train.gz", "train.zip"):
        with pytest.raises(ParameterError, match="the file is cut short or damaged"):
            criteo(criteo_lines(), name)


def test_a_zip_whose_names_are_no_text_is_told(criteo, tmp_path):
    with zipfile.ZipFile(tmp_path / "named.zip", "w") as archive:
        archive.writestr("träin.txt", "\n".join(criteo_lines()))
    damaged = (tmp_path / "named.zip").read_bytes().replace("ä".encode(), b"\xc3\xc3")
    with pytest.raises(ParameterError, match=r"cut short or damaged .*can't decode"):
        criteo(damaged, "named.zip")


def test_a_zip_of_several_files_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("train.txt", "a")
        archive.writestr("test.txt", "b")
    with pytest.raises(ParameterError, match=r"holds 2 files \(train.txt, test.txt\)"):
        load("criteo", path=tmp_path / "two.zip")


def test_a_failure_leaves_nothing_that_is_taken_for_data(criteo, tmp_path):
    with pytest.raises(ParameterError):
        criteo(gzip.compress(b"\n".join(map(str.encode, criteo_lines(3000))))[:-9], "cut.gz")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["locks"]


# --- columns --------------------------------------------------------------------------------------


def test_a_missing_column_is_told_with_those_that_are_there(table):
    with pytest.raises(
        ParameterError, match="it has no column 'clicked'; its columns are 'y', 'a'"
    ):
        table("y,a\n0,1\n", label="clicked")
    with pytest.raises(ParameterError, match="it has no column 'b', 'c'; its columns are 'y', 'a'"):
        table("y,a\n0,1\n", categorical="a,b", numeric="c")


def test_columns_of_the_same_name_are_told(table):
    with pytest.raises(ParameterError, match="several of its columns are named 'a'"):
        table("y,a,a\n0,1,2\n")


def test_avazu_without_one_of_its_columns_is_told(tmp_path):
    (tmp_path / "train.csv").write_text("id,click,hour\n1,0,2\n")
    with pytest.raises(
        ParameterError, match=r"it has no column 'C1', 'banner_pos', .*, 'C21'; its"
    ):
        load("avazu", path=tmp_path / "train.csv")


def test_a_table_of_the_label_alone_is_told(table):
    with pytest.raises(ParameterError, match="it has no column beside the label 'y'"):
        table("y\n0\n1\n")


def test_a_column_with_two_roles_is_told(table):
    for roles in ({"categorical": "a", "numeric": "a"}, {"numeric": "a,y"}, {"categorical": "y"}):
        with pytest.raises(ParameterError, match="is given twice; it can be the label, cat"):
            table("y,a\n0,1\n", **roles)


def test_a_numeric_column_that_holds_text_is_told(table):
    text = "y,a\n" + "0,1.5\n1,2\n" * 200 + "1,few\n"
    data = table(text, numeric="a")
    assert data.notes == ("1 row rejected: line 402: a is 'few', not a number",)


@pytest.mark.parametrize("missing", ["NaN", "nan", "NA", "n/a", "<NA>", "null", "None", "\\N"])
def test_what_tools_write_for_a_missing_number_is_a_blank(table, missing):
    rows = "0,1.5\n1,2.25\n1,3.125\n" * 100
    blank, named = (table(f"y,a\n{rows}1,{text}\n0,{text}\n") for text in ("", missing))
    assert named.notes == blank.notes == ("guessed numeric: a",)
    assert named.fields == blank.fields and (named.ids == blank.ids).all()


def test_a_column_of_numbers_is_told_where_a_text_makes_it_categorical(table):
    rows = "0,1.5\n1,2.25\n1,3.125\n" * 100
    data = table(f"y,a\n{rows}1,few\n")
    assert data.notes[:2] == (
        "guessed categorical: a",
        "a: taken for categorical, as 'few' is no number; most of the others are",
    )


def test_a_missing_label_is_none_whatever_is_positive(table):
    rows = "0,a\n1,b\n" * 200 + "NaN,a\n,b\n"
    data = table(f"y,a\n{rows}", positive="1")
    assert len(data) == 400
    assert data.notes[1:] == (
        "y is 1 for 1, 0 for 0",
        "2 rows rejected: line 402: y is 'NaN', not a value; line 403: y is '', not a value",
    )


def test_quotes_that_do_not_pair_up_are_told(table):
    with pytest.raises(ParameterError, match=r"the quotes \(\"\) in its last 3 lines do not"):
        table('y,a\n0,1\n1,"2\n0,3\n1,4\n', categorical="a")


def test_quotes_that_pair_up_by_accident_are_told_with_the_lines_between(table, monkeypatch):
    lines = [f"{i % 2},w{i % 7},0" for i in range(ROWS)]
    lines[50:80] = ['1,"w\nw",0'] * 30  # as many lines, but not in one value
    assert len(table("y,a,b\n" + "\n".join(lines), categorical="a").notes) == 1
    lines[100], lines[300] = '1,"w2,0', '1,"w6,0'
    text = "y,a,b\n" + "\n".join(lines) + "\n"
    for block in (delimited.BLOCK, len(text) - 50):
        monkeypatch.setattr(delimited, "BLOCK", block)
        data = table(text, f"blocks-{block}.csv", categorical="a", rows=150)
        assert data.notes[1:] == (
            "a quoted value spans 201 lines (from line 102); an unpaired quote?",
        )
    assert len(table(text, "few.csv", categorical="a", rows=90).notes) == 1  # it comes later


def test_a_row_without_end_is_told(criteo, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK", 100)
    monkeypatch.setattr(delimited, "LONGEST", 800)
    with pytest.raises(ParameterError, match="no row ends within 800 bytes"):
        criteo(b"x" * 2000)


def test_lines_may_end_as_on_old_macs(table):
    lines = b"y,a\n" + b"0,1\n1,2\n" * 50
    usual, old = table(lines), table(lines.replace(b"\n", b"\r"))
    assert len(old) == 100
    assert (old.ids == usual.ids).all() and (old.labels == usual.labels).all()


def test_a_damaged_parquet_file_is_told(tmp_path):
    path = tmp_path / "own.parquet"
    pd.DataFrame({"a": range(100), "y": [0, 1] * 50}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ParameterError, match="not a whole Parquet file"):
        load("table", path=path, label="y")


# --- asking for it --------------------------------------------------------------------------------


def test_a_table_needs_path_and_label(tmp_path):
    with pytest.raises(ParameterError, match="path is not given; the dataset 'table' needs"):
        load("table")
    with pytest.raises(ParameterError, match="label is not given; the dataset 'table' needs"):
        load("table", path=tmp_path / "x.csv")


def test_a_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Path(tmp_path, "train.txt").write_text("\n".join(criteo_lines()))
    assert len(load("criteo", path="~/train.txt", cache=tmp_path)) == ROWS
