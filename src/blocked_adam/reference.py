"""The three passes over a table in plain PyTorch, for any device and float type.

Every operation rounds once (no fused multiply-add), so a row ends with the same bits whenever and
beside whatever other rows it is brought up to date. The kernels do the same arithmetic.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .look_ups import LookUps

CHUNK = 2**16  # numbers of a block that is replayed at once: small enough for a core's cache


class Decay(NamedTuple):
    """What does not change from step to step of a window."""

    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    @property
    def factors(self) -> tuple[float, ...]:
        """What a compiled step multiplies with: 1 - beta1, beta2, 1 - beta2, eps, weight decay."""
        return 1 - self.beta1, self.beta2, 1 - self.beta2, self.eps, self.weight_decay


class Table(NamedTuple):
    """A table of D rows and W columns under Adam.

    Attributes:
        w, m, v: `[D, W]`, the weights and Adam's moments.
        last: int32 `[D + 1]`: of each row, how many of the window's steps it has had. The entry
            past the end takes the marks of what fills up `LookUps.rows`.
        coefficients: `[T, 2]`: of each of the window's steps, minus the step size (learning rate
            over the first bias correction), and one over the root of the second bias correction:
            a factor, since a quotient by a number is a product on some devices and not on others.
    """

    w: Tensor
    m: Tensor
    v: Tensor
    last: Tensor
    coefficients: Tensor


def catch_up(table: Table, look_ups: LookUps, now: int, decay: Decay) -> None:
    """Give the rows looked up the steps, of the window's first `now`, that they have not had."""
    _replay(table, look_ups.rows[: int(look_ups.different)], now, decay)


def flush(table: Table, now: int, decay: Decay) -> None:
    """The same for all rows, and begin a new window."""
    for rows in torch.arange(len(table.w), device=table.w.device).split(_rows_at_once(table)):
        low, high = (int(end) for end in table.last[rows[0] : rows[-1] + 1].aminmax())
        if low == high:  # no row was touched apart: in place, without a copy
            here = slice(int(rows[0]), int(rows[-1]) + 1)
            parts = table.w[here], table.m[here], table.v[here]
            for coefficients in table.coefficients[low:now].tolist():
                step(parts, None, coefficients, decay)
        else:
            _replay(table, rows, now, decay)
    table.last.zero_()


def apply(table: Table, look_ups: LookUps, gradients: Tensor, now: int, decay: Decay) -> None:
    """Give the rows looked up, which have had `now` steps, the next one with its gradient.

    Args:
        gradients: `[n, W]`, of the look-ups in the batch's order; those of a row are summed in it.
    """
    count = int(look_ups.different)
    rows, lengths = look_ups.rows[:count], look_ups.starts[: count + 1].diff()
    if count:
        gradients = torch.segment_reduce(gradients[look_ups.order], "sum", lengths=lengths)
        parts = [part[rows] for part in table[:3]]
        step(parts, gradients, table.coefficients[now].tolist(), decay)
        for whole, part in zip(table[:3], parts, strict=True):
            whole[rows] = part
    table.last[rows] = now + 1


def step(
    parts: Sequence[Tensor], gradient: Tensor | None, coefficients: list[float], decay: Decay
) -> None:
    """One step of Adam with L2 weight decay, in place, as `torch.optim.Adam` orders it.

    Args:
        parts: w, m and v of some rows.
        gradient: None is zero.
        coefficients: of the step, see `Table`.
        decay: of the window.
    """
    w, m, v = parts
    minus_size, inverse_root = coefficients
    g = w * decay.weight_decay
    if gradient is not None:
        g += gradient
    m += (g - m).mul_(1 - decay.beta1)
    v.mul_(decay.beta2).add_((g * (1 - decay.beta2)).mul_(g))
    w += (m * minus_size).div_(_root(v).mul_(inverse_root).add_(decay.eps))


def _root(v: Tensor) -> Tensor:
    """Rounded to nearest, which torch's own on a CPU (MKL's) is not always."""
    if v.device.type != "cpu":
        return v.sqrt()
    if v.dtype == torch.bfloat16:  # numpy lacks it; rounded twice, a root is still the nearest
        return _root(v.float()).bfloat16()
    return torch.from_numpy(np.sqrt(v.numpy()))


def _replay(table: Table, rows: Tensor, now: int, decay: Decay) -> None:
    """Give rows the steps that they lack, in chunks."""
    last, order = table.last[rows].sort()  # so that the rows that a step is for come first
    behind, at_once = int((last < now).sum()), _rows_at_once(table)
    for first in range(0, behind, at_once):
        here = slice(first, min(first + at_once, behind))
        chunk, had = rows[order[here]], last[here].tolist()
        parts = [part[chunk] for part in table[:3]]
        begun = 0
        for number in range(had[0], now):
            while begun < len(had) and had[begun] <= number:
                begun += 1
            coefficients = table.coefficients[number].tolist()
            step([part[:begun] for part in parts], None, coefficients, decay)
        for whole, part in zip(table[:3], parts, strict=True):
            whole[chunk] = part
    table.last[rows] = now


def _rows_at_once(table: Table) -> int:
    return max(1, CHUNK // table.w.shape[1])
