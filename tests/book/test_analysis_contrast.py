"""The interval of a contrast holds the truth as often as it says, and an effect that is as large as
the smallest that could be seen is seen."""

import numpy as np
import pytest
import torch
from scipy import stats

from embedding_collapse.book.analysis.contrast import POWER, Effect, Group, contrast, holm
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
) -> list[Group]:
    """Designs 0, 1, ..., all alike but for `gain`, on the same rows; with noise from each source.

    Args:
        seed, rows, both: standard deviations of what a run's seed adds to all positive rows'
            scores, and of what a design and a run add to each row's score.
        gain: added to the positive rows' scores of the first design.
    """
    positive = np.repeat([False, True], ROWS)
    common = generator.normal(size=2 * ROWS) + positive  # an AUC near 0.76
    groups = []
    for design in range(designs):
        scores = common + rows * generator.normal(size=2 * ROWS) + positive * gain * (design == 0)
        scores = scores + both * generator.normal(size=(seeds, 2 * ROWS))
        scores[:, positive] += seed * generator.normal(size=(seeds, 1))
        above = scores[:, positive, None] > scores[:, None, ~positive]  # [seeds, ROWS, ROWS]
        runs = [Placements(run.mean(1), run.mean(0)) for run in above]
        values = [run.positive.mean() for run in runs]
        groups.append(Group((1.0, -1.0, -0.5, 0.5)[design], values, runs))
    return groups


def test_what_is_simulated_are_placements():
    """Those of the library, of scores without ties."""
    generator = np.random.default_rng(0)
    scores, labels = generator.normal(size=20), np.repeat([0, 1], 10)
    above = scores[labels == 1][:, None] > scores[labels == 0]
    known = placements(torch.from_numpy(scores), torch.from_numpy(labels))
    np.testing.assert_allclose(above.mean(1), known.positive, atol=1e-15)
    np.testing.assert_allclose(above.mean(0), known.negative, atol=1e-15)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("seed", "rows", "both"),
    [(0.3, 0.05, 0.05), (0.02, 0.5, 0.05), (0.1, 0.3, 0.3), (0.02, 0.05, 0.6)],
    ids=["seeds", "rows", "all", "rows of a run"],
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


def test_a_contrast_of_several_cells_has_its_coverage_too():
    generator = np.random.default_rng(5)
    tries = 1500
    held = 0
    for _ in range(tries):
        effect = contrast(simulated(generator, 4, 3, 0.1, 0.3, 0.2))
        held += effect.low <= 0 <= effect.high
    assert 0.93 <= held / tries <= 0.97, held / tries


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


def test_without_test_rows_it_is_welchs_interval():
    new, old = [1.0, 2.0, 4.0], [0.5, 0.7, 0.9, 1.1]
    effect = contrast([Group(1, new), Group(-1, old)])
    known = stats.ttest_ind(new, old, equal_var=False)
    low, high = known.confidence_interval(0.95)
    assert effect[:4] == pytest.approx((np.mean(new) - np.mean(old), low, high, known.pvalue))


def test_a_single_run_leaves_the_noise_unknown():
    effect = contrast([Group(1, [0.8]), Group(-1, [0.7, 0.71])])
    assert effect == Effect(pytest.approx(0.095), -np.inf, np.inf, 1.0, np.inf)


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
