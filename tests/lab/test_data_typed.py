"""Parquet: every type is read or told, and so is every damage, in one line."""

import datetime
import decimal
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from embedding_collapse.lab.data import load
from embedding_collapse.parameters import ParameterError

ROWS = 60


def values_of(tmp_path, column: pa.Array) -> list[str]:
    """What the ids of a column stand for, in a table of it and a label."""
    table = pa.table({"y": [0, 1] * (ROWS // 2), "x": column})
    pa.parquet.write_table(table, tmp_path / "own.parquet")
    options = {"path": tmp_path / "own.parquet", "label": "y", "cache": tmp_path / "cache"}
    return load("table", categorical="x", **options).fields[0].values.to_pylist()


def of(*values: object, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(list(values) * (ROWS // len(values)), kind)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (of(decimal.Decimal("1.5"), None), ["1.5", ""]),
        (of(datetime.date(2020, 1, 2)), ["2020-01-02"]),
        (of(5, None, kind=pa.duration("ms")), ["5", ""]),
        (of(b"ab", b"cd", kind=pa.binary(2)), ["ab", "cd"]),
        (of("a", None, kind=pa.string_view()), ["a", ""]),
        (of("a", "b").dictionary_encode(), ["a", "b"]),
        (of(1.5, float("nan"), float("inf"), kind=pa.float16()), ["1.5", "", "inf"]),
        (of(2**64 - 1, kind=pa.uint64()), [str(2**64 - 1)]),
        (
            of(1.0e15, None, -0.5, 2.0**60),
            ["1000000000000000", "", "-0.5", "1.152921504606847e+18"],
        ),
        (of(True, False, None), ["true", "false", ""]),
        (pa.nulls(ROWS), [""]),
    ],
)
def test_what_has_a_text_is_read(tmp_path, column, values):
    assert values_of(tmp_path, column) == values


def test_an_id_is_one_whether_a_blank_beside_it_made_it_a_float_or_not(tmp_path):
    (tmp_path / "parts").mkdir()
    for part, user in enumerate((of(12345678901, 20000000000), of(12345678901, None, 2e10))):
        table = pa.table({"y": [0, 1] * (ROWS // 2), "user": user})
        pa.parquet.write_table(table, tmp_path / "parts" / f"{part}.parquet")
    data = load("table", path=tmp_path / "parts", label="y", cache=tmp_path / "cache")
    assert data.fields[0].values.to_pylist() == ["12345678901", "20000000000", ""]


@pytest.mark.parametrize(
    "column",
    [
        of([1]),
        of({"a": 1}),
        of([("a", 1)], kind=pa.map_(pa.string(), pa.int8())),
        pa.ExtensionArray.from_storage(pa.uuid(), of(bytes(16), kind=pa.binary(16))),
    ],
    ids=lambda column: str(column.type),
)
def test_a_type_without_a_text_is_told(tmp_path, column):
    with pytest.raises(ParameterError, match=r"where column x is of type .*; text, numbers, truth"):
        values_of(tmp_path, column)


def test_bytes_of_fixed_width_that_are_no_text_are_rows_to_reject(tmp_path):
    with pytest.raises(ParameterError, match=r"row 2: x is '\\\\xff\\\\xff', not UTF-8 text"):
        values_of(tmp_path, of(b"ab", b"\xff\xff", kind=pa.binary(2)))


def test_what_thrift_says_of_a_damaged_file_is_one_line(tmp_path):
    values_of(tmp_path, of("a"))
    path = tmp_path / "own.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) - 12) + whole[-8:])
    with pytest.raises(ParameterError, match="not a whole Parquet file") as caught:
        load("table", path=path, label="y", cache=tmp_path)
    assert "\\n" not in str(caught.value)


def test_a_file_that_holds_other_rows_than_it_says_is_told(tmp_path, monkeypatch):
    values_of(tmp_path, of("a"))
    batches = pa.parquet.ParquetFile.iter_batches
    monkeypatch.setattr(
        pa.parquet.ParquetFile,
        "iter_batches",
        lambda file, *args, **options: (b.slice(1) for b in batches(file, *args, **options)),
    )
    with pytest.raises(ParameterError, match="it says that it has 60 rows, and has 59"):
        load("table", path=tmp_path / "own.parquet", label="y", cache=tmp_path / "other")


def test_a_split_of_one_class_is_told_with_the_path(tmp_path):
    table = pa.table({"y": np.eye(1, 20, dtype=int)[0], "x": range(20)})
    pa.parquet.write_table(table, tmp_path / "own.parquet")
    with pytest.raises(ParameterError, match=r"own.parquet'; table: every label of the \w+ split"):
        load("table", path=tmp_path / "own.parquet", label="y", cache=tmp_path)


def test_a_pipe_is_told_before_anyone_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("table", "criteo", "avazu"):
        label = "y" if name == "table" else None
        with pytest.raises(ParameterError, match="a device or a pipe; a file is accepted"):
            load(name, path=tmp_path / "pipe", label=label, cache=tmp_path)


def test_a_frame_with_two_columns_of_one_name_is_refused_by_it():
    columns = [pa.array([0, 1] * 50), pa.array([*range(100)]), pa.array([*range(100)])]
    frame = pa.table(columns, names=["label", "a", "a"])
    with pytest.raises(ParameterError, match="several of its columns are named 'a'"):
        load("table", frame=frame, label="label", progress=False)
