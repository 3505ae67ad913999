"""Test metrics: exact AUC with ties and log-loss, on whatever device the scores are."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

GROUPS = 500  # of test rows of either class, in a run's summary of its scores


def auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve: the chance that a positive row scores above a negative one.

    Tied scores count one half. In float64, where counts of pairs are exact up to 2^52, so that only
    the last division rounds; one sort.

    Args:
        scores: `[rows]`, any order-preserving score (logits will do), finite.
        labels: `[rows]`, 0 or 1.

    Raises:
        ValueError: different lengths, a NaN score, a label that is neither 0 nor 1, or one class
            only.
    """
    _check(scores, labels)
    return expected_auc(scores, labels)


def log_loss(logits: Tensor, labels: Tensor) -> float:
    """Mean negative log-likelihood in nats, in float64, from logits (so never infinite).

    Args:
        logits: `[rows]`, finite.
        labels: `[rows]`, 0 or 1.
    """
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits.double(), labels.double()
    ).item()


def expected_auc(scores: Tensor, truth: Tensor) -> float:
    """AUC where each row's probability is known: every pair of rows counts by its chance.

    Rows i and j count by the chance p_i (1 - p_j) that i is positive and j negative, which leaves
    out the noise of labels: AUCs of labels drawn from the truth scatter around it, and their mean
    comes as near as the number of rows is large. Tied scores count one half. In float64; one sort.

    Args:
        scores: `[rows]`, any order-preserving score, finite.
        truth: `[rows]`, the probability that the label is 1.

    Raises:
        ValueError: different lengths, a NaN score, or a truth that leaves no pair.
    """
    _check_shapes(scores, truth)
    ordered, order = scores.sort()
    positive = truth[order].double()
    negative = 1 - positive
    _, tie_sizes = torch.unique_consecutive(ordered, return_counts=True)
    below = torch.nn.functional.pad(negative.cumsum(0), (1, 0))
    last = tie_sizes.cumsum(0)
    # A row's wins: negatives below its run of ties, and half of those within, itself left out.
    wins = ((below[last - tie_sizes] + below[last]) / 2).repeat_interleave(tie_sizes) - negative / 2
    pairs = positive.sum() * negative.sum() - positive @ negative
    if pairs <= 0:
        raise ValueError("AUC needs both classes; the truth leaves no pair of them")
    return (positive @ wins / pairs).item()


def excess_log_loss(logits: Tensor, truth: Tensor) -> float:
    """Mean log-loss beyond that of the truth, in nats per row: the mean Kullback-Leibler divergence
    of the predicted from the true distribution of the label. In float64, at least 0 to rounding.

    Args:
        logits: `[rows]`, finite.
        truth: `[rows]`, the probability that the label is 1.
    """
    _check_shapes(logits, truth)
    truth = truth.double()
    entropy = torch.special.entr(truth) + torch.special.entr(1 - truth)
    cross = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.double(), truth, reduction="none"
    )
    return (cross - entropy).mean().item()


def _check_shapes(scores: Tensor, labels: Tensor) -> None:
    """Raise a `ValueError` unless both are vectors of one length and no score is NaN."""
    if scores.shape != labels.shape or scores.ndim != 1:
        shapes = f"scores {tuple(scores.shape)} and labels {tuple(labels.shape)}"
        raise ValueError(f"{shapes} must be two vectors of one length")
    if scores.isnan().any():
        raise ValueError(f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN")


def _check(scores: Tensor, labels: Tensor) -> None:
    """Raise a `ValueError` unless scores and labels are sound and hold both classes."""
    _check_shapes(scores, labels)
    positives, negatives = (int((labels == value).sum()) for value in (1, 0))
    if other := len(labels) - positives - negatives:
        raise ValueError(f"{other} of {len(labels)} labels are neither 0 nor 1")
    if positives == 0 or negatives == 0:
        raise ValueError(
            f"AUC needs both classes; found {positives} positive and {negatives} negative rows"
        )


class Placements(NamedTuple):
    """Where each row stands among the rows of the other class; either vector's mean is the AUC
    (and about that in the summaries of `grouped`).

    Attributes:
        positive: per positive row the share of negative rows that score below it, ties by half.
        negative: per negative row the share of positive rows that score above it.
    """

    positive: np.ndarray
    negative: np.ndarray


def placements(scores: Tensor, labels: Tensor) -> Placements:
    """The placements of DeLong et al. 1988, in float64; a sort and two searches.

    Args and errors are those of `auc`.
    """
    _check(scores, labels)
    positive, negative = scores[labels == 1], scores[labels == 0]

    def share_below(rows: Tensor, others: Tensor) -> np.ndarray:
        others = others.sort().values
        below, not_above = (torch.searchsorted(others, rows, right=r) for r in (False, True))
        return ((below + not_above).double() / (2 * len(others))).cpu().numpy()

    return Placements(share_below(positive, negative), 1 - share_below(negative, positive))


def grouped(rows: Placements, groups: int = GROUPS) -> Placements:
    """The mean placements of `groups` equal parts of either class's rows, in their order.

    Of less than three rows to a part there are fewer parts: parts of one row and of two, taken as
    equal, made the variance of the AUC up to an eighth too large. Beyond, it is 2% at most.

    A summary of bounded size that still allows a paired test: two runs on the same test rows have
    the same groups. Rows must be in random order, as the test rows of every `lab.data.Dataset` are:
    in time's order, or a file's, neighbours are alike, and parts differ by more than chance.
    """

    def means(values: np.ndarray) -> np.ndarray:
        size = len(values)
        parts = groups if size >= 3 * groups else size // max(1, -(-size // groups))
        return np.array([part.mean() for part in np.array_split(values, parts)])

    return Placements(*map(means, rows))
