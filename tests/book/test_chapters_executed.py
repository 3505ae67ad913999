"""Chapters with other parameters than their own, in a folder that is not the repository's."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from chapters import NOTEBOOKS, error, outputs, papermill, shown
from figures import with_data  # of the book's extensions
from torch import nn

from embedding_collapse.book.analysis.claims import CLAIMS
from embedding_collapse.book.analysis.influence import influences
from embedding_collapse.book.chapters import (
    information_abundance,
    interaction_collapse,
    multi_embedding,
)
from embedding_collapse.book.plots import rounded
from embedding_collapse.book.sentences import asserted
from embedding_collapse.lab import groups, records, sizing

pytestmark = pytest.mark.slow

PLOTLY = "application/vnd.plotly.v1+json"
OTHER_RUNS = "The text speaks of the stored study"
SMALL = {"rows": 3000, "epochs": 1, "seeds": 2, "scale": 2, "embedding_size": 4, "output": "kept"}


# --- chapters 1 to 3 ------------------------------------------------------------------------------


def test_chapter_1_runs_at_another_size(kernel, tmp_path):
    page = kernel.run(
        tmp_path,
        "01_jl_sizing",
        points=50,
        trials=20,
        trial_points=10,
        draws=2,
        distortions="0.4,0.2",
    )
    assert error(page) == ""
    assert OTHER_RUNS in shown(page, "speaks_of(")
    assert asserted(page) == []
    for eps in (0.4, 0.2):
        assert f"{sizing.least(50, eps):,}" in shown(page, "loose.round")
        assert str(sizing.least(10, eps)) in shown(page, "sizing.violations(")


def test_chapter_2_says_what_the_records_of_another_model_say(kernel, tmp_path):
    other = {"model": "dnn", "scale": 4, "dataset": "synthetic-mini"}
    page = kernel.run(tmp_path, "02_information_abundance", **other)
    assert error(page) == ""
    runs = information_abundance.runs_of("results/decide", **other)
    table = information_abundance.beside(runs, information_abundance.readings)
    (cell,) = (c for c in page.cells if c.source == "plots.rounded(table, 2)")
    for effect in table["synthetic-mini", "change"]:
        assert f"{effect:+.2f}" in html_of(cell.outputs[0])
    assert OTHER_RUNS in shown(page, "speaks_of(")
    assert len(asserted(page)) == 2  # of the figure that trains, which no parameter changes


def test_chapter_3_runs_small_from_anywhere_and_reads_the_repositorys_records(kernel, tmp_path):
    page = kernel.run(
        tmp_path,
        "03_interaction_collapse",
        seeds=2,
        iterations=40,
        thirds="2,9",
        widths="5",
        loss="squared",
        dataset="synthetic-mini",
        rows=1000,
    )
    assert error(page) == ""
    _, crossed, aware = interaction_collapse.runs_of("results/decide")
    table = rounded(interaction_collapse.correlations(influences(crossed + aware)), 2)
    (cell,) = (c for c in page.cells if c.source == "plots.rounded(chapter.correlations(found), 2)")
    for text in table.to_numpy().ravel():
        assert text in html_of(cell.outputs[0])
    assert sum(PLOTLY in output.get("data", {}) for output in outputs(page)) == 5
    assert "synthetic-mini, DCNv2 base" in shown(page, "chapter.what_was_learned")
    assert any("the gradient, to 1e-10: True" in o.get("text", "") for o in outputs(page))
    assert OTHER_RUNS in shown(page, "speaks_of(")
    assert asserted(page) == []


# --- chapters 5, 7 and 8 --------------------------------------------------------------------------


def test_chapter_5_as_it_stands_puts_out_what_is_stored(kernel, tmp_path):
    """In place of nbval, which would train all of its nine runs of 300,000 rows: eight are taken
    from their records, and the ninth is trained at full size."""
    source = nbformat.read(NOTEBOOKS / "05_multi_embedding.ipynb", as_version=4)
    left = shutil.copytree(NOTEBOOKS.parent / multi_embedding.STORED, tmp_path / "kept")
    (missing,) = (r for r in records.load_all(left) if (r.label, r.spec["seed"]) == ("base", 0))
    records.path_of(left, missing.key).unlink()
    page = kernel.run(tmp_path, "05_multi_embedding", output="kept", weights=False)
    assert error(page) == ""
    assert records.path_of(left, missing.key).exists()
    ran = {cell.id: cell for cell in page.cells}
    compared = [
        cell
        for cell in source.cells
        if cell.cell_type == "code" and "nbval-ignore-output" not in cell.metadata.get("tags", [])
    ]
    assert len(compared) > 8
    for cell in compared:
        assert put_out(ran[cell.id]) == put_out(cell), cell.source


def put_out(cell: nbformat.NotebookNode) -> list[object]:
    """What a cell printed, and the data of what it showed."""
    printed = "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
    return [printed, *(o.data for o in cell.outputs if "data" in o)]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Where a reader's papermill has left a small run on the real dataset, its records in `kept`,
    a folder named relative to the reader's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    done = papermill(folder, "05_multi_embedding", dataset="synthetic-mini", **SMALL)
    assert done.returncode == 0, done.stderr[-2000:]
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_the_page_shows_what_the_records_hold(small):
    page = nbformat.read(small / "out.ipynb", as_version=4)
    kept = records.load_all(small / "kept")
    assert sorted(r.label for r in kept) == ["ME 2x"] * 2 + ["SE 2x"] * 2 + ["base"] * 2
    summary = shown(page, "print(groups.summary")
    for auc in groups.summary(kept)["test AUC"]:
        assert auc in summary
    table = rounded(multi_embedding.verdicts(kept), 4)
    (cell,) = (c for c in page.cells if "rounded(verdicts, 4)" in c.source)
    for text in (*table["new - old"], *table["verdict"]):
        assert text in html_of(cell.outputs[0])


def test_of_other_runs_the_sentences_are_not_checked_and_a_line_says_so(small):
    page = nbformat.read(small / "out.ipynb", as_version=4)
    assert OTHER_RUNS in shown(page, "speaks_of(")
    assert asserted(page) == []


def test_the_terminal_is_told_how_far_the_training_is(small):
    lines = (small / "stderr").read_text()
    told = re.findall(
        r"^synthetic-mini, dnn (.*), seed (\d): test AUC .* \((\d) of 6 runs; ", lines, re.M
    )
    labels = ("base", "SE 2x", "ME 2x")
    expected = [(label, str(seed)) for seed in (0, 1) for label in labels]
    assert told == [(*one, str(number)) for number, one in enumerate(expected, 1)]
    assert len(re.findall(r", about \d+ core-seconds left\)$", lines, re.M)) == 5


def test_every_figure_is_drawn_for_jupyter_and_for_the_page(small):
    text = (small / "out.ipynb").read_text(encoding="utf-8")
    figures = [
        output["data"]
        for cell in json.loads(with_data(text))["cells"]
        for output in cell.get("outputs", [])
        if PLOTLY in output.get("data", {})
    ]
    assert len(figures) == 4
    for data in figures:
        content = data["text/html"].partition('<script type="application/json">')[2]
        inside = json.loads(content.partition("</script>")[0])
        assert inside == data[PLOTLY] and inside["data"]


def test_a_second_run_into_the_same_folder_trains_nothing(kernel, small):
    before = {path: path.stat().st_mtime_ns for path in (small / "kept").iterdir()}
    page = kernel.run(small, "05_multi_embedding", dataset="synthetic-mini", **SMALL)
    assert error(page) == ""
    assert {path: path.stat().st_mtime_ns for path in (small / "kept").iterdir()} == before


def test_a_table_of_ones_own_runs(kernel, tmp_path):
    rows = pd.DataFrame(
        {"site": list("abcde") * 80, "price": np.arange(400) / 8, "y": [0, 1] * 200}
    )
    rows.to_parquet(tmp_path / "X.parquet")
    page = kernel.run(
        tmp_path,
        "05_multi_embedding",
        dataset="table",
        path="X.parquet",
        label="y",
        **SMALL | {"rows": 0},
    )
    assert error(page) == ""
    kept = records.load_all(tmp_path / "kept")
    assert len(kept) == 6
    assert all(record.dataset["fields"] == ["site", "price"] for record in kept)
    guess = "guessed categorical: site; numeric: price"
    assert any(guess in output.get("text", "") for output in outputs(page))


def test_papermill_tells_type_and_meaning_of_every_parameter():
    chapter = NOTEBOOKS / "05_multi_embedding.ipynb"
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "--help-notebook", str(chapter)],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    for line in (
        "scale: int (default 4)",
        'model: str (default "dnn")',
        "seeds: int (default 3)",
    ):
        assert line in done.stdout
    assert "Unknown type" not in done.stdout


def test_chapter_7_answers_every_claim_from_the_records_of_a_folder(kernel, small):
    """Those of chapter 5's run: one model at one size, so most claims are only partly run."""
    page = kernel.run(small, "07_results", folders="kept")
    assert error(page) == ""
    kept = records.load_all(small / "kept")
    (ledger,) = (html for html in map(html_of, outputs(page)) if "ec-ledger" in html)
    assert ledger.count("<tr>") == len(CLAIMS) + 1  # the heads
    se, me = ([r for r in kept if r.label == f"{design} 2x"] for design in ("SE", "ME"))
    assert se and me and OTHER_RUNS in shown(page, "speaks_of(")
    assert asserted(page) == []


def test_what_stands_behind_chapter_7_takes_the_records_of_a_folder(kernel, small):
    page = kernel.run(small, "robustness", folders="kept")
    assert error(page) == "" and OTHER_RUNS in shown(page, "speaks_of(")
    assert "None of these runs is made yet" in shown(page, "ensembles")
    assert asserted(page) == []


def test_chapter_8_runs_on_the_readers_file(kernel, tmp_path):
    low = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) @ torch.ones(2, 24)
    tables = {"my_tower.emb_a": low, "my_tower.emb_b": nn.Embedding(90, 4).weight}
    torch.save(tables, tmp_path / "my_model.pt")
    page = kernel.run(
        tmp_path, "08_your_embeddings", rows=1000, epochs=1, seeds=2, checkpoint="my_model.pt"
    )
    assert error(page) == ""
    printed = "".join(output.get("text", "") for output in outputs(page))
    assert "my_model.pt\n2 tables: 1 collapsed, 1 too small to tell." in printed
    shown_tables = [html for html in map(html_of, outputs(page)) if "dataframe" in html]
    told = ("my_tower.", ">emb_a<", "0.042")  # 1/24
    assert any(all(part in html for part in told) for html in shown_tables)


def html_of(output: nbformat.NotebookNode) -> str:
    return output.get("data", {}).get("text/html", "")
