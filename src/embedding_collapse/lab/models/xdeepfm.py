"""xDeepFM: a compressed interaction network (CIN) beside a projection.

Lian et al., "xDeepFM", KDD 2018; as in the official code without split halves and without the
linear part.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .interaction import Interaction, Size
from .layers import Head, Projection, SetLinear


class XDeepFM(Interaction):
    """`[M, B, N, K] -> [M, B, 2C + H]`: both CIN layers' C maps, summed over K; the projection."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.first = SetLinear(size.sets, size.fields * size.fields, size.maps)
        self.second = SetLinear(size.sets, size.fields * size.maps, size.maps)
        self.project = Projection(size.sets, size.inputs, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        sets, rows, fields, width = embeddings.shape
        x0 = embeddings.permute(0, 2, 3, 1).reshape(sets, fields, 1, width * rows)
        x, sums = x0.squeeze(2), []
        for layer in (self.first, self.second):
            products = (x0 * x.unsqueeze(1)).flatten(1, 2)  # [M, N*C, K*B], every field times map
            x = F.relu(layer(products.mT))  # [M, C, K*B]
            sums.append(x.unflatten(-1, (width, rows)).sum(2))
        if mean:
            sums = [each.mean(0, keepdim=True) for each in sums]
        return torch.cat([*sums, self.project(embeddings.flatten(2), mean).mT], 1).mT


class XDeepFMHead(nn.Module):
    """`[B, 2C + H] -> [B]`: linear in the CIN's maps, plus the usual head on the projection."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.maps = nn.Linear(2 * size.maps, 1)
        self.head = Head(size)

    def forward(self, h: Tensor) -> Tensor:
        maps, projected = h.tensor_split([self.maps.in_features], -1)
        return self.maps(maps).squeeze(-1) + self.head(projected)
