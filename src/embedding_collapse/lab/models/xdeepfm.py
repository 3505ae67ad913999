"""xDeepFM: a compressed interaction network (CIN) beside a projection.

Lian et al., "xDeepFM", KDD 2018; as in the official code without split halves and without the
linear part.
"""

import torch
from torch import Tensor, nn

from .interaction import Interaction, Size
from .layers import Head, Projection, SetLinear, side_by_side, unit
from .pairs import cin_layer


class XDeepFM(Interaction):
    """`[M, B, N, K] -> [M, B, 2C + H]`: both CIN layers' C maps, summed over K; the projection."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.first = SetLinear(size.sets, size.fields * size.fields, size.maps)
        self.second = SetLinear(size.sets, size.fields * size.maps, size.maps)
        self.project = Projection(size.sets, size.inputs, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        maps, sums = None, []
        for layer in (self.first, self.second):
            maps, total = cin_layer(embeddings, maps, layer.weight, layer.bias)
            sums.append(total)
        if mean:
            sums = [total.mean(0, keepdim=True) for total in sums]
        projected = self.project(side_by_side(embeddings, self.align), mean)
        return torch.cat([*sums, projected.mT], 1).mT


class XDeepFMHead(nn.Module):
    """`[B, 2C + H] -> [B]`: linear in the CIN's maps, plus the usual head on the projection."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.maps = nn.Linear(2 * size.maps, 1)
        self.head = Head(size)

    def forward(self, h: Tensor) -> Tensor:
        # as it lies in memory, and by `split`, whose gradient is put together in one pass
        maps, projected = h.mT.split([self.maps.in_features, h.shape[1] - self.maps.in_features])
        return unit(maps.mT, self.maps) + self.head(projected.mT)
