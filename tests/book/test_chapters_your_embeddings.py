"""Chapter 8: what is drawn and told of checkpoints and runs is what was measured."""

import pandas as pd
import pytest
import torch
from torch import Tensor

from embedding_collapse.book.chapters import your_embeddings
from embedding_collapse.collapse import inspect_table
from embedding_collapse.inspection import report
from embedding_collapse.lab import data
from embedding_collapse.lab.contrast import Group, contrast, difference
from embedding_collapse.verdict import COLLAPSED, PARTLY, Collapse


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def inspected(name: str, *shape: int) -> Collapse:
    return inspect_table(normal(*shape), name=name)


def test_every_set_of_a_table_has_its_line_beside_a_random_table_s():
    found = [inspected("one", 1, 90, 6), inspected("two", 3, 50, 6)]
    figure = your_embeddings.table_spectra(found)
    assert [line.name for line in figure.data] == [
        "this table",
        "random table",
        "set 1",
        "set 2",
        "set 3",
        "random table",
    ]
    assert [line.visible for line in figure.data] == [True] * 2 + [False] * 4
    spectrum = found[1].spectra[1]
    assert list(figure.data[3].y) == pytest.approx((spectrum / spectrum[0]).tolist(), abs=1e-4)
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["one", "two"]


def test_a_long_spectrum_is_thinned_and_what_was_not_measured_left_out():
    wide, empty = inspected("wide", 1, 400, 300), inspected("no", 1, 0, 4)
    figure = your_embeddings.table_spectra([empty, wide])
    assert len(figure.data) == 2
    assert len(figure.data[0].x) == 64
    assert (figure.data[0].y[0], figure.data[0].x[-1]) == (1, 1)


def test_histories_are_drawn_with_their_mean_and_the_thresholds():
    history = pd.DataFrame(
        {"step": [0, 0, 5, 5], "table": list("abab"), "against_random": [1.0, 0.8, 0.6, 0.2]}
    )
    figure = your_embeddings.collapse_in_training({"SE 4x": history})
    assert [list(line.y) for line in figure.data] == [[1.0, 0.6], [0.8, 0.2], [0.9, 0.4]]
    assert {shape.y0 for shape in figure.layout.shapes} == {COLLAPSED, PARTLY}


def test_what_all_names_begin_with_is_said_once():
    def names(*tables: str) -> tuple[str, list[str]]:
        found = [inspected(name, 1, 60, 10) for name in tables]
        index = your_embeddings.report_table(report.Inspection("x", found, [])).index
        return index.name, index.to_list()

    assert names("m.emb.10.w", "m.emb.1.w") == ("m.emb.", ["10.w", "1.w"])
    assert names("item", "items") == ("table", ["item", "items"])
    assert names("m.emb") == ("table", ["m.emb"])


def test_advice_begins_with_the_table_furthest_below_a_random_one():
    along = normal(1, 60, 1) * torch.linspace(1, 2, 10)
    low = along + 0.001 * normal(1, 60, 10)
    found = [inspected("fine", 1, 60, 10), inspect_table(low, name="low`")]
    lines = report.advice(report.Inspection("x", found, [])).splitlines()
    assert lines[0].startswith("- `` low` ``, collapsed: 1 of 10 directions holds 90%")
    assert lines[1].startswith("- `fine`, not collapsed: ")
    assert len(report.advice(report.Inspection("x", found, []), most=1).splitlines()) == 1


def test_names_with_markup_are_text_in_figures():
    found = [inspected(f"<b>{name}</b>\n&", 1, 90, 6) for name in "ab"]
    (menu,) = your_embeddings.table_spectra(found).layout.updatemenus
    assert menu.buttons[0].label == "&lt;b&gt;a&lt;/b&gt;\\n&amp;"
    history = pd.DataFrame({"step": [0], "table": ["<i>a"], "against_random": [1.0]})
    drawn = your_embeddings.collapse_in_training({"SE 4x": history})
    assert drawn.data[0].name == "SE 4x, &lt;i&gt;a"


def test_the_verdicts_errors_are_counted_by_kind():
    kept = your_embeddings.calibrated()
    table = your_embeddings.errors_by_kind(kept["cases"])
    assert table["wrong"].sum() == kept["rates"]["false alarms"] + kept["rates"]["misses"]
    assert table["too small to tell"].sum() == kept["rates"]["too small to tell"]
    case = {"kind": "flat", "truth": "collapsed", "verdicts": {"collapsed": 3, "not collapsed": 1}}
    sound = {"kind": "even", "truth": "sound", "verdicts": {"too small to tell": 2, "offset": 1}}
    assert your_embeddings.errors_by_kind([case, sound]).to_dict("index") == {
        "flat": {"in truth": "collapsed", "tables judged": 4, "wrong": 1, "too small to tell": 0},
        "even": {"in truth": "sound", "tables judged": 1, "wrong": 1, "too small to tell": 2},
    }


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
    groups = [
        Group(sign, [run.auc for run in of], [run.placements for run in of])
        for sign, of in ((1, runs[2::3]), (-1, runs[1::3]))
    ]
    low = f"(95% interval {contrast(groups).low:+.4f}"  # of the test rows too, not of seeds alone
    assert low in your_embeddings.outcome(runs)
    assert low != f"(95% interval {difference(me, se).low:+.4f}"
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
