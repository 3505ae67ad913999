"""The three passes over a table on a CPU, compiled by Numba; `reference` says what they do.

Rows are taken a few at a time into memory that a core's cache holds, go through all their steps
there and are put back: a pass reads and writes a table once, however many steps there are. No
operation is fused with another or moved, so a row gets the reference's bits, by however many
threads. What then bounds the replay is a root and a quotient per number and step.

Numba, since it compiles where it runs: torch's C++ extensions need a compiler there, or a wheel for
each processor and each torch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from .look_ups import LookUps
from .reference import Decay, Table
from .threads import on_all_threads

IN_HAND = 2**11  # numbers of each of w, m and v: 24 KB of float32
DIGIT = 11  # bits that a round of the sort looks at: its counts take 16 KB


def compiled(function: Callable, **options: Any) -> Callable:
    """By Numba; kept for the next process, where there is a folder that may be written."""
    # by numpy's error model a number over 0 is inf
    jit = partial(njit, nogil=True, error_model="numpy", **options)
    try:
        return jit(cache=True)(function)
    except RuntimeError:
        return jit()(function)


def catch_up(table: Table, look_ups: LookUps, now: int, decay: Decay) -> None:
    """As `reference.catch_up`."""
    _catch_up(table, look_ups.rows[: int(look_ups.different)], now, decay)


def flush(table: Table, now: int, decay: Decay) -> None:
    """As `reference.flush`."""
    _catch_up(table, torch.arange(len(table.w), device=table.w.device), now, decay)
    table.last.zero_()


def _catch_up(table: Table, rows: Tensor, now: int, decay: Decay) -> None:
    *parts, last, coefficients = (tensor.numpy() for tensor in table)
    rest = rows.numpy(), now, _factors(table, decay)
    on_all_threads(lambda *share: _replay(tuple(parts), last, coefficients, *rest, *share))


def apply(table: Table, look_ups: LookUps, gradients: Tensor, now: int, decay: Decay) -> None:
    """As `reference.apply`."""
    *parts, last, coefficients = (tensor.numpy() for tensor in table)
    order, rows, starts = (tensor.numpy() for tensor in look_ups[:3])
    rows = rows[: int(look_ups.different)]
    given = gradients.to(table.w.dtype).contiguous().numpy()
    rest = coefficients[now], order, rows, starts, given, now, _factors(table, decay)
    on_all_threads(lambda *share: _apply(tuple(parts), last, *rest, *share))


def group(ids: Tensor, length: int) -> LookUps:
    """As `look_ups.group_look_ups`, for n > 0 and a product of n and length below 2^62."""
    n, before = ids.shape[-1], ids.shape[:-1]
    batches = ids.reshape(-1, n).numpy()
    count = len(batches)
    order, rows = np.empty((2, count, n), np.int64)
    starts, different = np.empty((count, n + 1), np.int64), np.empty(count, np.int64)

    def work(part: int, threads: int) -> None:
        for number in range(part, count, threads):
            to = order[number], rows[number], starts[number]
            different[number] = _group(batches[number], length, *to)

    on_all_threads(work)
    tensors = map(torch.from_numpy, (order, rows, starts, different))
    return LookUps(*(tensor.view((*before, *tensor.shape[1:])) for tensor in tensors))


def _factors(table: Table, decay: Decay) -> tuple[np.floating, ...]:
    """Numbers of the table's own precision, as the reference takes them."""
    return tuple(map(table.w.numpy().dtype.type, decay.factors))


# --- compiled: rows in hand -----------------------------------------------------------------------


@compiled
def _replay(parts, last, coefficients, rows, now, factors, part, threads):
    """Give rows the steps that they lack."""
    width = parts[0].shape[1]
    at_once = max(1, IN_HAND // width)
    hand = np.empty((3, at_once * width), parts[0].dtype)
    for first in range(part * at_once, len(rows), threads * at_once):
        behind, ends = _from_most_to_fewest(rows[first : first + at_once], last, now)
        _take(parts, behind, hand)
        w, m, v = hand[0], hand[1], hand[2]
        for number in range(now):
            end = ends[number] * width
            _step(w[:end], m[:end], v[:end], None, coefficients[number], factors)
        _put_back(parts, behind, hand)
        for row in behind:
            last[row] = now


@compiled
def _from_most_to_fewest(rows, last, now):
    """Those that lack steps, sorted by how many they have had, and where those of so many end."""
    ends = np.zeros(now + 2, np.int64)
    for row in rows:
        ends[last[row] + 1] += 1
    for number in range(now + 1):
        ends[number + 1] += ends[number]
    behind = np.empty(ends[now], np.int64)
    for row in rows:  # until here `ends` says where they begin
        if last[row] < now:
            behind[ends[last[row]]] = row
            ends[last[row]] += 1
    return behind, ends


@compiled
def _apply(parts, last, coefficients, order, rows, starts, gradients, now, factors, part, threads):
    """Give rows a step with the sums of their gradients."""
    width, w_type = parts[0].shape[1], parts[0].dtype
    at_once = max(1, IN_HAND // width)
    hand, sums = np.empty((3, at_once * width), w_type), np.empty((at_once, width), w_type)
    for first in range(part * at_once, len(rows), threads * at_once):
        here = rows[first : first + at_once]
        _take(parts, here, hand)
        for place in range(len(here)):
            total = sums[place]
            total[:] = 0
            for at in range(starts[first + place], starts[first + place + 1]):
                gradient = gradients[order[at]]
                for column in range(width):
                    total[column] += gradient[column]
        w, m, v = hand[0], hand[1], hand[2]
        end = len(here) * width
        _step(w[:end], m[:end], v[:end], sums.ravel()[:end], coefficients, factors)
        _put_back(parts, here, hand)
        for row in here:
            last[row] = now + 1


@compiled
def _take(parts, rows, hand):
    for number in range(3):
        part, to = parts[number], hand[number]
        width = part.shape[1]
        for place in range(len(rows)):
            row, at = part[rows[place]], place * width
            for column in range(width):
                to[at + column] = row[column]


@compiled
def _put_back(parts, rows, hand):
    for number in range(3):
        part, held = parts[number], hand[number]
        width = part.shape[1]
        for place in range(len(rows)):
            row, at = part[rows[place]], place * width
            for column in range(width):
                row[column] = held[at + column]


@compiled
def _step(w, m, v, gradients, coefficients, factors):
    """As `reference.step`; without gradients where they are None, which is compiled for itself."""
    minus_size, inverse_root = coefficients[0], coefficients[1]
    rest1, beta2, rest2, eps, weight_decay = factors
    for i in range(len(w)):
        g = w[i] * weight_decay
        if gradients is not None:
            g += gradients[i]
        m[i] += (g - m[i]) * rest1
        v[i] = v[i] * beta2 + (g * rest2) * g
        w[i] += (m[i] * minus_size) / (np.sqrt(v[i]) * inverse_root + eps)


# --- compiled: a stable sort ----------------------------------------------------------------------


@compiled
def _group(ids, length, order, rows, starts):
    """Fill in a batch's grouping; how many rows are different."""
    n, bits = len(ids), 0
    while n >> bits:
        bits += 1
    # a look-up is one number: its row, and in the lower bits its place in the batch
    here, there = np.empty(n, np.int64), np.empty(n, np.int64)
    for place in range(n):
        here[place] = (np.int64(ids[place]) << bits) | place
    ends, digit = np.zeros(2**DIGIT + 1, np.int64), 2**DIGIT - 1
    shift = 0
    while length >> shift:
        ends[:] = 0
        for number in here:
            ends[((number >> bits + shift) & digit) + 1] += 1
        for value in range(2**DIGIT):
            ends[value + 1] += ends[value]
        for number in here:
            value = (number >> bits + shift) & digit
            there[ends[value]] = number
            ends[value] += 1
        here, there = there, here
        shift += DIGIT
    different, before = 0, -1
    for place in range(n):
        order[place] = here[place] & ((1 << bits) - 1)
        row = here[place] >> bits
        if row != before:
            rows[different], starts[different] = row, place
            different, before = different + 1, row
    rows[different:], starts[different:] = length, n
    return different
