"""Models side by side: suppressed interaction, variants of ME, other ways out of collapse."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book.findings.mechanism import block_deviation
from embedding_collapse.book.plots.scaling import Line, with_band
from embedding_collapse.book.plots.style import COLOURS, colour, fields, with_menu
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import random_abundance


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


PURPLE, SKY, AMBER = "#CC79A7", "#56B4E9", "#E69F00"  # of Okabe & Ito's palette too
SUPPRESSED = [
    Series("DCNv2", "dcnv2", "SE", COLOURS["SE"], "solid"),
    Series("regularised", "dcnv2-regularized", "SE", PURPLE, "dash"),
    Series("regularised, fixed scale", "dcnv2-regularized-fixed", "SE", SKY, "dot"),
    Series("DNN", "dnn", "SE", AMBER, "dashdot"),
]
ME_VARIANTS = [
    Series("ME", "dcnv2", "ME", COLOURS["ME"], "solid"),
    Series("shared interaction", "dcnv2-shared", "ME", PURPLE, "dash", base="dcnv2"),
    Series("no non-linearity", "dcnv2-linear", "ME", AMBER, "dot"),
    Series("aligned norms", "dcnv2-aligned", "ME", SKY, "dashdot", base="dcnv2"),
]
OTHER_FIXES = [
    Series("SE", "dcnv2", "SE", COLOURS["SE"], "solid"),
    Series("ME", "dcnv2", "ME", COLOURS["ME"], "solid"),
    Series("SE, flat spectra", "dcnv2-flat", "SE", AMBER, "dash"),
    Series("SE with SFG", "dcnv2-sfg", "SE", PURPLE, "dot"),
    Series("ME, distinct sets", "dcnv2-distinct", "ME", SKY, "dashdot"),
]


def both_designs(value: Callable[[Record], float]) -> list[Line]:
    """Lines for `points`: a number per run, in SE and in ME."""
    return [Line(design.upper(), design, value) for design in ("se", "me")]


def series_against_scale(panels: Mapping[str, pd.DataFrame], series: Sequence[Series]) -> go.Figure:
    """A panel per quantity, a line per model with its 95% band over seeds, a menu of datasets.

    Args:
        panels: from the titles of the vertical axes to `points` with the lines "SE" and "ME".
        series: the lines.
    """
    titles = list(panels) if len(panels) > 1 else None
    figure = make_subplots(cols=len(panels), subplot_titles=titles)
    datasets = list(dict.fromkeys(name for table in panels.values() for name in table["dataset"]))
    owner: list[str] = []
    for dataset in datasets:
        for column, table in enumerate(panels.values(), 1):
            for one in series:
                found = _of_series(table[table["dataset"] == dataset], one)
                if found.empty:
                    continue
                traces = with_band(found, one.name, one.ink, one.dash, one.name)
                traces[1].showlegend = column == 1
                for trace in traces:
                    figure.add_trace(trace.update(visible=dataset == datasets[0]), 1, column)
                    owner.append(dataset)
    scales = sorted({scale for table in panels.values() for scale in table["scale"]})
    figure.update_xaxes(
        type="log", tickvals=scales, ticktext=[f"{scale}x" for scale in scales], minor_ticks="",
        title="embedding size",
    )  # fmt: skip
    if titles is None:
        figure.update_yaxes(title=next(iter(panels)))
    return with_menu(figure, owner, "Dataset")


def _of_series(table: pd.DataFrame, series: Series) -> pd.DataFrame:
    """The series' points by scale, with the base of another model where it borrows that."""
    own = table[(table["model"] == series.model) & (table["line"] == series.design)]
    if series.base and len(own):
        lent = (table["model"] == series.base) & (table["scale"] == 1)
        own = pd.concat([table[lent & (table["line"] == series.design)], own])
    return own.sort_values("scale")


def abundance_by_model(
    records: Iterable[Record], series: Sequence[Series], scale: int
) -> go.Figure:
    """IA / K of every field, fields sorted by cardinality: mean and range over seeds; a line per
    model at one scale, one for random tables of that width; a menu of datasets."""
    cells = by_cell(records)
    figure, owner = go.Figure(), []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        wanted = {one: (dataset, one.model, one.design.lower(), scale) for one in series}
        groups = {one: cells[key] for one, key in wanted.items() if key in cells}
        for one, group in groups.items():
            names, cardinalities, order = fields(group[0])
            values = np.array([record.relative_abundance.numpy()[order] for record in group])
            mean = values.mean(0)
            figure.add_scatter(
                x=names, y=mean.round(4), name=one.name, mode="lines+markers",
                line={"color": one.ink, "dash": one.dash}, customdata=cardinalities,
                error_y={"array": (values.max(0) - mean).round(4),
                         "arrayminus": (mean - values.min(0)).round(4)},
                hovertemplate=f"%{{x}}, %{{customdata:,}} features, {one.name}: IA/K %{{y:.3f}}"
                "<extra></extra>",
            )  # fmt: skip
        for width in sorted({len(group[0].spectra[0][0]) for group in groups.values()}):
            random = [random_abundance(rows, width) / width for rows in cardinalities]
            figure.add_scatter(
                x=names, y=np.round(random, 4), name=f"random, K={width}", mode="lines",
                line={"color": COLOURS["random"], "dash": "dash"},
            )  # fmt: skip
        owner += [dataset] * (len(figure.data) - len(owner))
    for trace, of in zip(figure.data, owner, strict=True):
        trace.visible = of == owner[0]
    figure.update_xaxes(title="field, from few features to many", tickangle=-60)
    figure.update_yaxes(title="IA / K", range=[0, 1.02])
    return with_menu(figure, owner, "Dataset")


def block_deviations(records: Iterable[Record], series: Sequence[Series]) -> go.Figure:
    """How far the blocks of W are from orthogonal, epoch by epoch: means over seeds; a panel per
    regularised model and dataset, a line per size."""
    dashes = {1: "solid", 4: "dash", 10: "dot"}
    cells = {cell: group for cell, group in by_cell(records).items() if cell.scale in dashes}
    names = {one.model: one.name for one in series}
    panels = list(dict.fromkeys(cell[:2] for cell in cells if cell.model in names))
    # the last part of a name, since panels are narrow
    titles = [f"{names[model].split(', ')[-1]}, {dataset}" for dataset, model in panels]
    figure = make_subplots(cols=len(panels), subplot_titles=titles, shared_yaxes=True)
    for cell, group in cells.items():
        if cell.model not in names:
            continue
        column = panels.index(cell[:2]) + 1
        curves = [block_deviation(record) for record in group]
        ended = min(map(len, curves))  # the epochs that all seeds have
        mean = np.mean([curve[:ended] for curve in curves], axis=0)
        figure.add_scatter(
            x=np.arange(1, ended + 1), y=mean.round(4), mode="lines+markers", name=cell.label,
            line={"color": colour(cell.label), "dash": dashes[cell.scale]},
            legendgroup=cell.label, showlegend=column == 1, row=1, col=column,
            hovertemplate=f"{cell.label}, epoch %{{x}}: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.update_annotations(font_size=11)
    figure.update_xaxes(title="epoch", dtick=1)
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title="mean of ‖WW<sup>T</sup> − I‖² / K", col=1)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25}, hovermode="closest")
