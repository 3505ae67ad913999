"""How many features each field has: said, or told by a record beside the weights."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from harm import flip

from embedding_collapse.files import DamagedError, store_json
from embedding_collapse.inspection.field_dims import fields_of, read_field_dims, record_beside
from embedding_collapse.parameters import ParameterError


def test_field_dims_are_numbers_or_a_file(tmp_path):
    assert read_field_dims("10, 20,3") == {"field 0": 10, "field 1": 20, "field 2": 3}
    for content, expected in (
        ([4, 5], {"field 0": 4, "field 1": 5}),
        ({"a<b": 4}, {"a<b": 4}),
    ):
        (tmp_path / "dims.json").write_text(json.dumps(content))
        assert read_field_dims(str(tmp_path / "dims.json")) == expected


def test_field_dims_follow_from_offsets_with_a_row_for_padding_before_them():
    offsets, rows = [1, 11, 14], 20
    dims = read_field_dims(np.diff([0, *offsets, rows]))
    assert list(dims.values()) == [1, 10, 3, 6] and sum(dims.values()) == rows


def test_field_dims_of_a_record_are_taken_where_it_is_whole(tmp_path):
    path = tmp_path / "dims.json"
    store_json(path, {"dataset": {"fields": ["u"], "cardinalities": [9]}})
    assert read_field_dims(str(path)) == {"u": 9}
    path.write_text(path.read_text().replace("9", "8"))
    with pytest.raises(DamagedError, match=f"{path} is damaged"):
        read_field_dims(str(path))


@pytest.mark.parametrize("content", ["[]", "7", '{"a": 0}', '{"a": "many"}', "[1.5]", "not json"])
def test_field_dims_that_cannot_be_are_refused(tmp_path, content):
    (tmp_path / "dims.json").write_text(content)
    with pytest.raises(ParameterError, match="field dims"):
        read_field_dims(str(tmp_path / "dims.json"))
    with pytest.raises(ParameterError, match="nor a JSON file of them"):
        read_field_dims("nowhere.json")
    with pytest.raises(ParameterError, match="'1 2,3' are neither whole numbers"):
        read_field_dims("1 2,3")
    with pytest.raises(ParameterError, match="neither whole numbers with commas"):
        read_field_dims("10,20.0")


def test_a_json_beside_that_is_no_record_is_left_alone(tmp_path):
    checkpoint = Path(tmp_path / "model.safetensors")
    for content in ("{}", "[1]", "no json", '{"dataset": 3}', '{"dataset": {"fields": ["a"]}}'):
        checkpoint.with_suffix(".json").write_text(content)
        assert record_beside(checkpoint) is None


@pytest.mark.parametrize("content", [{}, {"dataset": 3}, {"dataset": {"fields": ["a"]}}])
def test_a_record_of_no_dataset_tells_no_fields(content):
    assert fields_of(content) is None


def test_a_damaged_record_beside_tells_no_fields_and_that_is_said(tmp_path):
    checkpoint = tmp_path / "0123456789ab.safetensors"
    content = {"dataset": {"fields": ["u"], "cardinalities": [9]}}
    store_json(checkpoint.with_suffix(".json"), content)
    assert fields_of(record_beside(checkpoint)) == {"u": 9}
    flip(checkpoint.with_suffix(".json"), 0.5)
    with pytest.warns(UserWarning, match=r"the fields are not known: .*0123456789ab\.json"):
        assert record_beside(checkpoint) is None


def test_field_dims_in_a_pipe_or_nested_without_end_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for name in ("pipe", "deep.json"):
        with pytest.raises(ParameterError, match="nor a JSON file of them"):
            read_field_dims(str(tmp_path / name))
    os.mkfifo(tmp_path / "model.json")
    assert record_beside(tmp_path / "model.safetensors") is None
