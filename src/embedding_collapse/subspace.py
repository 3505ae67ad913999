"""How much the column spaces of several tables of one field have in common."""

from collections.abc import Sequence

import torch
from torch import Tensor


def diversity(table: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """How different the embedding sets of a field are, by the principal angles between them.

    For two sets the mean squared sine of the angles between their column spaces: with orthonormal
    bases U and U' of the tables' columns, `1 - ||U^T U'||_F^2 / min(D_i, K)`; then the mean over
    pairs of sets. 0 where they span the same space (always so where `D_i <= K`), 1 where they have
    no direction in common; random tables have `1 - K / D_i`.

    All K directions count alike, however little of a table lies along them. Tables need full rank,
    `min(D_i, K)`: of one that lacks directions, others stand for these that mean nothing, and two
    that span the same space have more than 0.

    Args:
        table: `[D, M, K]`, the features of all fields stacked, M sets or blocks of columns.
        cardinalities: features per field, N numbers with sum D.

    Returns:
        float64 `[N]`; NaN with a single set.
    """
    fields = table.double().transpose(0, 1).split(list(cardinalities), dim=1)  # [M, D_i, K] each
    return torch.stack([_diversity(field) for field in fields])


def random_diversity(rows: int, width: int) -> float:
    """The diversity to expect of random tables with independent normal entries: `1 - K / D`, and
    0 where a table has no more rows than columns.

    Each of K orthonormal directions has the share K / D of its length in another random K-space.

    Args:
        rows: D, at least 1.
        width: K, at least 1.
    """
    return max(0.0, 1 - width / rows)


def _diversity(tables: Tensor) -> Tensor:
    sets, rows, width = tables.shape
    bases = torch.linalg.svd(tables, full_matrices=False).U  # [M, D_i, min(D_i, K)]
    first, second = torch.triu_indices(sets, sets, offset=1)
    common = (bases[first].mT @ bases[second]).square().sum((-2, -1)) / min(rows, width)
    return (1 - common).clamp(min=0).mean()  # rounding may leave -1e-16
