"""Rows that lie as they were drawn, on tables of which it is known."""

import pytest
import torch
from test_collapse import normal

from embedding_collapse import untrained as module
from embedding_collapse.untrained import untrained


def test_of_a_large_table_rows_are_looked_at_from_one_end_to_the_other(monkeypatch):
    """Those looked up most often lie first."""
    monkeypatch.setattr(module, "MOST_ENTRIES", 2000 * 32)
    table = normal(10_000, 32)
    table[:1000] = normal(1000, 2) @ normal(2, 32)
    assert untrained(table[None])[0] == pytest.approx(0.9, abs=0.02)


def test_rows_with_a_few_large_entries_are_not_as_they_were_drawn():
    """Though they are as long as normal rows, and along no direction more than another."""
    drawn = normal(3000, 32)
    assert untrained(drawn[None])[0] > 0.9
    cubes = drawn**3  # with a kurtosis of 46, normal entries of 3
    rows = cubes / cubes.norm(dim=1, keepdim=True) * drawn.norm(dim=1, keepdim=True)
    assert untrained(rows[None])[0] == 0


@pytest.mark.parametrize(("width", "offset"), [(8, 0.2), (32, 0.15)])
def test_rows_that_share_an_offset_are_not_as_they_were_drawn(width, offset):
    """In a narrow table by their mean, in a wide one by the direction of it."""
    assert untrained((normal(3000, width) + offset)[None])[0] == 0


def test_torchs_default_device_changes_nothing(monkeypatch):
    monkeypatch.setattr(module, "MOST_ENTRIES", 2000 * 32)
    table = normal(3000, 32)
    for one in (table, table * torch.linspace(1, 9, 32)):
        share, others = untrained(one[None])
        with torch.device("meta"):
            again = untrained(one[None])
        assert again[0] == share and torch.equal(again[1], others)
