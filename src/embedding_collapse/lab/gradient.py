"""The gradient of a factorisation machine (FM), by the directions of other fields' tables.

An FM's logit is the sum of the inner products of all pairs of fields' embeddings. A row of one
field's table then has the gradient `sum_i theta_i` over the other fields i, and with
`E_i = U_i diag(sigma_i) V_i^T`

    theta_i = sum_k alpha_ik sigma_ik v_ik,   alpha_ik = (1/B) sum_b (dl/dh) u_ik^T 1_{x_i}

where b runs over the rows of the batch that hold the feature (Guo et al. 2024, section 4).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Pull(NamedTuple):
    """What one other field adds to the gradient of a table, for its D rows.

    Attributes:
        alpha: `[D, r]`, r being the smaller of that field's features and K.
        sigma: `[r]`, singular values of that field's table, descending.
        axes: `[r, K]`, its right singular vectors v.
    """

    alpha: Tensor
    sigma: Tensor
    axes: Tensor

    @property
    def weights(self) -> Tensor:
        """`alpha_ik sigma_ik`, `[D, r]`: how far each row is pulled along each direction."""
        return self.alpha * self.sigma

    @property
    def theta(self) -> Tensor:
        """What the field adds to the gradient, `[D, K]`."""
        return self.weights @ self.axes


def fm_logits(tables: Sequence[Tensor], ids: Tensor) -> Tensor:
    """An FM's logits: the sum over fields i < j of `<e_i, e_j>`.

    Args:
        tables: N tables `[D_i, K]`.
        ids: `[B, N]`, from 0 in each field.

    Returns:
        `[B]`.
    """
    e = torch.stack([table[column] for table, column in zip(tables, ids.T, strict=True)], 1)
    return (e.sum(1).square() - e.square().sum(1)).sum(-1) / 2


def pulls(tables: Sequence[Tensor], ids: Tensor, slopes: Tensor, field: int = 0) -> dict[int, Pull]:
    """Split the gradient of one field's table by the other fields and their directions.

    Args:
        tables: N tables `[D_i, K]`.
        ids: `[B, N]`, from 0 in each field.
        slopes: `dl/dh` of each row's loss, `[B]`; the mean over rows is what is differentiated.
        field: whose table.

    Returns:
        a `Pull` for each other field; the sum of their `theta` is the gradient.
    """
    rows = len(tables[field])
    by_field = {}
    for partner, table in enumerate(tables):
        if partner == field:
            continue
        u, sigma, axes = torch.linalg.svd(table, full_matrices=False)
        alpha = u.new_zeros(rows, u.shape[1])
        alpha.index_add_(0, ids[:, field], slopes.unsqueeze(1) * u[ids[:, partner]])
        by_field[partner] = Pull(alpha / len(ids), sigma, axes)
    return by_field
