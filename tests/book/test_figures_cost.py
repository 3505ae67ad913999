"""Figures of cost: what they draw is what was counted or measured."""

import numpy as np
import pandas as pd
import pytest

from embedding_collapse.book.figures import cost as drawn
from embedding_collapse.lab.cost import step_cost, table_traffic
from embedding_collapse.lab.models import Size


def test_errors_are_drawn_on_a_log_axis_with_dense_and_blocked_in_their_colours():
    figure = drawn.errors({"a": [1e-7, 2e-7], "b": [1e-7, 1e-7], "c": [0.1, 0.2]}, "a", "b")
    assert [trace.line.color for trace in figure.data] == [drawn.DENSE, drawn.BLOCKED, drawn.ELSE]
    assert figure.layout.yaxis.type == "log"
    assert list(figure.data[0].y) == [1e-7, 2e-7]


def test_traffic_is_that_of_the_cost_model_as_a_share_of_dense():
    figure = drawn.traffic(1000, 10, 4, [0.1], [32])
    against_block, against_share, *dense = figure.data
    assert [(trace.name, trace.y) for trace in dense] == [("dense Adam", (1, 1))] * 2
    place = list(against_block.x).index(1)
    expected = table_traffic(1000, 10, 100, 400, 1) / table_traffic(1000, 10, 100, 400, None)
    assert against_block.y[place] == pytest.approx(expected, rel=1e-3)
    assert np.all(np.diff(against_block.y) < 0)  # fewer flushes, fewer bytes
    assert np.all(np.diff(against_share.y) > 0)  # more rows, more bytes
    assert against_share.y[0] < 0.1 and against_share.y[-1] > 1


def test_roofline_has_a_line_for_each_bound():
    times = pd.DataFrame(
        {"dense": [9.0, 9.0], "bytes": [9.0, 2.0], "arithmetic": [3.0, 3.0]}, [1, 8]
    )
    figure = drawn.roofline(times)
    assert [list(trace.y) for trace in figure.data] == [[9, 9], [9, 2], [3, 3]]


def test_memory_bars_add_up_to_what_is_computed():
    one = step_cost("dcnv2", [10_000, 3], Size(2, 1, 4), 64)
    figure = drawn.memory_parts({"this": one}, None)
    assert {bar.name for bar in figure.data} == set(one.memory()) == set(drawn.PARTS)
    assert sum(bar.x[0] for bar in figure.data) == pytest.approx(
        sum(one.memory().values()) / 1e9, abs=5e-4
    )


def test_tables_grow_in_proportion_to_features_and_devices_are_marked():
    figure = drawn.memory_by_features({"dense": 16, "blocked": 12}, [10], {"24 GB": 24e9})
    dense, blocked, device = figure.data
    assert dense.y[-1] == 160 and blocked.y[-1] == 120  # GB for 10^9 features
    assert device.y == (24, 24) and device.text[0] == "24 GB"


def test_growth_has_a_panel_per_axis_and_a_line_per_optimizer():
    points = pd.DataFrame(
        [(axis, value, engine, value / 1e4, value / 5e3)
         for axis in ("features", "K") for value in (10, 20)
         for engine in ((False, True) if axis == "features" else (False,))],
        columns=["axis", "value", "engine", "seconds", "slowest"],
    )  # fmt: skip
    figure = drawn.growth(points)
    assert [trace.line.color for trace in figure.data] == [drawn.DENSE, drawn.BLOCKED, drawn.DENSE]
    assert list(figure.data[0].y) == [1, 2] and list(figure.data[0].error_y.array) == [1, 2]


def test_cells_are_coloured_by_design():
    cells = pd.DataFrame({"cell": ["a", "b"], "design": ["base", "ME"], "gflop": [1.0, 2.0],
                          "ms": [3.0, 4.0]})  # fmt: skip
    figure = drawn.against_products(cells)
    assert [trace.name for trace in figure.data] == ["base", "ME"]
