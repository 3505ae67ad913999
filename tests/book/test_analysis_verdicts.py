"""Claims of groups of runs: one contrast each, corrected together."""

import pytest

from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.verdicts import Claim, answers
from embedding_collapse.lab.contrast import difference

NOISE = (-1e-4, 0.0, 1e-4)


@pytest.fixture
def group(make_record):
    """Three seeds of a cell with this mean IA/K."""

    def make(share, *cell, noise=NOISE, **changes):
        return [
            make_record(*(cell or ("se", 1)), seed, abundance=share + change, **changes)
            for seed, change in enumerate(noise)
        ]

    return make


def claim(pairs, expected="higher", measure=measures.ABUNDANCE):
    return Claim("it", measure, expected, pairs)


def test_an_effect_is_the_mean_of_the_pairs_differences(group):
    base, small, large = group(0.5), group(0.4, "se", 4), group(0.2, "se", 10)
    effect = claim([(small, base), (large, base)]).effect()
    assert effect.value == pytest.approx(-0.2, abs=1e-6)


def test_runs_that_pairs_share_count_once(group):
    """Base, in both pairs, has the weight -1: its spread is not taken for that of six runs."""
    noisy = group(0.5, noise=(-0.1, 0.0, 0.1))
    small, large = group(0.4, "se", 4), group(0.2, "se", 10)
    shared = claim([(small, noisy), (large, noisy)]).effect()
    alone = difference([0.3, 0.3, 0.3], [0.4, 0.5, 0.6])
    assert shared.half_width == pytest.approx(alone.half_width, rel=0.01)


def test_what_both_sides_of_pairs_hold_cancels(group):
    one, other, third = group(0.5), group(0.4, "se", 4), group(0.2, "se", 10)
    effect = claim([(one, other), (other, third)]).effect()
    assert effect == pytest.approx(
        claim([(one, third)])
        .effect()
        ._replace(
            value=0.15, low=effect.low, high=effect.high, p=effect.p, smallest=effect.smallest
        )
    )


@pytest.mark.parametrize(
    ("new", "expected", "verdict"),
    [(0.6, "higher", "holds"), (0.4, "higher", "fails"), (0.4, "lower", "holds")],
)
def test_a_difference_beyond_chance_decides(group, new, expected, verdict):
    (answer,) = answers([claim([(group(new, "se", 4), group(0.5))], expected)])
    assert answer.verdict == verdict
    assert answer.effect.value == pytest.approx(new - 0.5, abs=1e-6)


def test_what_lies_in_the_noise_is_undecided_and_what_was_not_run_is_said(group):
    noisy = group(0.5001, "se", 4, noise=(-0.1, 0.0, 0.1))
    found = answers([claim([(noisy, group(0.5))]), claim([(noisy, [])]), claim([])])
    assert [answer.verdict for answer in found] == ["undecided", "not run", "not run"]
    assert [answer.effect is None for answer in found] == [False, True, True]


def test_a_verdict_is_corrected_for_all_claims_of_the_table(group):
    """A difference that alone is beyond chance isn't among many that show nothing."""
    pair = (group(0.52, "se", 4, noise=(-0.006, 0.0, 0.006)), group(0.5, noise=(-0.006, 0, 0.006)))
    alone = claim([pair])
    assert 0.01 < alone.effect().p < 0.05
    assert answers([alone])[0].verdict == "holds"
    nothing = claim([(group(0.5001, "se", 4, noise=(-0.1, 0, 0.1)), group(0.5))])
    assert answers([alone, *[nothing] * 7])[0].verdict == "undecided"


def test_no_gain_is_held_against_the_band_and_shown_as_it_is(make_record):
    def aucs(mean, *cell):
        return [
            make_record(*(cell or ("se", 1)), seed, auc=mean + seed * 1e-5) for seed in range(3)
        ]

    gains = [aucs(auc, "se", 4) for auc in (0.7002, 0.71)]
    found = answers([claim([(g, aucs(0.7))], "no gain", measures.AUC) for g in gains])
    assert [answer.verdict for answer in found] == ["holds", "fails"]
    assert found[1].effect.value == pytest.approx(0.01)
