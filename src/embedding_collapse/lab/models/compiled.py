"""What `fused` asks of a CPU, compiled by Numba: a feature's row stays in a core's cache meanwhile.

The sums over a row are taken in any order the compiler likes, which is the same at every call; a
row belongs to one thread, so bits do not depend on how many there are. Nothing else is moved or
fused.
"""

from functools import partial

import numpy as np
from numba import types
from numba.extending import overload

from blocked_adam.compiled import compiled

_multiplied_and_added_at_once = partial(compiled, fastmath={"contract"})
_in_any_order = partial(compiled, fastmath={"reassoc", "nsz"})

# SplitMix64 (Steele, Lea & Flood 2014), of which `layers.draws` is the same in plain PyTorch
STEP, FIRST, SECOND = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@_in_any_order
def _mean(x):
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += x[i]
    return total / x.dtype.type(len(x))


@_in_any_order
def _variance(x, mean):
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += (x[i] - mean) * (x[i] - mean)
    return total / x.dtype.type(len(x))


@_in_any_order
def _sums(gradient, x, mean):
    """Of the gradient, and of its products with x's distance from its mean."""
    total = along = x.dtype.type(0)
    for i in range(len(x)):
        total += gradient[i]
        along += gradient[i] * (x[i] - mean)
    return total, along


# Of what Numba has compiled and kept it asks no file but a function's own: whoever changes one of
# the following has to touch `compiled_inner` too.


def _wide(number):
    """A number; of bf16's bits the float32 that it is."""


def _narrow(number, like):
    """A number as it stands where `like` does: in bf16 to the nearest and of two to the even one,
    as torch rounds."""


def _widened(row, wide):
    """A row's numbers: of bf16 they are put into `wide`, others stay where they are."""


def _in_hand(row, wide):
    """Where a row's numbers are to be written: of bf16 in `wide`, others where they belong."""


def _narrowed(wide, row):
    """Put a row's numbers where they belong, if they are elsewhere."""


@overload(_wide)
def _(number):
    if number != types.uint16:
        return lambda number: number
    return lambda number: np.uint32(np.uint32(number) << np.uint32(16)).view(np.float32)


@overload(_narrow)
def _(number, like):
    if like != types.uint16:
        return lambda number, like: number

    def nearest(number, like):  # the casts keep 32 bits, of which twice as many go at once as of 64
        bits = np.float32(number).view(np.uint32)
        even = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        near = np.uint32(bits + np.uint32(np.uint32(0x7FFF) + even)) >> np.uint32(16)
        known = np.uint32(bits & np.uint32(0x7FFFFFFF)) <= np.uint32(0x7F800000)
        return np.uint16(near) if known else np.uint16(0x7FC0)  # else it is not a number

    return nearest


@overload(_widened)
def _(row, wide):
    if row.dtype != types.uint16:
        return lambda row, wide: row

    def put(row, wide):
        for i in range(len(row)):
            wide[i] = _wide(row[i])
        return wide

    return put


@overload(_in_hand)
def _(row, wide):
    if row.dtype != types.uint16:
        return lambda row, wide: row
    return lambda row, wide: wide


@overload(_narrowed)
def _(wide, row):
    if row.dtype != types.uint16:
        return lambda wide, row: None

    def put(wide, row):
        for i in range(len(row)):
            row[i] = _narrow(wide[i], row[i])

    return put


@compiled
def _put(wide, row):
    """Copy a row, in bf16 where that is what the other holds."""
    for i in range(len(row)):
        row[i] = _narrow(wide[i], row[i])


@compiled
def _draw(seed, first, drawn):
    for i in range(len(drawn)):
        z = seed + STEP * np.uint64(first + i)
        z = (z ^ (z >> np.uint64(30))) * FIRST
        z = (z ^ (z >> np.uint64(27))) * SECOND
        drawn[i] = z ^ (z >> np.uint64(31))


@compiled
def forward(x, weight, bias, eps, drop, relu, y, mean, variance, known, part, threads):
    """Norm, ReLU, dropout of x `[M, H, B]` into y `[M, H, B]`, or the sum over sets `[1, H, B]`.

    Args:
        x, y: of the dtype of weight, or the bits of bf16.
        weight, bias, mean, variance: `[M, H]`, the latter two of each row, filled in if not known.
        drop: the seed, the lowest of 16 bits that is kept, and what is kept is multiplied with.
    """
    sets, features, rows = x.shape
    seed, lowest, factor = drop
    words = (rows + 3) // 4
    drawn = np.zeros(words, np.uint64)
    # each in memory of its own: of parts of one array the compiler takes numbers one by one
    wide = np.empty(rows, mean.dtype)
    line = np.empty(rows, mean.dtype)
    total = np.empty(rows, mean.dtype)
    bits, zero, one = drawn.view(np.int16), mean.dtype.type(0), mean.dtype.type(1)
    for h in range(part, features, threads):
        summed = _in_hand(y[0, h], total)
        for m in range(sets):
            row = _widened(x[m, h], wide)
            if not known:
                mean[m, h] = _mean(row)
                variance[m, h] = _variance(row, mean[m, h])
            scale = weight[m, h] * (one / np.sqrt(variance[m, h] + eps))
            shift = bias[m, h] - mean[m, h] * scale
            if lowest > -32_768:
                _draw(seed, (m * features + h) * words, drawn)
            if len(y) == sets:  # what is no number is not below zero, and stays
                to = _in_hand(y[m, h], line)
                for b in range(rows):
                    z = row[b] * scale + shift
                    to[b] = z * factor if bits[b] >= lowest and not (relu and z <= zero) else zero
                _narrowed(to, y[m, h])
            else:
                if m == 0:
                    summed[:] = zero
                for b in range(rows):
                    z = row[b] * scale + shift
                    keep = bits[b] >= lowest and not (relu and z <= zero)
                    summed[b] += z * factor if keep else zero
        if len(y) != sets:
            _narrowed(summed, y[0, h])


@compiled
def backward(x, weight, bias, eps, drop, relu, mean, variance, gradient, of_weight, of_bias,
             of_offset, part, threads):  # fmt: skip
    """From the gradient of y to those of weight, bias and an offset of x; x becomes its own."""
    sets, features, rows = x.shape
    seed, lowest, factor = drop
    words = (rows + 3) // 4
    drawn, kept = np.zeros(words, np.uint64), np.empty(rows, mean.dtype)
    wide, line = np.empty(rows, mean.dtype), np.empty(rows, mean.dtype)
    bits, zero, one = drawn.view(np.int16), mean.dtype.type(0), mean.dtype.type(1)
    count = mean.dtype.type(rows)
    for h in range(part, features, threads):
        for m in range(sets):
            row, center = _widened(x[m, h], wide), mean[m, h]
            inverse = one / np.sqrt(variance[m, h] + eps)
            scale = weight[m, h] * inverse
            shift = bias[m, h] - center * scale
            if lowest > -32_768:
                _draw(seed, (m * features + h) * words, drawn)
            given = _widened(gradient[m if len(gradient) == sets else 0, h], line)
            for b in range(rows):
                z = row[b] * scale + shift
                keep = bits[b] >= lowest and not (relu and z <= zero)
                kept[b] = given[b] * factor if keep else zero
            total, along = _sums(kept, row, center)
            of_weight[m, h], of_bias[m, h] = along * inverse, total
            level, slope = total / count, along * inverse * inverse / count
            for b in range(rows):
                row[b] = scale * (kept[b] - level - (row[b] - center) * slope)
            of_offset[m, h] = _mean(row) * count
            _narrowed(row, x[m, h])


@compiled
def look_up_back(ids, gradient, of_table, part, threads):
    """Of each row of a table the sum of its look-ups' gradients, `[n, W]`, in their order."""
    rows, width = of_table.shape
    first, end = rows * part // threads, rows * (part + 1) // threads
    of_table[first:end] = 0
    for at in range(len(ids)):
        if first <= ids[at] < end:
            row, given = of_table[ids[at]], gradient[at]
            for column in range(width):
                row[column] += given[column]


@compiled
def lay(embeddings, to, again, part, threads):
    """Embeddings `[B, N, M, K]` side by side in `to`, `[M, B, I]`, with zeros behind N*K numbers;
    bf16 as bits. The same in `again`, which may be None."""
    rows, fields, sets, width = embeddings.shape
    line = np.zeros(to.shape[2], embeddings.dtype)
    for b in range(rows * part // threads, rows * (part + 1) // threads):
        for m in range(sets):
            for n in range(fields):
                row, at = embeddings[b, n, m], n * width
                for k in range(width):
                    line[at + k] = row[k]
            _put(line, to[m, b])
            if again is not None:
                _put(line, again[m, b])


@compiled
def lay_back(gradient, more, to, part, threads):
    """A gradient of what `lay` writes in `to`, as embeddings are; `more`, if not None, is added."""
    rows, fields, sets, width = to.shape
    wide, other = np.empty(gradient.shape[2], to.dtype), np.empty(gradient.shape[2], to.dtype)
    for b in range(rows * part // threads, rows * (part + 1) // threads):
        for m in range(sets):
            line = _widened(gradient[m, b], wide)
            if more is not None:
                added = _widened(more[m, b], other)
                for i in range(fields * width):
                    wide[i] = line[i] + added[i]
                line = wide
            for n in range(fields):
                row, at = to[b, n, m], n * width
                for k in range(width):
                    row[k] = line[at + k]


@_multiplied_and_added_at_once  # as torch.addcmul does where a processor can
def cross(x, x0, projected, bias, to, multiplied, part, threads):
    """The bias is added to what is projected, then `to` is x + x0 * projected; of `[M, B, I]`.

    Args:
        projected: of x's dtype, or the bits of bf16; overwritten.
        bias: `[M, I]`.
        to: as x, and another, or numbers would be taken one by one.
        multiplied: gets what `to` gets, in bits of bf16; or None.
    """
    sets, rows, width = x.shape
    for line in range(sets * rows * part // threads, sets * rows * (part + 1) // threads):
        m, b = line // rows, line % rows
        row, added, one, other, written = projected[m, b], bias[m], x[m, b], x0[m, b], to[m, b]
        for i in range(width):
            row[i] = _narrow(_wide(row[i]) + added[i], row[i])
            written[i] = one[i] + other[i] * _wide(row[i])
            if multiplied is not None:
                multiplied[m, b, i] = _narrow(written[i], row[i])


@compiled
def cross_back(gradient, of_x, x0, projected, of_x0, of_projected, first, last, part, threads):
    """The gradients of x, x0 and what is projected.

    Args:
        gradient: `[M, B, I]`, of the product that took what came out; of the dtype of what is
            projected.
        of_x: of what came out otherwise, none of it at first; becomes that of x.
        of_x0: from the layers behind, none of it at first; this one's is added, and at last, where
            x is x0, that of x.
        of_projected: filled in.
    """
    sets, rows, width = x0.shape
    zero = x0.dtype.type(0)
    for line in range(sets * rows * part // threads, sets * rows * (part + 1) // threads):
        m, b = line // rows, line % rows
        given, row, factor, out = gradient[m, b], projected[m, b], x0[m, b], of_projected[m, b]
        g, total = of_x[m, b], of_x0[m, b]
        if first:
            g[:], total[:] = zero, zero
        for i in range(width):
            g[i] += _wide(given[i])
            if last:
                total[i] += g[i]
            total[i] += g[i] * _wide(row[i])
            out[i] = _narrow(g[i] * factor[i], out[i])
