"""Appendix: what a step holds, moves and takes, the optimizer of large tables, many machines."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.claims import Comparison
from embedding_collapse.book.analysis.ledger import by_spec, effect_of
from embedding_collapse.book.plots import (
    AMBER,
    BELOW,
    DASHES,
    NEUTRAL,
    PINK,
    SKY,
    log_axis,
)
from embedding_collapse.lab.cost import Cost, expected_touched, step_cost, table_traffic
from embedding_collapse.lab.data.synthetic import LAWS, zipf_shares
from embedding_collapse.lab.models import MODELS, PAPER, Size
from embedding_collapse.lab.optimizers import Trial
from embedding_collapse.lab.records import Record

DENSE, BLOCKED, OTHER = AMBER, SKY, NEUTRAL  # of the optimizers
PARTS = {
    "embedding": "#0072B2",
    "embedding's gradient": SKY,
    "embedding's Adam state": AMBER,
    "other parameters, gradients, Adam state": PINK,
    "activations": "#009E73",
}
CRITEO = (1_327_180, 10)  # rows and columns of a table
CRITEO_ROWS = 45_840_617  # of its file
T4 = (8.1e12, 3.2e11)  # its data sheet: operations, bytes per second
H100 = {  # training rows per second by cell, as measured once: the table in benchmarks/README.md
    "DNN base": 771_447,
    "DNN SE 10x": 628_557,
    "DNN ME 10x": 526_812,
    "DCNv2 base": 363_787,
    "DCNv2 SE 10x": 96_687,
    "DCNv2 ME 10x": 285_575,
}
TICKS = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
LOG = log_axis({tick: f"{tick:,g}" for tick in TICKS})


def count(
    fields: int, features: int, embedding_size: int, batch: int, scale: int
) -> dict[str, Cost]:
    """The `Cost` of a step of the paper's models: base, SE and ME at one scale, by name.

    Args:
        fields: N.
        features: D in all, spread evenly over the fields, on which no count depends.
        embedding_size: K of the base model; 0 is the paper's of each.
        batch: B.
        scale: of SE and ME.
    """
    costs, even = {}, [features // fields] * fields
    for model in PAPER:
        own = embedding_size or MODELS[model].embedding_size
        for label, size in {
            "base": Size(fields, 1, own),
            f"SE {scale}x": Size(fields, 1, own * scale),
            f"ME {scale}x": Size(fields, scale, own),
        }.items():
            costs[f"{MODELS[model].name} {label}"] = step_cost(model, even, size, batch)
    return costs


# --- memory ---------------------------------------------------------------------------------------


def memory_parts(costs: Mapping[str, Cost], block: int | None) -> go.Figure:
    """Bytes in training by what they are for, a bar per model; `block` as in `Cost.memory`."""
    figure = go.Figure()
    names = list(costs)[::-1]  # plotly draws from below
    for part, ink in PARTS.items():
        figure.add_bar(
            y=names,
            x=[round(costs[name].memory(block)[part] / 1e9, 4) for name in names],
            name=part,
            orientation="h",
            marker={"color": ink},
            hovertemplate=f"%{{y}}, {part}: %{{x}} GB<extra></extra>",
        )
    figure.update_xaxes(title="GB in training")
    legend = {"orientation": "h", "y": -0.15, "traceorder": "normal"}
    return figure.update_layout(barmode="stack", legend=legend)


# --- time -----------------------------------------------------------------------------------------


def touched(batch: int) -> float:
    """How many different rows of a table a batch looks up, by the synthetic law's frequencies."""
    law = LAWS["synthetic"]()
    return expected_touched([torch.from_numpy(zipf_shares(n, law.shift)) for n in law.sizes], batch)


def counts(
    costs: Mapping[str, Cost], rows: float, block: int | None, memory: float, products: float
) -> pd.DataFrame:
    """Parameters, products and memory of a step, and the least milliseconds that it can take.

    Args:
        costs: by name.
        rows: different ones of the table in a batch.
        block: as in `Cost.memory`.
        memory, products: bytes and operations per second of a machine.
    """
    table = {}
    for name, cost in costs.items():
        moved = {t: sum(cost.traffic(rows, t).values()) / memory for t in (block, None)}
        table[name] = {
            "table, M": cost.embedding / 1e6,
            "others, M": cost.dense / 1e6,
            "GFLOP": cost.flops / 1e9,
            "GB": sum(cost.memory(block).values()) / 1e9,
            "products, ms": 1e3 * cost.flops / products,
            "bytes, ms": 1e3 * moved[block],
            "with dense Adam": 1e3 * moved[None],
        }
    return pd.DataFrame.from_dict(table, orient="index")


def growth(points: pd.DataFrame) -> go.Figure:
    """The processor's time per step and thread along each axis, beside the floor.

    Args:
        points: `axis`, `value`, `engine`, `cpu_seconds`, `threads`, `floor` and `computed_memory`,
            from `benchmarks/cost.py`.
    """
    took = points["cpu_seconds"] / points["threads"]
    ms = points.assign(measured=(1e3 * took).round(2), least=(1e3 * points["floor"]).round(2))
    return _panels(ms, "floor", "ms per step")


def memory_growth(points: pd.DataFrame) -> go.Figure:
    """Peak memory along each axis, beside what is counted; `memory`, `computed_memory` and
    `best_epoch` of the points are bytes."""
    counted = points["computed_memory"] + points["best_epoch"]
    measured, least = ((size / 1e9).round(4) for size in (points["memory"], counted))
    return _panels(points.assign(measured=measured, least=least), "counted", "GB")


def _panels(points: pd.DataFrame, least: str, unit: str) -> go.Figure:
    """A panel per axis, in it two lines per optimizer: `measured`, and dotted the `least`."""
    axes = list(dict.fromkeys(points["axis"]))
    figure = make_subplots(3, 2, subplot_titles=axes, vertical_spacing=0.12)
    for place, axis in enumerate(axes):
        at = {"row": place // 2 + 1, "col": place % 2 + 1}
        of_axis = points[points["axis"] == axis]
        for engine, group in of_axis.groupby("engine"):
            name, ink = ("blocked Adam", BLOCKED) if engine else ("dense Adam", DENSE)
            for column, label, line in (
                ("measured", name, {"color": ink}),
                ("least", f"{least}, {name}", {"color": ink, "dash": "dot"}),
            ):
                figure.add_scatter(
                    x=group["value"],
                    y=group[column],
                    name=label,
                    mode="lines+markers",
                    line=line,
                    showlegend=place == 0,
                    **at,
                )
        ticks = {
            v: f"{v / 1e6:g} M" if v >= 1e6 else f"{v / 1e3:g} k" if v >= 1e4 else f"{v:,}"
            for v in sorted(set(of_axis["value"]))
        }
        figure.update_xaxes(log_axis(ticks), **at)
    figure.update_yaxes(LOG, matches="y").update_yaxes(title=unit, col=1)
    return figure.update_layout(legend={"orientation": "h", "y": -0.08})


def grown(run: Mapping[str, Any]) -> pd.DataFrame:
    """How many times the processor's time, floor, products and memory grow along each axis, which
    share of the products the cross layers have, and what memory is over counted.

    Args:
        run: the record of `benchmarks/cost.py`.
    """
    points = pd.DataFrame(run["points"])
    rows = {}
    for (axis, engine), group in points.groupby(["axis", "engine"], sort=False):
        first, last = group.iloc[0], group.iloc[-1]
        counted = group["computed_memory"] + group["best_epoch"]
        rows[f"{axis}, blocked Adam" if engine else str(axis)] = {
            "from": f"{first['value']:,}",
            "to": f"{last['value']:,}",
            "growth of time": last["cpu_seconds"] / first["cpu_seconds"],
            "growth of floor": last["floor"] / first["floor"],
            "growth of products": last["flops"] / first["flops"],
            "growth of memory": last["memory"] / first["memory"],
            "cross layers, first": _cross_share(run, str(axis), first),
            "cross layers, last": _cross_share(run, str(axis), last),
            "memory over counted, at most": (group["memory"] / counted).max(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _cross_share(run: Mapping[str, Any], axis: str, point: pd.Series) -> float:
    at = run["centre"] | {axis: point["value"]}
    weights = Size(1, 1, 1).cross_layers * at["M"] * (at["fields"] * at["K"]) ** 2
    return float(3 * 2 * at["batch"] * weights / point["flops"])  # forward and twice backward


# --- requests, and products in fewer bits ---------------------------------------------------------


def serving(record: Mapping[str, Any], rows: int) -> pd.DataFrame:
    """Milliseconds of a request of so many rows, the least measured: a row per model, a column per
    size.

    Args:
        record: of `benchmarks/serving.py`.
        rows: scored at once, as it measured them.
    """
    cells = [cell for cell in record["cells"] if cell["rows"] == rows]
    table: dict[str, dict[str, float]] = {}
    for cell in cells:
        of_model = table.setdefault(MODELS[cell["model"]].name, {})
        of_model[cell["size"]] = 1000 * cell["cpu_seconds"][0]
    return pd.DataFrame.from_dict(table, orient="index")


def fewer_bits(runs: Iterable[Record]) -> pd.DataFrame:
    """Runs with products in bf16 beside those that are alike but for float32: a row per cell and
    one for their mean, of two measures the `Effect`, bf16 minus float32."""
    groups = by_spec(runs)
    pairs = [
        Comparison(low, full)
        for full in groups
        if full.precision is None and (low := replace(full, precision="bf16")) in groups
    ]
    rows = {f"{MODELS[pair.new.model].name} {pair.new.label}": [pair] for pair in pairs}
    rows["their mean"] = pairs
    return pd.DataFrame(
        {
            measure.name: {name: effect_of(of, groups, measure) for name, of in rows.items()}
            for measure in (measures.AUC, measures.FAIR_ABUNDANCE)
        }
    )


# --- all of Criteo --------------------------------------------------------------------------------


def criteo_plan(
    criteo: Mapping[str, Any], rates: Mapping[str, Sequence[float]], scale: int, block: int
) -> pd.DataFrame:
    """Memory in GB and minutes of an epoch's training on all of Criteo's rows: a row
    per model and size, a column per machine; that of an H100 is NaN for what was not timed there.

    Args:
        criteo: the record of `benchmarks/criteo.py`; how many times its floor a base model took
            there, with fewer features and so dense Adam, is taken for all sizes and machines.
        rates: operations and bytes per second by the number of threads, from `benchmarks/cost.py`.
        scale: of SE and ME.
        block: as in `Cost.memory`.
    """
    machines = {"two cores": rates["2"], "T4": T4}
    fields, batch = 39, 2048  # Criteo's, and the paper's, whatever the page is asked about
    steps, rows, table = 0.8 * CRITEO_ROWS / batch, touched(batch), {}
    costs = count(fields, CRITEO[0], 0, batch, scale)
    fewer = count(fields, criteo["encode"]["features"], 0, batch, scale)
    for model in ("dnn", "dcnv2"):
        base, record = fewer[f"{MODELS[model].name} base"], criteo[model]
        took = record["training_seconds"] / record["training_rows"] * batch
        over = took / _floor(base, rates["2"], rows, None)
        for name, cost in costs.items():
            if name.startswith(f"{MODELS[model].name} "):
                table[name] = {"GB": sum(cost.memory(block).values()) / 1e9} | {
                    f"minutes, {machine}": over * steps / 60 * _floor(cost, fast, rows, block)
                    for machine, fast in machines.items()
                }
                speed = H100.get(name, math.nan)
                table[name]["minutes, H100"] = 0.8 * CRITEO_ROWS / speed / 60
    return pd.DataFrame.from_dict(table, orient="index")


def _floor(cost: Cost, rates: Sequence[float], rows: float, block: int | None) -> float:
    """Seconds of a step: its products, then its bytes."""
    products, copies = rates
    return cost.flops / products + sum(cost.traffic(rows, block).values()) / copies


def criteo_disk(criteo: Mapping[str, Any]) -> dict[str, float]:
    """GB of Criteo's whole file and of what it is encoded to, at the record's bytes a row."""
    return {
        name: size / criteo["rows"] * CRITEO_ROWS / 1e9 for name, size in criteo["bytes"].items()
    }


# --- the optimizer --------------------------------------------------------------------------------


def errors(trial: Trial) -> go.Figure:
    """Distance from float64 step by step, a line per optimizer."""
    figure = go.Figure()
    lines = ((DENSE, "solid"), (BLOCKED, "dot"), (OTHER, "solid"))  # or one would hide its equal
    for (name, values), (ink, dash) in zip(trial.distances.items(), lines, strict=True):
        figure.add_scatter(
            x=np.arange(1, len(values) + 1),
            y=[float(f"{v:.3g}") for v in values],
            name=name,
            mode="lines",
            line={"color": ink, "dash": dash, "width": 3 if dash == "dot" else 2},
        )
    figure.update_xaxes(title="step")
    figure.update_yaxes(type="log", title="distance from float64 (relative)", exponentformat="e")
    return figure.update_layout(legend=BELOW)


def share_of_dense(rows: float, block: int, size: tuple[int, int] = CRITEO) -> float:
    """Bytes that blocked Adam must move of a table, over dense Adam's.

    Args:
        rows: different ones in a batch, each looked up four times, as in the synthetic law's.
        block: T.
        size: rows and columns of the table.
    """
    one, other = (table_traffic(*size, rows, int(4 * rows), every) for every in (block, None))
    return one / other


def traffic() -> go.Figure:
    """`share_of_dense` against T; a line per share of the table's rows that a batch looks up."""
    figure = go.Figure()
    blocks = np.unique(np.geomspace(1, 256, 25).round().astype(int))
    for share, dash in zip((0.001, 0.015, 0.1, 1.0), DASHES, strict=False):
        values = [share_of_dense(share * CRITEO[0], int(block)) for block in blocks]
        figure.add_scatter(
            x=blocks,
            y=[float(f"{value:.4g}") for value in values],
            mode="lines",
            name=f"{share:.1%} of rows touched",
            line={"color": BLOCKED, "dash": dash},
        )
    figure.add_scatter(
        x=blocks[[0, -1]],
        y=[1, 1],
        name="dense Adam",
        mode="lines",
        line={"color": DENSE, "width": 2},
    )
    figure.update_xaxes(type="log", title="T, steps per flush", tickvals=[1, 4, 16, 64, 256])
    figure.update_yaxes(type="log", title="bytes, of dense Adam's", tickvals=[0.03, 0.1, 0.3, 1, 2])
    return figure.update_layout(legend=BELOW)
