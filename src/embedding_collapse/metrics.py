"""Test metrics: exact AUC with ties, and log-loss. On whatever device the scores are."""

import torch
from torch import Tensor


def auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve: the chance that a positive row scores above a negative one.

    Tied scores count one half. Counted in integers up to the last division, so exact for as many
    rows as fit in memory; one sort.

    Args:
        scores: `[rows]`, any order-preserving score (logits will do), finite.
        labels: `[rows]`, 0 or 1.

    Raises:
        ValueError: different lengths, a NaN score, or one class only.
    """
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ValueError(f"scores {tuple(scores.shape)} and labels {tuple(labels.shape)} must be "
                         "two vectors of one length")  # fmt: skip
    if scores.isnan().any():
        raise ValueError(f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN")
    positives = int((labels == 1).sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        raise ValueError(f"AUC needs both classes; found {positives} positive and {negatives} "
                         "negative rows")  # fmt: skip
    ordered, order = scores.sort()
    _, tie_sizes = torch.unique_consecutive(ordered, return_counts=True)
    first = tie_sizes.cumsum(0) - tie_sizes
    # Twice the mean rank (from 1) of a run of ties that starts after `first` rows: an integer.
    twice_rank = (2 * first + tie_sizes + 1).repeat_interleave(tie_sizes)
    twice_sum = int(twice_rank[labels[order] == 1].sum())
    return (twice_sum - positives * (positives + 1)) / (2 * positives * negatives)


def log_loss(logits: Tensor, labels: Tensor) -> float:
    """Mean negative log-likelihood in nats, in float64, from logits (so never infinite).

    Args:
        logits: `[rows]`, finite.
        labels: `[rows]`, 0 or 1.
    """
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits.double(), labels.double()
    ).item()
