"""Recording at full scale: the most telling runs first, within a budget, and on from there."""

import nbformat
import pytest

from embedding_collapse.book.recording import (
    cells,
    execute_chapters,
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
