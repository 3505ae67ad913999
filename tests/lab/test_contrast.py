"""The interval of a contrast holds the truth as often as it says, and an effect that is as large as
the smallest that could be seen is seen."""

import doctest

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from embedding_collapse.lab import contrast as module
from embedding_collapse.lab.contrast import (
    POWER,
    Effect,
    Group,
    _delong,
    _rows_variance,
    contrast,
    holm,
    joined,
)
from embedding_collapse.lab.metrics import Placements, grouped, placements

ROWS = 100  # of either class


def simulated(
    generator: np.random.Generator,
    designs: int,
    seeds: int,
    seed: float,
    rows: float,
    both: float,
    gain: float = 0.0,
    shared: float = 0.0,
) -> list[Group]:
    """Designs 0, 1, ..., all alike but for `gain`, on the same rows; with noise from each source.

    Args:
        seed, rows, both: standard deviations of what a run's seed adds to all positive rows'
            scores, and of what a design and a run add to each row's score.
        gain: added to the positive rows' scores of the first design.
        shared: standard deviation of what a seed adds to the positive rows' scores of its runs in
            all designs.
    """
    positive = np.repeat([False, True], ROWS)
    common = generator.normal(size=2 * ROWS) + positive  # an AUC near 0.76
    groups = []
    of_seed = shared * generator.normal(size=(seeds, 1)) if shared else 0.0
    for design in range(designs):
        scores = common + rows * generator.normal(size=2 * ROWS) + positive * gain * (design == 0)
        scores = scores + both * generator.normal(size=(seeds, 2 * ROWS))
        scores[:, positive] += seed * generator.normal(size=(seeds, 1)) + of_seed
        runs = [without_ties(run[positive], run[~positive]) for run in scores]
        values = [run.positive.mean() for run in runs]
        groups.append(Group((1.0, -1.0, -0.5, 0.5)[design], values, runs))
    return groups


def without_ties(positive: np.ndarray, negative: np.ndarray) -> Placements:
    """The placements of rows with these scores, many times as fast as the library's."""
    below = np.sort(negative).searchsorted(positive)
    above = len(positive) - np.sort(positive).searchsorted(negative)
    return Placements(below / len(negative), above / len(positive))


def test_the_example_of_ones_own_models_is_true():
    (test,) = doctest.DocTestFinder(recurse=False).find(contrast, "contrast", module, globs={})
    report: list[str] = []
    assert not doctest.DocTestRunner().run(test, out=report.append).failed, "".join(report)


def test_what_is_simulated_are_placements():
    scores, labels = np.random.default_rng(0).normal(size=20), np.repeat([0, 1], 10)
    known = placements(torch.from_numpy(scores), torch.from_numpy(labels))
    for ours, theirs in zip(without_ties(scores[10:], scores[:10]), known, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "seed", "rows", "both"),
    [
        (3, 0.3, 0.05, 0.05),
        (3, 0.02, 0.5, 0.05),
        (3, 0.1, 0.3, 0.3),
        (3, 0.02, 0.05, 0.6),
        (5, 0.1, 0.3, 0.3),
    ],
    ids=["seeds", "rows", "all", "rows of a run", "all, five runs"],
)
def test_the_interval_of_a_difference_has_the_coverage_that_it_claims(seeds, seed, rows, both):
    """93 to 97 of 100, whichever source of chance is the largest."""
    generator = np.random.default_rng(17)
    tries = 1500
    held = 0
    for _ in range(tries):
        effect = contrast(simulated(generator, 2, seeds, seed, rows, both))
        held += effect.low <= 0 <= effect.high
    assert 0.93 <= held / tries <= 0.97, held / tries


@pytest.mark.slow
def test_a_contrast_of_several_cells_has_its_coverage_too():
    generator = np.random.default_rng(5)
    tries = 1500
    held = 0
    for _ in range(tries):
        effect = contrast(simulated(generator, 4, 3, 0.1, 0.3, 0.2))
        held += effect.low <= 0 <= effect.high
    assert 0.93 <= held / tries <= 0.97, held / tries


@pytest.mark.slow
def test_runs_whose_seeds_have_something_in_common_are_covered_seed_by_seed():
    """Taken as independent, a difference's interval would be too wide, one of a sum too narrow."""
    generator = np.random.default_rng(11)
    tries = 1000
    auc = stats.norm.cdf(1 / np.sqrt(2 * (1 + 0.1**2 + 0.1**2) + 0.05**2 + 0.4**2))
    held = {"difference": 0, "sum": 0, "difference, independent": 0, "sum, independent": 0}
    for _ in range(tries):
        one, two = simulated(generator, 2, 5, 0.05, 0.1, 0.1, shared=0.4)
        for name, sign in (("difference", -1.0), ("sum", 1.0)):
            groups = [one._replace(weight=1.0), two._replace(weight=sign)]
            expected = (1 + sign) * auc
            for how, effect in (
                ("", contrast([joined(groups)])),
                (", independent", contrast(groups)),
            ):
                held[name + how] += effect.low <= expected <= effect.high
    share = {name: count / tries for name, count in held.items()}
    assert 0.93 <= share["difference"] <= 0.97 and 0.93 <= share["sum"] <= 0.97, share
    assert share["difference, independent"] > 0.99 and share["sum, independent"] < 0.93, share


def test_draws_whose_values_depend_on_no_test_rows_are_joined_too():
    assert joined([Group(1.0, [3.0, 5.0]), Group(-1.0, [2.0, 4.0])]) == Group(1.0, [1.0, 1.0])


@pytest.mark.slow
def test_an_effect_of_the_smallest_size_is_seen_four_times_in_five():
    generator = np.random.default_rng(2)
    noise = (0.1, 0.2, 0.2)
    smallest = np.mean([contrast(simulated(generator, 2, 5, *noise)).smallest for _ in range(300)])
    step = (
        np.mean([contrast(simulated(generator, 2, 5, *noise, gain=0.1)).value for _ in range(300)])
        / 0.1
    )  # AUC per unit of gain
    seen = [
        contrast(simulated(generator, 2, 5, *noise, gain=smallest / step)).low > 0
        for _ in range(600)
    ]
    assert np.mean(seen) == pytest.approx(POWER, abs=0.07)


# --- the choice of rows ---------------------------------------------------------------------------


def two_models(rows: int, decimals: int | None = None) -> tuple[Tensor, list[Tensor]]:
    """Labels, and the scores of a good and a worse model that err alike; one row in four is
    positive."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(rows) % 4 == 0).to(torch.uint8)
    common, *own = torch.randn(3, rows, generator=generator)
    scores = [
        slope * labels + common + 0.5 * noise for slope, noise in zip((1.2, 0.9), own, strict=True)
    ]
    return labels, scores if decimals is None else [one.round(decimals=decimals) for one in scores]


def won(labels: Tensor, scores: Tensor) -> np.ndarray:
    """Which pairs of a positive and a negative row a model has in order, of ties a half."""
    pairs = scores[labels == 1][:, None] - scores[labels == 0]
    return ((pairs > 0).double() + (pairs == 0).double() / 2).numpy()


def placed(labels: Tensor, scores: list[Tensor]) -> list[Placements]:
    return [placements(one, labels) for one in scores]


def change_of(of_rows: list[Placements]) -> Placements:
    new, old = of_rows
    return Placements(*(a - b for a, b in zip(new, old, strict=True)))


@pytest.mark.parametrize("decimals", [None, 0])
def test_delong_equals_the_variance_of_all_pairs_structural_components(decimals):
    labels, scores = two_models(150, decimals)
    both = [won(labels, one) for one in scores]
    variance = 0.0
    for axis in (1, 0):
        ((a, ab), (_, b)) = np.cov(*(pairs.mean(axis) for pairs in both))
        variance += (a + b - 2 * ab) / both[0].shape[1 - axis]
    assert _delong(change_of(placed(labels, scores))) == pytest.approx(variance, rel=1e-9)


def test_delongs_is_the_variance_of_a_bootstrap_over_rows():
    """2,000 resamples know a standard deviation to 1/sqrt(4000) = 1.6%: allowed is three times as
    much."""
    labels, scores = two_models(300)
    new, old = (won(labels, one) for one in scores)
    generator = np.random.default_rng(0)
    positives, negatives = (
        generator.multinomial(size, np.full(size, 1 / size), 2000) / size for size in new.shape
    )  # how often each row is drawn; the classes on their own
    bootstrap = ((positives @ (new - old)) * negatives).sum(1)
    known = _delong(change_of(placed(labels, scores)))
    assert known**0.5 == pytest.approx(bootstrap.std(), rel=0.05)


def test_a_summary_of_the_rows_keeps_their_variance():
    """500 groups know a variance to sqrt(2/500) = 6%, either class half of it."""
    of_rows = placed(*two_models(20_000))
    known = _delong(change_of(of_rows))
    assert _delong(change_of([*map(grouped, of_rows)])) == pytest.approx(known, rel=0.15)


def test_what_each_run_has_of_its_own_in_every_row_is_taken_off():
    """What is left is, on average, what the rows of each cell have in common: of weights 2 and -1
    and 50 rows of either class a variance of (4 + 1) * (1/50 + 1/50), which 400 estimates know to
    1%."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(400):
        groups = []
        for weight, runs in ((2, 2), (-1, 3)):
            scores = generator.normal(size=(2, 50)) + generator.normal(size=(runs, 2, 50))
            groups.append((weight, [Placements(*run) for run in scores]))
        found.append(_rows_variance(groups)[0])
    assert np.mean(found) == pytest.approx(5 * 2 / 50, rel=0.05)


def test_rows_never_make_an_interval_narrower():
    """Where runs differ row by row and not on average, their own part is all there is of them."""
    wave = np.tile([-0.1, 0.1], 20)
    new, old = (
        [Placements(auc + change, auc + change) for change in (wave, -wave)] for auc in (0.7, 0.6)
    )
    assert _rows_variance([(1, new), (-1, old)])[0] == 0


def test_without_noise_between_seeds_the_interval_is_that_of_the_rows():
    new, old = placed(*two_models(2000))
    aucs = [rows.positive.mean() for rows in (new, old)]
    effect = contrast([Group(1, [aucs[0]] * 3, [new] * 3), Group(-1, [aucs[1]] * 3, [old] * 3)])
    half = stats.t.ppf(0.975, 499) * _delong(change_of([new, old])) ** 0.5
    known = (aucs[0] - aucs[1], aucs[0] - aucs[1] - half, aucs[0] - aucs[1] + half)
    assert effect[:3] == pytest.approx(known, abs=1e-12)


# --- the spread between seeds ---------------------------------------------------------------------


def test_without_test_rows_it_is_welchs_interval():
    new, old = [1.0, 2.0, 4.0], [0.5, 0.7, 0.9, 1.1]
    effect = contrast([Group(1, new), Group(-1, old)])
    known = stats.ttest_ind(new, old, equal_var=False)
    low, high = known.confidence_interval(0.95)
    assert effect[:4] == pytest.approx((np.mean(new) - np.mean(old), low, high, known.pvalue))


def test_without_noise_from_the_rows_it_is_welchs_too():
    aucs = [0.71, 0.72, 0.74], [0.70, 0.703, 0.701]
    spread = np.linspace(-0.1, 0.1, 40)
    groups = [
        Group(weight, runs, [Placements(auc + spread, auc + spread) for auc in runs])
        for weight, runs in zip((1, -1), aucs, strict=True)
    ]
    assert contrast(groups) == pytest.approx(contrast([Group(*one[:2]) for one in groups]))


def test_the_smallest_effect_is_as_large_as_the_reaches_of_interval_and_power():
    new, old = [1.0, 2.0, 4.0], [0.5, 0.7, 0.9, 1.1]
    effect = contrast([Group(1, new), Group(-1, old)])
    welch = stats.ttest_ind(new, old, equal_var=False)
    reach = stats.t.ppf([0.975, POWER], welch.df)
    assert effect.smallest == pytest.approx(effect.half_width * reach.sum() / reach[0])


@pytest.mark.parametrize(("news", "olds"), [(1, 3), (3, 1), (1, 1)])
def test_a_single_run_leaves_the_noise_unknown(news, olds):
    new, old = simulated(np.random.default_rng(0), 2, 3, 0.1, 0.1, 0.1)
    groups = [
        Group(one.weight, one.values[:runs], one.placements[:runs])
        for one, runs in ((new, news), (old, olds))
    ]
    value = np.mean(new.values[:news]) - np.mean(old.values[:olds])
    assert contrast(groups) == Effect(pytest.approx(value), -np.inf, np.inf, 1.0, np.inf)


def test_runs_without_any_noise_do_not_tell_how_much_there_is():
    half, more = (Placements(np.full(4, auc), np.full(4, auc)) for auc in (0.5, 0.75))

    def change(new: Placements, old: Placements) -> Effect:
        return contrast([Group(w, [x.positive[0]] * 2, [x] * 2) for w, x in ((1, new), (-1, old))])

    assert change(half, half) == Effect(0.0, -np.inf, np.inf, 1.0, np.inf)
    assert change(more, half) == Effect(0.25, -np.inf, np.inf, 1.0, np.inf)
    noisy = contrast([Group(1, [0.5] * 3), Group(-1, [0.7, 0.71, 0.72])])
    assert noisy.low <= noisy.value <= noisy.high < 0


def test_a_class_of_one_row_does_not_tell_its_noise():
    rows = Placements(np.array([0.5]), np.array([0.25, 0.5, 0.75]))
    effect = contrast([Group(1, [0.5, 0.52], [rows] * 2), Group(-1, [0.4, 0.41], [rows] * 2)])
    assert effect == Effect(pytest.approx(0.105), -np.inf, np.inf, 1.0, np.inf)


def test_groups_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"2 groups, of \[0, 2\] runs; at least one run"):
        contrast([Group(1, []), Group(-1, [1.0, 2.0])])
    with pytest.raises(ValueError, match="the same rows are needed in all"):
        generator = np.random.default_rng(0)
        (one,) = simulated(generator, 1, 2, 0.1, 0.1, 0.1)
        fewer = [grouped(run, 50) for run in one.placements]
        contrast([one, Group(-1, one.values, fewer)])


def test_holm_adjusts_as_its_author_does():
    """The example of Holm 1979 in its usual form: step down, never below an earlier step."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    generator = np.random.default_rng(0)
    any_small = [holm(generator.uniform(size=7)).min() < 0.05 for _ in range(4000)]
    assert np.mean(any_small) == pytest.approx(0.05, abs=0.012)
