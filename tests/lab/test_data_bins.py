import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_collapse.lab.data.bins import (
    BINS,
    LARGEST,
    bins_of,
    equal_bins,
    whole_number_bins,
)
from embedding_collapse.lab.data.vocabulary import number_values


def official(number: int) -> int:
    """The paper's bin of a whole number: its formula, with bins up to 2 told apart by sign."""
    return int(math.log(number) ** 2) if number > 2 else number - 2


def bounds(name: str) -> tuple[float, float]:
    low, _, high = name.partition(" to ")
    return float(low), float(high or low)


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1), st.integers(-50, 3000))
def test_numbers_share_a_bin_where_the_papers_formula_says_so(numbers, near):
    numbers += range(near, near + 50)
    named = whole_number_bins(np.array(numbers, np.int64))
    pairs = {(official(number), name) for number, name in zip(numbers, named, strict=True)}
    assert len(pairs) == len({bin_ for bin_, _ in pairs}) == len({name for _, name in pairs})


@given(st.integers(-LARGEST, LARGEST))
def test_a_whole_number_lies_in_the_bin_that_names_it(number):
    (name,) = whole_number_bins(np.array([number], np.int64))
    low, _, high = name.partition(" to ")
    assert int(low) <= number <= int(high or low)
    assert official(int(low)) == official(int(high or low)) == official(number)


def test_bins_are_named_by_their_whole_numbers():
    numbers = np.array([-1, 0, 2, 3, 4, 5, 10, 11, 12])
    assert whole_number_bins(numbers).tolist() == [
        "-1",
        "0",
        "2",
        "3 to 4",
        "3 to 4",
        "5",
        "10 to 11",
        "10 to 11",
        "12 to 14",
    ]


@given(
    st.lists(
        st.tuples(st.floats(-1e9, 1e9).map(lambda x: round(x, 3)), st.integers(0, 50)),
        min_size=1,
        unique_by=lambda pair: pair[0],
    )
)
def test_equal_bins_are_in_order_and_hold_their_numbers(pairs):
    numbers, counts = map(np.array, zip(*pairs, strict=True))
    named = equal_bins(numbers, counts)
    for number, name in zip(numbers, named, strict=True):
        low, high = bounds(name)
        assert low - 1e-2 <= number <= high + 1e-2
    assert len(set(named)) <= BINS
    lows = [bounds(name)[0] for name in named[np.argsort(numbers)]]
    assert lows == sorted(lows)


def test_equal_bins_hold_about_equally_many_rows():
    named = equal_bins(np.arange(3200.0), np.ones(3200, int))
    assert set(np.unique(named, return_counts=True)[1]) == {100}


def test_a_frequent_number_has_a_bin_to_itself_and_so_has_a_blank():
    named = equal_bins(np.array([np.nan, 0.5, 7, 8]), np.array([5, 1000, 10, 1000]))
    assert named.tolist() == ["", "0.5", "7", "8"]


def test_one_number_in_two_spellings_is_in_one_bin():
    numbers = np.append(np.arange(3200.0), 100.0)  # between two bins
    named = equal_bins(numbers, np.ones(3201, int))
    assert named[100] == named[-1]


def test_numbers_without_end_are_in_the_bins_at_the_ends():
    named = equal_bins(np.append([-np.inf, np.inf], np.arange(3198.0)), np.ones(3200, int))
    assert (named[0], named[1]) == ("-inf to 98", "3099 to inf")


@pytest.mark.parametrize("numbers", [[], [np.nan]])
def test_equal_bins_of_nothing_are_blank(numbers):
    assert set(equal_bins(np.array(numbers, float), np.ones(len(numbers), int))) <= {""}


def numbered(numbers: np.ndarray, counts: np.ndarray, minimum: int) -> np.ndarray:
    """The ids of the numbers' bins, which ascend with them; rare ones share 0."""
    order, group = np.argsort(numbers), np.empty(len(numbers), np.int64)
    group[order] = pd.factorize(equal_bins(numbers, counts)[order])[0]
    return number_values(np.bincount(group, counts).astype(np.int64), minimum)[group]


ROUND = st.floats(-100, 100).map(lambda x: round(x, 1))


@given(
    st.lists(
        st.tuples(ROUND, st.integers(0, 50)), min_size=1, max_size=80, unique_by=lambda p: p[0]
    ),
    st.lists(ROUND, min_size=1, max_size=40),
    st.integers(1, 20),
)
def test_a_number_never_seen_has_the_id_of_one_that_no_training_row_holds(pairs, more, minimum):
    """As in data whose values are counted on the training rows, and which hold it elsewhere."""
    numbers, counts = (np.array(part) for part in zip(*pairs, strict=True))
    numbers = numbers.astype(float)
    bins = bins_of(numbers, counts, numbered(numbers, counts, minimum))
    others = np.setdiff1d(more, numbers)
    held = np.concatenate([numbers, others])
    every = numbered(held, np.concatenate([counts, np.zeros_like(others, int)]), minimum)
    assert np.array_equal(bins.number(held), every)


def test_bins_of_blanks_alone_take_every_number_for_rare():
    blank = np.array([np.nan])
    bins = bins_of(blank, np.array([7]), np.array([1], np.int32))
    assert bins.number(np.array([-np.inf, 0.0, np.inf])).tolist() == [0, 0, 0]
