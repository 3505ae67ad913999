"""What a step moves, holds and takes: counted from shapes, and measured."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book.plots.style import COLOURS, DASHES
from embedding_collapse.lab.cost import Cost, table_traffic

# of the same palette as the designs, whose colours these are not
DENSE, BLOCKED, ELSE = "#E69F00", "#56B4E9", "#999999"
PARTS = {
    "embedding": "#0072B2",
    "embedding's gradient": "#56B4E9",
    "embedding's Adam state": "#E69F00",
    "other parameters, gradients, Adam state": "#CC79A7",
    "activations": "#009E73",
}
BELOW = {"orientation": "h", "y": -0.25}
# of a logarithmic axis: all digits between would be a clutter
TICKS = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
LOG = {"type": "log", "tickvals": TICKS, "ticktext": [f"{tick:,g}" for tick in TICKS],
       "minor_ticks": ""}  # fmt: skip


def errors(curves: Mapping[str, Sequence[float]], dense: str, blocked: str) -> go.Figure:
    """Distance from float64 step by step, in relative norm, one line per way to train.

    Args:
        curves: per name the distance after each step.
        dense, blocked: the names of these two; all others are grey.
    """
    figure = go.Figure()
    inks = {dense: DENSE, blocked: BLOCKED}
    for name, values in curves.items():
        figure.add_scatter(
            x=np.arange(1, len(values) + 1), y=[float(f"{v:.3g}") for v in values], name=name,
            mode="lines", line={"color": inks.get(name, ELSE), "dash": "dot" if name == blocked
                                else "solid", "width": 3 if name == blocked else 2},
        )  # fmt: skip
    figure.update_xaxes(title="step")
    figure.update_yaxes(type="log", title="distance from float64 (relative)", exponentformat="e")
    return figure.update_layout(legend=BELOW)


def traffic(
    rows: int, columns: int, repeats: float, shares: Sequence[float], blocks: Sequence[int]
) -> go.Figure:
    """Bytes that blocked Adam must move, as a share of dense Adam's: against T, and against how
    many rows a batch touches.

    Args:
        rows, columns: of the table.
        repeats: look-ups per touched row.
        shares: of the rows that a batch touches, one line each.
        blocks: T, one line each.
    """

    def share_of_dense(touched: float, block: int) -> float:
        look_ups = int(repeats * touched * rows)
        pair = (table_traffic(rows, columns, touched * rows, look_ups, b) for b in (block, None))
        return float(f"{np.divide(*pair):.4g}")

    figure = make_subplots(cols=2, shared_yaxes=True)
    every = np.unique(np.geomspace(1, 256, 25).round().astype(int))
    for share, dash in zip(shares, DASHES, strict=False):
        figure.add_scatter(
            x=every, y=[share_of_dense(share, int(block)) for block in every], row=1, col=1,
            name=f"{share:.1%} of rows touched", mode="lines",
            line={"color": BLOCKED, "dash": dash},
        )  # fmt: skip
    axis = np.geomspace(1e-4, 1, 25)
    for block, dash in zip(blocks, DASHES, strict=False):
        figure.add_scatter(
            x=[float(f"{x:.3g}") for x in axis], y=[share_of_dense(x, block) for x in axis],
            row=1, col=2, name=f"T = {block}", mode="lines",
            line={"color": COLOURS["ME"], "dash": dash},
        )  # fmt: skip
    for column, ends in ((1, every[[0, -1]]), (2, axis[[0, -1]])):
        figure.add_scatter(
            x=[float(f"{end:.3g}") for end in ends], y=[1, 1], name="dense Adam", mode="lines",
            line={"color": DENSE, "width": 2}, showlegend=column == 1, legendgroup="dense",
            row=1, col=column,
        )  # fmt: skip
    figure.update_xaxes(type="log")
    figure.update_xaxes(title="T, steps per flush", tickvals=[1, 4, 16, 64, 256], col=1)
    figure.update_xaxes(title="share of rows touched", tickformat=".0%", col=2,
                        tickvals=[1e-4, 1e-3, 1e-2, 0.1, 1],
                        ticktext=["0.01%", "0.1%", "1%", "10%", "100%"])  # fmt: skip
    figure.update_yaxes(type="log", tickvals=[0.03, 0.1, 0.3, 1, 2])
    figure.update_yaxes(title="bytes, of dense Adam's", col=1)
    return figure.update_layout(legend=BELOW)


def roofline(times: pd.DataFrame) -> go.Figure:
    """What bounds a step of blocked Adam, against T.

    Args:
        times: index T; columns `bytes`, `arithmetic`, `dense`, in microseconds per step.
    """
    figure = go.Figure()
    for column, name, ink, dash in (
        ("dense", "dense Adam, bytes", DENSE, "solid"),
        ("bytes", "blocked, bytes", BLOCKED, "solid"),
        ("arithmetic", "blocked, arithmetic", COLOURS["ME"], "dash"),
    ):
        figure.add_scatter(
            x=times.index, y=times[column].map(lambda t: float(f"{t:.4g}")), name=name,
            mode="lines+markers", line={"color": ink, "dash": dash},
            hovertemplate=f"{name}, T = %{{x}}: %{{y}} us<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(type="log", title="T, steps per flush", tickvals=list(times.index))
    figure.update_yaxes(type="log", title="least time per step (us)", dtick=1)
    return figure.update_layout(legend=BELOW)


def memory_parts(costs: Mapping[str, Cost], block: int | None) -> go.Figure:
    """Bytes in training by what they are for, a bar per cell; `block` as in `Cost.memory`."""
    figure = go.Figure()
    names = list(costs)[::-1]  # plotly draws from below
    for part, ink in PARTS.items():
        figure.add_bar(
            y=names, x=[round(costs[name].memory(block)[part] / 1e9, 4) for name in names],
            name=part, orientation="h", marker={"color": ink},
            hovertemplate=f"%{{y}}, {part}: %{{x}} GB<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="GB in training")
    legend = {"orientation": "h", "y": -0.15, "traceorder": "normal"}
    return figure.update_layout(barmode="stack", legend=legend)


def memory_by_features(
    bytes_per_number: Mapping[str, float], columns: Sequence[int], devices: Mapping[str, float]
) -> go.Figure:
    """Memory of tables alone against the number of features, and what devices hold.

    Args:
        bytes_per_number: per way to train, bytes for each number of a table.
        columns: numbers per feature, a dash each.
        devices: bytes of memory by name.
    """
    figure = go.Figure()
    features = np.geomspace(1e5, 1e9, 9)
    for (name, size), ink in zip(bytes_per_number.items(), (DENSE, BLOCKED), strict=True):
        for wide, dash in zip(columns, DASHES, strict=False):
            figure.add_scatter(
                x=[float(f"{x:.3g}") for x in features],
                y=[float(f"{size * wide * x / 1e9:.4g}") for x in features],
                name=f"{name}, {wide} numbers", mode="lines", line={"color": ink, "dash": dash},
            )  # fmt: skip
    for name, size in devices.items():
        figure.add_scatter(
            x=[features[0], features[-1]], y=[size / 1e9] * 2, mode="lines+text", name=name,
            text=[name, ""], textposition="top right", showlegend=False,
            line={"color": ELSE, "width": 1},
        )  # fmt: skip
    figure.update_xaxes(type="log", title="features", exponentformat="power", dtick=1)
    figure.update_yaxes(type="log", title="GB for the tables", exponentformat="power", dtick=1)
    return figure.update_layout(legend=BELOW)


def growth(points: pd.DataFrame) -> go.Figure:
    """Time per step along each axis, log-log: the fastest round, the slowest as an error bar.

    Args:
        points: `axis`, `value`, `engine`, `seconds`, `slowest`, from `benchmarks/cost.py`.
    """
    axes = list(dict.fromkeys(points["axis"]))
    figure = make_subplots(2, 2, subplot_titles=axes, vertical_spacing=0.18)
    names = {False: "dense Adam", True: "blocked Adam (its twin)"}
    for place, axis in enumerate(axes):
        for engine, name in names.items():
            found = points[(points["axis"] == axis) & (points["engine"] == engine)]
            if found.empty:
                continue
            times = found["seconds"] * 1e3
            figure.add_scatter(
                x=found["value"], y=times.round(2), mode="lines+markers", name=name,
                error_y={"array": (found["slowest"] * 1e3 - times).round(2),
                         "arrayminus": [0] * len(found), "thickness": 1},
                line={"color": BLOCKED if engine else DENSE}, showlegend=place == 0,
                row=place // 2 + 1, col=place % 2 + 1,
            )  # fmt: skip
        values = sorted(set(points[points["axis"] == axis]["value"]))
        figure.update_xaxes(
            type="log", tickvals=values, minor_ticks="",
            ticktext=[f"{v / 1e6:g} M" if v >= 1e6 else f"{v / 1e3:g} k" if v >= 1e4 else f"{v:,}"
                      for v in values],
            row=place // 2 + 1, col=place % 2 + 1,
        )  # fmt: skip
    figure.update_yaxes(**LOG)
    figure.update_yaxes(title="ms per step", col=1)
    return figure.update_layout(legend={"orientation": "h", "y": -0.12})


def against_products(cells: pd.DataFrame) -> go.Figure:
    """Measured time per step against the products of a step, a marker per cell.

    Args:
        cells: `cell`, `design` ("base", "SE" or "ME"), `gflop`, `ms`.
    """
    figure = go.Figure()
    for design, group in cells.groupby("design", sort=False):
        figure.add_scatter(
            x=group["gflop"].round(3), y=group["ms"].round(2), mode="markers", name=design,
            marker={"color": COLOURS[design], "size": 9}, hovertext=group["cell"],
            hovertemplate="%{hovertext}<br>%{x} GFLOP, %{y} ms<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="products of a step (GFLOP)", **LOG)
    figure.update_yaxes(title="measured (ms per step)", **LOG)
    return figure.update_layout(legend=BELOW)
