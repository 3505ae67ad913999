"""Chapter 8: a reader's own model and file, under real papermill."""

import subprocess
from pathlib import Path

import chapters
import nbformat
import pytest
import torch
from torch import nn

from embedding_collapse.book.chapters import your_embeddings
from embedding_collapse.lab import data


def papermill(folder: Path, **parameters: str) -> subprocess.CompletedProcess:
    """A small run, in the folder of the reader's file."""
    small = {"rows": "1000", "epochs": "1", "seeds": "2"} | parameters
    pairs = [part for pair in small.items() for part in pair]
    return chapters.papermill(folder, *pairs, chapter="08_your_embeddings")


def test_the_chapter_runs_on_the_readers_file(tmp_path):
    low = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) @ torch.ones(2, 24)
    torch.save({"my_tower.emb_a": low, "my_tower.emb_b": nn.Embedding(90, 4).weight},
               tmp_path / "my_model.pt")  # fmt: skip
    done = papermill(tmp_path, checkpoint="my_model.pt")
    assert done.returncode == 0, done.stderr[-2000:]
    page = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "my_model.pt\n2 tables: 1 collapsed, 1 not collapsed." in printed
    tables = [output.data["text/html"] for output in outputs
              if "dataframe" in output.get("data", {}).get("text/html", "")]  # fmt: skip
    assert any("my_tower.emb_a" in table and "0.042" in table for table in tables)  # IA/K = 1/24


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("checkpoint", "nowhere.pt", "ParameterError: there is no file 'nowhere.pt'"),
        ("rows", "10", "ParameterError: rows is 10; whole numbers from 1000 up"),
        ("seeds", "1", "ParameterError: seeds is 1; whole numbers from 2 up"),
    ],
)
def test_what_cannot_be_stops_the_chapter_at_once(tmp_path, name, value, message):
    done = papermill(tmp_path, **{name: value})
    assert done.returncode != 0
    assert any(line.startswith(message) for line in done.stderr.splitlines())


def test_what_is_told_follows_from_the_runs():
    runs = your_embeddings.compare(
        data.load("synthetic-mini", 1000, progress=False), epochs=1, seeds=2
    )
    assert [(run.label, run.seed) for run in runs] == [
        (label, seed) for seed in (0, 1) for label in ("base", "SE 4x", "ME 4x")
    ]
    tables = {run.label: run.history["table"].nunique() for run in runs}
    assert tables == {"base": 12, "SE 4x": 12, "ME 4x": 12}
    se, me = ([run.auc for run in runs if run.label.startswith(kind)] for kind in ("SE", "ME"))
    assert f"test AUC, ME minus SE: {(sum(me) - sum(se)) / 2:+.4f}" in your_embeddings.outcome(runs)
    assert f"{sum(me) / 2:.4f} ({min(me):.4f} to {max(me):.4f})" in set(
        your_embeddings.summary(runs)["ME 4x"]
    )
    assert "the monitor took at most" in your_embeddings.told_by_the_monitor(runs)
    embeddings = {run.label: run.parameters for run in runs}
    assert embeddings["base"] < embeddings["SE 4x"]


def test_the_same_seed_gives_the_same_model():
    clicks = data.load("synthetic-mini", 1000, progress=False)
    one, other = (your_embeddings.compare(clicks, epochs=1, seeds=2)[2] for _ in range(2))
    assert one.auc == other.auc


def test_the_difference_shown_is_that_of_the_files():
    shown = your_embeddings.difference("deepfm", "deepfm_me")
    added = [line for line in shown.splitlines() if line[0] == "+" and line[:3] != "+++"]
    assert 1 <= len([line for line in added if line.strip("+ ")]) <= 5
