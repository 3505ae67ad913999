"""Layers with a batch of embedding sets: M independent copies of a layer as one tensor operation.

Inside a layer, features come before rows (`[M, H, B]`): batch norm then reads each feature as one
contiguous run, and the products need no copy.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embedding_collapse.lab.processes import add_up

from . import fused
from .interaction import Layer, Part, Size

# SplitMix64 (Steele, Lea & Flood 2014) as signed numbers; `compiled` has the same
STEP, FIRST, SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15


def aligned(x: Tensor, multiple: int) -> Tensor:
    """The last dimension filled up with zeros to a multiple, which GPUs multiply faster.

    At 390 numbers a row does not begin at a multiple of 16 bytes, at 392 it does. A product is the
    same where the other factor is filled up too.
    """
    missing = -x.shape[-1] % multiple
    return F.pad(x, (0, missing)) if missing else x


def multiplied_in(x: Tensor) -> torch.dtype:
    """The dtype that products of x are taken in on a CPU; as in torch, of float64 always that."""
    single = x.device.type == "cpu" and x.dtype == torch.float32
    if single and torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return x.dtype


def as_multiplied(x: Tensor) -> Tensor:
    """In what a CPU's products are taken in."""
    return x.to(multiplied_in(x))


def known_to_compiled(embeddings: Tensor, *parameters: Tensor) -> bool:
    """Whether compiled code takes embeddings, and parameters, and knows what products are in."""
    alike = all(x.dtype == embeddings.dtype for x in parameters)
    known = multiplied_in(embeddings) in fused.DTYPES
    return alike and known and fused.pays(embeddings, embeddings)


def side_by_side(embeddings: Tensor, align: int) -> Tensor:
    """`[M, B, N, K]` as `[M, B, N*K]`, `aligned`, which nothing but products will read."""
    if known_to_compiled(embeddings):
        return _SideBySide.apply(embeddings, align)
    return aligned(as_multiplied(embeddings).flatten(2), align)


class _SideBySide(torch.autograd.Function):
    """In one pass there and one back, of embeddings as they are looked up: torch's two of each took
    a twelfth of a step of DNN, ME 10x."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, align: int) -> Tensor:
        ctx.of = embeddings.shape, embeddings.dtype
        (laid,) = fused.laid(embeddings, align, multiplied_in(embeddings))
        return laid

    @staticmethod
    @fused.differentiated_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return fused.laid_back([gradient], *ctx.of), None


class SetLinear(Layer):
    """M linear layers side by side, initialised like `torch.nn.Linear`: `[M, B, I] -> [M, O, B]`.

    Note the order of the output: features before rows.
    """

    def __init__(self, sets: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(sets, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(sets, outputs, 1).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x).add_(self.bias)

    def product(self, x: Tensor) -> Tensor:
        """Without the bias."""
        if x.stride(-1) == 1:  # else its rows begin where they should, and to fill it up is to copy
            x = aligned(x, self.align)
        more = x.shape[-1] - self.weight.shape[-1]  # zeros at its end; otherwise it does not fit
        weight = F.pad(self.weight, (0, more)) if 0 < more < self.align else self.weight
        if not fused.applies(x):
            return torch.bmm(weight, x.mT)
        return _Product.apply(as_multiplied(weight), as_multiplied(x))


class _Product(torch.autograd.Function):
    """`[M, O, I], [M, B, I] -> [M, O, B]`, where the gradient of the latter lies in memory as it
    does: torch's lies the other way round, and to turn it took a tenth of a step of DNN, ME 10x."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(weight, x)
        return torch.bmm(weight, x.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        weight, x = ctx.saved_tensors
        if x.stride(-1) == 1:
            of_x = torch.bmm(gradient.mT, weight)
        else:
            of_x = torch.bmm(weight.mT, gradient).mT
        return torch.bmm(gradient, x), of_x


class SetNorm(nn.BatchNorm1d, Layer):
    """Batch norm with features before rows, `[M, H, B] -> [M, H, B]`.

    Each set has its own statistics: to batch norm, sets times features are its channels. With a
    part of a batch they are the whole batch's, as in torch's `SyncBatchNorm`, which needs GPUs.
    """

    def __init__(self, sets: int, features: int) -> None:
        super().__init__(sets * features)

    def forward(
        self,
        x: Tensor,
        offset: Tensor | None = None,
        *,
        relu: bool = False,
        rate: float = 0.0,
        mean: bool = False,
        multiplied: bool = False,
    ) -> Tensor:
        """Of `x + offset`; then, if asked for, ReLU, dropout and the mean over sets, `[1, H, B]`.

        Args:
            x: `[M, H, B]`, of which the caller makes no other use.
            offset: `[M, H, 1]`.
            rate: of dropout in training.
            multiplied: whether products alone will read it: where this is compiled it then lies in
                what those are taken in.
        """
        rate = rate if self.training else 0.0
        forms = self.training or not torch.is_grad_enabled()  # that are compiled
        if forms and self.part is None and fused.pays(x, self.weight):
            drop = int(seed()) if rate else 0, lowest_kept(rate), 1 / (1 - rate)
            dtype = multiplied_in(self.weight)
            dtype = dtype if multiplied and dtype in fused.DTYPES else self.weight.dtype
            return fused.norm_relu_dropout(
                x, self, offset=offset, relu=relu, drop=drop, mean=mean, dtype=dtype
            )
        if x.device.type == "cpu" and x.dtype == torch.bfloat16:
            x = x.float()  # the sums' precision
        if offset is not None:
            x = x.add_(offset)
        x = dropout(self._normed(x), rate, self.part, relu=relu)
        return x.sum(0, keepdim=True) / len(x) if mean else x

    def _normed(self, x: Tensor) -> Tensor:
        if self.training and self.part is not None:
            return self._of_part(x.flatten(0, 1), self.part.rows).to(x.dtype).view_as(x)
        return super().forward(x.flatten(0, 1).unsqueeze(0)).view_as(x)

    def _of_part(self, x: Tensor, rows: int) -> Tensor:
        """The same of `[M*H, b]`, b of so many rows being here."""
        x = x.to(self.weight.dtype)
        mean = add_up(x.sum(1)) / rows
        x = x - mean[:, None]
        var = add_up(x.square().sum(1)) / rows
        fused.move_statistics(self, mean, var, rows)
        return x * (self.weight * (var + self.eps).rsqrt())[:, None] + self.bias[:, None]


class Projection(Layer):
    """The paper's non-linear projection, once per set: linear, batch norm, ReLU, dropout.

    `[M, B, I] -> [M, B, H]`, or the mean of that over sets, `[1, B, H]`.

    Attributes:
        multiplied: whether products alone read what comes out, see `SetNorm.forward`.
    """

    multiplied = False

    def __init__(self, sets: int, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.linear = SetLinear(sets, inputs, outputs)
        self.norm = SetNorm(sets, outputs)
        self.dropout = dropout

    def forward(self, x: Tensor, mean: bool = False) -> Tensor:
        y = self.linear.product(x)  # [M, H, B]
        rate, multiplied = self.dropout, self.multiplied
        y = self.norm(y, self.linear.bias, relu=True, rate=rate, mean=mean, multiplied=multiplied)
        return y.mT


class HiddenProjection(Projection):
    """One that another layer follows, or whose mean over sets one follows."""

    multiplied = True


class LinearProjection(nn.Module):
    """The projection with its non-linearity removed, a variant; as `Projection`."""

    def __init__(self, sets: int, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.linear = SetLinear(sets, inputs, outputs)

    def forward(self, x: Tensor, mean: bool = False) -> Tensor:
        y = self.linear(x)
        return (y.sum(0, keepdim=True) / len(y) if mean else y).mT


def dropout(x: Tensor, rate: float, part: Part | None = None, *, relu: bool = False) -> Tensor:
    """Of `[..., B]`, after ReLU if asked for: each entry is set to zero with probability `rate`,
    the rest scaled up to make up. A part of a batch gets what it would get in the whole.

    torch's own on any device but a CPU, where its kernel draws a float64 per entry and took more
    than half of a step of DNN, ME 10x. Here each 64-bit draw serves four entries, so the rate is
    exact to 1 in 65,536, and one mask serves ReLU too, in both directions.
    """
    if rate == 0 or x.device.type != "cpu":
        x = F.relu(x) if relu else x
        if rate == 0 or part is None:
            return F.dropout(x, rate) if rate else x
        whole = F.dropout(x.new_ones(*x.shape[:-1], part.rows), rate)
        return x * whole[..., part.start : part.stop]
    kept = draws(x.shape, seed(), part) >= lowest_kept(rate)
    if relu:
        kept = kept.logical_and_(x > 0)
    return x * kept.to(x.dtype).div_(1 - rate)


def seed() -> Tensor:
    """64 bits from torch's generator of a CPU."""
    return torch.empty((), dtype=torch.int64).random_(-(2**63), None)


def lowest_kept(rate: float) -> int:
    """Of whole numbers from -32,768 to 32,767, dropout at that rate keeps those from here on."""
    return min(round(rate * 65_536) - 32_768, 32_767)


def draws(shape: torch.Size, seed: Tensor, part: Part | None = None) -> Tensor:
    """16 bits for each of `[..., B]`, from a seed and where they stand in the whole batch."""
    start, stop, rows = part or Part(0, shape[-1], shape[-1])
    lines, words = math.prod(shape[:-1]), -(-rows // 4)  # of 64 bits
    first, number = torch.arange(lines) * words, torch.arange(start // 4, -(-stop // 4))
    z = (first[:, None] + number).mul_(STEP).add_(seed)
    for shift, factor in ((30, FIRST), (27, SECOND), (31, 1)):
        z = z.bitwise_xor_((z >> shift) & (2 ** (64 - shift) - 1)).mul_(factor)
    return z.view(torch.int16)[:, start % 4 :][:, : stop - start].reshape(shape)


class Head(nn.Module):
    """From the mean over sets to a logit: one hidden layer and an output unit, `[B, H] -> [B]`."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.hidden = Projection(1, size.hidden, size.hidden, size.dropout)
        self.output = nn.Linear(size.hidden, 1)

    def forward(self, h: Tensor) -> Tensor:
        # it lies with features before rows, as one matrix: with another stride to the next, torch
        # copies it before a product in bf16
        return unit(self.hidden(h.mT.unsqueeze(0).mT).squeeze(0), self.output)


def unit(h: Tensor, output: nn.Linear) -> Tensor:
    """An output unit of `[B, H]`, `[B]`; on a CPU not in bf16: converting its input would take
    longer than the product."""
    if fused.applies(h) and h.dtype == output.weight.dtype:
        return _Unit.apply(h.mT, output.weight.squeeze(0), output.bias)
    return output(h).squeeze(-1)


class _Unit(torch.autograd.Function):
    """`[H, B], [H], [1] -> [B]`, where the gradient of the first lies in memory as it does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.addmv(bias.expand(x.shape[1]), x.mT, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return torch.outer(weight, gradient), torch.mv(x, gradient), gradient.sum(0, keepdim=True)
