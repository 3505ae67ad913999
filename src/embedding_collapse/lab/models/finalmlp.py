"""FinalMLP: two streams of MLPs, fused bilinearly.

Mao et al., "FinalMLP", AAAI 2023; without the gate for feature selection, which is commented out
in the official code.
"""

from typing import cast

import torch
from torch import Tensor, nn

from .interaction import Interaction, Size
from .layers import HiddenProjection, Projection, unit


class FinalMLP(Interaction):
    """`[M, B, N, K] -> [M, B, 2H]`: two MLPs of two layers each, side by side."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                HiddenProjection(size.sets, size.inputs, size.hidden, size.dropout),
                Projection(size.sets, size.hidden, size.hidden, size.dropout),
            )
            for _ in range(2)
        )

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        inputs = embeddings.flatten(2)
        outputs = []
        for stream in self.streams:
            first, second = stream.children()
            outputs.append(second(first(inputs), mean).mT)
        return torch.cat(outputs, 1).mT


class Fusion(nn.Module):
    """`[B, 2H] -> [B]`: `w_x x + w_y y + x^T W y`.

    Attributes:
        linear: `w_x` and `w_y`, each with its bias.
        bilinear: W, `[H, H]`, from zero.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(size.hidden, 1) for _ in range(2))
        self.bilinear = nn.Parameter(torch.zeros(size.hidden, size.hidden))

    def forward(self, h: Tensor) -> Tensor:
        x, y = (stream.mT for stream in h.mT.chunk(2))  # as it lies in memory
        of_x, of_y = (cast(nn.Linear, layer) for layer in self.linear)
        return unit(x, of_x) + unit(y, of_y) + (x @ self.bilinear * y).sum(-1)
