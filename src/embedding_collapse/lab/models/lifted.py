"""A control of SE: a narrow table before an interaction that is as wide as a wide table's.

What a wide table gains may be the table's, or the wider interaction's that comes with it.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .interaction import Interaction, Size

COLUMNS = 10  # of the table, whatever the scale: the paper's K


class Lifted(Interaction):
    """`[M, B, N, 10] -> [M, B, H]`: each field's ten numbers times a matrix of its own, to K.

    However wide the interaction, what it is given of a field has ten directions at most.

    Attributes:
        lift: `[M, N, 10, K]`, uniform, such that the K numbers have the variance of the ten.
    """

    def __init__(self, interaction: Callable[[Size], Interaction], size: Size) -> None:
        super().__init__()
        bound = math.sqrt(3 / COLUMNS)
        lift = torch.empty(size.sets, size.fields, COLUMNS, size.width)
        self.lift = nn.Parameter(lift.uniform_(-bound, bound))
        self.interaction = interaction(size)

    @staticmethod
    def columns(size: Size) -> int:
        """Ten, whatever the width."""
        return COLUMNS

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        wide = torch.einsum("mbni,mnik->mbnk", embeddings, self.lift)
        return self.interaction(wide, mean=mean)
