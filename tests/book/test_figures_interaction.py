"""Figures of sub-embeddings: their numbers are those of the records."""

import numpy as np
import pytest

from embedding_collapse.book import figures, plots
from embedding_collapse.book.findings.interaction import Influence
from embedding_collapse.lab.groups import Cell

PAIRS = [[[9.0, 0.8, 1.2], [1.6, 9.0, 2.4], [2.8, 3.2, 9.0]]]  # user, device, site


@pytest.fixture
def records(make_record):
    """Two seeds, the second twice the first; another design; a model without sub-embeddings."""
    twice = [[[2 * value for value in row] for row in PAIRS[0]]]
    return [
        make_record(abundance=[0.9, 0.3, 0.5], projected_abundance=PAIRS),
        make_record(seed=1, abundance=[0.9, 0.3, 0.5], projected_abundance=twice),
        make_record("se", 4, abundance=[0.9, 0.3, 0.5], projected_abundance=PAIRS),
        make_record(model="dnn", projected_abundance=None),
    ]


def test_the_heat_map_is_the_mean_over_seeds_sorted_by_own_abundance(records):
    heat = figures.sub_embeddings_with_sums(records).data[0]
    assert list(heat.x) == list(heat.y) == ["device", "site", "user"]
    expected = [[None, 3.6, 2.4], [4.8, None, 4.2], [1.2, 1.8, None]]  # rows i, columns j
    assert [list(row) for row in heat.z] == expected


def test_the_bars_are_the_row_and_column_sums_without_the_field_itself(records):
    _, above, beside = figures.sub_embeddings_with_sums(records).data[:3]
    assert list(above.x) == list(beside.y) == ["device", "site", "user"]
    np.testing.assert_allclose(above.y, [6.0, 5.4, 6.6])
    np.testing.assert_allclose(beside.x, [6.0, 9.0, 3.0])
    np.testing.assert_allclose(above.customdata, [1.2, 2.0, 3.6])
    assert (above.yaxis, beside.xaxis, beside.orientation) == ("y2", "x2", "h")


def test_a_menu_shows_one_run_at_a_time(records):
    figure = figures.sub_embeddings_with_sums(records)
    assert len(figure.data) == 6
    first, second = figure.layout.updatemenus[0].buttons
    assert first.label == "synthetic-mini, DCNv2 base"
    assert list(first.args[0]["visible"]) == [True] * 3 + [False] * 3
    assert list(second.args[0]["visible"]) == [False] * 3 + [True] * 3
    assert [trace.visible for trace in figure.data] == [True] * 3 + [False] * 3


def test_influence_has_a_dot_per_seed_and_crosses_where_there_are_random_projections():
    found = [
        Influence(Cell("flights", "dcnv2", "se", 4), [0.5, 0.6], [0.1, 0.2], [0.4, 0.3], [0, 0.0]),
        Influence(Cell("flights", "ffm", "se", 1), [0.7, 0.8], [0.6, 0.65], [], []),
    ]
    chance, own, _, partner = figures.influence(found).data
    names = ["flights, DCNv2 SE 4x"] * 2 + ["flights, FFM base"] * 2
    assert list(own.x) == [0.5, 0.6, 0.7, 0.8]
    assert list(own.y) == list(partner.y) == names
    assert list(partner.x) == [0.1, 0.2, 0.6, 0.65]
    assert (list(chance.x), list(chance.y)) == ([0.4, 0.3], names[:2])
    assert (chance.xaxis, own.xaxis, partner.xaxis) == ("x", "x", "x2")


def test_names_of_fields_with_markup_are_text(records):
    for record in records:
        record.dataset["fields"] = ["<b>user</b>", "device", "site"]
    heat = figures.sub_embeddings_with_sums(records).data[0]
    assert list(heat.x) == ["device", "site", "&lt;b&gt;user&lt;/b&gt;"]
    menu = plots.spectra_by_field(records[:1]).layout.updatemenus[0]
    assert [button.label for button in menu.buttons] == [
        "device (3)", "site (20)", "&lt;b&gt;user&lt;/b&gt; (50)",
    ]  # fmt: skip
