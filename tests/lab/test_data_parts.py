"""Data that come in three parts keep them: those to train on, to validate on and to test on."""

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest

from embedding_collapse.lab.data import Dataset, describe, load, load_spec
from embedding_collapse.parameters import ParameterError

pytestmark = pytest.mark.usefixtures("own_cache")

SIZES = {"train": 300, "valid": 60, "test": 90}
TABLE = {
    "label": "click",
    "split": "given",
    "vocabulary": "all",  # so that each row is known by its name
    "min_count": 1,
    "progress": False,
}


@pytest.fixture
def frames() -> dict[str, pd.DataFrame]:
    """Three tables of clicks; the first column of each names its rows."""
    numbers = np.random.default_rng(0)
    return {
        name: pd.DataFrame(
            {
                "row": [f"{name}{i}" for i in range(size)],
                "shop": numbers.integers(0, 7, size),
                "click": numbers.integers(0, 2, size),
            }
        )
        for name, size in SIZES.items()
    }


@pytest.fixture
def folder(frames, tmp_path) -> Path:
    """Of three files in three formats, with the columns in another order each."""
    place = tmp_path / "clicks"
    place.mkdir()
    frames["train"].to_csv(place / "train.csv", index=False)
    frames["valid"][["click", "row", "shop"]].to_parquet(place / "validation.parquet")
    frames["test"][["shop", "click", "row"]].to_csv(place / "Test.tsv.gz", sep="\t", index=False)
    (place / ".hidden").write_text("no part")
    return place


def held(data: Dataset, share: int) -> list[str | None]:
    """The names of the rows of a split, in its order."""
    (row,) = (i for i, field in enumerate(data.fields) if field.name == "row")
    return [data.fields[row].decode(number) for number in data.ids[data.split[share], row]]


def test_each_file_of_a_folder_is_the_split_that_it_is_named_for(frames, folder):
    data = load("table", path=folder, **TABLE)
    assert data.split_sizes == (300, 60, 90) and data.held_out == (60, 90)
    for share, frame in enumerate(frames.values()):
        names, labels = held(data, share), data.labels[data.split[share].numpy()]
        assert sorted(names) == sorted(frame["row"])
        assert np.array_equal(labels, frame.set_index("row").loc[names, "click"])
    assert held(data, 0) == [*frames["train"]["row"]]  # the others are in random order
    assert "300 rows train, 60 validate and 90 test, as given" in data.notes
    again = load("table", path=folder, **TABLE)  # from the cache
    assert again.fingerprint == data.fingerprint and again.held_out == data.held_out


@pytest.mark.parametrize("kind", [dict, datasets.DatasetDict])
def test_a_dict_of_three_frames_is_the_folder_s_data(frames, folder, kind):
    ways = iter([pd.DataFrame, pl.from_pandas, pd.DataFrame])
    made = {name: next(ways)(frame) for name, frame in frames.items()}
    if kind is datasets.DatasetDict:
        made = datasets.DatasetDict(
            {name: datasets.Dataset.from_pandas(frame) for name, frame in frames.items()}
        )
    data, file = load("table", frame=made, **TABLE), load("table", path=folder, **TABLE)
    assert np.array_equal(data.ids, file.ids) and data.held_out == file.held_out
    assert all("has the value of shop" not in note for note in data.notes)


def test_a_dataset_of_datasets_is_a_table_too(frames):
    whole = datasets.Dataset.from_pandas(frames["train"])
    options = {"label": "click", "progress": False}
    ours, pandas = (load("table", frame=f, **options) for f in (whole, frames["train"]))
    assert np.array_equal(ours.ids, pandas.ids)


def test_rows_are_the_first_that_train_and_the_rest_is_held_out_whole(frames, folder):
    data = load("table", 100, path=folder, **TABLE)
    assert data.split_sizes == (100, 60, 90)
    assert held(data, 0) == [*frames["train"]["row"][:100]]
    assert sorted(held(data, 2)) == sorted(frames["test"]["row"])
    with pytest.raises(ParameterError, match=r"rows is 301; .*train.csv' has 300 rows to train on"):
        load("table", 301, path=folder, **TABLE)


def test_a_vocabulary_of_training_rows_knows_no_value_of_the_others(folder):
    data = load("table", path=folder, **TABLE | {"vocabulary": ""})  # by default
    assert held(data, 1) == [None] * 60 and held(data, 0)[:2] == ["train0", "train1"]


def test_a_field_that_training_rows_lack_the_values_of_is_told(frames, folder):
    told = "no training row has the value of row that 100% of the others have"
    assert told in load("table", path=folder, **TABLE).notes
    frames["test"]["shop"] = [f"{shop}.0" for shop in frames["test"]["shop"]]  # 3.0 for 3
    notes = load("table", frame=frames, **TABLE).notes
    assert "no training row has the value of shop that 60% of the others have" in notes


def test_a_rejected_row_is_told_with_its_file(folder):
    with (folder / "train.csv").open("a") as file:
        file.write("late,3,maybe\n")
    (note,) = (note for note in load("table", path=folder, **TABLE).notes if "rejected" in note)
    said = "click is 'maybe', not 0 or 1, true or false"
    assert note == f"1 row rejected: {folder / 'train.csv'}, line 302: {said}"


def test_rejected_rows_are_a_share_of_their_own_part(folder, frames):
    """Of all 450 rows 4 are no hundredth, of the 90 that test they are."""
    frames["test"]["click"] = frames["test"]["click"].astype(str).where(frames["test"].index > 3)
    (folder / "Test.tsv.gz").unlink()
    frames["test"].to_csv(folder / "test.csv", index=False)
    told = r"test.csv'; 4 of 90 rows cannot be used \(.*test.csv, line 2: click is '', not 0 or 1"
    with pytest.raises(ParameterError, match=told):
        load("table", path=folder, **TABLE)
    data = load("table", path=folder, **TABLE, max_rejected=0.05)
    assert data.held_out == (60, 86) and data.facts["rejected_share"] == 4 / 450
    with pytest.raises(ParameterError, match=told):  # of what is in the cache too
        load("table", path=folder, **TABLE)


def test_other_data_in_any_part_are_other_data(folder):
    spec = describe("table", path=folder, **TABLE)
    assert spec.written()["split"] == "given"
    assert load_spec(spec, progress=False).held_out == (60, 90)
    (folder / "Test.tsv.gz").unlink()
    (folder / "test.csv").write_text("row,shop,click\n" + "a,1,0\nb,2,1\n" * 9)
    with pytest.raises(ParameterError, match="holds other data than when this run was named"):
        load_spec(spec, progress=False)


def test_a_part_without_rows_or_without_a_class_is_refused(folder):
    (folder / "Test.tsv.gz").unlink()
    (folder / "test.csv").write_text("row,shop,click\na,1,0\nb,2,0\n")
    with pytest.raises(ParameterError, match="every label of the test split is 0"):
        load("table", path=folder, **TABLE)
    (folder / "test.csv").write_text("row,shop,click\n")
    with pytest.raises(ParameterError, match="leave the test split empty"):
        load("table", path=folder, **TABLE)


def test_a_folder_of_parquet_files_is_one_table_whole_and_by_its_splits(frames, tmp_path):
    whole, split = tmp_path / "whole", tmp_path / "split"
    for name, frame in frames.items():
        part = split / name
        part.mkdir(parents=True)
        whole.mkdir(exist_ok=True)
        frame.to_parquet(whole / f"part-{len(list(whole.iterdir()))}.parquet")
        frame[:10].to_parquet(part / "part-0.parquet")
        frame[10:][["shop", "click", "row"]].to_parquet(part / "part-1.parquet")
        (part / "_SUCCESS").touch()
    options = {"label": "click", "vocabulary": "all", "min_count": 1}
    together = load("table", frame=pd.concat(frames.values(), ignore_index=True), **options)
    read = load("table", path=whole, **options)
    assert np.array_equal(read.ids, together.ids) and read.spec.content != together.spec.content
    ours, given = (
        load("table", split="given", **options, **where)
        for where in ({"path": split}, {"frame": frames})
    )
    assert all(held(ours, share) == held(given, share) for share in range(3))
    frames["test"][["row", "click"]].to_parquet(whole / "part-9.parquet")
    with pytest.raises(
        ParameterError, match=r"part-9\.parquet has the columns row, click, and part-"
    ):
        load("table", path=whole, **options)
    (whole / "readme.txt").touch()
    with pytest.raises(ParameterError, match="a folder; a file is accepted, a folder of"):
        load("table", path=whole, **options)


def test_parts_that_are_not_three_are_refused_with_what_there_is(folder, frames):
    (folder / "valid.csv").write_text("row,shop,click\na,1,0\n")
    with pytest.raises(ParameterError, match=r"has Test.tsv.gz, train.csv, valid.csv, validation"):
        load("table", path=folder, **TABLE)
    del frames["valid"]
    with pytest.raises(ParameterError, match=r"frame has train, test; one of each is accepted"):
        load("table", frame=frames, **TABLE)
    with pytest.raises(ParameterError, match="a dict of three, train, validation and test, is acc"):
        load("table", frame=frames["train"], **TABLE)
    with pytest.raises(ParameterError, match="frame is a dict of train, test; with split='given'"):
        load("table", frame=frames, **TABLE | {"split": "random"})


def test_a_part_that_lacks_a_column_is_refused(folder):
    (folder / "Test.tsv.gz").unlink()
    (folder / "test.csv").write_text("row,click\na,1\nb,0\n")
    with pytest.raises(ParameterError, match=r"test.csv'; it has no column 'shop'"):
        load("table", path=folder, **TABLE)


def test_one_file_has_no_parts_and_a_folder_is_split_only_if_one_says_so(folder):
    with pytest.raises(ParameterError, match="one file; a folder of three files is accepted"):
        load("table", path=folder / "train.csv", **TABLE)
    with pytest.raises(ParameterError, match="a folder; a file is accepted, a folder of"):
        load("table", path=folder, label="click")
    with pytest.raises(ParameterError, match=r"split is 'given' and path 'train.txt'; a data"):
        load("criteo", path="train.txt", split="given")


def test_a_split_by_a_column_and_a_given_one_exclude_each_other(folder):
    with pytest.raises(ParameterError, match="split_by is 'shop' and split 'given'; one of the"):
        load("table", path=folder, split_by="shop", **TABLE)
    with pytest.raises(ParameterError, match="split 'time' is unknown; known: random, given"):
        load("table", path=folder, **TABLE | {"split": "time"})
