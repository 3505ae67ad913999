"""Chapter 5's tables and figures."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from embedding_collapse.book import paper
from embedding_collapse.book.chapters import multi_embedding as chapter
from embedding_collapse.book.plots import rounded
from embedding_collapse.lab import data
from embedding_collapse.lab.contrast import difference
from embedding_collapse.lab.models import Recommender
from embedding_collapse.parameters import ParameterError

NOISE = (-0.001, 0.0, 0.001)  # of three seeds


@pytest.fixture
def runs(make_record):
    """Three seeds each of base, SE 4x and ME 4x, with these mean AUCs and mean IA/K."""

    def make(aucs=(0.70, 0.70, 0.70), abundances=(0.5, 0.5, 0.5), noise=NOISE, **changes):
        models = (("se", 1), ("se", 4), ("me", 4))
        return [
            make_record(*model, seed, auc=auc + change, abundance=abundance + change, **changes)
            for seed, change in enumerate(noise)
            for model, auc, abundance in zip(models, aucs, abundances, strict=True)
        ]

    return make


def test_the_forward_pass_is_the_librarys_own():
    code = chapter.source()
    for function in (Recommender.forward, Recommender.decide):
        for line in inspect.getsource(function).splitlines():
            assert line.strip() in code
    assert code.startswith("```python\ndef forward") and code.endswith("\n```")


def test_of_us_flights_fewer_than_all_rows_are_the_default_and_any_number_can_be_asked():
    parameters = {"scale": 4, "seeds": 1, "model": "dnn"}
    asked = (("us-flights", 0), ("us-flights", 2_400_000), ("synthetic-mini", 0))
    rows = [chapter.specs_of(*one, {}, **parameters)[0].data.rows for one in asked]
    assert rows == [300_000, 2_400_000, None]


def test_for_each_seed_base_se_and_me_have_the_models_own_embedding_size():
    """NFwFM's is five times what the others have, as in the paper, beside which its runs stand."""
    specs = chapter.specs_of(
        "synthetic-mini", 1000, {}, scale=4, seeds=2, model="nfwfm", embedding_size=10
    )
    assert [spec.label for spec in specs] == ["base", "SE 4x", "ME 4x"] * 2
    assert {spec.embedding_size for spec in specs} == {50}
    assert [spec.seed for spec in specs] == [0] * 3 + [1] * 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale": 1}, "scale is 1; whole numbers from 2 up"),
        ({"seeds": 0}, "seeds is 0; whole numbers from 1 up"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(changed, message):
    with pytest.raises(ParameterError, match=message):
        chapter.specs_of(
            "synthetic-mini", 1000, {}, **({"model": "dnn", "scale": 4, "seeds": 1} | changed)
        )


def test_a_run_that_fails_stops_the_chapter_which_says_why(tmp_path):
    specs = chapter.specs_of("synthetic-mini", 1000, {}, scale=2, seeds=1, model="dnn", epochs=1)
    broken = [replace(spec, learning_rate=1e38) for spec in specs[:1]]
    clicks = data.load_spec(specs[0].data, progress=False)
    with pytest.raises(
        ChildProcessError, match="failed: synthetic-mini, dnn base, seed 0: DivergedError"
    ):
        chapter.train(broken, clicks, tmp_path, "cpu", False, 0.01)


def test_page_and_terminal_are_told_of_runs_that_were_still_rising(capfd):
    specs = chapter.specs_of("synthetic-mini", 1000, {}, scale=2, seeds=1, model="dnn", epochs=1)
    clicks = data.load_spec(specs[0].data, progress=False)
    chapter.train(specs[:1], clicks, None, "cpu", False, 0.01)
    page, terminal = capfd.readouterr()
    told = "still rising: in 1 of 1 run the last of 1 epoch was the best"
    assert page.startswith(told) and told in terminal


@pytest.mark.parametrize(
    ("rows", "features", "threads", "expected"),
    [
        (100_000, 20_000, 2, 2),  # one per core
        (99_999, 20_000, 2, None),  # over before a process has started
        (100_000, 300_000, 2, None),  # 12 million numbers
        (100_000, 20_000, 1, None),
    ],
)
def test_runs_take_place_side_by_side_where_that_is_faster(
    monkeypatch, rows, features, threads, expected
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    specs = chapter.specs_of("synthetic-mini", 1000, {}, scale=4, seeds=1, model="dnn")
    clicks = type("Clicks", (), {"cardinalities": [features], "__len__": lambda self: rows})()
    assert chapter._at_a_time(specs, clicks, torch.device("cpu")) == expected


@pytest.mark.parametrize(
    ("aucs", "abundances", "expected"),
    [
        ((0.70, 0.70, 0.72), (0.5, 0.3, 0.6), ["holds", "holds", "holds", "holds"]),
        ((0.70, 0.72, 0.70), (0.5, 0.6, 0.3), ["fails", "fails", "fails", "fails"]),
    ],
)
def test_claims_hold_or_fail_as_the_records_say(runs, aucs, abundances, expected):
    table = chapter.verdicts(runs(aucs, abundances, noise=(-1e-5, 0.0, 1e-5)))
    collapse_se, collapse_me, _, no_gain, _, me_over_se = table["verdict"]
    assert [collapse_se, collapse_me, no_gain, me_over_se] == expected


def test_what_lies_inside_the_noise_is_undecided_and_tells_what_could_have_been_seen(runs):
    row = chapter.verdicts(runs((0.700, 0.701, 0.702), noise=(-0.01, 0.0, 0.01))).iloc[-1]
    assert row["verdict"] == "undecided"
    assert row["new - old"].low < 0 < row["new - old"].high
    assert row["smallest to be seen"] > row["new - old"].half_width


def test_one_seed_decides_nothing(runs):
    table = chapter.verdicts(runs((0.6, 0.7, 0.8), (0.8, 0.2, 0.5), noise=(0.0,)))
    assert set(table["verdict"]) == {"undecided"}
    assert rounded(table, 4).loc["ME gains over SE", "new - old"] == "+0.1000"


def test_an_effect_is_that_of_the_seeds_means(runs):
    made = runs((0.70, 0.71, 0.73), (0.5, 0.3, 0.6))
    table = chapter.verdicts(made)
    shares = {
        label: [run.relative_abundance.mean().item() for run in made if run.label == label]
        for label in ("base", "SE 4x")
    }
    by_hand = difference(shares["SE 4x"], shares["base"])
    assert table["new - old"].iloc[0] == pytest.approx(by_hand)
    assert table["new - old"].iloc[-1].value == pytest.approx(0.02)
    assert rounded(table, 4)["new - old"].iloc[0] == f"{by_hand:+.4f}"


def test_validation_auc_by_epoch_is_the_mean_over_seeds_of_the_epochs_that_all_have(runs):
    made = runs()
    table = chapter.by_epoch(made)
    assert list(table.index) == ["epoch 1", "epoch 2"]
    for label, values in table.items():
        group = [run for run in made if run.label == label]
        for number, value in enumerate(values):
            assert value == pytest.approx(np.mean([r.epochs[number]["valid_auc"] for r in group]))


def test_the_papers_numbers_stand_beside_ours(runs):
    made = runs((0.70, 0.71, 0.73), model="dnn")
    table = chapter.beside_paper(made, "dnn")
    assert table["small, here"].tolist() == pytest.approx([0.70, 0.71, 0.73])
    theirs = paper.published().set_index(["dataset", "model", "design", "scale"])["test_auc"]
    for label, cell in (("base", ("se", 1)), ("SE 4x", ("se", 4)), ("ME 4x", ("me", 4))):
        assert table.loc[label, "Criteo, the paper"] == theirs["criteo", "dnn", *cell]


def test_a_model_that_the_paper_lacks_stands_alone(runs):
    table = chapter.beside_paper(runs(model="dcnv2-shared"), "dcnv2-shared")
    assert list(table.columns) == ["small, here"]
