"""What `pairs` asks of a CPU, compiled by Numba.

A few rows at a time are taken into a core's cache, field by field, and their pairs in groups of
`pairs.TOGETHER`: their products are made once for all sums, and added to each of them by one pass,
which reads and writes that sum once. Sums are taken in any order the compiler likes, the same at
every call.
"""

from functools import partial

import numpy as np

from blocked_adam.compiled import compiled

from .pairs import TOGETHER

IN_HAND = 800  # numbers of a field or map: with 12 and 16 of them, 0.2 to 0.3 MB of float32

_in_any_order = partial(compiled, fastmath={"reassoc", "nsz", "contract"}, forceinline=True)


@compiled
def sums(embeddings, maps, pairs, weights, result, part, threads):
    """`pairs.sum_of_pairs`.

    Args:
        embeddings: `[B, N, M, K]`.
        maps: `[M, J, B*K]`, or None.
        pairs, weights: `[2, P]` and `[M, C, P]`, P being whole groups.
        result: `[M, C, B*K]`, filled in.
    """
    rows, fields, sets, width = embeddings.shape
    e = np.empty((fields, IN_HAND), embeddings.dtype)
    y = e if maps is None else np.empty((maps.shape[1], IN_HAND), e.dtype)
    products = np.empty((TOGETHER, IN_HAND), e.dtype)
    to = np.empty((result.shape[1], IN_HAND), e.dtype)
    chunks = _chunks(rows, width)
    for task in range(chunks * part // threads * sets, chunks * (part + 1) // threads * sets):
        m = task % sets  # all sets of a few rows one after another, which lie together
        first, k, begin, length = _chunk(task // sets, rows, width)
        _take(embeddings, first, m, k, length, e)
        if maps is not None:
            _copy(maps[m], begin, y, 0, length)
        to[:] = 0
        for at in range(0, pairs.shape[1], TOGETHER):
            _multiply(e, y, pairs, at, length, products)
            _add(products, weights[m], at, length, to)
        _copy(to, 0, result[m], begin, length)


@compiled
def sums_back(embeddings, maps, pairs, weights, gradient, of_embeddings, of_maps, of_weights,
              part, threads):  # fmt: skip
    """The gradients of `sums`.

    Args:
        gradient: of the result.
        of_embeddings, of_maps: as embeddings and maps, filled in.
        of_weights: `[parts, M, C, P]`, filled in: each the sum over its share of the rows.
    """
    rows, fields, sets, width = embeddings.shape
    # each in memory of its own: of parts of one array the compiler takes numbers one by one
    e = np.empty((fields, IN_HAND), embeddings.dtype)
    of_e = np.empty((fields, IN_HAND), e.dtype)
    y = e if maps is None else np.empty((maps.shape[1], IN_HAND), e.dtype)
    of_y = of_e if maps is None else np.empty((maps.shape[1], IN_HAND), e.dtype)
    products = np.empty((TOGETHER, IN_HAND), e.dtype)
    of_products = np.empty((TOGETHER, IN_HAND), e.dtype)
    given = np.empty((gradient.shape[1], IN_HAND), e.dtype)
    parts, chunks = len(of_weights), _chunks(rows, width)
    # all sets of a few rows one after another, as in `sums`, unless that would leave threads idle
    together = sets if parts % threads == 0 else 1
    for share in range(part, parts * (sets // together), threads):
        number, first_set = share % parts, share // parts
        of_weights[number, first_set : first_set + together] = 0
        for task in range(len(range(number, chunks, parts)) * together):
            m = first_set + task % together
            totals = of_weights[number, m]
            first, k, begin, length = _chunk(number + task // together * parts, rows, width)
            _take(embeddings, first, m, k, length, e)
            of_e[:] = 0
            if maps is not None:
                _copy(maps[m], begin, y, 0, length)
                of_y[:] = 0
            _copy(gradient[m], begin, given, 0, length)
            for at in range(0, pairs.shape[1], TOGETHER):
                _multiply(e, y, pairs, at, length, products)
                _add_dots(products, given, length, at, totals)
                _multiply_back(given, weights[m], at, length, of_products)
                _add_back(of_products, e, y, pairs, at, length, of_e, of_y)
            _put_back(of_e, first, m, k, length, of_embeddings)
            if maps is not None:
                _copy(of_y, 0, of_maps[m], begin, length)


@compiled
def one_sum(embeddings, weights, result, part, threads):
    """`sum_ij w_ij e_i e_j`, without each product by itself.

    Args:
        embeddings: `[B, N, M, K]`.
        weights: `w_ij + w_ji`, `[M, N, G]`, G being N in whole groups, filled up with zeros.
        result: `[M, B*K]`, filled in.
    """
    rows, fields, sets, width = embeddings.shape
    e = np.zeros((weights.shape[2], IN_HAND), embeddings.dtype)
    others = np.empty((fields, IN_HAND), e.dtype)
    chunks, half = _chunks(rows, width), e.dtype.type(0.5)
    for task in range(chunks * part // threads * sets, chunks * (part + 1) // threads * sets):
        m = task % sets  # all sets of a few rows one after another, which lie together
        first, k, begin, length = _chunk(task // sets, rows, width)
        _take(embeddings, first, m, k, length, e)
        others[:] = 0
        for at in range(0, len(e), TOGETHER):
            _add(e[at : at + TOGETHER], weights[m], at, length, others)
        to = result[m, begin : begin + length]
        to[:] = 0
        for n in range(fields):
            for p in range(length):
                to[p] += e[n, p] * others[n, p] * half


@compiled
def one_sum_back(embeddings, weights, gradient, of_embeddings, of_weights, part, threads):
    """The gradients of `one_sum`.

    Args:
        gradient: of the result.
        of_embeddings: as embeddings, filled in.
        of_weights: `[parts, M, N, G]`, filled in: each w's over its share of the rows.
    """
    rows, fields, sets, width = embeddings.shape
    e = np.zeros((weights.shape[2], IN_HAND), embeddings.dtype)
    others = np.empty((fields, IN_HAND), e.dtype)
    given = np.empty((fields, IN_HAND), e.dtype)
    parts, chunks = len(of_weights), _chunks(rows, width)
    # all sets of a few rows one after another, as in `sums`, unless that would leave threads idle
    together = sets if parts % threads == 0 else 1
    for share in range(part, parts * (sets // together), threads):
        number, first_set = share % parts, share // parts
        of_weights[number, first_set : first_set + together] = 0
        for task in range(len(range(number, chunks, parts)) * together):
            m = first_set + task % together
            totals = of_weights[number, m]
            first, k, begin, length = _chunk(number + task // together * parts, rows, width)
            _take(embeddings, first, m, k, length, e)
            others[:] = 0
            g = gradient[m, begin : begin + length]
            for n in range(fields):
                for p in range(length):
                    given[n, p] = e[n, p] * g[p]
            for at in range(0, len(e), TOGETHER):
                _add(e[at : at + TOGETHER], weights[m], at, length, others)
                _add_dots(e[at : at + TOGETHER], given, length, at, totals)
            for n in range(fields):
                for p in range(length):
                    others[n, p] *= g[p]
            _put_back(others, first, m, k, length, of_embeddings)


# --- what is in hand: rows, or a part of one ------------------------------------------------------


@compiled
def _chunks(rows, width):
    """How many there are."""
    span = min(width, IN_HAND)
    return -(-rows // (IN_HAND // span)) * -(-width // span)


@compiled
def _chunk(number, rows, width):
    """Of one: its first row, the first of that row's numbers, where that is in all, the length."""
    span = min(width, IN_HAND)
    at_once, across = IN_HAND // span, -(-width // span)
    first, k = number // across * at_once, number % across * span
    return first, k, first * width + k, min(at_once, rows - first) * min(span, width - k)


@compiled
def _take(embeddings, first, m, k, length, hand):
    _, fields, _, width = embeddings.shape
    span = min(length, width)
    for row in range(length // span):
        for n in range(fields):
            source, target = embeddings[first + row, n, m, k:], hand[n, row * span :]
            for place in range(span):
                target[place] = source[place]


@compiled
def _put_back(hand, first, m, k, length, embeddings):
    _, fields, _, width = embeddings.shape
    span = min(length, width)
    for row in range(length // span):
        for n in range(fields):
            source, target = hand[n, row * span :], embeddings[first + row, n, m, k:]
            for place in range(span):
                target[place] = source[place]


@compiled
def _copy(source, begin, target, to, length):
    for line in range(len(source)):
        here, there = source[line, begin:], target[line, to:]
        for p in range(length):
            there[p] = here[p]


@compiled
def _multiply(e, y, pairs, at, length, products):
    for number in range(TOGETHER):
        left, right = pairs[0, at + number], pairs[1, at + number]
        for p in range(length):
            products[number, p] = e[left, p] * y[right, p]


@_in_any_order
def _add(q, weights, at, length, to):
    """Add a group of products to each sum."""
    for c in range(len(to)):
        w = weights[c, at : at + TOGETHER]
        w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
        for p in range(length):
            low = w0 * q[0, p] + w1 * q[1, p] + w2 * q[2, p] + w3 * q[3, p]
            to[c, p] += low + w4 * q[4, p] + w5 * q[5, p] + w6 * q[6, p] + w7 * q[7, p]


@_in_any_order
def _add_dots(q, given, length, at, totals):
    """Add a group's products with each gradient, summed over rows, to the gradient of weights."""
    for c in range(len(given)):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = q.dtype.type(0)
        for p in range(length):
            g = given[c, p]
            s0, s1, s2, s3 = s0 + q[0, p] * g, s1 + q[1, p] * g, s2 + q[2, p] * g, s3 + q[3, p] * g
            s4, s5, s6, s7 = s4 + q[4, p] * g, s5 + q[5, p] * g, s6 + q[6, p] * g, s7 + q[7, p] * g
        for number, total in enumerate((s0, s1, s2, s3, s4, s5, s6, s7)):
            totals[c, at + number] += total


@_in_any_order
def _multiply_back(g, weights, at, length, of_products):
    """The gradient of a group's products: eight sums' at once, and one by one what is left."""
    whole = len(g) - len(g) % 8
    for number in range(at, at + TOGETHER):
        to = of_products[number - at]
        to[:] = 0
        for c in range(0, whole, 8):
            w = weights[c : c + 8, number]
            w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
            for p in range(length):
                low = w0 * g[c, p] + w1 * g[c + 1, p] + w2 * g[c + 2, p] + w3 * g[c + 3, p]
                high = w4 * g[c + 4, p] + w5 * g[c + 5, p] + w6 * g[c + 6, p] + w7 * g[c + 7, p]
                to[p] += low + high
        for c in range(whole, len(g)):
            for p in range(length):
                to[p] += weights[c, number] * g[c, p]


@_in_any_order
def _add_back(of_products, e, y, pairs, at, length, of_e, of_y):
    """Add what the gradients of a group's products are to either factor."""
    for number in range(TOGETHER):
        left, right = pairs[0, at + number], pairs[1, at + number]
        for p in range(length):
            of_e[left, p] += of_products[number, p] * y[right, p]
        for p in range(length):
            of_y[right, p] += of_products[number, p] * e[left, p]
