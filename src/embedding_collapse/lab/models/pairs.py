"""Sums of products of two fields, which xDeepFM and NFwFM are made of.

All products at once are most of the memory of a step of xDeepFM, and most of its time. Compiled,
those of a few rows are made and summed while a core's cache holds them, from embeddings as they are
looked up, and in float32 also where other products are in bf16: what is multiplied here has to be
made first.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blocked_adam import on_all_threads

from . import fused

TOGETHER = 8  # products that are summed at once: `compiled_pairs` writes these eight out
PARTS = 16  # of a batch, with sums of their own: the same bits, however many threads there are


def sum_of_pairs(embeddings: Tensor, maps: Tensor | None, weight: Tensor) -> Tensor:
    """`sum_ij w_cij e_i y_j`, `[M, C, B*K]`.

    Args:
        embeddings: e, `[M, B, N, K]`.
        maps: y, `[M, J, B*K]`; None is the embeddings again.
        weight: `[M, C, N*J]`.

    Where nothing is compiled (on a GPU, without Numba, of few numbers) xDeepFM's products are made
    all at once, and are in bf16 where other products are.
    """
    sets, rows, fields, width = embeddings.shape
    others = fields if maps is None else maps.shape[1]
    fits = (  # compiled code checks no bounds, and knows no bf16 here
        weight.shape == (sets, weight.shape[1], fields * others)
        and (maps is None or maps.shape == (sets, others, rows * width))
        and embeddings.dtype == weight.dtype == (weight if maps is None else maps).dtype
        and weight.dtype != torch.bfloat16
    )
    one = maps is None and weight.shape[1] == 1  # sum, of the embeddings alone
    if fits and fused.pays(embeddings, weight, embeddings.numel() * others):
        weight = weight.unflatten(-1, (fields, others))
        if one:
            return _OneSum.apply(embeddings, weight)
        return _SumsOfPairs.apply(embeddings, maps, weight)
    x = embeddings.transpose(1, 2).reshape(sets, fields, rows * width)
    if one:
        return (x * torch.bmm(weight.reshape(sets, fields, fields), x)).sum(1, keepdim=True)
    y = x if maps is None else maps
    return torch.bmm(weight, (x.unsqueeze(2) * y.unsqueeze(1)).flatten(1, 2))


class _SumsOfPairs(torch.autograd.Function):
    """With weights `[M, C, N, J]`. Of the embeddings each two are multiplied once, for e_i e_j and
    e_j e_i together."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, maps: Tensor | None, weight: Tensor) -> Tensor:
        from .compiled_pairs import sums

        as_looked_up = embeddings.permute(1, 2, 0, 3).contiguous()
        maps = None if maps is None else maps.contiguous()
        ctx.save_for_backward(as_looked_up, maps, weight)
        rows, _, sets, width = as_looked_up.shape
        result = weight.new_empty(sets, weight.shape[1], rows * width)
        _compiled(sums, as_looked_up, maps, *_of_pairs(weight, maps), result)
        return result

    @staticmethod
    @fused.differentiated_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        from .compiled_pairs import sums_back

        embeddings, maps, weight = ctx.saved_tensors
        of_embeddings = torch.empty_like(embeddings)
        of_maps = None if maps is None else torch.empty_like(maps)
        pairs, weights = _of_pairs(weight, maps)
        of_parts = weights.new_empty(PARTS, *weights.shape)
        written = of_embeddings, of_maps, of_parts
        _compiled(sums_back, embeddings, maps, pairs, weights, gradient.contiguous(), *written)
        return of_embeddings.permute(2, 0, 1, 3), of_maps, _of_all(of_parts.sum(0), weight, maps)


class _OneSum(torch.autograd.Function):
    """With weights `[M, 1, N, N]`, of the embeddings alone: of each field the weighted sum of all,
    then its product with the field."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, weight: Tensor) -> Tensor:
        from .compiled_pairs import one_sum

        as_looked_up = embeddings.permute(1, 2, 0, 3).contiguous()
        ctx.save_for_backward(as_looked_up, weight)
        rows, _, sets, width = as_looked_up.shape
        result = weight.new_empty(sets, 1, rows * width)
        _compiled(one_sum, as_looked_up, _of_both(weight), result.squeeze(1))
        return result

    @staticmethod
    @fused.differentiated_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        from .compiled_pairs import one_sum_back

        embeddings, weight = ctx.saved_tensors
        of_embeddings, both = torch.empty_like(embeddings), _of_both(weight)
        of_parts = both.new_empty(PARTS, *both.shape)
        written = of_embeddings, of_parts
        _compiled(one_sum_back, embeddings, both, gradient.squeeze(1).contiguous(), *written)
        of_weight = of_parts.sum(0)[..., : weight.shape[-1]].unsqueeze(1)
        return of_embeddings.permute(2, 0, 1, 3), of_weight


def _of_both(weight: Tensor) -> Tensor:
    """Of `[M, 1, N, N]` what two fields weigh in both orders, `[M, N, G]`, in whole groups."""
    both = (weight + weight.mT).squeeze(1)
    return F.pad(both, (0, -both.shape[-1] % TOGETHER))


def _of_pairs(weight: Tensor, maps: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which two make a pair, int64 `[2, P]`, and the pairs' weights `[M, C, P]`: zeros in the end
    make whole groups of them."""
    weight = weight if maps is not None else weight.triu() + weight.tril(-1).mT
    pairs = _pairs(weight, maps)
    more = -pairs.shape[1] % TOGETHER
    return F.pad(pairs, (0, more)).contiguous(), F.pad(weight[..., *pairs], (0, more)).contiguous()


def _of_all(gradient: Tensor, weight: Tensor, maps: Tensor | None) -> Tensor:
    """From the gradient of the pairs' weights that of all weights."""
    pairs, whole = _pairs(weight, maps), torch.zeros_like(weight)
    whole[..., *pairs] = gradient[..., : pairs.shape[1]]
    return whole if maps is not None else whole + whole.triu(1).mT


def _pairs(weight: Tensor, maps: Tensor | None) -> Tensor:
    places = weight.new_ones(weight.shape[2:])
    return (places if maps is not None else places.triu()).nonzero().T


def _compiled(function: Any, embeddings: Tensor, *others: Tensor | None) -> None:
    arrays = [None if x is None else fused.as_array(x) for x in (embeddings, *others)]
    on_all_threads(partial(function, *arrays))
