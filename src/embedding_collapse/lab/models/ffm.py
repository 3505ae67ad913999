"""FFM: a field has a vector of its own for every field that it meets.

Juan et al., "Field-aware factorization machines for CTR prediction", RecSys 2016. Where DCNv2
projects one embedding for each partner, FFM's sub-embeddings are parameters, so nothing but
training ties them to each other.
"""

import torch
from torch import Tensor, nn

from .interaction import Interaction, Size, check_fields


class FFM(Interaction):
    """`[M, B, N, K*(N-1)] -> [M, B, 1]`: the sum over fields i < j of `<e_i^{->j}, e_j^{->i}>`.

    An embedding's columns count partners fastest, `[K, N-1]`, so that a wide table falls into
    blocks that are FFMs of a smaller K. With no weights and no non-linearity, ME with M sets is SE
    with M times the width, its products divided by M.

    Attributes:
        counterpart: int64 `[N*(N-1)]`, for each vector, (i, j) with i outermost and j != i, the
            place of (j, i).

    Raises:
        ParameterError: fewer than two fields.
    """

    counterpart: Tensor

    @staticmethod
    def columns(size: Size) -> int:
        """K for each of the N - 1 other fields."""
        return size.width * (size.fields - 1)

    def __init__(self, size: Size) -> None:
        super().__init__()
        check_fields("FFM", size)
        self.others = size.fields - 1
        own = torch.arange(size.fields).repeat_interleave(self.others)
        other = torch.arange(self.others).repeat(size.fields)
        other = other + (other >= own)  # the field itself is left out
        counterpart = other * self.others + own - (own > other).long()
        self.register_buffer("counterpart", counterpart, persistent=False)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        parts = embeddings.unflatten(-1, (-1, self.others))  # [M, B, N, K, N-1]
        parts = parts.permute(0, 2, 4, 1, 3).flatten(1, 2)  # [M, N*(N-1), B, K]
        products = (parts * parts.index_select(1, self.counterpart)).sum((1, 3))
        h = products.unsqueeze(-1) / 2  # each pair has been counted twice
        return h.mean(0, keepdim=True) if mean else h

    def sub_embeddings(self, table: Tensor) -> Tensor:
        """The table by partner: here sub-embeddings are parameters."""
        return table.unflatten(-1, (-1, self.others)).mT


class Offset(nn.Module):
    """`[B, 1] -> [B]`: adds the global bias of a factorisation machine, 0 at the start."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, h: Tensor) -> Tensor:
        return h.squeeze(-1) + self.bias
