"""Chapter 3 under real papermill."""

from functools import partial

import chapters
import nbformat
import pytest

from embedding_collapse.book.findings import interaction
from embedding_collapse.lab import records

papermill = partial(chapters.papermill, chapter="03_interaction_collapse")


def test_it_runs_small_from_anywhere_and_reads_the_repositorys_records(tmp_path):
    done = papermill(
        tmp_path, "seeds", "2", "iterations", "40", "thirds", "2,9", "widths", "5",
        "loss", "squared", "dataset", "synthetic-mini", "rows", "1000",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    page = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
    said = [o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})]
    folders = [records.folder_of(name) for name in ("results/grid", "results/interaction")]
    runs = [
        run
        for run in records.load_all(*folders)
        if run.spec["model"] in ("dcnv2", "ffm") and run.spec["design"] == "se"
    ]
    assert interaction.told(interaction.influences(runs)) in said
    assert sum("application/vnd.plotly.v1+json" in o.get("data", {}) for o in outputs) == 7
    assert any(text.startswith("Over 2 seeds of DCNv2 base on synthetic-mini") for text in said)
    assert any("all entries agree to 1e-10: True" in o.get("text", "") for o in outputs)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("thirds", "3,x", "thirds is '3,x'; whole numbers separated by commas are accepted"),
        ("loss", "hinge", "loss 'hinge' is unknown; known: logistic, squared"),
    ],
)
def test_a_parameter_that_cannot_be_stops_it_at_once(tmp_path, name, value, message):
    done = papermill(tmp_path, name, value)
    assert done.returncode != 0
    assert f"ParameterError: {message}" in done.stderr
