"""The three passes over a table as Triton kernels; `reference` says what they do.

Nothing here waits for the device, and shapes depend on the batch's size alone, so that a CUDA graph
can hold them. Products and sums are kept apart (no fused multiply-add), roots and quotients are
rounded to nearest: the replay is meant to give the reference's bits. A row's gradients are summed
tile by tile, always in the same order but not in the reference's.
"""

import triton
import triton.language as tl
from torch import Tensor

from .look_ups import LookUps
from .reference import Decay, Table

TILE = 1024  # numbers that a program of the replay holds of each of w, m, v
TALL = 64  # look-ups that are summed at once: a hot row has thousands


def catch_up(table: Table, look_ups: LookUps, now: int, decay: Decay) -> None:
    """As `reference.catch_up`."""
    _launch_replay(table, look_ups.rows, look_ups.different, now, decay, every=False)
    # Not in the kernel: programs share rows, and all of them read a row's mark first.
    table.last.index_fill_(0, look_ups.rows, now)


def flush(table: Table, now: int, decay: Decay) -> None:
    """As `reference.flush`."""
    _launch_replay(table, table.last, table.last, now, decay, every=True)
    table.last.zero_()


def apply(table: Table, look_ups: LookUps, gradients: Tensor, now: int, decay: Decay) -> None:
    """As `reference.apply`."""
    width, most = table.w.shape[1], len(look_ups.rows)
    if most:
        columns = min(triton.next_power_of_2(width), 128)
        _apply[(most, triton.cdiv(width, columns))](
            *table,
            *look_ups,
            gradients.contiguous(),
            now,
            *decay.factors,
            WIDTH=width,
            COLUMNS=columns,
            TALL=TALL,
            enable_fp_fusion=False,
            num_warps=1 if columns <= 32 else 4,
        )


def _launch_replay(
    table: Table, rows: Tensor, count: Tensor, now: int, decay: Decay, *, every: bool
) -> None:
    length, width = table.w.shape
    most = length if every else len(rows)
    if most:
        _replay[(triton.cdiv(most * width, TILE),)](
            *table,
            rows,
            count,
            length,
            now,
            *decay.factors,
            EVERY=every,
            WIDTH=width,
            TILE=TILE,
            enable_fp_fusion=False,
        )


@triton.jit
def _step(w, m, v, g, minus_size, inverse_root, rest1, beta2, rest2, eps):
    m = m + (g - m) * rest1
    v = v * beta2 + (g * rest2) * g
    w = w + tl.div_rn(m * minus_size, tl.sqrt_rn(v) * inverse_root + eps)
    return w, m, v


@triton.jit(do_not_specialize=["length", "now"])
def _replay(
    w_at, m_at, v_at, last_at, coefficients_at, rows_at, count_at, length, now,
    rest1, beta2, rest2, eps, weight_decay,
    EVERY: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    # int64: a table has more than 2^31 numbers
    numbers = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    rows = numbers // WIDTH
    columns = numbers % WIDTH
    if EVERY:
        there = rows < length
    else:
        there = rows < tl.load(count_at)
        rows = tl.load(rows_at + rows, mask=there, other=0)
    last = tl.load(last_at + rows, mask=there, other=now)
    here = rows * WIDTH + columns
    behind = last < now
    w = tl.load(w_at + here, mask=behind, other=0.0)
    m = tl.load(m_at + here, mask=behind, other=0.0)
    v = tl.load(v_at + here, mask=behind, other=0.0)
    for step in range(tl.min(last, 0), now):
        minus_size = tl.load(coefficients_at + 2 * step)
        inverse_root = tl.load(coefficients_at + 2 * step + 1)
        new_w, new_m, new_v = _step(
            w, m, v, w * weight_decay, minus_size, inverse_root, rest1, beta2, rest2, eps
        )
        begun = last <= step
        w = tl.where(begun, new_w, w)
        m = tl.where(begun, new_m, m)
        v = tl.where(begun, new_v, v)
    tl.store(w_at + here, w, mask=behind)
    tl.store(m_at + here, m, mask=behind)
    tl.store(v_at + here, v, mask=behind)


@triton.jit(do_not_specialize=["now"])
def _apply(
    w_at, m_at, v_at, last_at, coefficients_at, order_at, rows_at, starts_at, count_at,
    gradients_at, now, rest1, beta2, rest2, eps, weight_decay,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, TALL: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0)
    if place < tl.load(count_at):
        row = tl.load(rows_at + place)
        start = tl.load(starts_at + place)
        end = tl.load(starts_at + place + 1)
        columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
        mask = columns < WIDTH
        total = tl.zeros([COLUMNS], dtype=tl.float32)
        for first in range(start, end, TALL):
            places = first + tl.arange(0, TALL)
            inside = places < end
            look_up = tl.load(order_at + places, mask=inside, other=0)
            tile = tl.load(
                gradients_at + look_up[:, None] * WIDTH + columns[None, :],
                mask=inside[:, None] & mask[None, :],
                other=0.0,
            )
            total += tl.sum(tile, 0)
        here = row * WIDTH + columns
        w = tl.load(w_at + here, mask=mask, other=0.0)
        m = tl.load(m_at + here, mask=mask, other=0.0)
        v = tl.load(v_at + here, mask=mask, other=0.0)
        minus_size = tl.load(coefficients_at + 2 * now)
        inverse_root = tl.load(coefficients_at + 2 * now + 1)
        gradient = w * weight_decay + total
        w, m, v = _step(w, m, v, gradient, minus_size, inverse_root, rest1, beta2, rest2, eps)
        tl.store(w_at + here, w, mask=mask)
        tl.store(m_at + here, m, mask=mask)
        tl.store(v_at + here, v, mask=mask)
        if tl.program_id(1) == 0:
            tl.store(last_at + row, now + 1)  # nothing in this kernel reads it
