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
PARTS = 48  # of a batch at most, with sums of their own: the same bits by however many threads


def cin_layer(
    embeddings: Tensor, maps: Tensor | None, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """A layer of a compressed interaction network (Lian et al., KDD 2018, equations 6 and 8).

    `relu(b_c + sum_ij w_cij e_i y_j)`, `[M, C, B*K]`, and the sums of that over K, `[M, C, B]`.

    Args:
        embeddings: e, `[M, B, N, K]`.
        maps: y, `[M, J, B*K]`, of the layer before; None is the embeddings again.
        weight: `[M, C, N*J]`.
        bias: `[M, C, 1]`.

    Where nothing is compiled (on a GPU, without Numba, of few numbers) products are made all at
    once, and are in bf16 where other products are.
    """
    sets, rows, fields, width = embeddings.shape
    others = fields if maps is None else maps.shape[1]
    beside = [weight, bias] if maps is None else [weight, bias, maps]
    fits = (  # compiled code checks no bounds
        weight.shape == (sets, weight.shape[1], fields * others)
        and bias.shape == (*weight.shape[:2], 1)
        and (maps is None or maps.shape == (sets, others, rows * width))
    )
    if fits and _are_compiled(embeddings, beside, embeddings.numel() * others):
        return _CINLayer.apply(embeddings, maps, weight.unflatten(-1, (fields, others)), bias)
    x = embeddings.transpose(1, 2).reshape(sets, fields, rows * width)
    y = x if maps is None else maps
    sums = torch.bmm(weight, (x.unsqueeze(2) * y.unsqueeze(1)).flatten(1, 2))
    maps = F.relu(sums.add_(bias))
    return maps, maps.unflatten(-1, (rows, width)).sum(-1)


def sum_of_pairs(embeddings: Tensor, weight: Tensor) -> Tensor:
    """`sum_ij w_ij e_i e_j`, `[M, K, B]`, of embeddings `[M, B, N, K]` and weights `[M, N, N]`."""
    sets, rows, fields, width = embeddings.shape
    fits = weight.shape == (sets, fields, fields)
    if fits and _are_compiled(embeddings, [weight], embeddings.numel() * fields):
        return _SumOfPairs.apply(embeddings, weight)
    x = embeddings.transpose(1, 2).reshape(sets, fields, rows * width)
    products = (x * torch.bmm(weight, x)).sum(1)
    return products.view(sets, rows, width).mT.contiguous()


def _are_compiled(embeddings: Tensor, others: list[Tensor], products: int) -> bool:
    """Whether compiled code takes them, which knows no bf16 here, and is faster."""
    alike = all(x.dtype == embeddings.dtype != torch.bfloat16 for x in others)
    return alike and fused.pays(embeddings, embeddings, products)


class _CINLayer(torch.autograd.Function):
    """With weights `[M, C, N, J]`. Of the embeddings each two are multiplied once, for e_i e_j and
    e_j e_i together."""

    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, maps: Tensor | None, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        from .compiled_pairs import maps as compiled

        ctx.set_materialize_grads(False)
        as_looked_up = embeddings.permute(1, 2, 0, 3).contiguous()
        maps = None if maps is None else maps.contiguous()
        rows, _, sets, width = as_looked_up.shape
        result = weight.new_empty(sets, weight.shape[1], rows * width)
        totals = weight.new_empty(sets, weight.shape[1], rows)
        of_each = bias.squeeze(-1).contiguous()
        _run(compiled, as_looked_up, maps, *_of_pairs(weight, maps), of_each, result, totals)
        ctx.save_for_backward(as_looked_up, maps, weight, result)
        return result, totals

    @staticmethod
    @fused.differentiated_once
    def backward(
        ctx: Any, gradient: Tensor | None, of_totals: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        from .compiled_pairs import maps_back

        embeddings, maps, weight, result = ctx.saved_tensors
        gradient = None if gradient is None else gradient.contiguous()
        if of_totals is None:
            of_totals = result.new_zeros(*result.shape[:2], len(embeddings))
        of_embeddings = torch.empty_like(embeddings)
        of_maps = None if maps is None else torch.empty_like(maps)
        pairs, weights = _of_pairs(weight, maps)
        parts = _parts(embeddings)
        of_parts = weights.new_empty(parts, *weights.shape)
        of_bias = weights.new_empty(parts, *weights.shape[:2])
        given = pairs, weights, result, gradient, of_totals.contiguous()
        _run(maps_back, embeddings, maps, *given, of_embeddings, of_maps, of_parts, of_bias)
        of_weight = _of_all(of_parts.sum(0), weight, maps)
        return of_embeddings.permute(2, 0, 1, 3), of_maps, of_weight, of_bias.sum(0).unsqueeze(-1)


class _SumOfPairs(torch.autograd.Function):
    """Of each field the weighted sum of those before it and itself, then its product with the
    field; the gradient takes those behind it too."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, weight: Tensor) -> Tensor:
        from .compiled_pairs import one_sum

        as_looked_up = embeddings.permute(1, 2, 0, 3).contiguous()
        ctx.save_for_backward(as_looked_up, weight)
        rows, _, sets, width = as_looked_up.shape
        result = weight.new_empty(sets, width, rows)
        below = (weight + weight.triu(1).mT).tril()
        _run(one_sum, as_looked_up, _in_groups(below), result)
        return result

    @staticmethod
    @fused.differentiated_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        from .compiled_pairs import one_sum_back

        embeddings, weight = ctx.saved_tensors
        of_embeddings, both = torch.empty_like(embeddings), _in_groups(weight + weight.mT)
        of_parts = both.new_empty(_parts(embeddings), *both.shape)
        _run(one_sum_back, embeddings, both, gradient.contiguous(), of_embeddings, of_parts)
        below = of_parts.sum(0)[..., : weight.shape[-1]].tril()
        return of_embeddings.permute(2, 0, 1, 3), below + below.tril(-1).mT


def _parts(as_looked_up: Tensor) -> int:
    """How many there are: none without rows of its own."""
    from .compiled_pairs import chunks

    tall, across = chunks(len(as_looked_up), as_looked_up.shape[-1])
    return min(PARTS, tall * across)


def _in_groups(weight: Tensor) -> Tensor:
    """`[M, N, N]` with zeros at the end of a row, which make whole groups of it."""
    return F.pad(weight, (0, -weight.shape[-1] % TOGETHER))


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


def _run(function: Any, embeddings: Tensor, *others: Tensor | None) -> None:
    arrays = [None if x is None else fused.as_array(x) for x in (embeddings, *others)]
    on_all_threads(partial(function, *arrays))
