"""DCNv2: cross layers multiply what they project with the input, then a projection.

Wang et al., "DCN V2", WWW 2021.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fused
from .interaction import Interaction, Size
from .layers import Projection, aligned


class DCNv2(Interaction):
    """`[M, B, N, K] -> [M, B, H]`; cross layer l is `x <- x0 * (W_l x + b_l) + x`.

    Args:
        projection: a class of `layers`.
        learn_scale: one learnable factor per layer and pair of fields on the blocks of W (Guo et
            al. 2024, regularised DCNv2).
        encode: start from `relu(V x0)` instead of x0, the field-wise encoder of supervised feature
            generation (SFG; Yin et al. 2025, arXiv 2512.14041): what is projected is no raw
            embedding any more, what it is multiplied with still is.

    Attributes:
        weight: `[L, M, N*K, N*K]`. The block of rows i and columns j of set m projects field j
            before it meets field i. Xavier-uniform, biases zero.
        bias: `[L, M, 1, N*K]`.
        scale: `[L, M, N, N]`, ones at first, or None.
        encoder: V, `[M, N*K, N*K]`, Xavier-uniform, or None.
    """

    def __init__(
        self,
        size: Size,
        *,
        projection: type[nn.Module] = Projection,
        learn_scale: bool = False,
        encode: bool = False,
    ) -> None:
        super().__init__()
        self.size = size
        bound = math.sqrt(6 / (size.inputs + size.inputs))
        weights = torch.empty(size.cross_layers, size.sets, size.inputs, size.inputs)
        self.weight = nn.Parameter(weights.uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(size.cross_layers, size.sets, 1, size.inputs))
        ones = torch.ones(size.cross_layers, size.sets, size.fields, size.fields)
        self.scale = nn.Parameter(ones) if learn_scale else None
        self.project = projection(size.sets, size.inputs, size.hidden, size.dropout)
        self.encoder = None
        if encode:
            encoder = torch.empty(size.sets, size.inputs, size.inputs)
            self.encoder = nn.Parameter(encoder.uniform_(-bound, bound))

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        x = x0 = aligned(embeddings.flatten(2), self.align)  # [M, B, N*K], and zeros
        more = x0.shape[-1] - self.size.inputs
        weights: Tensor = self.scaled_weight
        biases: Tensor = self.bias
        encoder: Tensor | None = self.encoder
        if more:
            weights, biases = F.pad(weights, (0, more, 0, more)), F.pad(biases, (0, more))
            encoder = encoder if encoder is None else F.pad(encoder, (0, more, 0, more))
        if encoder is not None:
            x = F.relu(torch.bmm(x0, encoder.mT))
        for weight, bias in zip(weights, biases, strict=True):
            x = crossed(x, x0, torch.bmm(x, weight.mT).add_(bias))
        return self.project(x, mean)

    @property
    def scaled_weight(self) -> Tensor:
        """The weights as they act, `[L, M, N*K, N*K]`."""
        if self.scale is None:
            return self.weight
        return (self.blocks(self.weight) * self.scale[:, :, :, None, :, None]).view_as(self.weight)

    def blocks(self, weight: Tensor) -> Tensor:
        """`[..., N*K, N*K]` as `[..., N, K, N, K]`: rows of field i, columns of field j."""
        size = (self.size.fields, self.size.width)
        return weight.unflatten(-1, size).unflatten(-3, size)

    @property
    def projections(self) -> Tensor | None:
        """Those of the first cross layer; None where what it projects is no embedding any more."""
        return None if self.encoder is not None else self.blocks(self.scaled_weight[0])


def crossed(x: Tensor, x0: Tensor, projected: Tensor) -> Tensor:
    """`x + x0 * projected`, of `[M, B, N*K]` each."""
    return (_Crossed.apply if fused.applies(x) else torch.addcmul)(x, x0, projected)


class _Crossed(torch.autograd.Function):
    """With torch's bits; its own backward pass multiplies everything with 1 first, and takes twice
    as long where what is projected is in bf16, which is a tenth of a step of DCNv2, ME 10x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, x0: Tensor, projected: Tensor) -> Tensor:
        ctx.save_for_backward(x0, projected)
        return torch.addcmul(x, x0, projected)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x0, projected = ctx.saved_tensors
        of_projected = (gradient * x0).to(projected.dtype)
        return gradient, gradient * projected.to(gradient.dtype), of_projected
