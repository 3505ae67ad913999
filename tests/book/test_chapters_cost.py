"""The page on cost: what it draws and tells is what was counted or measured."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from embedding_collapse.book.chapters import cost as chapter
from embedding_collapse.lab.cost import step_cost, table_traffic
from embedding_collapse.lab.models import PAPER, Size
from embedding_collapse.lab.optimizers import Trial


def test_every_model_is_counted_at_three_sizes():
    costs = chapter.count(fields=4, features=400, embedding_size=8, batch=8, scale=3)
    assert len(costs) == 3 * len(PAPER)
    wide, several = costs["DCNv2 SE 3x"], costs["DCNv2 ME 3x"]
    assert wide.embedding == several.embedding == 3 * costs["DCNv2 base"].embedding == 400 * 8 * 3
    assert wide.dense > several.dense


def test_memory_bars_add_up_to_what_is_computed():
    one = step_cost("dcnv2", [10_000, 3], Size(2, 1, 4), 64)
    figure = chapter.memory_parts({"this": one}, None)
    assert {bar.name for bar in figure.data} == set(one.memory()) == set(chapter.PARTS)
    assert sum(bar.x[0] for bar in figure.data) == pytest.approx(
        sum(one.memory().values()) / 1e9, abs=5e-4
    )


def test_the_floor_is_the_time_of_products_and_of_bytes():
    one = step_cost("dnn", [1000, 3], Size(2, 1, 4), 64)
    row = chapter.counts({"this": one}, 50, 32, memory=1e9, products=1e12).loc["this"]
    assert row["products, ms"] == pytest.approx(one.flops / 1e9)
    assert row["bytes, ms"] == pytest.approx(sum(one.traffic(50, 32).values()) / 1e6)
    assert row["with dense Adam"] == pytest.approx(sum(one.traffic(50).values()) / 1e6)


@pytest.fixture
def points() -> pd.DataFrame:
    """Two points on each of two axes, of features with either optimizer."""
    return pd.DataFrame(
        [
            (
                axis,
                value,
                engine,
                value / 1e4,
                2,
                value / 1e5,
                10 * value,
                4 * value,
                value,
                600 * value,
            )
            for axis in ("features", "K")
            for value in (10, 20)
            for engine in ((False, True) if axis == "features" else (False,))
        ],
        columns=[
            "axis",
            "value",
            "engine",
            "cpu_seconds",
            "threads",
            "floor",
            "memory",
            "computed_memory",
            "best_epoch",
            "flops",
        ],
    )


def test_growth_has_a_panel_per_axis_and_a_line_per_optimizer_over_its_floor(points):
    figure = chapter.growth(points)
    inks = [chapter.DENSE] * 2 + [chapter.BLOCKED] * 2 + [chapter.DENSE] * 2
    assert [trace.line.color for trace in figure.data] == inks
    measured, floor, *_ = figure.data
    assert list(measured.y) == [0.5, 1]  # of either thread
    assert list(floor.y) == [0.1, 0.2] and floor.line.dash == "dot"
    measured, counted, *_ = chapter.memory_growth(points.assign(memory=points["memory"] * 1e6)).data
    assert list(measured.y) == [0.1, 0.2]
    assert counted.name == "counted, dense Adam"


def test_growth_is_told_from_the_first_point_to_the_last(points):
    centre = {"features": 10, "fields": 2, "K": 10, "M": 1, "batch": 1, "threads": 1}
    grown = chapter.grown({"points": points.to_dict("records"), "centre": centre})
    assert list(grown.index) == ["features", "features, blocked Adam", "K"]
    row = grown.loc["K"]
    assert row["growth of time"] == row["growth of products"] == row["growth of memory"] == 2
    assert row["memory over counted, at most"] == 2  # 10 of 4 + 1
    layers = Size(2, 1, 10).cross_layers
    assert row["cross layers, first"] == pytest.approx(6 * layers * (2 * 10) ** 2 / 6000)
    assert row["cross layers, last"] == pytest.approx(6 * layers * (2 * 20) ** 2 / 12000)


def test_a_request_is_told_in_milliseconds_by_the_least_time_of_its_rows():
    cells = [
        {"model": "dnn", "size": size, "rows": rows, "cpu_seconds": [least, 9.0]}
        for size, rows, least in (("base", 1, 1e-3), ("base", 256, 4e-3), ("ME 4x", 256, 1e-2))
    ]
    table = chapter.serving({"cells": cells}, 256)
    assert table.to_dict("index") == {"DNN": {"base": 4.0, "ME 4x": 10.0}}


def test_fewer_bits_are_compared_with_what_is_alike_but_for_them(make_record):
    full = [make_record("se", scale, seed, auc=0.7) for scale in (1, 4) for seed in (0, 1)]
    low = [
        replace(run, spec=run.spec | {"precision": "bf16"}, key=f"{run.key} in bf16")
        for run in (make_record("se", 1, seed, auc=0.69) for seed in (0, 1))
    ]
    table = chapter.fewer_bits(full + low)
    assert list(table.index) == ["DCNv2 base", "their mean"]
    assert table["test AUC"].iloc[0].value == pytest.approx(-0.01)
    assert table["mean IA against random"].iloc[0].value == 0


def test_the_errors_have_a_line_per_optimizer_and_a_point_per_step():
    names = ("dense Adam", "blocked Adam", "lazy Adam")
    figure = chapter.errors(Trial(5.0, {name: [1e-7, 2e-7] for name in names}, {}, True))
    inks = [trace.line.color for trace in figure.data]
    assert inks == [chapter.DENSE, chapter.BLOCKED, chapter.OTHER]
    assert all(list(trace.x) == [1, 2] for trace in figure.data)


def test_traffic_is_that_of_the_cost_model_as_a_share_of_dense():
    assert chapter.share_of_dense(100, 1, (1000, 10)) == pytest.approx(
        table_traffic(1000, 10, 100, 400, 1) / table_traffic(1000, 10, 100, 400, None)
    )
    few, _, _, every_row, dense = chapter.traffic().data
    assert np.all(np.diff(few.y) < 0)  # fewer flushes, fewer bytes
    assert few.y[-1] < 0.1 and every_row.y[-1] > 1  # more rows, more bytes
    assert dense.y == (1, 1)


def test_a_plan_takes_the_measured_models_distance_from_its_floor_everywhere():
    """What was measured had fewer features, and dense Adam."""

    rows = chapter.touched(2048)

    def floor(cost, block):
        return (cost.flops + sum(cost.traffic(rows, block).values())) / 1e9

    costs = chapter.count(39, chapter.CRITEO[0], 0, 2048, 2)
    trained = chapter.count(39, 3900, 0, 2048, 2)
    measured = {
        model: {"training_rows": 4096, "training_seconds": 3 * floor(trained[name], None)}
        for model, name in (("dnn", "DNN base"), ("dcnv2", "DCNv2 base"))
    }
    record = {"rows": 10, "bytes": {"file": 2580}, "encode": {"features": 3900}} | measured
    rates = {"1": (1e9, 1e9), "2": (2e9, 2e9)}
    table = chapter.criteo_plan(record, rates, 2, 32)
    assert list(table.index) == [name for name in costs if name.startswith(("DNN", "DCNv2"))]
    expected = 0.8 * chapter.CRITEO_ROWS / 2048 * 3 * floor(costs["DNN SE 2x"], 32) / 2 / 60
    assert table.loc["DNN SE 2x", "minutes, two cores"] == pytest.approx(expected)
    timed = table["minutes, H100"].dropna()  # at the scales that were
    expected = {name: 0.8 * chapter.CRITEO_ROWS / chapter.H100[name] / 60 for name in timed.index}
    assert timed.to_dict() == pytest.approx(expected)
    assert set(timed.index) == {"DNN base", "DCNv2 base"}
    assert chapter.criteo_disk(record)["file"] == pytest.approx(11.83, abs=0.01)


def test_an_h100s_speeds_are_those_of_the_table_that_they_are_from():
    text = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text()
    table = text.partition("**NVIDIA H100**")[2].partition("What to make of them")[0]
    rows = dict(re.findall(r"^\| (\w+ [^|]+) \| ([\d,]+) \(", table, re.MULTILINE))
    rows = {name.lower(): int(speed.replace(",", "")) for name, speed in rows.items()}
    for name, speed in chapter.H100.items():
        assert rows[name.lower()] == speed
