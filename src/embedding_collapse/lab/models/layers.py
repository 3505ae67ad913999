"""Layers with a batch of embedding sets: M independent copies of a layer as one tensor operation.

Inside a layer, features come before rows (`[M, H, B]`): batch norm then reads each feature as one
contiguous run, and the products need no copy.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embedding_collapse.lab.processes import add_up

from .interaction import Layer, Part, Size


def aligned(x: Tensor, multiple: int) -> Tensor:
    """The last dimension filled up with zeros to a multiple, which GPUs multiply faster.

    At 390 numbers a row does not begin at a multiple of 16 bytes, at 392 it does. A product is the
    same where the other factor is filled up too.
    """
    missing = -x.shape[-1] % multiple
    return F.pad(x, (0, missing)) if missing else x


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
        weight = aligned(self.weight, self.align)
        if x.stride(-1) == 1:
            x = aligned(x, self.align)
            more = x.shape[-1] - weight.shape[-1]  # where x came with other zeros at its end
            weight = F.pad(weight, (0, more)) if more else weight
        else:  # its rows begin where they should already; to fill it up would be to copy it
            weight = weight[..., : x.shape[-1]]
        return torch.bmm(weight, x.mT).add_(self.bias)


class SetNorm(nn.BatchNorm1d, Layer):
    """Batch norm with features before rows, `[M, H, B] -> [M, H, B]`.

    Each set has its own statistics: to batch norm, sets times features are its channels. With a
    part of a batch they are the whole batch's, as in torch's `SyncBatchNorm`, which needs GPUs.
    """

    def __init__(self, sets: int, features: int) -> None:
        super().__init__(sets * features)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.part is not None:
            return self._of_part(x.flatten(0, 1), self.part.rows).to(x.dtype).view_as(x)
        return super().forward(x.flatten(0, 1).unsqueeze(0)).view_as(x)

    def _of_part(self, x: Tensor, rows: int) -> Tensor:
        """The same of `[M*H, b]`, b of so many rows being here."""
        x = x.to(self.weight.dtype)
        mean = add_up(x.sum(1)) / rows
        x = x - mean[:, None]
        var = add_up(x.square().sum(1)) / rows
        assert self.momentum is not None
        with torch.no_grad():
            self.get_buffer("num_batches_tracked").add_(1)
            self.get_buffer("running_mean").lerp_(mean, self.momentum)
            self.get_buffer("running_var").lerp_(var * (rows / (rows - 1)), self.momentum)
        return x * (self.weight * (var + self.eps).rsqrt())[:, None] + self.bias[:, None]


class Projection(Layer):
    """The paper's non-linear projection, once per set: linear, batch norm, ReLU, dropout.

    `[M, B, I] -> [M, B, H]`.
    """

    def __init__(self, sets: int, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.linear = SetLinear(sets, inputs, outputs)
        self.norm = SetNorm(sets, outputs)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.linear(x))  # [M, H, B]
        return relu_dropout(y, self.dropout if self.training else 0.0, self.part).mT


class LinearProjection(nn.Module):
    """The projection with its non-linearity removed, a variant: `[M, B, I] -> [M, B, H]`."""

    def __init__(self, sets: int, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.linear = SetLinear(sets, inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).mT


def dropout(x: Tensor, rate: float, part: Part | None) -> Tensor:
    """torch's, of `[..., B]`; a part of a batch gets what it would get in the whole."""
    if rate == 0 or part is None:
        return F.dropout(x, rate)
    whole = F.dropout(x.new_ones(*x.shape[:-1], part.rows), rate)
    return x * whole[..., part.start : part.stop]


def relu_dropout(x: Tensor, rate: float, part: Part | None = None) -> Tensor:
    """ReLU, then each entry set to zero with probability `rate`, the rest scaled up to make up.

    torch's own where nothing is dropped, and on any device but a CPU, where its kernel draws a
    float64 per entry and took more than half of a step of DNN, ME 10x. Here each 64-bit draw
    serves four entries, so the rate is exact to 1 in 65,536, and one mask serves both operations
    in both directions.
    """
    if rate == 0 or x.device.type != "cpu":
        return dropout(F.relu(x), rate, part)
    start, stop, rows = part or Part(0, x.shape[-1], x.shape[-1])
    shape = torch.Size([*x.shape[:-1], rows])
    draws = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = draws.view(torch.int16)[: shape.numel()].view(shape)[..., start:stop]
    lowest_kept = min(round(rate * 65_536) - 32_768, 32_767)
    kept = (draws >= lowest_kept).logical_and_(x > 0)
    return x * kept.to(x.dtype).div_(1 - rate)


class Head(nn.Module):
    """From the mean over sets to a logit: one hidden layer and an output unit, `[B, H] -> [B]`."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.hidden = Projection(1, size.hidden, size.hidden, size.dropout)
        self.output = nn.Linear(size.hidden, 1)

    def forward(self, h: Tensor) -> Tensor:
        return self.output(self.hidden(h.unsqueeze(0)).squeeze(0)).squeeze(-1)
