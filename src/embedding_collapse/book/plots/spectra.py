"""Spectra and information abundance, field by field."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch

from embedding_collapse.lab.groups import by_label
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import (
    effective_rank,
    information_abundance,
    random_abundance,
    random_spectrum,
)

from .style import BELOW, BY_FEATURES, COLOURS, DASHES, colour, fields, one_of


def abundance_by_field(records: Sequence[Record]) -> go.Figure:
    """IA / K of every field, fields sorted by cardinality: mean and range over seeds."""
    names, cardinalities, order = fields(records[0])
    figure, groups = go.Figure(), by_label(records)
    for label, group in groups.items():
        values = torch.stack([r.relative_abundance for r in group])[:, order].numpy()
        figure.add_trace(by_field(names, values, cardinalities, label, colour(label)))
        if len(group[0].spectra[0]) > 1:
            joined = torch.stack([r.joined_abundance for r in group]).mean(0)[order]
            figure.add_scatter(
                x=names,
                y=joined.numpy(),
                name=f"{label}, sets joined",
                mode="lines",
                line={"color": colour(label), "dash": "dot"},
            )
    widths = {len(record.joined_spectra[0]) for group in groups.values() for record in group}
    for width, dash in zip(sorted(widths), DASHES[2:], strict=False):
        figure.add_trace(random_line(names, cardinalities, width, dash))
    figure.update_xaxes(BY_FEATURES)
    figure.update_yaxes(title="IA / K", range=[0, 1.02])
    return figure.update_layout(legend=BELOW)


def random_line(
    names: Sequence[str], cardinalities: Sequence[int] | np.ndarray, width: int, dash: str
) -> go.Scatter:
    """IA / K of random tables of every field."""
    return go.Scatter(
        x=names,
        y=[round(random_abundance(rows, width) / width, 4) for rows in cardinalities],
        name=f"random, K={width}",
        mode="lines",
        line={"color": COLOURS["random"], "dash": dash},
    )


def by_field(
    names: Sequence[str],
    values: np.ndarray,
    cardinalities: Sequence[int] | np.ndarray,
    name: str,
    ink: str,
    dash: str = "solid",
) -> go.Scatter:
    """A number of every field: the mean over seeds and their range.

    Args:
        names, cardinalities: of the fields, in their order.
        values: `[seeds, N]`.
        name, ink, dash: of the line.
    """
    mean = values.mean(0)
    return go.Scatter(
        x=names,
        y=mean.round(4),
        name=name,
        mode="lines+markers",
        line={"color": ink, "dash": dash},
        customdata=cardinalities,
        error_y={
            "array": (values.max(0) - mean).round(4),
            "arrayminus": (mean - values.min(0)).round(4),
        },
        hovertemplate=f"%{{x}}, %{{customdata:,}} features, {name}: %{{y:.3f}}<extra></extra>",
    )


def spectra_by_field(records: Sequence[Record]) -> go.Figure:
    """Normalised spectra of one field, chosen from a menu: first seed; one line per set. The
    dataset stands above."""
    names, cardinalities, order = fields(records[0])
    firsts = {label: group[0] for label, group in by_label(records).items()}
    figures = {}
    for name, cardinality, field in zip(names, cardinalities, order, strict=True):
        traces = []
        for label, record in firsts.items():
            traces += _spectrum_lines(label, torch.tensor(record.spectra[field]))
        widths = sorted({len(record.joined_spectra[field]) for record in firsts.values()})
        for width, dash in zip(widths, DASHES[2:], strict=False):
            random = random_spectrum(cardinality, width)
            traces.append(_spectrum_line(f"random, K={width}", random, COLOURS["random"], dash))
        figures[f"{name} ({cardinality:,})"] = go.Figure(traces)
    figure = one_of(figures, "Field", active=len(figures) - 1, y=1.02)
    figure.layout.legend = None  # beside the lines, which are many
    figure.update_xaxes(title="direction k, as a share of K", range=[0, 1.02])
    figure.update_yaxes(title="σ<sub>k</sub> / σ<sub>1</sub>", rangemode="tozero")
    return figure.add_annotation(
        text=records[0].dataset["name"],
        x=1,
        xref="paper",
        xanchor="right",
        y=1.02,
        yref="paper",
        yanchor="bottom",
        showarrow=False,
    )


def _spectrum_lines(label: str, spectra: torch.Tensor) -> list[go.Scatter]:
    """One line per set; only the first has an entry in the legend."""
    lines = [
        _spectrum_line(label, spectrum, colour(label), DASHES[m % len(DASHES)])
        for m, spectrum in enumerate(spectra)
    ]
    for m, line in enumerate(lines):
        line.legendgroup, line.showlegend = label, m == 0
        if len(lines) > 1:
            line.name = f"{label} (one line per set)" if m == 0 else f"{label}, set {m + 1}"
    return lines


def _spectrum_line(name: str, spectrum: torch.Tensor, line_colour: str, dash: str) -> go.Scatter:
    width = len(spectrum)
    abundance = information_abundance(spectrum).item()
    facts = f"IA {abundance:.2f} of K={width}, effective rank {effective_rank(spectrum).item():.2f}"
    return go.Scatter(
        x=(np.arange(1, width + 1) / width).round(4),
        y=(spectrum / spectrum.max()).numpy().round(5),
        name=name,
        mode="lines+markers",
        line={"color": line_colour, "dash": dash},
        marker={"size": 4},
        hovertemplate=f"%{{fullData.name}}<br>{facts}<br>%{{y:.3f}}",
    )
