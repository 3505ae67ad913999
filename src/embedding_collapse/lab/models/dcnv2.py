"""DCNv2: cross layers multiply what they project with the input, then a projection.

Wang et al., "DCN V2", WWW 2021.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fused
from .fused import as_array
from .interaction import Interaction, Size
from .layers import HiddenProjection, aligned, as_multiplied, known_to_compiled


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
        projection: type[nn.Module] = HiddenProjection,
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
        more = -self.size.inputs % self.align
        weights = F.pad(self.scaled_weight, (0, more, 0, more)) if more else self.scaled_weight
        biases = aligned(self.bias, self.align)
        fits = (  # compiled code checks no bounds
            embeddings.shape[2:] == (self.size.fields, self.size.width)
            and biases.shape == (*weights.shape[:2], 1, weights.shape[-1])
            and len(weights) > 0
        )
        if fits and self.encoder is None and known_to_compiled(embeddings, weights, biases):
            multiplied = as_multiplied(weights)
            x = _CrossLayers.apply(embeddings, multiplied, biases, torch.is_grad_enabled())
            return self.project(x, mean)
        x = x0 = aligned(embeddings.flatten(2), self.align)  # [M, B, N*K], and zeros
        if self.encoder is not None:
            encoder = F.pad(self.encoder, (0, more, 0, more)) if more else self.encoder
            x = F.relu(torch.bmm(x0, encoder.mT))
        for weight, bias in zip(weights, biases, strict=True):
            x = torch.addcmul(x, x0, torch.bmm(x, weight.mT).add_(bias))
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


class _CrossLayers(torch.autograd.Function):
    """All of them, compiled, from `[M, B, N, K]` to `[M, B, I]` in what products are taken in.

    One by one torch's operations between two products took a quarter of a step of DCNv2, ME 10x, in
    bf16. The bits are torch's where it multiplies and adds at once, as all its kernels do but those
    for any processor.
    """

    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, weights: Tensor, biases: Tensor, differentiate: bool
    ) -> Tensor:
        from .compiled import cross

        dtypes = dict.fromkeys((embeddings.dtype, weights.dtype))
        x0, *rest = fused.laid(embeddings, weights.shape[-1], *dtypes)
        first, layers = [x0, *rest][-1], range(len(weights))

        def one_by_one(count: int) -> list[Tensor]:
            tensors = [torch.empty_like(first) for _ in range(count)]
            return [tensors[layer % count] for layer in layers]

        multiplied = [first, *one_by_one(len(weights) if differentiate else 2)]
        projected = one_by_one(len(weights) if differentiate else 1)

        def work(m: int, run: Callable) -> None:
            x, alone = x0[m : m + 1], slice(m, m + 1)
            hands = x0.new_empty(2, 1, *x0.shape[1:]) if rest else None
            for layer in layers:
                product, out = projected[layer][alone], multiplied[layer + 1][alone]
                torch.mm(multiplied[layer][m], weights[layer, m].mT, out=product[0])
                to = out if hands is None else hands[layer % 2]
                arrays = map(as_array, (x, x0[alone], product, biases[layer, alone, 0], to))
                run(partial(cross, *arrays, as_array(out) if rest else None))
                x = to

        fused.set_by_set(work, len(x0))
        if differentiate:
            ctx.of = embeddings.shape, embeddings.dtype
            ctx.save_for_backward(x0, weights, biases, *multiplied[:-1], *projected)
        return multiplied[-1]

    @staticmethod
    @fused.differentiated_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        from .compiled import cross_back

        x0, weights, biases, *saved = ctx.saved_tensors
        multiplied, projected = saved[: len(weights)], saved[len(weights) :]
        gradient, of_x0 = gradient.contiguous(), torch.empty_like(x0)
        of_weights, of_biases = torch.empty_like(weights), torch.empty_like(biases)
        of_first = torch.empty_like(gradient)

        def work(m: int, run: Callable) -> None:
            alone = slice(m, m + 1)
            of_x, of_projected = torch.empty_like(x0[alone]), torch.empty_like(gradient[alone])
            given = gradient[alone]
            for layer in reversed(range(len(weights))):
                product, ends = projected[layer][alone], (layer == len(weights) - 1, layer == 0)
                tensors = given, of_x, x0[alone], product, of_x0[alone], of_projected
                run(partial(cross_back, *map(as_array, tensors), *ends))
                torch.mm(of_projected[0].mT, multiplied[layer][m], out=of_weights[layer, m])
                of_biases[layer, m] = of_projected[0].sum(0, keepdim=True)
                given = of_first[alone]
                torch.mm(of_projected[0], weights[layer, m], out=given[0])

        fused.set_by_set(work, len(x0))
        return fused.laid_back([of_x0, of_first], *ctx.of), of_weights, of_biases, None
