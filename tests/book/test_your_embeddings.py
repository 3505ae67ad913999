"""Chapter 8: what is told of the reader's runs."""

from embedding_collapse.book.chapters import your_embeddings
from embedding_collapse.lab import data


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
