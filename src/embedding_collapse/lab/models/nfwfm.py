"""NFwFM: products of fields, each pair with its weight, summed to one vector of size K.

Pan et al., "Field-weighted factorization machines", WWW 2018, made neural as NFM is (He & Chua,
SIGIR 2017).
"""

import torch
from torch import Tensor, nn

from .interaction import Interaction, Size
from .layers import HiddenProjection, SetNorm
from .pairs import sum_of_pairs


class NFwFM(Interaction):
    """`[M, B, N, K] -> [M, B, H]`: sum over ordered pairs of `w_ij e_i * e_j`, then a projection.

    Attributes:
        weight: `[M, N, N]`, in full and from a standard normal, as in the official code.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size.sets, size.fields, size.fields))
        self.norm = SetNorm(size.sets, size.width)
        self.dropout = size.dropout
        self.project = HiddenProjection(size.sets, size.width, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        products = sum_of_pairs(embeddings, self.weight)
        normed = self.norm(products, rate=self.dropout, multiplied=True)
        return self.project(normed.mT, mean)
