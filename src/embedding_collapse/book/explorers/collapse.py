"""Collapse, live: the toy experiment of `embedding_collapse.lab.toy`, trained in the page."""

import math
from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor

from embedding_collapse.decomposition import singular_values
from embedding_collapse.lab import toy
from embedding_collapse.spectrum import information_abundance

from .toy import FEW, MANY
from .training import LiveFigure

ITERATIONS = 5_000
STEPS = list(range(0, ITERATIONS + 1, 50))  # at which the drawing shows IA
START: dict[str, Any] = {"few": 2, "many": 100, "width": 3, "rate": 1, "seed": 0, "row": 1}
THIRDS = [1, 2, 3, 5, 10, 20, 50, 100]
RUNS: list[dict[str, Any]] = [
    {"slider": "few", "colour": FEW, "dash": []},
    {"slider": "many", "colour": MANY, "dash": [6, 4]},
]
ANGLE, TILT = 0.6, 0.35  # radians: from where the script sees a cloud at first


def end() -> tuple[go.Figure, list[list[list[str]]]]:
    """Both runs' tables after the last step, and their IA on the way."""
    tables, axes = trained()
    abundance = information_abundance(singular_values(tables))
    return drawing(tables[:, -1] @ axes.T, abundance), [readout(abundance)]


def trained() -> tuple[Tensor, Tensor]:
    """E_1 of both runs at each of `STEPS`, float64 `[2, T, D_1, K]`, and its three leading
    directions at the start, `[3, K]`."""
    draws = [
        toy.draw(100, 100, START[run["slider"]], START["width"], START["seed"], 1.0) for run in RUNS
    ]
    axes = torch.linalg.svd(draws[0].first.double(), full_matrices=False).Vh[:3]
    tables = toy.descend(toy.stack(draws), STEPS, START["rate"], toy.LOSSES["logistic"])
    return tables.double(), axes


def drawing(rows: Tensor, abundance: Tensor) -> go.Figure:
    """Where both runs end: their rows `[2, D_1, 3]` as clouds, and their IA `[2, T]`."""
    figure = go.Figure()
    for number, (run, places) in enumerate(zip(RUNS, rows, strict=True), 1):
        across, up = seen(places)
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        figure.add_scatter(
            x=across, y=up, mode="markers", marker={"color": run["colour"]}, name=name(run), **axes
        )
    for run, values in zip(RUNS, abundance.tolist(), strict=True):
        figure.add_scatter(
            x=STEPS,
            y=values,
            mode="lines",
            line={"color": run["colour"]},
            showlegend=False,
            xaxis="x3",
            yaxis="y3",
        )
    return figure.update_layout(_LAYOUT)


def name(run: dict[str, Any]) -> str:
    """What tells a run from the other."""
    return f"D₃ = {START[run['slider']]}"


_BLANK: dict[str, Any] = {"range": [-2.2, 2.2], "tickvals": [], "ticktext": []}
_TALL = _BLANK | {"range": [-3.5, 3.5]}  # as the panels are taller than wide
_LAYOUT = {
    "xaxis": _BLANK | {"domain": [0, 0.3]},
    "yaxis": _TALL,
    "xaxis2": _BLANK | {"domain": [0.32, 0.62]},
    "yaxis2": _TALL,
    "xaxis3": {
        "domain": [0.7, 1],
        "title": {"text": "step"},
        "tickvals": [0, ITERATIONS],
        "ticktext": ["0", f"{ITERATIONS:,}"],
    },
    "yaxis3": {"range": [1, START["width"]]},
    "annotations": [{"text": "IA(E₁)", "x": 0.85, "y": 1, "showarrow": False}],
}


def seen(places: Tensor) -> tuple[list[float], list[float]]:
    """Places `[D, 3]` as a reader first sees them, across and up, in units of their root mean
    square distance."""
    x, y, z = (places / places.square().sum(1).mean().sqrt()).T
    back = math.cos(ANGLE) * z - math.sin(ANGLE) * x
    across = math.cos(ANGLE) * x + math.sin(ANGLE) * z
    up = math.cos(TILT) * y - math.sin(TILT) * back
    return across.round(decimals=2).tolist(), up.round(decimals=2).tolist()


def readout(abundance: Tensor) -> list[list[str]]:
    """How much of its IA each run's table keeps; from `[2, T]`."""
    rows = [
        [name(run), f"{ITERATIONS:,}", f"{start:.2f}", f"{end:.2f}"]
        for run, (start, *_, end) in zip(RUNS, abundance.tolist(), strict=True)
    ]
    return [["", "step", "IA at the start", "IA now"], *rows]


FIGURE = LiveFigure(
    name="collapse",
    title="Collapse, live",
    hint="watch the left cloud go flat, then set its D₃ to 1, 3 and 10. When does the spectrum "
    "stay even?",
    alt="The trained rows of the first table as two clouds of points, for 2 and for 100 values of "
    "the third field, and their information abundance over the steps",
    sliders={
        "few": ("D₃, left", THIRDS),
        "many": ("D₃, right", THIRDS),
        "width": ("K", list(range(3, 11))),
        "rate": ("Learning rate", [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000]),
        "seed": ("Seed", list(range(10))),
        "row": ("Row with arrows", list(range(1, 101))),
    },
    start=START,
    end=end,
    content={"iterations": ITERATIONS, "runs": RUNS},
)
