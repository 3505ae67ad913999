"""IPNN: the inner product of every two fields, then a projection.

Qu et al., "Product-based neural networks for user response prediction", ICDM 2016.
"""

from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from blocked_adam import on_all_threads

from . import fused
from .fused import as_array
from .interaction import Interaction, Size, check_fields
from .layers import HiddenProjection, known_to_compiled, multiplied_in


class IPNN(Interaction):
    """`[M, B, N, K] -> [M, B, H]`: inner products of fields i < j into a projection.

    Args:
        raw: whether the raw embeddings come before the products. By default with one set only, as
            in the official code: its SE model has them, its ME model has not.

    Raises:
        ParameterError: fewer than two fields.
    """

    pairs: Tensor

    def __init__(self, size: Size, raw: bool | None = None) -> None:
        super().__init__()
        check_fields("IPNN", size)
        self.size = size
        self.raw = size.sets == 1 if raw is None else raw
        pairs = [i * size.fields + j for i, j in combinations(range(size.fields), 2)]
        self.register_buffer("pairs", torch.tensor(pairs, dtype=torch.int64), persistent=False)
        inputs = len(self.pairs) + size.inputs * self.raw
        self.project = HiddenProjection(size.sets, inputs, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        fits = embeddings.shape[2:] == (self.size.fields, self.size.width)
        if fits and known_to_compiled(embeddings):
            return self.project(_InnerProducts.apply(embeddings, self.raw, self.align), mean)
        products = (embeddings @ embeddings.mT).flatten(2)  # [M, B, N*N], each pair twice
        inputs = products.index_select(-1, self.pairs)
        if self.raw:
            inputs = torch.cat([embeddings.flatten(2), inputs], -1)
        return self.project(inputs, mean)


class _InnerProducts(torch.autograd.Function):
    """Compiled: taken in float32 also where other products are in bf16, written in what those are
    taken in, and filled up with zeros. torch's products of matrices so small, and its copies of
    them and their gradients, took a third of a step of ME 10x."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, raw: bool, align: int) -> Tensor:
        from .compiled_inner import inner

        ctx.raw, as_looked_up = raw, embeddings.permute(1, 2, 0, 3).contiguous()
        ctx.save_for_backward(as_looked_up)
        rows, fields, sets, width = as_looked_up.shape
        inputs = fields * (fields - 1) // 2 + (fields * width if raw else 0)
        size = sets, rows, -(-inputs // align) * align
        result = embeddings.new_empty(size, dtype=multiplied_in(embeddings))
        on_all_threads(partial(inner, as_array(as_looked_up), raw, as_array(result)))
        return result

    @staticmethod
    @fused.differentiated_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        from .compiled_inner import inner_back

        (embeddings,) = ctx.saved_tensors
        result = torch.empty_like(embeddings)
        arrays = map(as_array, (gradient.contiguous(), result))
        on_all_threads(partial(inner_back, as_array(embeddings), ctx.raw, *arrays))
        return result.permute(2, 0, 1, 3), None, None
