import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from scipy import stats
from torch import Tensor

from embedding_collapse.lab.metrics import (
    Difference,
    Placements,
    _interval,
    _mean,
    _paired,
    auc,
    auc_difference,
    excess_log_loss,
    expected_auc,
    grouped,
    log_loss,
    placements,
    welch,
)


def clicks(rows: int = 2000) -> tuple[Tensor, Tensor]:
    """Labels, and float32 logits that know something of them."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(rows, generator=generator) < 0.3).to(torch.uint8)
    return torch.randn(rows, generator=generator) + labels, labels


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_auc_equals_scikit_learns_with_and_without_ties(decimals):
    logits, labels = clicks()
    if decimals is not None:
        logits = logits.round(decimals=decimals)
    distinct = len(logits.unique())
    assert distinct > 1990 if decimals is None else distinct < 100
    expected = sklearn.metrics.roc_auc_score(labels.numpy(), logits.numpy())
    assert auc(logits, labels) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32])
def test_auc_is_the_exact_share_of_ordered_pairs(dtype):
    scores = torch.tensor([0.0, -1.0, 0.0, 2.0, -0.0, 5.0])
    labels = torch.tensor([1, 0, 0, 1, 0, 0]).to(dtype)
    # 0 against -1, 0, -0, 5: won, tied, tied, lost; 2 against -1, 0, -0, 5: three won, one lost
    assert auc(scores, labels) == (1 + 0.5 + 0.5 + 3) / 8


def test_auc_does_not_depend_on_the_order_of_rows_or_on_a_monotone_transform():
    logits, labels = clicks()
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    assert auc(logits[shuffled], labels[shuffled]) == auc(logits, labels)
    # by a product alone: equal logits stay equal, which a library's sigmoid doesn't promise
    assert auc(logits.double() ** 3, labels) == auc(logits, labels)


def test_auc_of_scores_that_are_constant_perfect_or_reversed():
    labels = torch.tensor([0, 1, 1, 0, 1])
    assert auc(torch.full((5,), 0.1), labels) == 0.5
    assert auc(labels.float(), labels) == 1
    assert auc(-labels.float(), labels) == 0


def test_auc_counts_in_integers():
    """A sum of ranks in float32 would be wrong from the eighth digit on."""
    rows = 100_000
    scores, labels = torch.arange(rows, dtype=torch.float32), torch.zeros(rows, dtype=torch.uint8)
    labels[rows // 2 :] = 1
    labels[0] = 1  # the one positive that scores below every negative
    wins = (rows // 2) * (rows // 2 - 1)
    assert auc(scores, labels) == wins / ((rows // 2 + 1) * (rows // 2 - 1))


@pytest.mark.parametrize(("label", "found"), [(0, "0 positive and 3"), (1, "3 positive and 0")])
def test_auc_of_one_class_is_refused(label, found):
    with pytest.raises(ValueError, match=f"AUC needs both classes; found {found} negative rows"):
        auc(torch.rand(3), torch.full((3,), label))


def test_auc_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="found 0 positive and 0 negative rows"):
        auc(torch.zeros(0), torch.zeros(0))


def test_scores_that_are_nan_are_counted():
    with pytest.raises(ValueError, match="2 of 3 scores are NaN"):
        auc(torch.tensor([math.nan, 1.0, math.nan]), torch.tensor([0, 1, 1]))


@pytest.mark.parametrize(("scores", "labels"), [((3,), (4,)), ((3, 1), (3,)), ((3, 1), (3, 1))])
def test_scores_and_labels_of_other_shapes_are_named(scores, labels):
    with pytest.raises(ValueError, match="must be two vectors of one length") as caught:
        auc(torch.zeros(scores), torch.zeros(labels))
    assert f"scores {scores} and labels {labels}" in str(caught.value)


def test_log_loss_equals_scikit_learns():
    logits, labels = clicks()
    expected = sklearn.metrics.log_loss(labels.numpy(), logits.double().sigmoid().numpy())
    assert log_loss(logits, labels) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("huge", [1e4, 1e30])
def test_log_loss_of_huge_logits_is_finite(huge):
    logits = torch.tensor([huge, -huge, huge, -huge])
    assert log_loss(logits, torch.tensor([1, 0, 1, 0])) == 0
    assert log_loss(logits, torch.tensor([0, 0, 1, 0])) == pytest.approx(huge / 4)


def test_log_loss_keeps_what_float32_would_lose():
    """exp(-20) beside 1 is nothing in float32."""
    expected = np.log1p(np.exp(-20.0))
    assert log_loss(torch.tensor([20.0]), torch.tensor([1])) == pytest.approx(expected, rel=1e-9)
    rows = torch.full((1000,), 0.1, dtype=torch.bfloat16)
    expected = np.log1p(np.exp(rows[0].item()))
    assert log_loss(rows, torch.zeros(1000)) == pytest.approx(expected, rel=1e-12)


# --- placements -----------------------------------------------------------------------------------


def two_models(rows: int = 2000, decimals: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a good and a worse model that err alike, and labels: one row in four positive."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(rows) % 4 == 0).to(torch.uint8)
    common, *own = torch.randn(3, rows, generator=generator)
    scores = [s * labels + common + 0.5 * noise for s, noise in zip((1.2, 0.9), own, strict=True)]
    if decimals is not None:
        scores = [logits.round(decimals=decimals) for logits in scores]
    return *scores, labels


def direct_placements(scores: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's structural components, from every pair of a positive and a negative row."""
    pairs = scores[labels == 1][:, None] - scores[labels == 0]
    won = ((pairs > 0).double() + (pairs == 0).double() / 2).numpy()
    return won.mean(1), won.mean(0)


def test_placements_worked_out_by_hand():
    scores = torch.tensor([0.5, 2.0, 0.0, 0.5, 3.0, 2.0])
    labels = torch.tensor([1, 0, 1, 0, 1, 0])
    positive, negative = placements(scores, labels)
    # 0.5 against 2, 0.5, 2: a tie; 0: none; 3: all three
    assert positive.tolist() == pytest.approx([0.5 / 3, 0, 1], abs=1e-15)
    # above 2 is 3 alone; above 0.5 is 3, and 0.5 ties; above 2 is 3 alone
    assert negative.tolist() == pytest.approx([1 / 3, 1.5 / 3, 1 / 3], abs=1e-15)


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_the_mean_of_either_classs_placements_is_the_auc(decimals):
    scores, _, labels = two_models(decimals=decimals)
    for part in placements(scores, labels):
        assert part.dtype == np.float64
        assert part.mean() == pytest.approx(auc(scores, labels), abs=1e-14)


@pytest.mark.parametrize("decimals", [None, 0])
def test_placements_equal_the_count_over_all_pairs(decimals):
    scores, _, labels = two_models(300, decimals)
    found, expected = placements(scores, labels), direct_placements(scores, labels)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_placements_refuse_what_auc_refuses():
    with pytest.raises(ValueError, match="AUC needs both classes"):
        placements(torch.rand(3), torch.ones(3))
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        placements(torch.tensor([math.nan, 1.0]), torch.tensor([0, 1]))


# --- two models on the same rows ------------------------------------------------------------------


def delong(new: Tensor, old: Tensor, labels: Tensor) -> Difference:
    """What `auc_difference` makes of the choice of rows alone."""
    mean, variance = _paired(placements(new, labels), placements(old, labels))
    return _interval(mean, variance, math.inf)


@pytest.mark.parametrize("decimals", [None, 0])
def test_delong_equals_the_variance_of_all_pairs_structural_components(decimals):
    new, old, labels = two_models(150, decimals)
    variance = 0.0
    components = [direct_placements(scores, labels) for scores in (new, old)]
    for ours, theirs in zip(*components, strict=True):
        ((a, ab), (_, b)) = np.cov(ours, theirs)
        variance += (a + b - 2 * ab) / len(ours)
    mean, half = components[0][0].mean() - components[1][0].mean(), 1.959963984540054
    expected = (mean, mean - half * variance**0.5, mean + half * variance**0.5)
    assert delong(new, old, labels) == pytest.approx(expected, abs=1e-12)


def test_delongs_interval_is_that_of_a_bootstrap_over_rows():
    """2,000 resamples know a standard deviation to 1/sqrt(4000) = 1.6%, its quantiles to 3% of it:
    allowed is three times as much."""
    new, old, labels = two_models(300)
    generator = np.random.default_rng(0)
    won = []  # [positives, negatives], new minus old
    for scores in (new, old):
        pairs = scores[labels == 1][:, None] - scores[labels == 0]
        won.append(((pairs > 0).double() + (pairs == 0).double() / 2).numpy())
    change = won[0] - won[1]
    positives, negatives = (
        generator.multinomial(size, np.full(size, 1 / size), 2000) / size for size in change.shape
    )  # how often each row is drawn; the classes on their own
    bootstrap = ((positives @ change) * negatives).sum(1)
    found = delong(new, old, labels)
    deviation = (found.high - found.low) / 2 / 1.959964
    assert deviation == pytest.approx(bootstrap.std(), rel=0.05)
    low, high = np.quantile(bootstrap, (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * deviation)


def test_the_same_scores_do_not_differ_at_all():
    scores, _, labels = two_models()
    assert delong(scores, scores, labels) == (0, 0, 0)
    assert delong(scores.double() ** 3, scores.double(), labels) == (0, 0, 0)  # same order
    assert delong(scores, scores, labels).verdict == "not told apart"


def test_the_other_way_round_the_difference_has_the_other_sign():
    new, old, labels = two_models()
    found = delong(new, old, labels)
    assert delong(old, new, labels) == (-found.mean, -found.high, -found.low)
    assert found.verdict == "higher"


def test_reversed_scores_differ_by_twice_the_distance_from_one_half():
    scores, _, labels = two_models()
    found = delong(scores, -scores, labels)
    assert found.mean == pytest.approx(2 * auc(scores, labels) - 1, abs=1e-14)
    assert found.verdict == "higher"


def test_delongs_interval_holds_the_true_difference_95_times_in_100():
    """400 test sets of 200 rows; the standard error of the share is 1.1%."""
    draws = 400
    shifts, own = (1.0, 0.6), 0.5
    true = np.subtract(*(stats.norm.cdf(s / math.sqrt(2 * (1 + own**2))) for s in shifts))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    held = 0
    for _ in range(draws):
        common, *noise = torch.randn(3, 200, generator=generator)
        new, old = (s * labels + common + own * n for s, n in zip(shifts, noise, strict=True))
        found = delong(new, old, labels)
        held += found.low <= true <= found.high
    assert 0.915 <= held / draws <= 0.985


# --- where the truth is known ---------------------------------------------------------------------


def probabilities(rows: int, decimals: int | None = None) -> tuple[Tensor, Tensor]:
    """Float32 scores, tied where they are rounded, and the rows' true probabilities."""
    generator = torch.Generator().manual_seed(rows)
    truth = torch.rand(rows, generator=generator, dtype=torch.float64)
    scores = (truth + torch.randn(rows, generator=generator)).float()
    return (scores if decimals is None else scores.round(decimals=decimals)), truth


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_expected_auc_weighs_every_pair_of_two_rows_by_its_chance(decimals):
    scores, truth = probabilities(300, decimals)
    chance = (truth[:, None] * (1 - truth)).fill_diagonal_(0)  # no row is a pair with itself
    above = scores[:, None] - scores
    won = (above > 0).double() + (above == 0).double() / 2
    expected = ((chance * won).sum() / chance.sum()).item()
    # sums of 300 and of 90,000 positive terms, each rounded
    assert expected_auc(scores, truth) == pytest.approx(expected, rel=300**2 * 2**-53)


def test_expected_auc_is_the_mean_auc_of_labels_drawn_from_the_truth():
    scores, truth = probabilities(2000, 1)
    generator = torch.Generator().manual_seed(0)
    drawn = [auc(scores, torch.bernoulli(truth, generator=generator)) for _ in range(400)]
    error = np.std(drawn, ddof=1) / math.sqrt(len(drawn))
    assert error < 1e-3
    assert expected_auc(scores, truth) == pytest.approx(np.mean(drawn), abs=4 * error)


def test_expected_auc_of_a_truth_that_is_certain_is_the_auc():
    scores, labels = clicks()
    scores = scores.round(decimals=1)
    assert expected_auc(scores, labels) == auc(scores, labels)  # integers and halves, all exact


def test_no_score_has_a_higher_expected_auc_than_the_truth():
    scores, truth = probabilities(1000)
    best = expected_auc(truth, truth)
    assert expected_auc(truth.logit(), truth) == best
    assert best > expected_auc(scores, truth) > 0.5
    assert expected_auc(torch.zeros(1000), truth) == pytest.approx(0.5, rel=1000 * 2**-53)


@pytest.mark.parametrize("truth", [[0.0, 0.0], [1.0, 1.0], [0.5]])
def test_expected_auc_of_one_class_is_refused(truth):
    with pytest.raises(ValueError, match="the truth leaves no pair of them"):
        expected_auc(torch.zeros(len(truth)), torch.tensor(truth))


@pytest.mark.parametrize("metric", [expected_auc, excess_log_loss])
def test_scores_that_do_not_fit_the_truth_are_named(metric):
    with pytest.raises(ValueError, match=r"scores \(3,\) and labels \(4,\) must be two vectors"):
        metric(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        metric(torch.tensor([math.nan, 0]), torch.tensor([0.5, 0.5]))


def test_excess_log_loss_is_the_mean_divergence_from_the_truth():
    logits, truth = probabilities(300)
    truth[:2] = torch.tensor([0.0, 1.0])
    p, q = (torch.stack([1 - one, one]).numpy() for one in (truth, logits.double().sigmoid()))
    expected = stats.entropy(p, q).mean()
    assert excess_log_loss(logits, truth) == pytest.approx(expected, rel=1e-12)


def test_log_loss_of_drawn_labels_is_that_of_the_truth_plus_the_excess():
    logits, truth = probabilities(2000)
    generator = torch.Generator().manual_seed(0)
    excesses = []
    for _ in range(400):
        labels = torch.bernoulli(truth, generator=generator)
        excesses.append(log_loss(logits, labels) - log_loss(truth.logit(), labels))
    error = np.std(excesses, ddof=1) / math.sqrt(len(excesses))
    assert error < 0.01
    assert excess_log_loss(logits, truth) == pytest.approx(np.mean(excesses), abs=4 * error)


def test_the_truth_has_no_excess():
    _, truth = probabilities(1000)
    # each row's logit is rounded, which costs its square, and so are entropy and cross-entropy
    assert abs(excess_log_loss(truth.logit(), truth)) < 8 * 2**-53


# --- groups of rows -------------------------------------------------------------------------------


def test_fewer_rows_than_groups_are_kept_one_by_one():
    rows = Placements(np.array([0.25, 1.0, 0.0]), np.array([0.5]))
    for groups in (3, 500):
        for part, kept in zip(rows, grouped(rows, groups), strict=True):
            assert kept.tolist() == part.tolist()


def test_groups_are_means_of_equal_parts_in_their_order():
    rows = Placements(np.arange(6.0), np.array([0.0, 1, 5, 5]))
    assert [part.tolist() for part in grouped(rows, 2)] == [[1, 4], [0.5, 5]]


def test_a_difference_given_exactly_moves_the_interval_and_not_its_width():
    """Groups that differ in size by one row miss the AUC by a little."""
    scores, other, labels = two_models(4 * 999)
    one, two = (grouped(placements(each, labels)) for each in (scores, other))
    exact = auc(scores, labels) - auc(other, labels)
    found, rough = auc_difference([one] * 2, [two] * 2, exact), auc_difference([one] * 2, [two] * 2)
    assert found.mean == exact != rough.mean
    assert rough.mean == pytest.approx(exact, abs=1e-3)
    assert found.high - found.low == pytest.approx(rough.high - rough.low)


def test_a_summary_is_of_bounded_size_and_keeps_auc_and_its_variance():
    """500 groups know a variance to sqrt(2/500) = 6%, either class half of it."""
    new, old, labels = two_models(20_000)
    whole = [placements(scores, labels) for scores in (new, old)]
    summaries = [grouped(rows) for rows in whole]
    assert [len(part) for part in summaries[0]] == [500, 500]
    for part, scores in zip(summaries, (new, old), strict=True):
        # groups differ by one row in size at most
        assert part.positive.mean() == pytest.approx(auc(scores, labels), abs=1e-4)
    (mean, variance), (expected, true) = (_paired(*pair) for pair in (summaries, whole))
    assert mean == pytest.approx(expected, abs=0.05 * true**0.5)
    assert variance == pytest.approx(true, rel=0.15)


# --- groups of runs -------------------------------------------------------------------------------


def test_a_comparison_of_runs_has_welchs_interval():
    found = welch([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
    half = 2.776445 * math.sqrt(1 / 3 + 1 / 3)  # t of 4 degrees of freedom at 97.5%
    assert found == pytest.approx((1, 1 - half, 1 + half), rel=1e-6)


def test_groups_of_unequal_variance_are_not_pooled():
    found = welch([0.0, 10.0, 20.0], [0.0, 0.01, 0.02, 0.0, 0.01, 0.02])
    half = 4.302653 * 10 / math.sqrt(3)  # t of 2 degrees of freedom: the noisy group's alone
    assert found.high - found.mean == pytest.approx(half, rel=1e-3)


@pytest.mark.parametrize(
    ("new", "verdict"),
    [([11, 12, 13], "higher"), ([-11, -12, -13], "lower"), ([1, 2, 3], "not told apart")],
)
def test_a_verdict_needs_an_interval_without_zero(new, verdict):
    found = welch(new, [0, 1, 2])
    assert found.verdict == verdict
    assert (found.low <= 0 <= found.high) == (verdict == "not told apart")


def test_an_interval_that_ends_at_zero_tells_nothing_apart():
    assert Difference(1, 0, 2).verdict == "not told apart"
    assert Difference(-1, -2, 0).verdict == "not told apart"


@pytest.mark.parametrize(("new", "old"), [([9], [1, 1.1, 1.2]), ([9, 9.1, 9.2], [1]), ([9], [1])])
def test_a_single_run_on_either_side_tells_nothing_apart(new, old):
    found = welch(new, old)
    assert found.verdict == "not told apart"
    assert found.mean == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize(
    ("new", "old", "verdict"),
    [
        ([0.5, 0.5, 0.5], [0.5, 0.5], "not told apart"),
        ([0.6, 0.6], [0.5, 0.5], "higher"),
        ([0.5, 0.5, 0.5], [0.4, 0.5, 0.6], "not told apart"),
        ([0.5, 0.5, 0.5], [0.7, 0.71, 0.72], "lower"),
    ],
)
def test_runs_without_any_noise_are_compared_too(new, old, verdict):
    found = welch(new, old)
    assert found.verdict == verdict
    assert found.low <= found.mean <= found.high


# --- runs on the same test rows -------------------------------------------------------------------


def seeds_of(seeds: int, spread: float, first: int = 0) -> tuple[list, list, list, list]:
    """Summaries and AUCs of runs of two models, whose seeds vary by so much, on the same rows."""
    generator = torch.Generator().manual_seed(first)
    new, old, labels = two_models()
    found = []
    for scores in (new, old):
        shifts = spread * torch.randn(seeds, generator=generator)
        runs = [placements(scores + shift * labels, labels) for shift in shifts]
        found += [[grouped(run) for run in runs], [float(run.positive.mean()) for run in runs]]
    return tuple(found)


def width(found: Difference) -> float:
    return found.high - found.low


@pytest.mark.parametrize("spread", [0.01, 0.05, 0.2])
def test_the_interval_of_runs_on_the_same_rows_is_wider_than_by_either_noise_alone(spread):
    """Of three seeds it may be narrower than Welch's: what is known of the rows' noise counts as
    degrees of freedom."""
    new, new_aucs, old, old_aucs = seeds_of(5, spread)
    found = auc_difference(new, old)
    rows_alone = _interval(*_paired(_mean(new), _mean(old)), np.inf)
    assert found.mean == pytest.approx(np.mean(new_aucs) - np.mean(old_aucs), abs=1e-4)
    assert width(found) > width(welch(new_aucs, old_aucs))
    assert width(found) > width(rows_alone)


def test_without_noise_between_seeds_the_interval_is_that_of_the_rows():
    new, _, old, _ = seeds_of(3, 0.0)
    found = auc_difference(new, old)
    mean, variance = _paired(new[0], old[0])
    half = stats.t.ppf(0.975, 499) * variance**0.5
    assert found == pytest.approx((mean, mean - half, mean + half), abs=1e-12)


def test_without_noise_from_the_rows_the_interval_is_welchs():
    aucs = [0.71, 0.72, 0.74], [0.70, 0.703, 0.701]
    spread = np.linspace(-0.1, 0.1, 40)
    runs = [[Placements(auc + spread, auc + spread) for auc in group] for group in aucs]
    assert auc_difference(*runs) == pytest.approx(welch(*aucs), abs=1e-12)


@pytest.mark.parametrize(("news", "olds"), [(1, 3), (3, 1), (1, 1)])
def test_a_single_run_on_the_same_rows_tells_nothing_apart(news, olds):
    new, _, old, _ = seeds_of(3, 0.01)
    found = auc_difference(new[:news], old[:olds])
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert found.verdict == "not told apart"
    assert found.mean == pytest.approx(_paired(_mean(new[:news]), _mean(old[:olds]))[0])


def test_runs_that_are_all_the_same_do_not_differ():
    new, *_ = seeds_of(2, 0.0)
    assert auc_difference(new, new) == (0, 0, 0)


def test_runs_that_differ_by_the_same_in_every_row_have_no_noise_at_all():
    half = Placements(np.full(4, 0.5), np.full(4, 0.5))
    more = Placements(np.full(4, 0.75), np.full(4, 0.75))
    assert auc_difference([more] * 2, [half] * 2) == (0.25, 0.25, 0.25)
    assert auc_difference([half] * 2, [more] * 2).verdict == "lower"


def test_models_that_are_equally_good_are_told_apart_5_times_in_100_or_less():
    """300 test sets of 200 rows and three seeds each; the share's standard error is 1.3%."""
    draws, generator = 300, torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    apart = 0
    for _ in range(draws):
        common, *own = torch.randn(3, 200, generator=generator)
        groups = [
            [
                placements((1 + shift) * labels + common + 0.5 * noise, labels)
                for shift in 0.1 * torch.randn(3, generator=generator)
            ]
            for noise in own
        ]
        apart += auc_difference(*groups).verdict != "not told apart"
    assert 0 < apart / draws <= 0.09
