import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch import Tensor

from embedding_collapse.metrics import auc, log_loss


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
    assert auc(logits.double().sigmoid(), labels) == auc(logits, labels)


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
