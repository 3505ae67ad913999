"""Chapter 1: how many dimensions a rule from geometry asks for, and how many there are."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from embedding_collapse.book.explorers.sizing import RECOMMENDERS, RULE
from embedding_collapse.book.plots import COLOURS, DASHES, INKS
from embedding_collapse.book.plots.seeds import band
from embedding_collapse.lab import sizing

WORST, TYPICAL = INKS["information abundance"], INKS["effective rank"]  # two that are far apart

# --- what is in use -------------------------------------------------------------------------------


def language_models() -> pd.DataFrame:
    """Language models by their published shape, and the eps that the rule allows each."""
    table = sizing.language_models()
    tokens, widths = (table[name].to_numpy() for name in ("tokens", "width"))
    table["ε that the rule allows"] = sizing.bound_distortion(tokens, widths)
    return table.set_index("model")


def fields_and_rule(fields: pd.DataFrame, distortions: Sequence[float]) -> go.Figure:
    """Dimension of every field against `ln D_i`, and the rule's line for every eps.

    Args:
        fields: from `lab.sizing.criteo_fields`.
        distortions: the eps.
    """
    logs = np.log(fields["num_features"])
    counts = np.geomspace(fields["num_features"].min(), fields["num_features"].max(), 40)
    figure = go.Figure()
    for eps, dash in zip(distortions, cycle(DASHES), strict=False):
        asked = np.asarray(sizing.least(counts, eps))
        figure.add_scatter(
            x=np.log(counts).round(4),
            y=asked,
            name=f"rule, ε = {eps:g}",
            mode="lines",
            line={"color": RULE, "dash": dash},
            hovertemplate="ln D = %{x:.2f}: K ≥ %{y:,.0f}",
        )
        _label(figure, f"rule, ε = {eps:g}", np.log(counts[-1]), asked[-1], xanchor="right")
    beside = [
        "<br>".join(f"rule, ε = {eps:g}: {sizing.least(count, eps):,}" for eps in distortions)
        for count in fields["num_features"]
    ]
    figure.add_scatter(
        x=logs.round(4),
        y=fields["embedding_dim"],
        mode="markers",
        name="a field of Criteo",
        marker={"color": RECOMMENDERS, "size": 9},
        customdata=np.column_stack([fields["field"], fields["num_features"], beside]),
        hovertemplate="field %{customdata[0]}, %{customdata[1]} features: %{y} dimensions<br>"
        "%{customdata[2]}<extra></extra>",
    )
    _label(figure, "found by a search", logs.max(), fields["embedding_dim"].max(), xanchor="right")
    figure.update_xaxes(title="ln D<sub>i</sub>, features of the field", rangemode="tozero")
    figure.update_yaxes(title="dimensions K", type="log", dtick=1)
    return figure.update_layout(showlegend=False, hovermode="closest")


def _label(figure: go.Figure, text: str, x: float, y: float, xanchor: str = "left") -> None:
    """Words above a place, where the vertical axis is logarithmic."""
    figure.add_annotation(
        x=round(float(x), 3),
        y=round(float(np.log10(y)), 3),
        text=text,
        showarrow=False,
        xanchor=xanchor,
        yanchor="bottom",
    )


def field_by_field(fields: pd.DataFrame, distortions: Sequence[float]) -> pd.DataFrame:
    """A row per field: its dimensions and features, `ln D_i`, and for every eps what the rule asks
    for."""
    features = fields["num_features"].to_numpy()
    columns = {
        "dimensions": fields["embedding_dim"].to_numpy(),
        "features": features,
        "ln D": np.log(features).round(1),
    }
    columns |= {f"ε = {eps:g}": sizing.least(features, eps) for eps in distortions}
    return pd.DataFrame(columns, index=pd.Index(fields["field"], name="field"))


# --- how loose it is ------------------------------------------------------------------------------


def distortion(measured: pd.DataFrame, points: int) -> go.Figure:
    """Worst and typical distortion of distances against K, with the rule and the proof.

    Args:
        measured: from `lab.sizing.sweep`: a line at the mean over draws, a band over their range.
        points: D of the sweep.
    """
    groups = measured.groupby("width")
    widths = np.array(list(groups.groups))
    figure = go.Figure()
    for column, ink in (("worst", WORST), ("typical", TYPICAL)):
        low, mean, high = (
            groups[column].agg(how).round(5).to_numpy() for how in ("min", "mean", "max")
        )
        figure.add_trace(band(widths, low, high, ink, f"{column}, range over draws"))
        figure.add_scatter(
            x=widths,
            y=mean,
            name=column,
            mode="lines+markers",
            line={"color": ink},
            hovertemplate="K = %{x}: %{y:.3f}",
        )
        _label(figure, f"{column} pair", np.log10(widths[0]), mean[0])
    rule = np.asarray(sizing.bound_distortion(points, widths))
    figure.add_scatter(
        x=widths,
        y=rule.round(5),
        name="the rule's ε",
        mode="lines",
        line={"color": RULE},
        hovertemplate="K = %{x}: %{y:.3f}",
    )
    _label(figure, "the rule", np.log10(widths[0]), rule[0])
    asked = np.linspace(1, rule[-1] / 3, 60)
    needed = np.asarray(sizing.union_bound(points, asked))
    within = (needed >= widths[0]) & (needed <= widths[-1])
    figure.add_scatter(
        x=needed[within].round(2),
        y=asked[within].round(5),
        name="the proof's ε",
        mode="lines",
        line={"color": RULE, "dash": "dot"},
        hovertemplate="K = %{x:.0f}: %{y:.3f}",
    )
    if within.any():
        _label(figure, "the proof", np.log10(needed[within][-1]), asked[within][-1])
    figure.add_scatter(
        x=widths,
        y=(1 / np.sqrt(2 * widths)).round(5),
        name="1 / √(2K)",
        mode="lines",
        line={"color": COLOURS["random"], "dash": "dash"},
        hovertemplate="K = %{x}: %{y:.3f}",
    )
    ends = np.log10([widths[0], widths[-1]])
    room = 0.15 * (ends[1] - ends[0])  # for words
    figure.update_xaxes(
        title="dimensions K", type="log", dtick=1, range=[ends[0] - room / 3, ends[1] + room]
    )
    figure.update_yaxes(title="distortion ε of a distance, as a share", type="log", dtick=1)
    return figure.update_layout(showlegend=False, hovermode="closest")
