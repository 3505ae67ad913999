"""A data spec determines the rows; nothing that changes them is outside it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embedding_collapse.cli import main
from embedding_collapse.lab import groups, records
from embedding_collapse.lab.data import DataSpec, describe, load, load_spec
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.spec import Spec
from embedding_collapse.parameters import ParameterError

RESULTS = Path(__file__).parents[2] / "results"


def write(path: Path, modulus: int = 3) -> Path:
    lines = [f"{i % 7},{i % 5},{i % 3},{(i * i) % modulus == 1:d}" for i in range(400)]
    path.write_text("\n".join(["shop,day,hour,bought", *lines]))
    return path


def of(path: Path, **options) -> DataSpec:
    return describe("table", path=path, **{"label": "bought"} | options)


def test_every_stored_record_is_named_by_its_spec():
    """So parameters may be added and files moved, and a run once made is still found."""
    stored = [json.loads(path.read_text()) for path in RESULTS.rglob("*.json")]
    runs = [record for record in stored if isinstance(record, dict) and "spec" in record]
    assert len(runs) > 300
    for record in runs:
        assert Spec.read(record["spec"]).key == record["key"]


def test_a_spec_that_was_written_reads_as_the_same(tmp_path):
    table = of(write(tmp_path / "a.csv"), rows=300, numeric="hour", categorical=["shop", "day"])
    for data in (DataSpec("synthetic-mini", 1500), DataSpec(held_out=(10, 20)), table):
        spec = Spec(data, model="dnn")
        written = json.loads(json.dumps(spec.written()))
        assert Spec.read(written) == spec
        assert Spec.read(written).key == spec.key


def test_what_is_at_its_default_is_not_written():
    assert DataSpec("synthetic-mini").written() == {"dataset": "synthetic-mini", "rows": None}


def test_whatever_changes_the_rows_changes_the_key(tmp_path):
    a, b = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", modulus=5)
    specs = [
        of(a),
        of(b),
        of(a, rows=300),
        of(a, vocabulary="train"),
        of(a, categorical="shop"),
        of(a, categorical="shop", numeric="day"),
        of(a, label="bought", numeric="day"),
        of(a, positive="1"),
        of(a, threshold=1),
        of(a, threshold=0.5),
        of(a, min_count=3),
        of(a, split_by="hour"),
        of(a, split_by="hour", vocabulary="all"),
        of(a, drop="hour"),
        of(a, drop="day,hour"),
        of(a, times="hour"),
        DataSpec(),
        DataSpec(rows=1000),
        DataSpec(rows=1000, held_out=(10, 20)),
        DataSpec("synthetic"),
        DataSpec("us-flights"),
        DataSpec("us-flights", split="time"),
        DataSpec("us-flights-forecast"),
    ]
    assert len({Spec(data).key for data in specs}) == len(specs)


def test_a_vocabulary_is_counted_on_the_rows_that_train_where_the_others_come_later(tmp_path):
    a = write(tmp_path / "a.csv")
    by_time, given = of(a, split_by="hour"), {"label": "y", "content": "a hash", "split": "given"}
    at_random = [of(a), DataSpec("criteo", content="a hash", split="given"), DataSpec("us-flights")]
    later = [by_time, DataSpec("table", **given)]
    assert {data.counted_on for data in at_random} == {"all"}
    assert {data.counted_on for data in later} == {"train"}
    for data in (*at_random, *later):  # whoever says what is so anyway names the same run
        assert replace(data, vocabulary=data.counted_on) == data
    for data in at_random:
        assert "vocabulary" not in data.written()
    for data in later:  # written without it an earlier version's key is of other data
        assert data.written()["vocabulary"] == "train"
    kept = replace(by_time, vocabulary="all")
    assert kept.counted_on == kept.written()["vocabulary"] == "all"


def test_a_whole_threshold_is_the_same_with_a_fraction(tmp_path):
    path = write(tmp_path / "a.csv")
    assert of(path, threshold=1) == of(path, threshold=1.0)
    assert Spec(of(path, threshold=1)).key == Spec(of(path, threshold=1.0)).key


def test_a_parameter_that_is_not_known_is_refused_and_not_passed_over(tmp_path):
    with pytest.raises(
        ParameterError, match="the parameter 'lable' is unknown; known: rows, label"
    ):
        load("table", path=write(tmp_path / "a.csv"), lable="bought")


def test_where_a_file_lies_does_not(tmp_path):
    (tmp_path / "folder").mkdir()
    a, copy = of(write(tmp_path / "a.csv")), of(write(tmp_path / "folder" / "copy.csv"))
    assert a == copy and Spec(a).key == Spec(copy).key
    assert str(tmp_path) not in json.dumps(Spec(a).written())


def test_a_file_that_was_changed_in_place_is_not_loaded_for_the_older_spec(tmp_path):
    path = write(tmp_path / "a.csv")
    before = of(path)
    write(path, modulus=5)
    with pytest.raises(ParameterError, match=r"which holds other data than when this run was"):
        load_spec(before, cache=tmp_path)


def test_a_dataset_says_by_what_it_was_loaded(tmp_path):
    path = write(tmp_path / "a.csv")
    data = load("table", path=path, label="bought", cache=tmp_path)
    assert data.spec == of(path) and data.spec.path == str(path)
    assert load("synthetic-mini", 1500).spec == DataSpec("synthetic-mini", 1500)
    assert load("synthetic-mini", 1000, cache=tmp_path).spec == DataSpec(rows=1000)


TINY = [
    "--models=dnn",
    "--scales=1",
    "--seeds=0",
    "--epochs=1",
    "--embedding-size=2",
    "--hidden=4",
    "--batch-size=64",
    "--quiet",
    "--dataset=table",
]


def test_sweeps_of_two_files_into_one_folder_leave_each_its_own_record(tmp_path, own_cache, capsys):
    a, b = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", modulus=5)
    sweep = ["sweep", *TINY, f"--output={tmp_path / 'runs'}", "--label=bought"]
    for path in (a, b, a):
        assert main([*sweep, f"--path={path}"]) == 0
    assert "1 were there, 0 trained" in capsys.readouterr().out.splitlines()[-1]
    one, other = records.load_all(tmp_path / "runs")
    assert one.dataset["fingerprint"] != other.dataset["fingerprint"]
    assert one.test != other.test
    write(a, modulus=5)  # changed in place: it is b now
    assert main([*sweep, f"--path={a}"]) == 0
    assert "1 were there, 0 trained" in capsys.readouterr().out.splitlines()[-1]
    for option in ("--vocabulary=train", "--categorical=shop,day", "--rows=300"):
        assert main([*sweep, f"--path={b}", option]) == 0
        assert "0 were there, 1 trained" in capsys.readouterr().out.splitlines()[-1]
    with pytest.raises(ValueError, match="differ in more than the seed"):
        groups.summary(records.load_all(tmp_path / "runs"))


def test_a_path_that_is_gone_is_an_error_even_where_records_are(tmp_path, own_cache, capsys):
    path = write(tmp_path / "a.csv")
    sweep = ["sweep", *TINY, f"--output={tmp_path / 'runs'}", "--label=bought", f"--path={path}"]
    assert main(sweep) == 0
    path.unlink()
    assert main(sweep) == 1
    assert "there is no such file" in capsys.readouterr().err


def test_a_run_is_not_made_on_other_data_than_its_spec_says(tmp_path):
    a, b = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", modulus=5)
    data = load("table", path=b, label="bought", cache=tmp_path)
    with pytest.raises(ValueError, match=r"the dataset is DataSpec.* the run is of DataSpec"):
        run(Spec(of(a), model="dnn", epochs=1), data, device="cpu", progress=False)


TABLE = {"name": "table", "label": "y", "content": "a hash"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "foo"}, "dataset 'foo' is unknown; known: synthetic, synthetic-mini, us-flights"),
        ({"rows": 9}, "rows is 9; whole numbers from 10 "),
        ({"rows": 10**20}, "rows is 100000000000000000000; whole numbers from 10 to"),
        ({"rows": "all"}, "rows is 'all'; whole numbers from 10 "),
        ({"rows": True}, "rows is True; whole numbers from 10 "),
        ({"label": "y"}, "label is 'y'; it is for table, not 'synthetic-mini'"),
        ({"vocabulary": "some"}, "vocabulary 'some' is unknown; known: all, train"),
        (
            {"vocabulary": "train"},
            "vocabulary is 'train'; it is for criteo, avazu, movielens, table",
        ),
        ({"path": "a.csv"}, "path is 'a.csv'; it is for criteo, avazu, movielens, table, not"),
        ({"min_count": 3}, "min_count is 3; it is for criteo, avazu, movielens, table, not 'syn"),
        (TABLE | {"min_count": 0}, "min_count is 0; whole numbers from 1 up are accepted"),
        (TABLE | {"threshold": "high"}, "threshold is 'high'; numbers from -inf up are accepted"),
        (TABLE | {"threshold": 4, "positive": ("y",)}, r"positive is \('y',\) and threshold 4"),
        ({"name": "criteo", "times": ("ts",)}, r"times is \('ts',\); it is for table, not 'crit"),
        ({"name": "criteo"}, "the content of 'criteo' is not known; data.describe"),
        ({"held_out": 5}, "held_out is 5; two numbers of rows, validation and test, are accepted"),
        ({"held_out": (5,)}, r"held_out is \(5,\); two numbers of rows"),
        ({"held_out": (0, 5)}, "validation rows is 0; whole numbers from 1 "),
        ({"held_out": (5, -1)}, "test rows is -1; whole numbers from 1 "),
        (
            {"name": "movielens", "content": "a hash", "held_out": (5, 5)},
            "it is for synthetic, synthetic-mini, us-fl",
        ),
        ({"split": "time"}, "split is 'time'; it is for us-flights, us-flights-forecast, criteo"),
        ({"name": "us-flights", "split": "days"}, "split 'days' is unknown; known: random, time"),
    ],
)
def test_what_cannot_be_is_named_with_what_is_accepted(changed, message):
    with pytest.raises(ParameterError, match=message):
        DataSpec(**changed)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, "dataset None is unknown"),
        ({"dataset": "synthetic-mini", "colour": 1}, "not the parameters of a run: .*'colour'"),
    ],
)
def test_what_is_no_spec_is_not_read_as_one(written, message):
    with pytest.raises(ParameterError, match=message):
        Spec.read(written)
