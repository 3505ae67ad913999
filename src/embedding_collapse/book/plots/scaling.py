"""Anything against embedding size: ours and the paper's."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book import paper
from embedding_collapse.book.analysis.measures import Measure
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.records import Record

from .seeds import band, reach, reach_of
from .style import one_of, size_axis


def points(records: Iterable[Record], measure: Measure) -> pd.DataFrame:
    """One row per dataset, model, line ("SE", "ME") and scale: the mean over seeds and how far the
    95% confidence interval of the mean reaches (t over seeds; NaN with one seed). Either line
    begins at the base model where that has the number."""
    rows = []
    for cell, group in by_cell(records).items():
        values = np.array([measure.value(record) for record in group])
        for line in ("SE", "ME") if cell.scale == 1 else (cell.design.upper(),):
            numbers = values.mean(), len(values), reach_of(values)
            rows.append((cell.dataset, cell.model, line, cell.scale, *numbers))
    columns = ["dataset", "model", "line", "scale", "mean", "runs", "reach"]
    return pd.DataFrame(rows, columns=columns).dropna(subset="mean")


def published_points() -> pd.DataFrame:
    """The paper's table in the form of `points`."""
    table = paper.published()
    base = table[table["scale"] == 1].assign(design="me")  # the two designs share it
    table = pd.concat([table, base])
    return pd.DataFrame(
        {
            "dataset": table["dataset"] + ", the paper",
            "model": table["model"],
            "line": table["design"].str.upper(),
            "scale": table["scale"],
            "mean": table["test_auc"],
            "runs": paper.RUNS,
            "reach": table["std"].map(lambda deviation: reach(deviation, paper.RUNS)),
        }
    )


def with_band(rows: pd.DataFrame, name: str, ink: str, dash: str) -> tuple[go.Scatter, go.Scatter]:
    """The 95% band of some `points`, and the line of their means.

    Args:
        rows: of one line, by scale.
        name: of the line in the legend.
        ink, dash: its colour and dash.
    """
    sure = rows.dropna(subset="reach")
    low, high = sure["mean"] - sure["reach"], sure["mean"] + sure["reach"]
    line = go.Scatter(
        x=rows["scale"],
        y=rows["mean"].round(6),
        mode="lines+markers",
        name=name,
        line={"color": ink, "dash": dash},
        legendgroup=name,
        text=[
            "" if np.isnan(reach) else f"± {reach:.5f} (95%, {runs} runs)"
            for reach, runs in zip(rows["reach"], rows["runs"], strict=True)
        ],
        hovertemplate=f"{name}, %{{x}}: %{{y:.5f}} %{{text}}<extra></extra>",
    )
    return band(list(sure["scale"]), list(low.round(6)), list(high.round(6)), ink, name), line


class Series(NamedTuple):
    """A model that is scaled in one way, and how a figure draws it.

    Attributes:
        name: in the legend.
        model: as in `models.MODELS`.
        design: "SE" or "ME".
        ink, dash: colour and dash of its line.
        base: the model at whose base the line begins: where several are one model there.
    """

    name: str
    model: str
    design: str
    ink: str
    dash: str
    base: str | None = None


def series_against_scale(
    views: Mapping[str, Mapping[str, pd.DataFrame]], series: Sequence[Series], columns: int = 3
) -> go.Figure:
    """Panels in which each line is a model with its 95% band over seeds; a menu of views.

    Args:
        views: by what the menu calls them, panels by their titles: `points` of one data set, with
            the lines "SE" and "ME".
        series: the lines.
        columns: of panels.
    """
    titles = list(next(iter(views.values())))
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    figures = {}
    for view, panels in views.items():
        figure = make_subplots(rows, columns, subplot_titles=titles, vertical_spacing=0.25)
        legend: set[str] = set()
        for place, table in enumerate(panels.values()):
            for line in series:
                means = _of_series(table, line)
                if means.empty:
                    continue
                traces = with_band(means, line.name, line.ink, line.dash)
                traces[1].showlegend = line.name not in legend
                legend.add(line.name)
                for trace in traces:
                    figure.add_trace(trace, place // columns + 1, place % columns + 1)
        figures[view] = figure
    figure = one_of(figures, "Dataset")
    every = [table["scale"] for panels in views.values() for table in panels.values()]
    figure.update_xaxes(size_axis(chain.from_iterable(every)))
    return figure.update_xaxes(title="embedding size", row=rows)


def _of_series(table: pd.DataFrame, series: Series) -> pd.DataFrame:
    """The series' points by scale, with the base of another model where it borrows that."""
    own = table[(table["model"] == series.model) & (table["line"] == series.design)]
    if series.base and len(own):
        lent = (table["model"] == series.base) & (table["scale"] == 1)
        own = pd.concat([table[lent & (table["line"] == series.design)], own])
    return own.sort_values("scale")
