"""xDeepFM: a compressed interaction network (CIN) beside a projection.

Lian et al., "xDeepFM", KDD 2018; as in the official code without split halves and without the
linear part.
"""

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fused
from .interaction import Interaction, Size
from .layers import Head, Projection, SetLinear, side_by_side

PART = 2**11  # numbers of each row that are at hand: with 12 fields 144 such rows, 1.2 MB


class XDeepFM(Interaction):
    """`[M, B, N, K] -> [M, B, 2C + H]`: both CIN layers' C maps, summed over K; the projection."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.first = SetLinear(size.sets, size.fields * size.fields, size.maps)
        self.second = SetLinear(size.sets, size.fields * size.maps, size.maps)
        self.project = Projection(size.sets, size.inputs, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        sets, rows, fields, width = embeddings.shape
        x = x0 = embeddings.transpose(1, 2).reshape(sets, fields, rows * width)
        sums = []
        for layer in (self.first, self.second):
            x = F.relu(compressed(x0, x, layer.weight).add_(layer.bias))  # [M, C, B*K]
            sums.append(x.unflatten(-1, (rows, width)).sum(-1))
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
        maps, projected = h.tensor_split([self.maps.in_features], -1)
        return self.maps(maps).squeeze(-1) + self.head(projected)


def compressed(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """`sum_ij w_cij x_i y_j`: of x `[M, N, P]` and y `[M, J, P]`, by weights `[M, C, N*J]`."""
    if fused.applies(x):
        return _Compressed.apply(x, y, weight)
    return torch.bmm(weight, (x.unsqueeze(2) * y.unsqueeze(1)).flatten(1, 2))


class _Compressed(torch.autograd.Function):
    """Part by part, so that its products `x_i y_j` stay in a core's cache: all at once they were
    most of the memory of a step, and most of its time. In float32 also where products are in bf16,
    which took no less time here, as what is multiplied has to be made first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, weight)
        result = x.new_empty(*weight.shape[:2], x.shape[-1])

        def work(m: int, part: slice) -> None:
            result[m, :, part] = weight[m] @ _products(x[m, :, part], y[m, :, part])

        fused.on_one_thread_each(work, product(range(len(x)), fused.parts(x, PART)))
        return result

    @staticmethod
    @fused.differentiated_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, weight = ctx.saved_tensors
        of_x, of_y, parts = torch.empty_like(x), torch.empty_like(y), fused.parts(x, PART)
        of_weight = weight.new_empty(len(parts), *weight.shape)

        def work(m: int, number: int) -> None:
            a, b, g = (tensor[m, :, parts[number]] for tensor in (x, y, gradient))
            of_weight[number, m] = g @ _products(a, b).T
            of_products = (weight[m].T @ g).view(len(a), *b.shape)
            torch.sum(of_products * b, 1, out=of_x[m, :, parts[number]])
            torch.sum(of_products.mul_(a.unsqueeze(1)), 0, out=of_y[m, :, parts[number]])

        fused.on_one_thread_each(work, product(range(len(x)), range(len(parts))))
        return of_x, of_y, of_weight.sum(0)


def _products(x: Tensor, y: Tensor) -> Tensor:
    return (x.unsqueeze(1) * y).flatten(0, 1)
