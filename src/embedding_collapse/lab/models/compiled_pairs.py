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

IN_HAND = 800  # numbers of a field or map: 38 KB of 12 fields in float32, for each set

_in_any_order = partial(compiled, fastmath={"reassoc", "nsz", "contract"}, forceinline=True)


@compiled
def maps(embeddings, others, pairs, weights, bias, result, totals, part, threads):
    """A layer of `pairs.cin_layer`.

    Args:
        embeddings: `[B, N, M, K]`.
        others: `[M, J, B*K]`, or None.
        pairs, weights: `[2, P]` and `[M, C, P]`, P being whole groups.
        bias: `[M, C]`.
        result, totals: `[M, C, B*K]` and, of it over K, `[M, C, B]`; filled in.
    """
    rows, fields, sets, width = embeddings.shape
    e = np.empty((sets, fields, IN_HAND), embeddings.dtype)
    y = e[0] if others is None else np.empty((others.shape[1], IN_HAND), e.dtype)
    products = np.empty((TOGETHER, IN_HAND), e.dtype)
    to = np.empty((result.shape[1], IN_HAND), e.dtype)
    tall, across = chunks(rows, width)  # a row's parts are one thread's, which adds them up
    for number in range(tall * part // threads * across, tall * (part + 1) // threads * across):
        first, k, begin, length = _chunk(number, rows, width)
        _take(embeddings, first, k, length, e)
        for m in range(sets):
            if others is None:
                y = e[m]
            else:
                _copy(others[m], begin, y, 0, length)
            for c in range(len(to)):
                to[c] = bias[m, c]
            for at in range(0, pairs.shape[1], TOGETHER):
                _multiply(e[m], y, pairs, at, length, products)
                _add(products, weights[m], at, length, to)
            _rectify(to, length)
            _copy(to, 0, result[m], begin, length)
            _total(to, first, k, length, width, totals[m])


@compiled
def maps_back(embeddings, others, pairs, weights, result, gradient, of_totals, of_embeddings,
              of_others, of_weights, of_bias, part, threads):  # fmt: skip
    """The gradients of `maps`.

    Args:
        result: what came out.
        gradient, of_totals: of the result, or None, and of its sums over K.
        of_embeddings, of_others: as embeddings and others, filled in.
        of_weights, of_bias: `[parts, M, C, P]` and `[parts, M, C]`, filled in: each the sum over
            its share of the rows.
    """
    rows, fields, sets, width = embeddings.shape
    # each in memory of its own: of parts of one array the compiler takes numbers one by one
    e = np.empty((sets, fields, IN_HAND), embeddings.dtype)
    of_e = np.empty((sets, fields, IN_HAND), e.dtype)
    y = e[0] if others is None else np.empty((others.shape[1], IN_HAND), e.dtype)
    of_y = of_e[0] if others is None else np.empty((others.shape[1], IN_HAND), e.dtype)
    products = np.empty((TOGETHER, IN_HAND), e.dtype)
    of_products = np.empty((TOGETHER, IN_HAND), e.dtype)
    given = np.empty((result.shape[1], IN_HAND), e.dtype)
    parts, (tall, across) = len(of_weights), chunks(rows, width)
    for share in range(part, parts, threads):
        of_weights[share], of_bias[share] = 0, 0
        for number in range(share, tall * across, parts):
            first, k, begin, length = _chunk(number, rows, width)
            _take(embeddings, first, k, length, e)
            of_e[:] = 0
            for m in range(sets):
                if others is None:
                    y, of_y = e[m], of_e[m]
                else:
                    _copy(others[m], begin, y, 0, length)
                    of_y[:] = 0
                _spread(of_totals[m], first, length, width, given)
                if gradient is not None:
                    _add_to(given, gradient[m], begin, length)
                _rectify_back(given, result[m], begin, length, of_bias[share, m])
                for at in range(0, pairs.shape[1], TOGETHER):
                    _multiply(e[m], y, pairs, at, length, products)
                    _add_dots(products, given, length, at, of_weights[share, m])
                    _multiply_back(given, weights[m], at, length, of_products)
                    _add_back(of_products, e[m], y, pairs, at, length, of_e[m], of_y)
                if others is not None:
                    _copy(of_y, 0, of_others[m], begin, length)
            _put_back(of_e, first, k, length, of_embeddings)


@compiled
def one_sum(embeddings, weights, result, part, threads):
    """`sum_ij w_ij e_i e_j`, without each product by itself.

    Args:
        embeddings: `[B, N, M, K]`.
        weights: of two fields in both orders, `[M, N, G]`, G being N in whole groups: zeros where
            j > i, and behind N.
        result: `[M, K, B]`, filled in.
    """
    rows, fields, sets, width = embeddings.shape
    groups = weights.shape[2]
    e = np.zeros((sets, groups, IN_HAND), embeddings.dtype)
    others, to = np.empty((fields, IN_HAND), e.dtype), np.empty(IN_HAND, e.dtype)
    tall, across = chunks(rows, width)
    for number in range(tall * across * part // threads, tall * across * (part + 1) // threads):
        first, k, _, length = _chunk(number, rows, width)
        span = min(length, width)
        _take(embeddings, first, k, length, e)
        for m in range(sets):
            others[:], to[:] = 0, 0
            for at in range(0, groups, TOGETHER):
                _add(e[m, at : at + TOGETHER], weights[m, at:], at, length, others[at:])
            for n in range(fields):
                field, other = e[m, n], others[n]
                for p in range(length):
                    to[p] += field[p] * other[p]
            for place in range(span):
                line = result[m, k + place, first:]
                for row in range(length // span):
                    line[row] = to[row * span + place]


@compiled
def one_sum_back(embeddings, weights, gradient, of_embeddings, of_weights, part, threads):
    """The gradients of `one_sum`.

    Args:
        weights: `w_ij + w_ji`, `[M, N, G]`, with zeros behind N.
        gradient: of the result.
        of_embeddings: as embeddings, filled in.
        of_weights: `[parts, M, N, G]`, filled in where j <= i: each w's over its share of the rows.
    """
    rows, fields, sets, width = embeddings.shape
    groups = weights.shape[2]
    e = np.zeros((sets, groups, IN_HAND), embeddings.dtype)
    of_e = np.empty((sets, fields, IN_HAND), e.dtype)
    given, g = np.empty((fields, IN_HAND), e.dtype), np.empty(IN_HAND, e.dtype)
    parts, (tall, across) = len(of_weights), chunks(rows, width)
    for share in range(part, parts, threads):
        of_weights[share] = 0
        for number in range(share, tall * across, parts):
            first, k, _, length = _chunk(number, rows, width)
            span = min(length, width)
            _take(embeddings, first, k, length, e)
            of_e[:] = 0
            for m in range(sets):
                for place in range(span):
                    line = gradient[m, k + place, first:]
                    for row in range(length // span):
                        g[row * span + place] = line[row]
                for n in range(fields):
                    field, times = e[m, n], given[n]
                    for p in range(length):
                        times[p] = field[p] * g[p]
                for at in range(0, groups, TOGETHER):
                    group = e[m, at : at + TOGETHER]
                    _add(group, weights[m], at, length, of_e[m])
                    _add_dots(group, given[at:], length, at, of_weights[share, m, at:])
                for n in range(fields):
                    line = of_e[m, n]
                    for p in range(length):
                        line[p] *= g[p]
            _put_back(of_e, first, k, length, of_embeddings)


# --- what is in hand: rows, or a part of one ------------------------------------------------------


@compiled
def chunks(rows, width):
    """How many there are one below the other, and in parts of a row beside each other."""
    span = min(width, IN_HAND)
    return -(-rows // (IN_HAND // span)), -(-width // span)


@compiled
def _chunk(number, rows, width):
    """Of one: its first row, the first of that row's numbers, where that is in all, the length."""
    span = min(width, IN_HAND)
    at_once, across = IN_HAND // span, -(-width // span)
    first, k = number // across * at_once, number % across * span
    return first, k, first * width + k, min(at_once, rows - first) * min(span, width - k)


@compiled
def _take(embeddings, first, k, length, hand):
    """All sets of a few rows, which lie together."""
    _, fields, sets, width = embeddings.shape
    span = min(length, width)
    for row in range(length // span):
        for n in range(fields):
            for m in range(sets):
                source, target = embeddings[first + row, n, m, k:], hand[m, n, row * span :]
                for place in range(span):
                    target[place] = source[place]


@compiled
def _put_back(hand, first, k, length, embeddings):
    _, fields, sets, width = embeddings.shape
    span = min(length, width)
    for row in range(length // span):
        for n in range(fields):
            for m in range(sets):
                source, target = hand[m, n, row * span :], embeddings[first + row, n, m, k:]
                for place in range(span):
                    target[place] = source[place]


@compiled
def _copy(source, begin, target, to, length):
    for line in range(len(source)):
        here, there = source[line, begin:], target[line, to:]
        for p in range(length):
            there[p] = here[p]


@compiled
def _add_to(target, source, begin, length):
    for line in range(len(target)):
        here, there = source[line, begin:], target[line]
        for p in range(length):
            there[p] += here[p]


@compiled
def _rectify(to, length):
    """ReLU; what is no number is not below zero, and stays."""
    zero = to.dtype.type(0)
    for c in range(len(to)):
        line = to[c]
        for p in range(length):
            line[p] = zero if line[p] <= zero else line[p]


@_in_any_order
def _rectify_back(given, result, begin, length, of_bias):
    zero = given.dtype.type(0)
    for c in range(len(given)):
        line, came_out, total = given[c], result[c, begin:], zero
        for p in range(length):
            line[p] = zero if came_out[p] <= zero else line[p]
            total += line[p]
        of_bias[c] += total


@_in_any_order
def _total(hand, first, k, length, width, totals):
    """Sums over K, or what of it is in hand."""
    span, zero = min(length, width), hand.dtype.type(0)
    for c in range(len(hand)):
        for row in range(length // span):
            total = zero
            for p in range(row * span, row * span + span):
                total += hand[c, p]
            totals[c, first + row] = total + (totals[c, first + row] if k else zero)


@compiled
def _spread(of_totals, first, length, width, given):
    """To each number of a row the gradient of their sum."""
    span = min(length, width)
    for c in range(len(given)):
        for row in range(length // span):
            line = given[c, row * span :]
            for p in range(span):
                line[p] = of_totals[c, first + row]


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
