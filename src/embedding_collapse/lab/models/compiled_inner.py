"""The inner products that `ipnn` asks of a CPU, compiled by Numba.

A few rows at a time are taken into a core's cache and transposed there: a line holds one coordinate
of all those rows, and what is multiplied and added are lines, however wide embeddings are. A row's
sums are its own, so bits do not depend on how many threads there are.
"""

from functools import partial

import numpy as np

from blocked_adam.compiled import compiled

from .compiled import _narrow, _wide

TOGETHER = 8  # of an embedding's coordinates
AT_ONCE = 32  # rows in hand: 39 fields of 100 numbers are 0.5 MB of float32

_in_any_order = partial(compiled, fastmath={"reassoc", "nsz", "contract"}, forceinline=True)


@compiled
def inner(embeddings, raw, to, part, threads):
    """Inner products of fields i < j, side by side.

    Args:
        embeddings: `[B, N, M, K]`.
        raw: whether they come before the products.
        to: `[M, B, I]`, or the bits of bf16; filled in, behind the products with zeros.
    """
    rows, fields, sets, width = embeddings.shape
    e = np.zeros((fields * width, AT_ONCE), embeddings.dtype)
    products = np.empty((fields * (fields - 1) // 2, AT_ONCE), e.dtype)
    begin, chunks = (fields * width if raw else 0), -(-rows // AT_ONCE)
    # all sets of a few rows, which lie together
    for task in range(chunks * part // threads * sets, chunks * (part + 1) // threads * sets):
        m, first = task % sets, task // sets * AT_ONCE
        length = min(AT_ONCE, rows - first)
        _transpose(embeddings, first, m, length, e)
        products[:] = 0
        for k in range(0, width, TOGETHER):
            count, p = min(TOGETHER, width - k), 0
            for i in range(fields):
                for j in range(i + 1, fields):
                    _multiply(e, i * width + k, j * width + k, count, products[p])
                    p += 1
        for b in range(length):
            line = to[m, first + b]
            if raw:
                _transpose_back(e, b, line)
            _transpose_back(products, b, line[begin:])
            for at in range(begin + len(products), len(line)):
                line[at] = 0  # in bits of bf16 too


@compiled
def inner_back(embeddings, raw, gradient, of_embeddings, part, threads):
    """The gradient of `inner`.

    Args:
        gradient: of `to`.
        of_embeddings: as embeddings, filled in.
    """
    rows, fields, sets, width = embeddings.shape
    e = np.zeros((fields * width, AT_ONCE), embeddings.dtype)
    of_e = np.empty((fields * width, AT_ONCE), e.dtype)
    given = np.zeros((fields, fields, AT_ONCE), e.dtype)  # each twice, and of a field itself zeros
    begin, chunks = (fields * width if raw else 0), -(-rows // AT_ONCE)
    # all sets of a few rows, which lie together
    for task in range(chunks * part // threads * sets, chunks * (part + 1) // threads * sets):
        m, first = task % sets, task // sets * AT_ONCE
        length = min(AT_ONCE, rows - first)
        _transpose(embeddings, first, m, length, e)
        lines = gradient[m, first : first + length]
        at = begin
        for i in range(fields):
            for j in range(i + 1, fields):
                for b in range(length):
                    given[i, j, b] = given[j, i, b] = _wide(lines[b, at])
                at += 1
        of_e[:] = 0
        for number in range(begin):
            for b in range(length):
                of_e[number, b] = _wide(lines[b, number])
        for begin_k in range(0, width, TOGETHER):
            for i in range(fields):
                for k in range(begin_k, min(begin_k + TOGETHER, width)):
                    _add_back(given[i], e, k, width, of_e[i * width + k])
        for n in range(fields):
            for k in range(width):
                line = of_e[n * width + k]
                for b in range(length):
                    of_embeddings[first + b, n, m, k] = line[b]


# --- rows in hand, transposed ---------------------------------------------------------------------


@compiled
def _transpose(embeddings, first, m, length, hand):
    _, fields, _, width = embeddings.shape
    for n in range(fields):
        for k in range(width):
            line = hand[n * width + k]
            for b in range(length):
                line[b] = embeddings[first + b, n, m, k]


@compiled
def _transpose_back(hand, b, line):
    for number in range(len(hand)):
        line[number] = _narrow(hand[number, b], line[number])


@_in_any_order
def _multiply(e, i, j, count, to):
    """Add the products of the lines from i on with those from j on, four at once."""
    whole = count - count % 4
    for k in range(0, whole, 4):
        for b in range(AT_ONCE):
            low = e[i + k, b] * e[j + k, b] + e[i + k + 1, b] * e[j + k + 1, b]
            high = e[i + k + 2, b] * e[j + k + 2, b] + e[i + k + 3, b] * e[j + k + 3, b]
            to[b] += low + high
    for k in range(whole, count):
        for b in range(AT_ONCE):
            to[b] += e[i + k, b] * e[j + k, b]


@_in_any_order
def _add_back(g, e, k, width, to):
    """To a number of one field's embedding, from that number of all others', four at once."""
    whole = len(g) - len(g) % 4
    for j in range(0, whole, 4):
        g0, g1, g2, g3 = g[j], g[j + 1], g[j + 2], g[j + 3]
        at = j * width + k
        e0, e1, e2, e3 = e[at], e[at + width], e[at + 2 * width], e[at + 3 * width]
        for b in range(AT_ONCE):
            to[b] += g0[b] * e0[b] + g1[b] * e1[b] + g2[b] * e2[b] + g3[b] * e3[b]
    for j in range(whole, len(g)):
        for b in range(AT_ONCE):
            to[b] += g[j, b] * e[j * width + k, b]
