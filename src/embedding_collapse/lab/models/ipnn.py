"""IPNN: the inner product of every two fields, then a projection.

Qu et al., "Product-based neural networks for user response prediction", ICDM 2016.
"""

import torch
from torch import Tensor

from .interaction import Interaction, Size
from .layers import Projection


class IPNN(Interaction):
    """`[M, B, N, K] -> [M, B, H]`: inner products of fields i < j into a projection.

    Args:
        raw: whether the raw embeddings come before the products. By default with one set only, as
            in the official code: its SE model has them, its ME model has not.
    """

    pairs: Tensor

    def __init__(self, size: Size, raw: bool | None = None) -> None:
        super().__init__()
        self.raw = size.sets == 1 if raw is None else raw
        first, second = torch.triu_indices(size.fields, size.fields, offset=1)
        self.register_buffer("pairs", first * size.fields + second, persistent=False)
        inputs = len(self.pairs) + size.inputs * self.raw
        self.project = Projection(size.sets, inputs, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor) -> Tensor:
        products = (embeddings @ embeddings.mT).flatten(2)  # [M, B, N*N], each pair twice
        inputs = products.index_select(-1, self.pairs)
        if self.raw:
            inputs = torch.cat([embeddings.flatten(2), inputs], -1)
        return self.project(inputs)
