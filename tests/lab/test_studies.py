"""A study names its runs, makes what is missing, and tells how far it has come."""

import importlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import psutil
import pytest

from embedding_collapse.cli import main
from embedding_collapse.lab import records
from embedding_collapse.lab.data import DataSpec, load_spec
from embedding_collapse.lab.spec import Spec, parameter_counts
from embedding_collapse.lab.studies import (
    STUDIES,
    Part,
    Study,
    index,
    progress,
    run_all,
    running,
    study,
    with_members,
)
from embedding_collapse.lab.studies.decide import BOTH, EQUAL, TRAINING, cells, equal_parameters
from embedding_collapse.lab.studies.progress import core_seconds
from embedding_collapse.parameters import ParameterError

SMALL = DataSpec("synthetic-mini", 1500)
TINY = {"embedding_size": 2, "hidden": 8, "epochs": 1, "batch_size": 400, "precision": None}


def tiny(seeds: int = 2, **options) -> list[Spec]:
    return cells([SMALL], ["dnn"], [("se", 1), ("me", 2)], range(seeds), **TINY | options)


@pytest.fixture
def small(monkeypatch) -> Study:
    """A study of six runs in the registry."""
    average = cells([SMALL], ["dnn"], [("se", 1)], [0], members=3, average="logits", **TINY)
    parts = Part("main", "Is it?", tiny()), Part("more", "Is it more?", average)
    monkeypatch.setitem(STUDIES, "small", Study("small", "Is it?", ("07_results",), parts))
    return STUDIES["small"]


def test_every_run_of_a_study_is_named_once_and_members_come_before_their_ensemble(small):
    specs = with_members(small.parts)
    assert [(spec.label, spec.seed) for spec in specs] == [
        ("base", 0),
        ("ME 2x", 0),
        ("base", 1),
        ("ME 2x", 1),
        ("base", 2),
        ("3 of base, logits", 0),
    ]


@pytest.mark.slow
def test_a_study_makes_what_is_missing_and_says_what_it_cost(small, tmp_path, capsys):
    command = ["study", "small", f"--output={tmp_path}", "--device=cpu"]
    assert main([*command, "--parts=main", "--only=seed 0"]) == 0
    assert "all of these    2 of 2 runs" in capsys.readouterr().out
    one = list(small.specs)[1]
    assert main([*command, f"--only={one.key}", "--status"]) == 0
    assert "of 1 runs" in capsys.readouterr().out.splitlines()[-1]
    assert main([*command, "--status"]) == 0
    said = capsys.readouterr().out
    assert "main            2 of 4 runs" in said and "all of these    2 of 6 runs" in said
    assert "it ends about" in said
    assert main([*command, "--workers=2"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Is it?\n") and "all of these    6 of 6 runs" in said.out
    assert "synthetic-mini, dnn 3 of base, logits, seed 0: test AUC 0." in said.err
    assert "| 0/4 [" in said.err and "| 4/4 [" in said.err  # the runs that were missing
    made = small.records(tmp_path)
    assert [record.key for record in made] == [spec.key for spec in with_members(small.parts)]
    (average,) = (one for one in made if one.spec["members"])
    assert average.label == "3 of base, logits"
    assert progress(small.part("main").specs, made).left == 0
    assert main(command) == 0  # nothing is left to do
    assert "test AUC" not in capsys.readouterr().err


def test_a_studys_records_are_those_of_run(tmp_path):
    """Whatever process made them, on one thread."""
    from embedding_collapse.lab.experiment import run

    (spec,) = tiny(1)[:1]
    run_all([spec], tmp_path, device="cpu", tell=lambda line: None)
    (made,) = records.load_all(tmp_path)
    alone = run(spec, device="cpu", progress=False)
    assert made.spec == alone.spec and made.dataset == alone.dataset
    assert made.test["auc"] == pytest.approx(alone.test["auc"], abs=0.01)


def test_a_run_in_this_process_shows_how_far_it_is(tmp_path, capsys):
    (spec,) = tiny(1)[:1]
    run_all([spec], tmp_path, device="cpu", bars=True, tell=lambda line: None)
    bar = capsys.readouterr().err
    assert "dnn base, seed 0: " in bar and "rows/s" in bar


def test_no_run_begins_after_the_time_is_up(tmp_path, monkeypatch):
    clock = SimpleNamespace(monotonic=count(0, 60).__next__)  # each look takes a minute
    monkeypatch.setattr(running, "time", clock)
    done = run_all(tiny(3), tmp_path, minutes=2.5, device="cpu", tell=lambda line: None)
    assert done.trained == len(records.load_all(tmp_path)) == 2


def test_without_a_folder_the_records_come_back_and_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    specs = tiny(2)
    done = run_all(specs, None, weights=specs, device="cpu", tell=lambda line: None)
    assert [record.key for record in done.records] == [spec.key for spec in specs]
    assert done.trained == len(specs) and list(tmp_path.iterdir()) == []


def test_a_run_that_fails_is_told_and_leaves_the_others_alone(tmp_path):
    bad, good = tiny(1)
    lines = []
    done = run_all(
        [replace(bad, learning_rate=1e38), good], tmp_path, device="cpu", tell=lines.append
    )
    assert done.trained == 1 and "DivergedError" in done.failures[0].reason
    assert lines[0].startswith("failed: synthetic-mini, dnn base, seed 0: DivergedError")


def test_what_a_run_may_take_is_foreseen_from_runs_of_its_kind(make_record):
    def made(seed: int, seconds: float, scale: int = 1):
        spec = tiny()[0] if scale == 1 else tiny()[1]
        spec = replace(spec, seed=seed)
        epochs = [{"seconds": 9.0, "cpu_seconds": seconds}] * 2
        return make_record(key=spec.key, spec=spec.written(), epochs=epochs)

    waiting = replace(tiny()[0], seed=7)
    assert progress([waiting], []).left is None
    assert progress([waiting], [made(0, 1800.0), made(1, 5400.0)]).left == pytest.approx(7200)
    done = progress([tiny()[0], waiting], [made(0, 1800.0)])
    assert done[:3] == (1, 2, 3600.0)
    other = progress([waiting], [made(0, 1800.0, scale=2)]).left  # no such run: by its size
    assert 0 < other < 3600


def test_data_that_take_less_are_foreseen_by_their_own_runs(make_record):
    def made(name: str, seconds: float):
        spec = replace(tiny()[0], data=DataSpec(name, 20_000))
        epochs = [{"seconds": 9.0, "cpu_seconds": seconds}]
        return make_record(key=spec.key, spec=spec.written(), epochs=epochs)

    waiting = [replace(tiny()[0], data=DataSpec("us-flights", 20_000), model="ipnn")]
    clicks, flights = made("synthetic-mini", 9000.0), made("us-flights", 90.0)
    assert progress(waiting, [clicks, flights]).left == progress(waiting, [flights]).left


def test_a_record_of_all_rows_counts_as_many_as_its_data_have(make_record):
    of_all = make_record()  # 1,000 rows
    spec = Spec.read(of_all.spec)
    some = replace(spec, data=replace(spec.data, rows=2000), seed=1)
    assert progress([some], [of_all]).left == pytest.approx(2 * core_seconds(of_all))


LONG = """
import sys
import tempfile
from pathlib import Path
from dataclasses import replace
from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies import run_all
if __name__ == "__main__":
    data = DataSpec("synthetic-mini", 20_000)
    specs = [Spec(data, epochs=500, patience=500, seed=seed) for seed in (0, 1)]
    run_all(specs, Path(sys.argv[1]), workers=2, device="cpu")
"""


@pytest.mark.slow
def test_workers_end_with_a_driver_that_is_killed(tmp_path):
    script, folder = tmp_path / "long.py", tmp_path / "runs"
    script.write_text(LONG)
    folder.mkdir()
    driver = subprocess.Popen([sys.executable, str(script), str(folder)])
    until = time.monotonic() + 120
    while len(list(folder.glob("*.checkpoint/checkpoint.json"))) < 2:  # both are at work
        assert driver.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    workers = psutil.Process(driver.pid).children(recursive=True)
    assert len(workers) >= 2
    driver.kill()
    driver.wait()
    assert psutil.wait_procs(workers, timeout=30)[1] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parts=main,foo"], "part 'foo' is unknown; known: main, more"),
        (["--only=seed 9"], "no run of small has 'seed 9' in its title or key"),
        (["--workers=0"], "workers is 0; whole numbers from 1 up"),
        (["--minutes=-1"], "minutes is -1.0; numbers from 0 up"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(small, tmp_path, capsys, options, message):
    assert main(["study", "small", f"--output={tmp_path}", *options]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}") and said.count("\n") == 1


def test_records_are_asked_of_a_study_and_what_is_missing_is_named_with_its_command(
    small, tmp_path, make_record
):
    first, second, *_ = small.specs
    with pytest.raises(ParameterError) as missing:
        small.records(tmp_path)
    assert str(missing.value) == (
        f"6 of 6 runs of the study small have no whole record in {tmp_path}, first synthetic-mini, "
        f"dnn base, seed 0 ({first.key}); `python -m embedding_collapse study small` makes them"
    )
    records.save(make_record(key=second.key, spec=second.written()), tmp_path)
    assert [record.key for record in small.records(tmp_path, missing_ok=True)] == [second.key]


def test_a_record_that_is_not_its_specs_is_refused_and_never_merged(small, tmp_path, make_record):
    first, second, *_ = small.specs
    other = make_record(key=second.key, spec=second.written())
    records.save(other, tmp_path)
    records.path_of(tmp_path, second.key).rename(records.path_of(tmp_path, first.key))
    with pytest.raises(ParameterError, match=f"first .*{first.key}.json holds run {second.key}"):
        small.records(tmp_path)
    with pytest.warns(UserWarning, match=f"left out: .* holds run {second.key}"):
        assert small.records(tmp_path, missing_ok=True) == []


def test_weights_are_kept_of_runs_that_an_ensemble_is_still_to_average(small, tmp_path):
    base, ensemble = {spec for spec in small.specs if spec.label == "base"}, small.specs[-1]
    assert small.unmade_members(tmp_path, base) == base
    assert small.unmade_members(tmp_path, {ensemble}) == base
    first, *others = base
    run_all([first], tmp_path, device="cpu", tell=lambda line: None)
    assert small.unmade_members(tmp_path, base) == set(others)  # `first` is not trained again
    assert small.unmade_members(tmp_path, {ensemble}) == base
    for path in tmp_path.glob("*"):
        path.unlink()
    made = [*small.specs[:1], ensemble]
    run_all(made, tmp_path, weights=base, device="cpu", tell=lambda line: None)
    assert small.unmade_members(tmp_path, set(made)) == set()
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    assert run_all(made, tmp_path, tell=lambda line: None).trained == 0  # they serve no more


# --- the repository's own -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "decide"])
def test_a_studys_runs_are_exactly_those_whose_records_the_repository_has(name):
    stored = sorted(path.stem for path in study(name).folder.glob("*.json"))
    assert stored == sorted(spec.key for spec in study(name).specs)


@pytest.mark.parametrize("name", STUDIES)
def test_no_record_lies_in_a_studys_folder_that_it_does_not_name(name):
    stored = {path.stem for path in study(name).folder.glob("*.json")}
    assert stored <= {spec.key for spec in study(name).specs}


@pytest.mark.parametrize("name", STUDIES)
def test_a_studys_module_says_its_question_command_and_cost_and_its_readers_are_there(name):
    module, one = importlib.import_module(f"embedding_collapse.lab.studies.{name}"), study(name)
    about = " ".join(module.__doc__.split())
    assert "Question: " in about and f"`{one.command}" in about
    if name != "decide":  # which is not done
        assert str(progress(one.specs, one.records())).partition("; ")[2] in about
    assert one.readers
    for reader in one.readers:
        assert (one.folder.parents[1] / "notebooks" / f"{reader}.ipynb").is_file()


def test_an_unknown_study_is_told_with_those_there_are():
    with pytest.raises(ParameterError, match="study 'foo' is unknown; known: decide"):
        study("foo")


def test_the_index_of_records_is_up_to_date():
    results = study("decide").folder.parent
    assert index.page(results) == (results / index.NAME).read_text(encoding="utf-8"), (
        "python -m embedding_collapse.lab.studies writes it anew"
    )


def test_the_index_has_a_row_for_every_record(tmp_path, make_record):
    results = study("decide").folder.parent
    shutil.copytree(results / "toy", tmp_path / "toy")
    run, *some = study("decide").records(missing_ok=True)[:5]
    for folder, runs in (("decide", some), ("flights-full", [run])):
        (tmp_path / folder).mkdir()
        for record in runs:
            records.save(record, tmp_path / folder)
    page = index.page(tmp_path)
    listed = [("decide", record) for record in some]
    for where, record in [*listed, ("flights-full", run)]:
        (row,) = [line for line in page.splitlines() if f"[{record.key}]" in line]
        assert row.split(" | ")[-5:-3] == [
            f"[{record.key}]({where}/{record.key}.json)",
            f"{record.test['auc']:.4f}",
        ]
    read = DataSpec("table", label="y", content="a hash")
    spec = Spec(read, dropout=0.5)
    (tmp_path / "table-full").mkdir()
    records.save(make_record(key=spec.key, spec=spec.written()), tmp_path / "table-full")
    assert "All with label y, content a hash, dropout 0.5." in index.page(tmp_path)
    assert f"Made by `{index.OTHERS['toy'][0]}`" in page
    assert "The paper's grid at full scale. Made by `make record`." in page
    assert index.made_by("decide")[0] == "make study NAME=decide"
    assert index.made_by("05_multi_embedding")[0] == "make refresh"


def test_what_waits_for_the_rest_of_its_comparison_is_of_the_study_and_not_among_what_is_read():
    folder = study("decide").folder
    waiting = {path.stem for path in (folder.parent / index.WAITING).glob("*.json")}
    assert waiting <= {spec.key for spec in study("decide").specs}
    assert not waiting & {path.stem for path in folder.glob("*.json")}
    assert "No page reads them" in index.made_by(index.WAITING)[1]


# --- decide ---------------------------------------------------------------------------------------


def test_deciding_takes_the_runs_that_were_fixed_for_it():
    main_runs = study("decide").part("main").specs
    assert len(main_runs) == len({spec.key for spec in main_runs}) == 2 * 2 * 5 * 5
    specs = study("decide").specs
    assert len(specs) == len({spec.key for spec in specs})
    assert json.dumps([spec.key for spec in specs])  # every spec is a valid one
    for spec in specs:
        assert spec.batch_size == TRAINING["batch_size"] and spec.patience == TRAINING["patience"]
    with pytest.raises(ParameterError, match="part 'foo' is unknown"):
        study("decide").part("foo")


@pytest.mark.parametrize("data", BOTH, ids=lambda data: data.name)
def test_controls_of_equal_parameters_have_them(data):
    """Within half a step of the embedding size, or of one hidden unit."""
    sizes = load_spec(data, progress=False).cardinalities

    def counted(spec: Spec) -> tuple[int, int]:
        parts = parameter_counts(spec, sizes)
        return sum(parts.values()), parts["interaction"]

    def closest(spec: Spec, name: str, goal: int, place: int) -> None:
        value = getattr(spec, name)
        misses = [
            abs(counted(replace(spec, **{name: near}))[place] - goal)
            for near in (value - 1, value, value + 1)
        ]
        assert misses[1] == min(misses)

    wide, crosses, more_me, deep, broad, of_dnn = equal_parameters(data)[::3]
    me, se = (counted(Spec(data, design=design, scale=4)) for design in ("me", "se"))
    closest(wide, "embedding_size", me[0], 0)
    closest(crosses, "embedding_size", me[1], 1)
    closest(more_me, "embedding_size", se[1], 1)
    closest(broad, "hidden", me[0], 0)
    closest(of_dnn, "hidden", counted(Spec(data, model="dnn", design="me", scale=4))[0], 0)
    assert deep.cross_layers == 4 * Spec().cross_layers  # as many cross weights
    assert set(EQUAL) == {one.name for one in BOTH}
