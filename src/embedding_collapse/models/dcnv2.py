"""DCNv2: cross layers multiply what they project with the input, then a projection.

Wang et al., "DCN V2", WWW 2021.
"""

import math

import torch
from torch import Tensor, nn

from .layers import Projection
from .recommender import Size


class DCNv2(nn.Module):
    """`[M, B, N, K] -> [M, B, H]`; cross layer l is `x <- x0 * (W_l x + b_l) + x`.

    Attributes:
        weight: `[L, M, N*K, N*K]`. The block of rows i and columns j of set m projects field j
            before it meets field i. Xavier-uniform, biases zero.
        bias: `[L, M, 1, N*K]`.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        inputs = size.fields * size.width
        bound = math.sqrt(6 / (inputs + inputs))
        weights = torch.empty(size.cross_layers, size.sets, inputs, inputs)
        self.weight = nn.Parameter(weights.uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(size.cross_layers, size.sets, 1, inputs))
        self.project = Projection(size.sets, inputs, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor) -> Tensor:
        x = x0 = embeddings.flatten(2)  # [M, B, N*K]
        for weight, bias in zip(self.weight, self.bias, strict=True):
            x = torch.addcmul(x, x0, torch.bmm(x, weight.mT).add_(bias))
        return self.project(x)
