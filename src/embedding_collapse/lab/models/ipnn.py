"""IPNN: the inner product of every two fields, then a projection.

Qu et al., "Product-based neural networks for user response prediction", ICDM 2016.
"""

from itertools import combinations

import torch
from torch import Tensor

from .interaction import Interaction, Size, check_fields
from .layers import Projection


class IPNN(Interaction):
    """`[M, B, N, K] -> [M, B, H]`: inner products of fields i < j into a projection.

    Args:
        raw: whether the raw embeddings come before the products. By default with one set only, as
            in the official code: its SE model has them, its ME model has not.

    Raises:
        ParameterError: fewer than two fields.
    """

    pairs: Tensor

    def __init__(self, size: Size, raw: bool | None = None) -> None:
        super().__init__()
        check_fields("IPNN", size)
        self.raw = size.sets == 1 if raw is None else raw
        pairs = [i * size.fields + j for i, j in combinations(range(size.fields), 2)]
        self.register_buffer("pairs", torch.tensor(pairs, dtype=torch.int64), persistent=False)
        inputs = len(self.pairs) + size.inputs * self.raw
        self.project = Projection(size.sets, inputs, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        products = (embeddings @ embeddings.mT).flatten(2)  # [M, B, N*N], each pair twice
        inputs = products.index_select(-1, self.pairs)
        if self.raw:
            inputs = torch.cat([embeddings.flatten(2), inputs], -1)
        return self.project(inputs, mean)
