"""Numbers as categories: the paper's bins of whole numbers, and bins of about equal size."""

import math
from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .vocabulary import RARE

LARGEST = 10**18 - 1  # of a whole number, either sign
BINS = 32  # of about equal size


def whole_number_bins(numbers: np.ndarray) -> np.ndarray:
    """Name the bin of each whole number, as the paper does on Criteo.

    Numbers up to 2 keep bins of their own; a larger one v is in bin int(ln(v)^2).

    Args:
        numbers: int64 of any shape, between -`LARGEST` and `LARGEST`.

    Returns:
        Strings of the same shape: the whole numbers of the bin, "5" or "10 to 11".
    """
    first, names = _bins()
    named = names[np.searchsorted(first, numbers, side="right")]
    own = numbers <= 2
    named[own] = [str(number) for number in numbers[own].tolist()]
    return named


@lru_cache
def _bins() -> tuple[np.ndarray, np.ndarray]:
    """The least whole number of each bin above 2, and the bins' names after a first empty one."""

    def bin_of(number: int) -> int:
        return int(math.log(number) ** 2)

    def first_of(bin_: int) -> int:
        near = round(math.exp(math.sqrt(bin_)))  # to rounding; the formula itself decides
        far = 2 + near // 10**12
        around = range(max(near - far, 3), min(near + far, LARGEST) + 1)
        return around[bisect_left(around, bin_, key=bin_of)]

    first = np.unique([first_of(bin_) for bin_ in range(1, bin_of(LARGEST) + 1)])
    last = [*(first[1:] - 1), LARGEST]
    names = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(first, last, strict=True)]
    return first, np.array(["", *names], object)


def equal_bins(numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Name bins of about equally many rows, in ascending order.

    Args:
        numbers: float64 `[V]`, of distinct texts; NaN is a blank, which stays apart.
        counts: integers `[V]`, how many rows hold each.

    Returns:
        Strings `[V]`: the least and greatest number of the bin that hold rows ("0.5 to 1.25"),
        or the number where it has the bin to itself; "" for a blank.
    """
    order = np.argsort(numbers)[: np.count_nonzero(~np.isnan(numbers))]
    last = np.searchsorted(numbers[order], numbers[order], side="right") - 1  # 31 and 31.0 are one
    rows = np.cumsum(counts[order])[last]
    place = (rows - 1).clip(0) * BINS // max(counts[order].sum(), 1)
    named = np.full(len(numbers), "", object)
    for members in np.split(order, np.flatnonzero(np.diff(place)) + 1):
        if len(members):
            low, high = (f"{numbers[members[end]]:.12g}" for end in (0, -1))
            named[members] = low if low == high else f"{low} to {high}"
    return named


class Bins(NamedTuple):
    """Which id any number has, whether `equal_bins` was given it or not.

    Attributes:
        starts: float64 `[B]`, ascending, the least number of each bin.
        ids: int32 `[B + 1]`: of a number below all of these, then of the bins.
    """

    starts: np.ndarray
    ids: np.ndarray

    def number(self, numbers: np.ndarray) -> np.ndarray:
        """The ids, int32, of float64 numbers of the same shape."""
        return self.ids[np.searchsorted(self.starts, numbers, side="right")]


def bins_of(numbers: np.ndarray, counts: np.ndarray, ids: np.ndarray) -> Bins:
    """The bins that `equal_bins` made, as they take in a number that no row counts for.

    Such a number falls into the bin of the next one below it. Below all it is in the first bin,
    which may be empty: the least number, where it has many rows, is in a later one.

    Args:
        numbers, counts: as `equal_bins` was given them.
        ids: int32 `[V]`, what the bin of each was numbered.
    """
    order = np.argsort(numbers)[: np.count_nonzero(~np.isnan(numbers))]
    ascending, own = numbers[order], ids[order]
    least = counts[order][ascending == ascending[:1]].sum()
    in_first = len(own) and (least - 1) * BINS < max(counts[order].sum(), 1)
    below = own[:1] if in_first else [RARE]
    begins = np.flatnonzero(np.diff(own, prepend=-1))
    return Bins(ascending[begins], np.concatenate([below, own[begins]]).astype(np.int32))
