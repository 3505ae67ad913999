"""A folder of runs: what is damaged in it is never taken for whole, and what is whole serves."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import filelock
import pytest
from harm import READ_ONLY, SMALL, each_harm, flip, largest_file, on_a_disk

from embedding_collapse.files import checksum, load_json, store_json
from embedding_collapse.inspection.report import inspect
from embedding_collapse.lab import experiment, store
from embedding_collapse.lab.data import DataSpec, load_spec
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.records import Record, path_of
from embedding_collapse.lab.spec import Spec
from embedding_collapse.parameters import ParameterError

SPEC = Spec(
    DataSpec("synthetic-mini", 1500),
    embedding_size=3,
    hidden=8,
    cross_layers=2,
    epochs=2,
    batch_size=200,
)
RECORD, WEIGHTS = f"{SPEC.key}.json", f"{SPEC.key}.safetensors"
KILLED_EVERYWHERE = Path(__file__).parents[1] / "data" / "runs_killed_everywhere.py"


@pytest.fixture(scope="module")
def clicks():
    return load_spec(SPEC.data)


@pytest.fixture
def train(clicks, tmp_path):
    """Trains the run, or finds it recorded, in an output folder."""
    output = tmp_path / "output"
    output.mkdir()

    def train(**options) -> Record:
        return run(SPEC, clicks, output=output, device="cpu", progress=False, **options)

    train.output = output
    return train


def same(one: Record, other: Record) -> bool:
    """Whether they differ in nothing but times and the machine."""
    alike = [asdict(record) for record in (one, other)]
    for record in alike:
        record["epochs"] = [
            {name: value for name, value in epoch.items() if "seconds" not in name}
            for epoch in record["epochs"]
        ]
        record |= dict.fromkeys(("environment", "speed", "peak_memory"))
    return alike[0] == alike[1]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- harm -----------------------------------------------------------------------------------------


@each_harm
@pytest.mark.parametrize("name", [RECORD, WEIGHTS])
def test_harm_to_a_record_or_its_weights_is_told_and_both_are_made_again(train, harm, name):
    whole = train()
    before = checksum(train.output / WEIGHTS)
    harm(train.output / name)
    path = train.output / name
    harmed = path.read_bytes() if path.is_file() else None
    with pytest.warns(UserWarning, match=name) as said:
        again = train()
    assert len(said) == 1
    if harmed is not None:
        assert path.with_name(f"{name}.damaged").read_bytes() == harmed
    assert again.epochs != whole.epochs  # their seconds: it was trained once more
    assert same(again, whole)
    assert checksum(train.output / WEIGHTS) == before == again.weights
    assert names(train.output) == {RECORD, WEIGHTS, f"{name}.damaged"}
    with warnings.catch_warnings(action="error"):  # what is there now is whole
        assert train() == again


def test_weights_that_are_gone_are_made_again(train):
    whole = train()
    (train.output / WEIGHTS).unlink()
    with pytest.warns(UserWarning, match=f"{WEIGHTS}: No such file"):
        assert same(train(), whole)
    assert names(train.output) == {RECORD, WEIGHTS}


def test_weights_that_were_not_kept_are_made_when_they_are_asked_for(train):
    without = train(weights=False)
    assert names(train.output) == {RECORD}
    assert train(weights=False) == without
    with pytest.warns(UserWarning, match=f"{RECORD} was made without weights; training the run"):
        kept = train()
    assert same(replace(kept, weights=None), without)
    assert kept.weights == checksum(train.output / WEIGHTS)
    assert train() == train(weights=False) == kept


def test_who_asks_for_no_weights_is_not_bothered_with_them(train, monkeypatch):
    record = train()
    flip(train.output / WEIGHTS, 0.5)
    monkeypatch.setattr(experiment, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert train(weights=False) == record


def test_a_run_that_ends_otherwise_the_second_time_keeps_both_records(train):
    record = train(weights=False)
    path = path_of(train.output, SPEC.key)
    other = replace(record, test={"auc": 0.1, "log_loss": 0.2})
    store_json(path, asdict(other))
    with (
        pytest.warns(UserWarning, match="was made without weights"),
        pytest.warns(UserWarning, match=r"trained again, the run ends with .*, not .*0\.1"),
    ):
        again = train()
    assert again.test == record.test
    assert load_json(path.with_name(f"{path.name}.damaged"))["test"] == other.test


def test_weights_of_other_data_are_not_trained_over(train, clicks):
    train(weights=False)
    before = {name: (train.output / name).read_bytes() for name in names(train.output)}
    changed = replace(clicks, fingerprint="another")
    with pytest.raises(ParameterError, match="was made on other data"):
        run(SPEC, changed, output=train.output, device="cpu", progress=False)
    assert before[RECORD] == (train.output / RECORD).read_bytes()


def test_a_file_in_the_place_of_a_runs_folder_is_set_aside(train, clicks):
    folder = train.output / f"{SPEC.key}-{clicks.fingerprint[:12]}.checkpoint"
    folder.write_text("a file")
    with pytest.warns(UserWarning, match=f"{folder} is no folder; set aside as .*damaged"):
        train()
    assert names(train.output) == {RECORD, WEIGHTS, f"{folder.name}.damaged"}


def test_a_run_whose_folder_cannot_be_made_is_an_error_that_names_it():
    with pytest.raises(OSError, match="/proc/none"):
        store.hold(Path("/proc/none/key-data.checkpoint"), wait=True)


@each_harm
def test_a_report_of_weights_that_are_not_the_records_is_refused(train, harm):
    train()
    assert len(inspect(train.output / WEIGHTS).tables) > 1
    harm(train.output / WEIGHTS)
    with pytest.raises(ValueError, match=WEIGHTS):
        inspect(train.output / WEIGHTS)


# --- kills ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_killed_at_any_place_and_begun_again_leaves_the_same_and_nothing_else(tmp_path):
    done = subprocess.run(
        [sys.executable, KILLED_EVERYWHERE, tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *killed, undisturbed = map(json.loads, done.stdout.splitlines())
    places = done.stderr.splitlines()
    assert len(places) == len(killed) > 20
    for place, result in zip(places, killed, strict=True):
        assert result == undisturbed, place
    assert len(undisturbed["files"]) == 2


def test_what_a_kill_left_of_a_recorded_run_is_cleared_away_unless_another_is_at_it(train):
    train()
    folders = [train.output / f"{SPEC.key}-{data}.checkpoint" for data in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "epoch-0.safetensors").touch()
    with filelock.FileLock(folders[1] / "lock"):
        train()
        assert [folder.exists() for folder in folders] == [False, True]
    store.clear_away(SPEC.key, train.output)
    assert names(train.output) == {RECORD, WEIGHTS}


# --- disks that take no more ----------------------------------------------------------------------


def test_without_room_for_what_was_trained_it_is_kept_to_go_on_from(train, monkeypatch):
    def stop(*_):
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "measured", stop)
        with pytest.raises(InterruptedError):
            train()
    before = names(train.output)
    (state,) = train.output.glob("*.checkpoint/checkpoint.json")
    trained = load_json(state)["epochs"]
    with largest_file(1000), pytest.raises(OSError, match=WEIGHTS):
        train()
    assert names(train.output) == before
    assert train().epochs == trained  # to the second: none was trained again
    assert names(train.output) == {RECORD, WEIGHTS}


SCRIPT = """
import pathlib, sys
from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.spec import Spec

spec = Spec(DataSpec("synthetic-mini", 1500), embedding_size=3, hidden=int(sys.argv[2]),
            cross_layers=2, epochs=2, batch_size=200)
for weights in (False, True):
    try:
        record = run(spec, output=pathlib.Path(sys.argv[1]), device="cpu", progress=False,
                     weights=weights)
        print(record.test["auc"])
    except OSError as error:
        print(error)
print(sorted(str(path.name) for path in pathlib.Path(sys.argv[1]).iterdir()))
"""


def test_a_full_disk_is_an_error_that_names_a_file_and_leaves_no_half_one(tmp_path):
    *told, left = on_a_disk(tmp_path, SMALL, SCRIPT, "400").splitlines()
    assert len(told) == 2
    for line in told:
        assert line.startswith(f"[Errno 28] No space left on device: '{tmp_path}/")
    assert ".json'" not in left and ".safetensors'" not in left


def test_a_folder_that_cannot_be_written_to_serves_what_it_holds(train):
    kept = train(weights=False)
    leftover = train.output / f"{SPEC.key}-by_a_kill.checkpoint"
    leftover.mkdir()
    held, asked_for_more, left = on_a_disk(train.output, READ_ONLY, SCRIPT, "8").splitlines()
    assert held == str(kept.test["auc"])
    assert asked_for_more.startswith(f"[Errno 30] Read-only file system: '{train.output}/")
    assert left == str(sorted([RECORD, leftover.name]))
