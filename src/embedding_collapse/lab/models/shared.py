"""A variant of ME: all embedding sets pass through one and the same interaction."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from .interaction import Interaction, Size


class Shared(Interaction):
    """`[M, B, N, K] -> [M, B, H]` through an interaction that has one set of weights."""

    def __init__(self, interaction: Callable[[Size], Interaction], size: Size) -> None:
        super().__init__()
        self.interaction = interaction(replace(size, sets=1))

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        # One set after another, as in the official code: batch norm sees each on its own.
        h = torch.cat([self.interaction(e).mT for e in embeddings.split(1)])
        return (h.mean(0, keepdim=True) if mean else h).mT

    @property
    def projections(self) -> Tensor | None:
        """Those of the one interaction, which all sets share: M is 1."""
        return self.interaction.projections
