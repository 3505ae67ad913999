"""Recording at full scale: the most telling runs first, within a budget, and on from there."""

import nbformat
import pytest

from embedding_collapse.book.recording import (
    cells,
    execute_chapters,
    parameters_of,
)
from embedding_collapse.cli import main
from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.models import PAPER
from embedding_collapse.lab.studies import run_all

TINY = {"epochs": 1, "batch_size": 100, "hidden": 8, "embedding_size": 2}


def test_any_beginning_of_the_cells_is_useful():
    specs = cells(DataSpec("synthetic"))
    first = [(s.model, s.label) for s in specs[:10]]
    assert set(first) == {
        (model, label)
        for model in ("dcnv2", "dnn")
        for label in ("base", "SE 4x", "ME 4x", "SE 10x", "ME 10x")
    }
    assert {s.seed for s in specs[:10]} == {0}
    assert first[:2] == [("dcnv2", "base"), ("dnn", "base")]
    assert {s.seed for s in specs[10:30]} == {1, 2} and {s.model for s in specs[10:30]} == {
        "dcnv2",
        "dnn",
    }
    assert {s.model for s in specs[30:90]} == set(PAPER) - {"dcnv2", "dnn"}
    assert {s.scale for s in specs[90:]} == {2, 3}
    assert len(specs) == len({s.key for s in specs}) == 6 * 9 * 3  # every cell of the paper's table


def test_the_cells_are_the_papers_but_for_what_is_said():
    spec = cells(DataSpec("synthetic"))[0]
    assert (spec.embedding_size, spec.hidden, spec.batch_size) == (10, 400, 2048)
    assert spec.data.rows is None
    assert spec.precision == "tf32"
    assert cells(DataSpec("synthetic"), precision=None)[0].precision is None


def test_the_command_records_and_says_what_waits(tmp_path, capsys):
    folder = tmp_path / "clicks-full"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    command = [
        "record",
        "--dataset=synthetic-mini",
        "--rows=500",
        "--device=cpu",
        f"--output={folder}",
    ]
    assert main([*command, "--recorded", "", "--minutes", "0", *options]) == 0
    told = capsys.readouterr().out
    count = len(cells(DataSpec("synthetic-mini")))
    assert f"0 of {count} runs are recorded" in told
    assert "wait, first synthetic-mini, dcnv2 base, seed 0; the same command goes on" in told
    assert main([*command, "--minutes", "-1", *options]) == 1
    assert "minutes is -1" in capsys.readouterr().err


def test_the_chapter_that_trains_is_left_out_where_it_would_train_anew(tmp_path):
    """It has no parameter for hidden units, a split by time, or rows held out."""
    data = DataSpec("synthetic-mini", 500)
    done = {
        hidden: run_all(cells(data, **TINY | {"hidden": hidden})[:10], tmp_path, device="cpu")
        for hidden in (8, 400)
    }
    of_small, of_all = (
        list(parameters_of(done[hidden].records, tmp_path, data, "cpu", 0.01))
        for hidden in (8, 400)
    )
    assert of_small == ["07_results"] and of_all == ["05_multi_embedding", "07_results"]
    held = DataSpec("synthetic-mini", 500, held_out=(100, 100))
    assert list(parameters_of(done[400].records, tmp_path, held, "cpu", 0.01)) == ["07_results"]


@pytest.mark.slow
def test_the_chapters_are_executed_on_the_records_and_say_how_these_were_made(tmp_path):
    data = DataSpec("synthetic-mini", 500)
    specs = cells(data, **(TINY | {"hidden": 400}))[:10]
    done = run_all(specs, tmp_path / "records", device="cpu").records
    before = {path: path.read_bytes() for path in (tmp_path / "records").iterdir()}
    paths = execute_chapters(
        done, tmp_path / "records", tmp_path / "book", "the command", data, "cpu"
    )
    assert {path: path.read_bytes() for path in (tmp_path / "records").iterdir()} == before
    assert [path.name for path in paths] == [
        "05_multi_embedding-synthetic-mini.ipynb",
        "07_results-synthetic-mini.ipynb",
    ]
    for path in paths:
        executed = nbformat.read(path, as_version=4)
        note = executed.cells[1].source
        assert "Recorded with `the command`" in note and "10 runs on CPU" in note
    assert len(list((tmp_path / "records").glob("*.json"))) == 10  # chapter 5 trained nothing anew
