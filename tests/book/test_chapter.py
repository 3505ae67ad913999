"""The chapters under real papermill: they run from anywhere and refuse what cannot be."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from chapters import NOTEBOOKS, papermill, shown

from embedding_collapse.book import paper
from embedding_collapse.book.findings import outcome
from embedding_collapse.lab import groups, records

CHAPTER = NOTEBOOKS / "05_multi_embedding.ipynb"


@pytest.fixture(scope="module")
def flights(tmp_path_factory) -> tuple[Path, nbformat.NotebookNode]:
    """A small run on the real dataset; records go to a folder named relative to the caller."""
    folder = tmp_path_factory.mktemp("elsewhere")
    done = papermill(
        folder, "dataset", "flights", "rows", "3000", "epochs", "1", "seeds", "2", "scale", "2",
        "embedding_size", "4", "output", "kept",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, nbformat.read(folder / "out.ipynb", as_version=4)


def test_the_page_shows_what_the_records_hold(flights):
    folder, notebook = flights
    kept = records.load_all(folder / "kept")
    assert sorted(r.label for r in kept) == ["ME 2x"] * 2 + ["SE 2x"] * 2 + ["base"] * 2
    assert shown(notebook, "outcome.outcome") == outcome.outcome(kept)
    page = shown(notebook, "print(groups.summary")
    for auc in groups.summary(kept)["test AUC"]:
        assert auc in page
    assert shown(notebook, "outcome.collapse_verdicts").splitlines() == outcome.collapse_verdicts(
        kept
    )


def test_every_figure_is_drawn_for_jupyter_and_for_the_page(flights):
    _, notebook = flights
    figures = [
        output.data
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "application/vnd.plotly.v1+json" in output.get("data", {})
    ]
    assert len(figures) == 4
    for data in figures:
        content = data["text/html"].partition('<script type="application/json">')[2]
        inside = json.loads(content.partition("</script>")[0])
        assert len(inside["data"]) == len(data["application/vnd.plotly.v1+json"]["data"]) > 0


def test_a_second_run_into_the_same_folder_trains_nothing(flights):
    folder, _ = flights
    before = {path: path.stat().st_mtime_ns for path in (folder / "kept").iterdir()}
    done = papermill(
        folder, "dataset", "flights", "rows", "3000", "epochs", "1", "seeds", "2", "scale", "2",
        "embedding_size", "4", "output", "kept",
    )  # fmt: skip
    assert done.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "kept").iterdir()} == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scale", "abc", "ParameterError: scale is 'abc'; whole numbers from 2 up are accepted"),
        ("scale", "0", "ParameterError: scale is 0; whole numbers from 2 up are accepted"),
        ("model", "foo", "ParameterError: model 'foo' is unknown; known: dnn, ipnn, nfwfm, "),
        ("dataset", "foo", "ParameterError: dataset 'foo' is unknown; known: synthetic, "),
        ("device", "abacus", "ParameterError: device 'abacus' cannot be used here"),
    ],
)
def test_a_parameter_that_cannot_be_stops_the_chapter_at_once(tmp_path, name, value, message):
    done = papermill(tmp_path, name, value)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("ParameterError")]
    assert any(line.startswith(message) for line in lines)
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert not any("experiment.run" in c.source and c.get("outputs") for c in notebook.cells)


def test_a_table_of_ones_own_runs(tmp_path):
    rows = pd.DataFrame(
        {"site": list("abcde") * 80, "price": np.arange(400) / 8, "y": [0, 1] * 200}
    )
    rows.to_parquet(tmp_path / "X.parquet")
    done = papermill(
        tmp_path, "dataset", "table", "path", "X.parquet", "label", "y", "epochs", "1",
        "seeds", "2", "scale", "2", "embedding_size", "4", "output", "kept",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    kept = records.load_all(tmp_path / "kept")
    assert len(kept) == 6
    assert all(record.dataset["fields"] == ["site", "price"] for record in kept)
    told = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert any(
        "guessed categorical: site; numeric: price" in output.get("text", "")
        for cell in told.cells
        for output in cell.get("outputs", [])
    )


def test_papermill_tells_type_and_meaning_of_every_parameter():
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "--help-notebook", str(CHAPTER)],
        capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    for line in (
        "scale: int (default 4)",
        'model: str (default "dcnv2")',
        "seeds: int (default 3)",
    ):
        assert line in done.stdout
    assert "Unknown type" not in done.stdout


def test_chapter_7_answers_every_claim_from_the_records_of_a_folder(flights):
    """Those of chapter 5's run: one model at one size, so most claims are only partly run."""
    folder, _ = flights
    done = papermill(folder, "folders", "kept", chapter="07_results")
    assert done.returncode == 0, done.stderr[-2000:]
    notebook = nbformat.read(folder / "out.ipynb", as_version=4)
    kept = records.load_all(folder / "kept")
    assert shown(notebook, "paper.in_detail") == paper.in_detail(paper.ledger(kept), folded=True)
    tables = [output for cell in notebook.cells for output in cell.get("outputs", [])
              if "dataframe" in output.get("data", {}).get("text/html", "")]  # fmt: skip
    mean = sum(r.test["auc"] for r in kept if r.label == "SE 2x") / 2
    assert any(f"{mean:.5f} ±" in table.data["text/html"] for table in tables)


def test_chapter_7_reads_the_repositorys_records_from_anywhere(tmp_path):
    done = papermill(tmp_path, chapter="07_results")
    assert done.returncode == 0, done.stderr[-2000:]
    page = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    stored = records.load_all(records.folder_of("results/grid"))
    assert f"{len(stored)} runs, all of them with" in shown(page, "records.in_common")


def test_chapter_7_refuses_a_folder_that_is_not_there(tmp_path):
    done = papermill(tmp_path, "folders", "nowhere", chapter="07_results")
    assert "ParameterError: there is no folder 'nowhere'" in done.stderr
