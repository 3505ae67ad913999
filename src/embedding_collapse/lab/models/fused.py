"""What plain PyTorch does in many passes over memory, in one, on a CPU: batch norm, ReLU, dropout
and the mean over sets; looking embeddings up, and putting them side by side.

One by one the former read and write the hidden units a dozen times, forward and backward, which
took more than half of a step of DNN, ME 10x. Here the forward pass reads them once, keeps them, and
writes what comes out, a mean over sets alone where that is what is asked for; the backward pass
draws the same units to drop again, and writes the gradient where the units were.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._C._functorch import peek_interpreter_stack

from blocked_adam import numba_runs, on_all_threads

DTYPES = (torch.bfloat16, torch.float32, torch.float64)  # that compiled code knows
WORTH_FUSING = 2**16  # numbers; below, plain PyTorch does, which needs no Numba to be loaded


def applies(x: Tensor) -> bool:
    """Whether x is numbers on a CPU, and no compiler, tracer or transform of torch.func is at work,
    which have others in their place."""
    return (
        not torch.compiler.is_compiling()  # first: the compiler can't follow the rest
        and not torch.jit.is_tracing()
        and torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is None
        and type(x) is Tensor
        and peek_interpreter_stack() is None
        and x.device.type == "cpu"
        and x.dtype in DTYPES
    )


def pays(x: Tensor, weight: Tensor, computed: int | None = None) -> bool:
    """Whether compiled code takes x beside a weight of a norm, say, and is faster.

    Args:
        computed: numbers that are to be computed; by default as many as x has.
    """
    if not applies(x):  # first: a tracer would take what follows for a condition on the batch
        return False
    fit = weight.dtype == (torch.float32 if x.dtype == torch.bfloat16 else x.dtype)
    enough = (x.numel() if computed is None else computed) >= WORTH_FUSING
    return enough and x.shape[-1] > 1 and fit and numba_runs()


def norm_relu_dropout(
    x: Tensor,
    norm: nn.BatchNorm1d,
    *,
    offset: Tensor | None = None,
    relu: bool = True,
    drop: tuple[int, int, float],
    mean: bool = False,
    dtype: torch.dtype,
) -> Tensor:
    """The norm of `x + offset`, ReLU, dropout; in training the running statistics move on.

    Args:
        x: `[M, H, B]`, of the norm's dtype or in bf16, as products leave it; overwritten in the
            backward pass: the caller has no more use for it.
        norm: in training, or where no gradient is asked for.
        offset: `[M, H, 1]`. It moves the running mean and nothing else.
        drop: a seed, the lowest of 16 bits drawn that is kept, what is kept is multiplied with.
        mean: whether to return the mean over sets, `[1, H, B]`.
        dtype: of what is returned, the norm's or bf16.
    """
    x, offset = x.contiguous(), norm.weight.new_zeros(()) if offset is None else offset
    settings = norm.eps, relu, drop, mean, dtype
    running_mean, running_var = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    if not norm.training:
        means = running_mean.view(x.shape[:2]) - offset.squeeze(-1)
        variances = running_var.view(x.shape[:2])
        return _forward(x, norm.weight, norm.bias, means, variances, True, *settings)
    y, means, variances = _Fused.apply(x, offset, norm.weight, norm.bias, *settings)
    with torch.no_grad():
        means = (means + offset.squeeze(-1)).flatten()
    move_statistics(norm, means, variances.flatten(), x.shape[-1])
    return y


@torch.no_grad()
def move_statistics(norm: nn.BatchNorm1d, means: Tensor, variances: Tensor, rows: int) -> None:
    """Move a norm's running statistics towards those of a batch of so many rows."""
    assert norm.momentum is not None
    norm.get_buffer("num_batches_tracked").add_(1)
    norm.get_buffer("running_mean").lerp_(means, norm.momentum)
    norm.get_buffer("running_var").lerp_(variances * (rows / (rows - 1)), norm.momentum)


def differentiated_once(backward: Callable) -> Callable:
    """The backward pass of an `autograd.Function` that has none itself. `once_differentiable` alone
    takes a gradient for a constant where the one before it needs no gradient."""
    alone = torch.autograd.function.once_differentiable(backward)

    @wraps(backward)
    def checked(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError("compiled passes on a CPU have no second derivative: create_graph")
        return alone(ctx, *gradients)

    return checked


def look_up(ids: Tensor, table: Tensor) -> Tensor:
    """`table[ids]`, `[..., W]`, of a table `[D, W]` and ids `[...]`."""
    if pays(table, table, ids.numel() * table.shape[1]):
        return _LookUp.apply(ids, table)
    return F.embedding(ids, table)


class _LookUp(torch.autograd.Function):
    """Gradients are summed in the order of a batch. So does torch, in 1.3 to 3 times the time."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.rows = len(table)
        return F.embedding(ids, table)

    @staticmethod
    @differentiated_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        from .compiled import look_up_back

        (ids,) = ctx.saved_tensors
        width = gradient.shape[-1]
        of_table = gradient.new_empty(ctx.rows, width)
        tensors = ids.flatten(), gradient.reshape(-1, width).contiguous(), of_table
        on_all_threads(partial(look_up_back, *map(as_array, tensors)))
        return None, of_table


def laid(embeddings: Tensor, multiple: int, *dtypes: torch.dtype) -> list[Tensor]:
    """`[M, B, N, K]` as `[M, B, I]` of one dtype or two, I being N*K or, with zeros in the end, the
    next multiple of so many; without autograd."""
    from .compiled import lay

    sets, rows, fields, width = embeddings.shape
    size = sets, rows, -(-fields * width // multiple) * multiple
    to = [embeddings.new_empty(size, dtype=dtype) for dtype in dtypes]
    as_looked_up = embeddings.permute(1, 2, 0, 3).contiguous()
    arrays = [as_array(x) for x in (as_looked_up, *to)]
    on_all_threads(partial(lay, *arrays, *(2 - len(to)) * [None]))
    return to


def laid_back(gradients: Sequence[Tensor], embeddings: torch.Size, dtype: torch.dtype) -> Tensor:
    """From one or two gradients of what `laid` gives, their sum as that of embeddings."""
    from .compiled import lay_back

    sets, rows, fields, width = embeddings
    to = torch.empty(rows, fields, sets, width, dtype=dtype)
    arrays = [as_array(x.contiguous()) for x in gradients]
    on_all_threads(partial(lay_back, *arrays, *(2 - len(arrays)) * [None], as_array(to)))
    return to.permute(2, 0, 1, 3)


def set_by_set(work: Callable[[int, Callable], None], sets: int) -> None:
    """Do `work(m, run)` for each set, to find in a core's cache what the operation before left.

    Args:
        work: hands its compiled passes to `run`.
        sets: each has a thread of its own where that leaves none without work, else all threads;
            all too where a mode of torch has operations of its own, as it has on one thread alone.
    """
    threads, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()
    if sets % threads or torch._C._len_torch_dispatch_stack() > 0:
        for m in range(sets):
            work(m, on_all_threads)
        return

    def alone(first: int, step: int) -> None:
        torch.set_num_threads(1)  # of this thread, and of those that come to life from here on
        # the same on every thread
        with (
            torch.inference_mode(inference),
            torch.no_grad(),
            torch.autocast("cpu", enabled=False),
        ):
            for m in range(first, sets, step):
                work(m, lambda passes: passes(0, 1))

    try:
        on_all_threads(alone)
    finally:
        torch.set_num_threads(threads)


def _forward(x: Tensor, weight: Tensor, bias: Tensor, means: Tensor, variances: Tensor,
             known: bool, eps: float, relu: bool, drop: tuple, mean: bool,
             dtype: torch.dtype) -> Tensor:  # fmt: skip
    """What comes out; means and variances `[M, H]` are filled in if they aren't known."""
    from .compiled import forward

    sets, features, rows = x.shape
    y = weight.new_empty(1 if mean else sets, features, rows, dtype=dtype)
    read = [as_array(tensor) for tensor in (x, weight.view_as(means), bias.view_as(means))]
    numbers = _numbers(weight, eps, drop, sets // len(y))
    written = map(as_array, (y, means, variances))
    rest = *numbers, relu, *written, known
    on_all_threads(lambda *share: forward(*read, *rest, *share))
    return y


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor,
                eps: float, relu: bool, drop: tuple, mean: bool,
                dtype: torch.dtype) -> Any:  # fmt: skip
        means, variances = weight.new_empty(2, *x.shape[:2]).unbind()
        y = _forward(x, weight, bias, means, variances, False, eps, relu, drop, mean, dtype)
        ctx.settings = *_numbers(weight, eps, drop, len(x) // len(y)), relu
        ctx.save_for_backward(x, offset, weight, bias, means, variances)
        ctx.mark_non_differentiable(means, variances)
        return y, means, variances

    @staticmethod
    @differentiated_once
    def backward(ctx: Any, gradient: Tensor, *_: None) -> Any:
        x, offset, weight, bias, means, variances = ctx.saved_tensors
        gradients = means.new_empty(3, *means.shape)
        if gradient.stride(0) == 0:  # of a sum or mean over sets: the same for all
            gradient = gradient[:1]
        from .compiled import backward

        read = [as_array(tensor) for tensor in (x, weight.view_as(means), bias.view_as(means))]
        rest = [
            as_array(tensor) for tensor in (means, variances, gradient.contiguous(), *gradients)
        ]
        on_all_threads(lambda *share: backward(*read, *ctx.settings, *rest, *share))
        torch.autograd.graph.increment_version(x)  # a second pass is an error, no wrong gradient
        of_weight, of_bias, of_offset = gradients
        return (
            x.detach(),
            of_offset.unsqueeze(-1) if offset.ndim else None,
            of_weight.flatten(),
            of_bias.flatten(),
            *5 * (None,),
        )


def _numbers(weight: Tensor, eps: float, drop: tuple[int, int, float], sets: int) -> tuple:
    """As compiled code takes them, in the weight's own precision."""
    exact = as_array(weight).dtype.type
    seed, lowest, factor = drop
    return exact(eps), (np.uint64(seed % 2**64), np.int16(lowest), exact(factor / sets))


def as_array(tensor: Tensor) -> np.ndarray:
    """For compiled code, which knows bf16 as 16 bits."""
    bits = tensor.dtype == torch.bfloat16
    return (tensor.detach().view(torch.uint16) if bits else tensor.detach()).numpy()
