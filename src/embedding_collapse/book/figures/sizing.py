"""How many dimensions: the rule, practice, and what random projections do."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from embedding_collapse.book.plots.style import AMBER, COLOURS, DASHES, PINK, SKY, faint
from embedding_collapse.lab import sizing

RULE, MODELS, RECOMMENDERS = SKY, PINK, AMBER  # here and in the explorer
WORST, TYPICAL = PINK, AMBER


def rule_and_practice(distortions: Sequence[float]) -> go.Figure:
    """Dimensions against points: the rule for D = 10^2 to 10^9, a line per eps, with what
    recommenders and language models use."""
    points = np.logspace(2, 9, 29).round()
    figure = go.Figure()
    for eps, dash in zip(distortions, DASHES, strict=False):
        figure.add_scatter(
            x=points, y=sizing.least(points, eps), name=f"rule, ε = {eps:g}",
            mode="lines", line={"color": RULE, "dash": dash},
            hovertemplate="D = %{x:,.3g}: K ≥ %{y:,.0f}",
        )  # fmt: skip
    (low, high), (few, many) = sizing.PRACTICE, sizing.VOCABULARY
    figure.add_scatter(
        x=[few, many, many, few, few], y=[low, low, high, high, low], fill="toself", mode="lines",
        fillcolor=faint(RECOMMENDERS), line={"color": RECOMMENDERS, "width": 1},
        name="recommenders",
        hoveron="fills", hoverinfo="name",
    )  # fmt: skip
    known = sizing.language_models()
    figure.add_scatter(
        x=known["tokens"], y=known["width"], text=known["model"], mode="markers",
        marker={"color": MODELS, "size": 10, "symbol": "diamond"}, name="language models",
        hovertemplate="%{text}: %{x:,} tokens, %{y:,} dimensions<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="points D (features, tokens)", type="log", exponentformat="power")
    figure.update_yaxes(title="dimensions K", type="log", dtick=1)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25}, hovermode="closest")


def fields_and_rule(fields: pd.DataFrame, distortions: Sequence[float]) -> go.Figure:
    """Dimension of every field against `ln D_i`, and the rule's line for every eps.

    Args:
        fields: from `sizing.criteo_fields`.
        distortions: the eps.
    """
    logs = np.log(fields["num_features"])
    counts = np.geomspace(fields["num_features"].min(), fields["num_features"].max(), 40)
    figure = go.Figure()
    for eps, dash in zip(distortions, DASHES, strict=False):
        figure.add_scatter(
            x=np.log(counts).round(4), y=sizing.least(counts, eps), name=f"rule, ε = {eps:g}",
            mode="lines", line={"color": RULE, "dash": dash},
            hovertemplate="ln D = %{x:.2f}: K ≥ %{y:,.0f}",
        )  # fmt: skip
    beside = [
        "<br>".join(f"rule, ε = {eps:g}: {sizing.least(count, eps):,}" for eps in distortions)
        for count in fields["num_features"]
    ]
    figure.add_scatter(
        x=logs.round(4), y=fields["embedding_dim"], mode="markers", name="a field of Criteo",
        marker={"color": RECOMMENDERS, "size": 9},
        customdata=np.column_stack([fields["field"], fields["num_features"], beside]),
        hovertemplate="field %{customdata[0]}, %{customdata[1]} features: %{y} dimensions<br>"
        "%{customdata[2]}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="ln D<sub>i</sub> of the field", rangemode="tozero")
    figure.update_yaxes(title="dimensions K", type="log", dtick=1)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25}, hovermode="closest")


def distortion(measured: pd.DataFrame, points: int) -> go.Figure:
    """Worst and typical distortion of distances against K, with the rule and the proof.

    Args:
        measured: from `sizing.sweep`: a line at the mean over draws, a band over their range.
        points: D of the sweep.
    """
    groups = measured.groupby("width")
    widths = np.array(list(groups.groups))
    figure = go.Figure()
    for column, name, ink in (("worst", "worst", WORST), ("typical", "typical", TYPICAL)):
        low, mean, high = (groups[column].agg(how).round(5) for how in ("min", "mean", "max"))
        figure.add_scatter(
            x=[*widths, *widths[::-1]], y=[*low, *high[::-1]], fill="toself", mode="lines",
            fillcolor=faint(ink), line={"width": 0}, hoverinfo="skip", showlegend=False,
            legendgroup=name, name=f"{name}, range over draws",
        )  # fmt: skip
        figure.add_scatter(
            x=widths, y=mean, name=name, mode="lines+markers", line={"color": ink},
            legendgroup=name, hovertemplate="K = %{x}: %{y:.3f}",
        )  # fmt: skip
    figure.add_scatter(
        x=widths, y=sizing.bound_distortion(points, widths).round(5), name="the rule's ε",
        mode="lines", line={"color": RULE}, hovertemplate="K = %{x}: %{y:.3f}",
    )  # fmt: skip
    asked = np.linspace(1, sizing.bound_distortion(points, widths[-1]) / 3, 60)
    needed = sizing.union_bound(points, asked)
    within = (needed >= widths[0]) & (needed <= widths[-1])
    figure.add_scatter(
        x=needed[within].round(2), y=asked[within].round(5), name="the proof's ε", mode="lines",
        line={"color": RULE, "dash": "dot"}, hovertemplate="K = %{x:.0f}: %{y:.3f}",
    )  # fmt: skip
    figure.add_scatter(
        x=widths, y=(1 / np.sqrt(2 * widths)).round(5), name="1 / √(2K)", mode="lines",
        line={"color": COLOURS["random"], "dash": "dash"}, hovertemplate="K = %{x}: %{y:.3f}",
    )  # fmt: skip
    figure.update_xaxes(title="dimensions K", type="log", dtick=1)
    figure.update_yaxes(title="distortion of a distance, ε", type="log", dtick=1)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25}, hovermode="closest")
