"""Batch norm, ReLU, dropout and the mean over sets in one pass over memory, on a CPU.

One by one they read and write the hidden units a dozen times, forward and backward, which took more
than half of a step of DNN, ME 10x. Here the forward pass reads them once, keeps them, and writes
what comes out, a mean over sets alone where that is what is asked for; the backward pass draws the
same units to drop again, and writes the gradient where the units were.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from blocked_adam import numba_runs, on_all_threads

WORTH_FUSING = 2**17  # numbers; below, plain PyTorch does, which needs no Numba to be loaded


def applies(x: Tensor) -> bool:
    """Whether x is numbers on a CPU that passes of our own may read, in its own precision."""
    return (
        type(x) is Tensor  # and no shape alone, as the tracers' are
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def pays(x: Tensor) -> bool:
    """Whether `norm_relu_dropout` takes x, and is the faster way."""
    return applies(x) and x.numel() >= WORTH_FUSING and x.shape[-1] > 1 and numba_runs()


def norm_relu_dropout(
    x: Tensor,
    norm: nn.BatchNorm1d,
    *,
    offset: Tensor | None = None,
    relu: bool = True,
    drop: tuple[int, int, float],
    mean: bool = False,
) -> Tensor:
    """The norm in training mode of `x + offset`, ReLU, dropout; the running statistics move on.

    Args:
        x: `[M, H, B]`, overwritten in the backward pass: the caller has no more use for it.
        offset: `[M, H, 1]`. It moves the running mean and nothing else.
        drop: a seed, the lowest of 16 bits drawn that is kept, what is kept is multiplied with.
        mean: whether to return the mean over sets, `[1, H, B]`.
    """
    if offset is None:
        offset = x.new_zeros(())
    assert norm.momentum is not None
    settings = norm.eps, relu, drop, mean
    y, means, variances = _Fused.apply(x.contiguous(), offset, norm.weight, norm.bias, *settings)
    rows = x.shape[-1]
    with torch.no_grad():
        means = means + offset.squeeze(-1) if offset.ndim else means
        norm.get_buffer("num_batches_tracked").add_(1)
        norm.get_buffer("running_mean").lerp_(means.flatten(), norm.momentum)
        unbiased = variances.flatten() * (rows / (rows - 1))
        norm.get_buffer("running_var").lerp_(unbiased, norm.momentum)
    return y


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor,
                eps: float, relu: bool, drop: tuple, mean: bool) -> Any:  # fmt: skip
        sets, features, rows = x.shape
        y = x.new_empty(1 if mean else sets, features, rows)
        means, variances = x.new_empty(2, sets, features).unbind()
        ctx.settings = _numbers(x, eps, drop, sets if mean else 1), relu
        (eps, drop), _ = ctx.settings
        ctx.save_for_backward(x, offset, weight, bias, means, variances)
        ctx.mark_non_differentiable(means, variances)
        from .compiled import forward

        read = [_of(each) for each in (x, weight.view(sets, features), bias.view(sets, features))]
        filled = [_of(each) for each in (y, means, variances)]
        on_all_threads(lambda part, of: forward(*read, eps, drop, relu, *filled, part, of))
        return y, means, variances

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: None) -> Any:
        x, offset, weight, bias, means, variances = ctx.saved_tensors
        (eps, drop), relu = ctx.settings
        sets, features, _ = x.shape
        gradients = x.new_empty(3, sets, features)
        if gradient.stride(0) == 0:  # of a sum or mean over sets: the same for all
            gradient = gradient[:1]
        from .compiled import backward

        read = [_of(each) for each in (x, weight.view(sets, features), bias.view(sets, features))]
        rest = [_of(each) for each in (means, variances, gradient.contiguous(), *gradients)]
        on_all_threads(lambda part, of: backward(*read, eps, drop, relu, *rest, part, of))
        torch.autograd.graph.increment_version(x)  # a second pass is an error, no wrong gradient
        of_weight, of_bias, of_offset = gradients
        return (
            x.detach(),
            of_offset.unsqueeze(-1) if offset.ndim else None,
            of_weight.flatten(),
            of_bias.flatten(),
            *4 * (None,),
        )


def _numbers(x: Tensor, eps: float, drop: tuple[int, int, float], sets: int) -> tuple:
    """As compiled code takes them, in x's own precision."""
    exact = _of(x).dtype.type
    seed, lowest, factor = drop
    return exact(eps), (np.uint64(seed % 2**64), np.int16(lowest), exact(factor / sets))


def _of(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()
