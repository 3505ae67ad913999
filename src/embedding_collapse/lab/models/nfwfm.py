"""NFwFM: products of fields, each pair with its weight, summed to one vector of size K.

Pan et al., "Field-weighted factorization machines", WWW 2018, made neural as NFM is (He & Chua,
SIGIR 2017).
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from . import fused
from .interaction import Interaction, Size
from .layers import Projection, SetNorm

PART = 2**13  # numbers of each row that are at hand: with 12 fields 0.4 MB


class NFwFM(Interaction):
    """`[M, B, N, K] -> [M, B, H]`: sum over ordered pairs of `w_ij e_i * e_j`, then a projection.

    Attributes:
        weight: `[M, N, N]`, in full and from a standard normal, as in the official code.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size.sets, size.fields, size.fields))
        self.norm = SetNorm(size.sets, size.width)
        self.dropout = size.dropout
        self.project = Projection(size.sets, size.width, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        sets, rows, fields, width = embeddings.shape
        e = embeddings.transpose(1, 2).reshape(sets, fields, rows * width)
        products = weighted(e, self.weight).view(sets, rows, width)
        return self.project(self.norm(products.mT.contiguous(), rate=self.dropout).mT, mean)


def weighted(e: Tensor, weight: Tensor) -> Tensor:
    """`sum_ij w_ij e_i e_j`, `[M, P]`, of e `[M, N, P]` and weights `[M, N, N]`."""
    if fused.applies(e):
        return _Weighted.apply(e, weight)
    return (e * torch.bmm(weight, e)).sum(1)


class _Weighted(torch.autograd.Function):
    """Part by part, so that what comes in between stays in a core's cache; in float32 also where
    products are in bf16: these are too small to gain by it."""

    @staticmethod
    def forward(ctx: Any, e: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(e, weight)
        result = e.new_empty(len(e), e.shape[-1])

        def work(m: int, part: slice) -> None:
            here = e[m, :, part]
            torch.sum((weight[m] @ here).mul_(here), 0, out=result[m, part])

        fused.on_one_thread_each(work, product(range(len(e)), fused.parts(e, PART)))
        return result

    @staticmethod
    @fused.differentiated_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        e, weight = ctx.saved_tensors
        both, of_e, parts = weight + weight.mT, torch.empty_like(e), fused.parts(e, PART)
        of_weight = weight.new_empty(len(parts), *weight.shape)

        def work(m: int, number: int) -> None:
            here, given = e[m, :, parts[number]], gradient[m, parts[number]]
            of_weight[number, m] = (here * given) @ here.T
            torch.mul(both[m] @ here, given, out=of_e[m, :, parts[number]])

        fused.on_one_thread_each(work, product(range(len(e)), range(len(parts))))
        return of_e, of_weight.sum(0)
