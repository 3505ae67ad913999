"""Interactions made of another one: one that all sets share, and a wide one over a narrow table."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from .dcnv2 import DCNv2
from .interaction import Interaction, Size
from .layers import Projection

COLUMNS = 10  # of the narrow table, whatever the scale: the paper's K


class Shared(Interaction):
    """A variant of ME: all sets, `[M, B, N, K] -> [M, B, H]`, through one set of weights."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        # of whose outputs the mean over sets alone is multiplied
        self.interaction = DCNv2(replace(size, sets=1), projection=Projection)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        # One set after another, as in the official code: batch norm sees each on its own.
        h = torch.cat([self.interaction(e).mT for e in embeddings.split(1)])
        return (h.mean(0, keepdim=True) if mean else h).mT

    @property
    def projections(self) -> Tensor | None:
        """Those of the one interaction, which all sets share: M is 1."""
        return self.interaction.projections


class Lifted(Interaction):
    """`[M, B, N, 10] -> [M, B, H]`: each field's ten numbers times a matrix of its own, to K.

    However wide the interaction, what it is given of a field has ten directions at most. It is a
    control of SE: what a wide table gains may be the table's, or that of the wider interaction.

    Attributes:
        lift: `[M, N, 10, K]`, uniform, such that the K numbers have the variance of the ten.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        bound = math.sqrt(3 / COLUMNS)
        lift = torch.empty(size.sets, size.fields, COLUMNS, size.width)
        self.lift = nn.Parameter(lift.uniform_(-bound, bound))
        self.interaction = DCNv2(size)

    @staticmethod
    def columns(size: Size) -> int:
        """Ten, whatever the width."""
        return COLUMNS

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        wide = torch.einsum("mbni,mnik->mbnk", embeddings, self.lift)
        return self.interaction(wide, mean=mean)
