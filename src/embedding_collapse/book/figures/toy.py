"""The toy experiment, and the gradient of a factorisation machine direction by direction."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from embedding_collapse.book.plots.style import AMBER, DASHES, NEUTRAL, PINK, SKY, faint
from embedding_collapse.lab.gradient import Pull
from embedding_collapse.lab.toy import Curves

FEW, MANY = PINK, SKY  # features of the third field, here and in the explorer
INKS = [FEW, MANY, AMBER, NEUTRAL]


def toy_curves(curves: Curves, thirds: Sequence[int]) -> go.Figure:
    """IA(E_1) over the iterations, a line per cardinality of the third field: the mean over seeds,
    and a band from the lowest seed to the highest."""
    figure = go.Figure()
    for third, values, ink, dash in zip(
        thirds, curves.abundance, cycle(INKS), cycle(DASHES), strict=False
    ):
        _line_and_band(figure, curves.steps, values, f"D<sub>3</sub> = {third}", ink, dash)
    figure.update_xaxes(title="iteration")
    figure.update_yaxes(title="IA(E<sub>1</sub>)")
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})


def toy_sweep(swept: Mapping[int, Curves], thirds: Sequence[int]) -> go.Figure:
    """How much of its IA the first table keeps, against the third field's cardinality; a line per
    K, mean and range over seeds."""
    figure = go.Figure()
    for (width, curves), ink, dash in zip(swept.items(), cycle(INKS), cycle(DASHES), strict=False):
        kept = curves.abundance[..., -1] / curves.abundance[..., 0]  # [C, S]
        _line_and_band(figure, thirds, kept.T, f"K = {width}", ink, dash, mode="lines+markers")
    figure.update_xaxes(
        title="D<sub>3</sub>, features of the third field", type="log", tickvals=list(thirds),
        ticktext=[str(third) for third in thirds], minor_ticks="",
    )  # fmt: skip
    figure.update_yaxes(title="final IA(E<sub>1</sub>) / initial", tickformat=".0%")
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})


def toy_span(runs: Mapping[str, Curves]) -> go.Figure:
    """The share of E_1 inside the span of E_3, and IA(E_1), over the iterations, on a logarithmic
    axis on which iteration 0 stands a decade before the next; a line per run of one third field."""
    figure = make_subplots(
        cols=2, subplot_titles=["share of E<sub>1</sub> inside the span", "IA(E<sub>1</sub>)"]
    )
    for (name, curves), ink, dash in zip(runs.items(), cycle((FEW, AMBER)), DASHES, strict=False):
        steps = curves.steps.numpy()
        # a page has no more dots
        drawn = np.unique([0, *np.geomspace(1, len(steps) - 1, 50).round().astype(int)])
        places = np.where(steps == 0, steps[1] / 10, steps)
        for column, values in ((1, curves.inside), (2, curves.abundance)):
            _line_and_band(
                figure, places[drawn], values[0][:, drawn], name, ink, dash,
                told=steps[drawn], showlegend=column == 1, row=1, col=column,
            )  # fmt: skip
    figure.update_xaxes(
        title="iteration", type="log", minor_ticks="", **_decades(int(steps[1]), int(steps[-1]))
    )
    figure.update_yaxes(tickformat=".0%", range=[0, 1], col=1)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})


def _decades(first: int, last: int) -> dict[str, list]:
    """Ticks of a logarithmic axis from 0, which stands a decade before `first`, to `last`."""
    tens = [first * 10**power for power in range(int(np.log10(last / first)) + 1)]
    return {"tickvals": [first / 10, *tens], "ticktext": ["0", *(f"{each:,}" for each in tens)]}


def _line_and_band(
    figure: go.Figure, x: Iterable[float], values: Tensor, name: str, ink: str, dash: str,
    mode: str = "lines", showlegend: bool = True, told: Iterable[float] | None = None, **place: Any,
) -> None:  # fmt: skip
    """A mean over seeds `[S, T]`, and the range of the seeds behind it; `told` is what to call the
    places `x`, their own numbers if not given."""
    x, values = [float(each) for each in x], values.numpy()
    told = x if told is None else [float(each) for each in told]
    low, high = values.min(0).round(3), values.max(0).round(3)
    figure.add_scatter(
        x=[*x, *x[::-1]], y=[*low, *high[::-1]], fill="toself", fillcolor=faint(ink),
        line={"width": 0}, mode="lines", hoverinfo="skip", showlegend=False, legendgroup=name,
        name=name, **place,
    )  # fmt: skip
    figure.add_scatter(
        x=x, y=values.mean(0).round(3), mode=mode, name=name, legendgroup=name,
        showlegend=showlegend, line={"color": ink, "dash": dash}, customdata=np.c_[low, high, told],
        hovertemplate=f"{name}, %{{customdata[2]:,}}: %{{y:.3g}} (%{{customdata[0]:.3g}} to "
        f"%{{customdata[1]:.3g}} over {len(values)} seeds)<extra></extra>",
        **place,
    )  # fmt: skip


def pulls_by_direction(pulls: Mapping[str, Pull]) -> go.Figure:
    """Each other field's part of a gradient: abs(alpha), sigma and their product per direction, the
    first and the last as root mean squares over the table's rows."""
    titles = ["|α<sub>ik</sub>|", "σ<sub>ik</sub>", "|α<sub>ik</sub>| σ<sub>ik</sub>"]
    figure = make_subplots(cols=3, subplot_titles=titles)
    for (name, pull), ink, dash in zip(pulls.items(), cycle(INKS), cycle(DASHES), strict=False):
        alpha = pull.alpha.square().mean(0).sqrt()
        for column, values in enumerate((alpha, pull.sigma, alpha * pull.sigma), 1):
            figure.add_scatter(
                x=list(range(1, len(values) + 1)), y=[float(f"{v:.3g}") for v in values],
                mode="lines+markers", name=name, legendgroup=name, showlegend=column == 1,
                line={"color": ink, "dash": dash}, row=1, col=column,
                hovertemplate=f"{name}<br>direction %{{x}}: %{{y:.3g}}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title="direction k", dtick=2)
    figure.update_yaxes(rangemode="tozero")
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})
