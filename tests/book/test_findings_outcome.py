from collections.abc import Callable

import pytest

from embedding_collapse.book.findings.outcome import collapse_verdicts, in_short, outcome
from embedding_collapse.lab.metrics import welch
from embedding_collapse.lab.records import Record

NOISE = (-0.001, 0.0, 0.001)  # of three seeds


@pytest.fixture
def runs(make_record: Callable[..., Record]) -> Callable[..., list[Record]]:
    """Three seeds each of base, SE 4x and ME 4x, with these mean AUCs and mean IA/K."""

    def make(aucs=(0.70, 0.70, 0.70), abundances=(0.5, 0.5, 0.5), noise=NOISE) -> list[Record]:
        models = (("se", 1), ("se", 4), ("me", 4))
        return [
            make_record(*model, seed, auc=auc + change, abundance=abundance + change)
            for seed, change in enumerate(noise)
            for model, auc, abundance in zip(models, aucs, abundances, strict=True)
        ]

    return make


def line(text: str, start: str) -> str:
    """The one sentence of an outcome with this heading."""
    (found,) = [line for line in text.splitlines() if line.startswith(f"- **{start}")]
    return found


# --- collapse -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("abundances", "se", "me"),
    [
        ((0.5, 0.3, 0.6), "lower", "higher"),
        ((0.5, 0.6, 0.3), "higher", "lower"),
        ((0.5, 0.5, 0.5), "not told apart", "not told apart"),
    ],
)
def test_collapse_verdicts_follow_the_records(runs, abundances, se, me):
    assert collapse_verdicts(runs(abundances=abundances)) == [
        f"Mean IA/K over fields, SE 4x against base: {se}.",
        f"Mean IA/K over fields, ME 4x against base: {me}.",
    ]


def test_collapse_verdicts_of_one_seed_tell_nothing_apart(runs):
    verdicts = collapse_verdicts(runs(abundances=(0.5, 0.3, 0.9), noise=(0.0,)))
    assert [verdict.endswith(": not told apart.") for verdict in verdicts] == [True, True]


@pytest.mark.parametrize(
    ("after", "words"),
    [(0.3, "more collapsed"), (0.8, "less collapsed"), (0.5, "inside the noise")],
)
@pytest.mark.parametrize("model", ["SE 4x", "ME 4x"])
def test_the_outcome_says_who_is_more_collapsed(runs, model, after, words):
    abundances = (0.5, after, 0.6) if model == "SE 4x" else (0.5, 0.4, after)
    found = line(outcome(runs(abundances=abundances)), f"Collapse, {model} against base.**")
    assert f"fields is {after:.4f}, 0.5000 in base: {words} (difference " in found


def test_the_outcomes_interval_is_that_of_the_difference(runs):
    change = welch([0.799, 0.8, 0.801], [0.499, 0.5, 0.501])
    found = line(outcome(runs(abundances=(0.5, 0.5, 0.8))), "Collapse, ME 4x against base.**")
    assert found.endswith(f", 95% interval {change.low:+.4f} to {change.high:+.4f} over 3 seeds).")


# --- AUC ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "words"),
    [(0.02, "better"), (-0.02, "worse"), (0.0, "inside the noise")],
)
@pytest.mark.parametrize(("new", "old"), [("SE 4x", "base"), ("ME 4x", "base"), ("ME 4x", "SE 4x")])
def test_the_outcome_says_who_predicts_better(runs, new, old, shift, words):
    aucs = {"base": 0.60, "SE 4x": 0.65, "ME 4x": 0.75}  # all differ, so that a mix-up shows
    aucs[new] = aucs[old] + shift
    found = line(outcome(runs(aucs=aucs.values())), f"Test AUC, {new} against {old}.**")
    assert f": {words} (difference {shift:+.4f}, 95% interval " in found
    assert f"test AUC is {aucs[new]:.4f}, {aucs[old]:.4f} in {old}" in found


def test_the_outcome_has_three_sentences_on_collapse_and_three_on_auc(runs):
    lines = outcome(runs()).splitlines()
    assert [line.split("**")[1] for line in lines] == [
        "Collapse, SE 4x against base.",
        "Collapse, ME 4x against base.",
        "Collapse, ME 4x, sets joined against SE 4x.",
        "Test AUC, SE 4x against base.",
        "Test AUC, ME 4x against base.",
        "Test AUC, ME 4x against SE 4x.",
    ]


def test_the_outcome_of_one_seed_says_that_its_noise_is_not_known(runs):
    text = outcome(runs(aucs=(0.5, 0.6, 0.9), abundances=(0.3, 0.5, 0.9), noise=(0.0,)))
    for found in text.splitlines():
        assert found.endswith(": one seed, so the noise is not known.")
    assert "better" not in text
    assert "is 0.9000, 0.5000 in base" in line(text, "Test AUC, ME 4x against base.")


def test_the_outcome_tells_the_joined_sets_collapse_apart_from_each_sets(runs):
    """Sets whose every spectrum is flat are not collapsed; side by side they may still be."""
    records = runs(abundances=(0.5, 0.5, 0.9))
    (me, *_) = [record for record in records if record.label == "ME 4x"]
    assert me.joined_abundance.mean() < me.relative_abundance.mean()
    found = line(outcome(records), "Collapse, ME 4x, sets joined against SE 4x.**")
    assert f"{me.joined_abundance.mean():.2f}" in found


@pytest.mark.parametrize("kept", [["base"], ["base", "SE 4x"], ["SE 4x", "ME 4x"]])
def test_an_outcome_of_fewer_models_is_refused(runs, kept):
    records = [record for record in runs() if record.label in kept]
    with pytest.raises(ValueError, match=f"records of {', '.join(kept)}; base, SE and ME at one"):
        outcome(records)


def test_an_outcome_of_more_models_is_refused(runs, make_record):
    with pytest.raises(ValueError, match="records of base, SE 4x, ME 4x, ME 10x; base, SE and ME"):
        outcome([*runs(), make_record("me", 10)])


def test_in_short_it_says_the_same(runs):
    text = in_short(runs(aucs=(0.70, 0.60, 0.80), abundances=(0.5, 0.3, 0.5)))
    assert "against base: SE 4x is more collapsed, its test AUC lower; " in text
    assert "ME 4x, set by set, is as collapsed, within the noise, its test AUC higher. " in text
    assert text.endswith("ME 4x against SE 4x: test AUC higher.")
    assert "inside the noise" in in_short(runs())
    assert "not known" in in_short(runs(noise=(0.0,)))
