"""The verdict on a table, and what to try next."""

import re

import pytest
import torch
from test_collapse import inspected, normal
from torch import Tensor

from embedding_collapse.spectrum import random_abundances
from embedding_collapse.verdict import (
    COLLAPSED,
    COLLAPSED_IS,
    FEW_IS,
    HEALTHY_IS,
    OFFSET_IS,
    PARTLY,
    PARTLY_IS,
    UNTRAINED_IS,
    band,
    judge,
    too_small,
)


def test_the_verdict_follows_from_the_thresholds_alone():
    assert judge(COLLAPSED - 1e-9) == COLLAPSED_IS
    assert judge(COLLAPSED) == PARTLY_IS
    assert judge(PARTLY) == HEALTHY_IS


@pytest.mark.parametrize(
    ("shape", "small"),
    [
        ((4, 4), True),
        ((10_000, 4), True),
        ((8, 8), True),
        ((5, 8), True),
        ((5, 1000), True),
        ((1000, 5), False),
        ((10, 10), False),
        ((6, 1000), False),
    ],
)
def test_a_shape_is_too_small_where_no_table_could_fall_below_the_threshold(shape, small):
    assert too_small(*shape) is small
    one_direction = inspected(normal(shape[0], 1) @ normal(1, shape[1]))
    if small:
        assert one_direction.verdict == FEW_IS and "Leave it" in one_direction.advice
    else:
        assert one_direction.verdict == COLLAPSED_IS


def test_a_random_table_is_not_collapsed_whatever_its_shape_and_one_of_low_rank_is():
    for shape in ((1000, 64), (12, 64), (64, 64), (10, 10)):
        found = inspected(normal(*shape))
        assert found.verdict == HEALTHY_IS
        assert found.band[0] <= found.measures["against_random"] <= found.band[1]
        assert "random tables of" in found.rests_on
    low = normal(1000, 2) @ normal(2, 64) + 0.01 * normal(1000, 64)
    found = inspected(low)
    assert found.verdict == COLLAPSED_IS
    assert found.advice.startswith("2 of 64 directions hold 90% of its energy")
    assert "MultiEmbedding" in found.advice and "which saves 97%" in found.advice


def test_one_random_table_in_a_hundred_lies_below_the_band_and_one_above():
    with torch.device("meta"):  # a default device that nothing here may go by
        low, high = band(30, 16)
    drawn = random_abundances(30, 16, 10_000)
    shares = drawn / drawn.mean()
    for outside in (shares < low, shares > high):  # the band is that of 256 tables
        assert outside.double().mean().item() == pytest.approx(0.01, abs=0.01)


@pytest.mark.parametrize("shape", [(1000, 32), (40, 64)])
def test_an_offset_that_all_rows_share_is_no_collapse(shape):
    table = normal(*shape)
    found = inspected(table + 3)
    assert found.measures["against_random"] < COLLAPSED
    assert found.centred["against_random"] == pytest.approx(
        inspected(table).centred["against_random"]
    )
    assert found.offset == pytest.approx(
        (table + 3).mean(0).square().sum().item() / (table + 3).square().sum(-1).mean().item()
    )
    assert found.verdict == OFFSET_IS
    assert f"{found.offset:.0%} of its energy is one vector" in found.advice
    assert "Where fields are multiplied, predictions would change" in found.advice  # e_i * mean
    low = normal(shape[0], 1) @ normal(1, shape[1])
    assert inspected(low + 3).verdict == COLLAPSED_IS  # with an offset, but collapsed


def test_where_one_direction_outweighs_a_table_otherwise_in_use_the_advice_says_so():
    even, one = normal(5000, 32), normal(5000, 1) @ normal(1, 32)
    found = inspected(even + one)
    assert found.verdict == COLLAPSED_IS
    assert re.match(r"One direction has \d+% of its energy; without it IA/random", found.advice)
    assert "One direction" not in inspected(even + one, torch.ones(5000)).advice
    few = inspected(normal(5000, 4) @ normal(4, 32) + 0.1 * even)
    assert few.verdict == COLLAPSED_IS and "One direction" not in few.advice
    assert "One direction" not in inspected(even).advice
    assert "One direction" not in inspected(one + 0.01 * even).advice  # the rest is next to nothing


def trained_and_not(scale: float) -> Tensor:
    """500 rows along two directions, and 4,500 of normal entries."""
    numbers = torch.Generator().manual_seed(0)
    trained = torch.randn(500, 2, generator=numbers) @ torch.randn(2, 64, generator=numbers)
    others = torch.randn(4500, 64, generator=numbers)
    return torch.cat([scale * trained + 0.05 * torch.randn(500, 64, generator=numbers), others])


@pytest.mark.parametrize("scale", [0.2, 0.7, 1.0])
def test_rows_that_lie_as_they_were_drawn_do_not_hide_what_the_others_do(scale):
    found = inspected(trained_and_not(scale))
    assert found.verdict == UNTRAINED_IS
    assert found.untrained == pytest.approx(0.9, abs=0.02)
    assert found.trained < COLLAPSED < found.centred["against_random"]
    assert "--rows-weight" in found.advice
    counts = torch.cat([torch.full((500,), 1000.0), torch.ones(4500)])
    assert inspected(trained_and_not(scale), counts).verdict == COLLAPSED_IS


def test_weights_alone_collapse_nothing():
    """Where a few rows have most of the weight, even a random table looks narrow."""
    counts = 1 / torch.arange(1, 3001).double()
    found = inspected(normal(3000, 32), counts)
    assert found.weighted["against_random"] == pytest.approx(1, abs=0.1)
    assert found.verdict == HEALTHY_IS and "rows weighted" in found.rests_on


@pytest.mark.parametrize("rank", [1, 32])
def test_weights_of_a_few_rows_are_too_small_to_tell_whatever_those_rows_are(rank):
    few = torch.zeros(2000).index_fill(0, torch.arange(3), 1.0)
    found = inspected(normal(2000, rank) @ normal(rank, 32), few)
    assert found.verdict == FEW_IS
    assert found.rests_on.startswith("rows weighted, as 3 equal rows: no table of 3 x 32 has")
    assert "without weights" in found.advice
    many = inspected(normal(2000, 32), torch.ones(2000))
    assert "rows weighted, as 2,000 equal rows" in many.rests_on


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_table_of_one_vector_is_told_in_a_sentence_of_its_own(dtype):
    for row in (torch.full((16,), 0.1, dtype=dtype), normal(16).to(dtype)):
        for weights in (None, torch.ones(500)):
            found = inspected(row.expand(500, 16).clone(), weights)
            assert (found.verdict, found.rests_on) == (COLLAPSED_IS, "every row is the same vector")
            assert found.advice.startswith("Nothing tells its features apart")


@pytest.mark.parametrize("rows", [2, 50, 500])
def test_a_table_that_holds_one_vector_has_collapsed_however_narrow_it_is(rows):
    assert inspected(torch.zeros(rows, 4)).rests_on == "every entry is zero"
    assert inspected(torch.ones(rows, 4)).rests_on == "every row is the same vector"
    for table in (torch.zeros(rows, 4), torch.ones(rows, 4)):
        assert inspected(table).verdict == COLLAPSED_IS
        assert inspected(table[:1]).verdict == FEW_IS  # one row can be nothing else


@pytest.mark.parametrize(("longer", "rows"), [(100, 1), (200, 3)])
def test_a_few_long_rows_are_named_where_they_decide(longer, rows):
    table = normal(5000, 32) * torch.linspace(1, 0.3, 32)
    table[17] *= longer + 1
    table[40 : 39 + rows] *= longer
    found = inspected(table)
    assert found.verdict == COLLAPSED_IS
    assert "5 rows of 5,000 have " in found.advice and "row 17 the most" in found.advice
    assert "without them IA/random would be 0.7" in found.advice
    assert found.to_json()["longest"]["first"] == 17
    narrow = inspected(normal(5000, 2) @ normal(2, 32))
    assert narrow.longest is None and "several embedding sets" in narrow.advice
    assert inspected(torch.zeros(5000, 32)).longest is None


def test_a_few_long_rows_are_not_looked_for_where_rows_are_weighted():
    table = normal(5000, 32) * torch.linspace(1, 0.3, 32)
    table[17] *= 200
    found = inspected(table, torch.ones(5000))
    assert found.verdict == COLLAPSED_IS and found.longest is None


def test_a_few_long_rows_that_do_not_decide_are_measured_and_not_named():
    table = normal(5000, 2) @ normal(2, 32)
    table[17] *= 100
    found = inspected(table)
    assert found.verdict == COLLAPSED_IS and found.longest["first"] == 17
    assert "row 17" not in found.advice and "several embedding sets" in found.advice


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
def test_new_rows_that_all_hold_one_vector_do_not_hide_what_the_others_do(share):
    table = normal(5000, 32) * torch.linspace(1, 0.3, 32)
    assert inspected(table).verdict == HEALTHY_IS
    new = round(5000 * share)
    table[:new] = normal(1, 32)
    found = inspected(table)
    assert (found.verdict, round(found.untrained, 3)) == (UNTRAINED_IS, share)
    assert f"{share:.0%} of the rows lie as they were drawn or set;" in found.rests_on
    table[new:] = normal(5000 - new, 2) @ normal(2, 32)  # the others have collapsed
    assert inspected(table).verdict == COLLAPSED_IS


@pytest.mark.parametrize("trained", [1, 2, 5])
def test_a_table_of_zeros_but_for_a_few_rows_is_not_called_collapsed(trained):
    table = torch.zeros(5000, 64)
    table[:trained] = normal(trained, 64)
    found = inspected(table)
    assert found.verdict == UNTRAINED_IS
    rows = "1 row" if trained == 1 else f"{trained} rows"
    assert f"all but about {rows} of 5,000 lie as they were drawn or set" in found.rests_on
    assert "Nearly all of its rows were never trained" in found.advice


def test_with_rows_weighted_the_advice_counts_the_directions_of_weighted_rows():
    table = torch.cat([normal(500, 2) @ normal(2, 32), normal(4500, 32)])
    counts = torch.cat([torch.full((500,), 1e6), torch.ones(4500)])
    advice = inspected(table, counts).advice
    assert advice.startswith("2 of 32 directions hold 90% of its energy")


def test_a_table_with_some_new_rows_does_not_look_just_drawn():
    table = normal(5000, 32) * torch.linspace(0.2, 3, 5000)[:, None]
    table[::20] = 0
    found = inspected(table)
    assert found.untrained == pytest.approx(0.05) and found.verdict == HEALTHY_IS
    assert "They are in use" in found.advice


def test_advice_meets_the_case():
    assert "a width of 6 holds as much" in inspected(normal(6, 64)).advice
    assert "had just been drawn" in inspected(normal(1000, 16)).advice
    uneven = normal(1000, 16) * torch.linspace(0.5, 1.5, 1000)[:, None]
    assert "twice as many columns are worth a trial" in inspected(uneven).advice
    one = inspected(normal(1000, 1) @ normal(1, 64)).advice
    assert one.startswith("1 of 64 directions holds 90%") and "a table of 1 column," in one
    assert "Every entry is zero" in inspected(torch.zeros(50, 8)).advice
    sets = normal(2, 1000, 2) @ normal(2, 2, 64) + 0.01 * normal(2, 1000, 64)
    assert "Its sets have collapsed as well" in inspected(sets).advice
    partly = normal(1000, 64) * torch.linspace(1, 0, 64) ** 2
    assert inspected(partly).verdict == PARTLY_IS
    assert "64,000 numbers more for each set" in inspected(partly).advice
