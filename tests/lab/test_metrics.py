import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from scipy import stats
from torch import Tensor

from embedding_collapse.lab.metrics import (
    Placements,
    auc,
    excess_log_loss,
    expected_auc,
    grouped,
    log_loss,
    placements,
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


def test_auc_counts_pairs_exactly():
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


@pytest.mark.parametrize("measure", [auc, placements])
def test_labels_that_are_neither_0_nor_1_are_counted(measure):
    with pytest.raises(ValueError, match="2 of 3 labels are neither 0 nor 1"):
        measure(torch.rand(3), torch.tensor([1, -1, -1]))


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


@pytest.mark.parametrize("size", [501, 750, 999, 1250, 1499])
def test_parts_of_few_rows_are_equal_lest_the_variance_of_their_mean_be_too_large(size):
    sizes: list[float] = []
    for middle in grouped(Placements(np.arange(size), np.arange(size))).positive:
        sizes.append(2 * (middle - sum(sizes)) + 1)
    assert sum(sizes) == size and len(sizes) <= 500
    # of independent rows of variance 1: that of a part is 1 over its size
    assert np.mean(1 / np.array(sizes)) / len(sizes) == pytest.approx(1 / size, rel=0.01)


def test_a_summary_is_of_bounded_size_and_keeps_the_auc():
    scores, _, labels = two_models(20_000)
    summary = grouped(placements(scores, labels))
    assert [len(part) for part in summary] == [500, 500]
    # groups differ by one row in size at most
    assert summary.positive.mean() == pytest.approx(auc(scores, labels), abs=1e-4)
