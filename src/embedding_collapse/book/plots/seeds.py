"""What is drawn of several seeds: their mean, and about it its 95% interval or the seeds' range."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy import stats

from embedding_collapse.lab.groups import Cell

from .style import colour, faint

SIZES = {1: "solid", 4: "dash", 10: "dot"}  # dashes by scale


def reach_of(values: Sequence[float] | np.ndarray) -> float:
    """How far the 95% interval of a mean over seeds reaches; NaN with one seed."""
    return reach(float(np.std(values, ddof=1)), len(values)) if len(values) > 1 else np.nan


def reach(deviation: float, runs: int) -> float:
    """How far the 95% interval of a mean reaches, by the standard deviation of the runs."""
    return float(stats.t.ppf(0.975, runs - 1) * deviation / np.sqrt(runs))


def with_intervals(groups: Iterable[Sequence[float]]) -> dict[str, Any]:
    """The mean of each group of seeds and its 95% interval: `y` and `error_y` of a trace."""
    table = np.array([(np.mean(seeds), reach_of(seeds)) for seeds in groups]).reshape(-1, 2)
    means, reaches = table.round(5).T
    return {"y": means, "error_y": {"array": reaches}}


def band(
    x: Sequence[float] | np.ndarray,
    low: Sequence[float] | np.ndarray,
    high: Sequence[float] | np.ndarray,
    ink: str,
    name: str,
) -> go.Scatter:
    """A band from low to high, which shows and hides with the line of that name."""
    return go.Scatter(
        x=[*x, *x[::-1]],
        y=[*low, *high[::-1]],
        fill="toself",
        fillcolor=faint(ink),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        name=name,
    )


def add_mean_and_range(
    figure: go.Figure,
    x: Iterable[float],
    values: np.ndarray,
    name: str,
    line: Mapping[str, str],
    *,
    mode: str = "lines",
    labels: Iterable[float] | None = None,
    **place: Any,
) -> None:
    """Draw the mean over seeds, and behind it a band over their range.

    Args:
        figure: to draw on.
        x: `[T]`, the places.
        values: `[seeds, T]`.
        name: in the legend, where it stands once.
        line: the `color`, and more of how the line looks.
        mode: of the line.
        labels: `[T]`, what to call the places; their own numbers if not given.
        place: `row` and `col` of the panel.
    """
    places = [float(place) for place in x]
    labels = places if labels is None else [float(label) for label in labels]
    low, high = values.min(0).round(3), values.max(0).round(3)
    drawn = {trace.name for trace in figure.data}
    figure.add_trace(band(places, low, high, line["color"], name), **place)
    figure.add_scatter(
        x=places,
        y=values.mean(0).round(3),
        mode=mode,
        name=name,
        legendgroup=name,
        showlegend=name not in drawn,
        customdata=np.c_[low, high, labels],
        hovertemplate=f"{name}, %{{customdata[2]:,}}: %{{y:.3g}} (%{{customdata[0]:.3g}} to "
        f"%{{customdata[1]:.3g}} over {len(values)} seeds)<extra></extra>",
        line=line,
        **place,
    )


def by_epoch(cell: Cell, curves: Sequence[Sequence[float]], digits: int) -> go.Scatter:
    """The mean over seeds of a number, epoch by epoch, as far as all seeds have them."""
    ended = min(map(len, curves))
    mean = np.mean([curve[:ended] for curve in curves], axis=0)
    return go.Scatter(
        x=np.arange(1, ended + 1),
        y=mean.round(digits),
        mode="lines+markers",
        name=cell.label,
        line={"color": colour(cell.label), "dash": SIZES.get(cell.scale, "dashdot")},
        legendgroup=cell.label,
        hovertemplate=f"{cell.label}, epoch %{{x}}: %{{y:.{digits - 1}f}}<extra></extra>",
    )
