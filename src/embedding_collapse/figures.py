"""One function per figure: records in, plotly figure out. Nothing here trains or measures time.

`show` displays a figure so that it is alive in Jupyter and in the published page alike, where a
small script of the book draws it from the data in the page and follows light and dark.
"""

import hashlib
import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import plotly.io
import torch
from plotly.subplots import make_subplots

from .records import Record, by_label
from .spectrum import (
    effective_rank,
    information_abundance,
    normalised_abundance,
    random_spectrum,
)

# Okabe & Ito's palette, which the colour-blind can tell apart; the same thing, the same colour.
COLOURS = {"base": "#009E73", "SE": "#D55E00", "ME": "#0072B2", "random": "#999999"}
DASHES = ["solid", "dot", "dash", "dashdot", "longdash", "longdashdot"]


def show(figure: go.Figure, alt: str, height: int = 420) -> None:
    """Display a figure in a notebook and in the page made of it.

    Args:
        figure: what to show.
        alt: what it shows, for those who cannot see it.
        height: in pixels.
    """
    from IPython.display import display

    layout = {"height": height, "template": "plotly_white", "margin": {"t": 40, "r": 10}}
    figure = go.Figure(figure).update_layout(layout)
    content = plotly.io.to_json(figure, remove_uids=True)
    # A name from the content, not from chance: the same figure is the same output.
    name = hashlib.sha256(content.encode()).hexdigest()[:12]
    page = (
        f'<div class="ec-figure" id="fig-{name}" role="img" aria-label="{html.escape(alt)}" '
        f'style="min-height:{height}px"><script type="application/json">'
        f"{content}</script>"  # plotly escapes "<", so nothing in it ends the element
        "<noscript>This figure needs JavaScript.</noscript></div>"
    )
    bundle = {"application/vnd.plotly.v1+json": figure.to_plotly_json(), "text/html": page}
    display(bundle, raw=True)


def colour(label: str) -> str:
    """The colour of a design: "base", "SE 4x", "ME 10x"."""
    return COLOURS[label.split()[0]]


def accuracy(records: Sequence[Record]) -> go.Figure:
    """Test AUC and log-loss: a dot per seed, a line at the mean."""
    figure = make_subplots(cols=2, subplot_titles=["test AUC", "test log-loss (nats per row)"])
    for label, group in by_label(records).items():
        hover = [
            f"seed {r.spec['seed']}<br>{sum(r.parameters.values()):,} parameters<br>"
            f"{r.speed:,.0f} samples/s"
            for r in group
        ]
        for column, metric in ((1, "auc"), (2, "log_loss")):
            values = [record.test[metric] for record in group]
            dots = go.Scatter(
                x=[label] * len(values), y=values, mode="markers", hovertext=hover, name=label,
                marker={"color": colour(label), "size": 9, "opacity": 0.7},
                showlegend=False,
            )  # fmt: skip
            mean = go.Scatter(
                x=[label], y=[np.mean(values)], mode="markers", name=f"{label}, mean",
                marker={"symbol": "line-ew", "size": 34, "line": {"width": 3,
                        "color": colour(label)}},
                showlegend=False,
            )  # fmt: skip
            figure.add_traces([mean, dots], rows=1, cols=column)
    return figure.update_yaxes(tickformat=".4f")


def abundance_by_field(records: Sequence[Record]) -> go.Figure:
    """IA / K of every field, fields sorted by cardinality: mean and range over seeds."""
    names, cardinalities, order = _fields(records[0])
    figure = go.Figure()
    for label, group in by_label(records).items():
        values = torch.stack([r.relative_abundance for r in group])[:, order].numpy()
        mean = values.mean(0)
        figure.add_scatter(
            x=names, y=mean, name=label, mode="lines+markers", line={"color": colour(label)},
            error_y={"array": values.max(0) - mean, "arrayminus": mean - values.min(0)},
            customdata=cardinalities,
            hovertemplate="%{x}, %{customdata:,} features: IA/K %{y:.3f}",
        )  # fmt: skip
        if len(group[0].spectra[0]) > 1:
            joined = torch.stack([r.joined_abundance for r in group]).mean(0)[order]
            figure.add_scatter(
                x=names, y=joined.numpy(), name=f"{label}, sets joined", mode="lines",
                line={"color": colour(label), "dash": "dot"},
            )  # fmt: skip
    widths = sorted({len(record.joined_spectra[0]) for record in records})
    for width, dash in zip(widths, DASHES[2:], strict=False):
        ratio = [normalised_abundance(random_spectrum(c, width)) for c in cardinalities]
        figure.add_scatter(
            x=names, y=[round(value.item(), 4) for value in ratio], name=f"random, K={width}",
            mode="lines", line={"color": COLOURS["random"], "dash": dash},
        )  # fmt: skip
    figure.update_xaxes(title="field, from few features to many", tickangle=-60)
    figure.update_yaxes(title="IA / K", range=[0, 1.02])
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})


def spectra_by_field(records: Sequence[Record]) -> go.Figure:
    """Normalised spectra of one field, chosen from a menu: first seed; one line per set."""
    names, cardinalities, order = _fields(records[0])
    firsts = {label: group[0] for label, group in by_label(records).items()}
    figure = go.Figure()
    traces_per_field = 0
    for position, field in enumerate(order):
        traces = []
        for label, record in firsts.items():
            traces += _spectrum_lines(label, torch.tensor(record.spectra[field]))
        widths = sorted({len(record.joined_spectra[field]) for record in firsts.values()})
        for width, dash in zip(widths, DASHES[2:], strict=False):
            random = random_spectrum(cardinalities[position], width)
            traces.append(_spectrum_line(f"random, K={width}", random, COLOURS["random"], dash))
        traces_per_field = len(traces)
        for trace in traces:
            trace.visible = position == len(order) - 1
        figure.add_traces(traces)
    shown = np.arange(len(order) * traces_per_field) // traces_per_field
    buttons = [
        {
            "label": f"{name} ({cardinality:,})",
            "method": "restyle",
            "args": [{"visible": (shown == position).tolist()}],
        }
        for position, (name, cardinality) in enumerate(zip(names, cardinalities, strict=True))
    ]
    menu = {"name": "Field", "buttons": buttons, "active": len(order) - 1, "direction": "down",
            "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}  # fmt: skip
    figure.update_xaxes(title="direction k, as a share of K", range=[0, 1.02])
    figure.update_yaxes(title="σ<sub>k</sub> / σ<sub>1</sub>", rangemode="tozero")
    return figure.update_layout(updatemenus=[menu], hovermode="closest")


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
        name=name, mode="lines+markers", line={"color": line_colour, "dash": dash},
        marker={"size": 4}, hovertemplate=f"%{{fullData.name}}<br>{facts}<br>%{{y:.3f}}",
    )  # fmt: skip


def training_curves(records: Sequence[Record]) -> go.Figure:
    """Training loss along the way and validation AUC after each epoch, one line per seed."""
    figure = make_subplots(
        cols=2, subplot_titles=["training loss (nats per row)", "validation AUC"]
    )
    for label, group in by_label(records).items():
        for position, record in enumerate(group):
            losses = [loss for epoch in record.epochs for loss in epoch["losses"]]
            progress = np.arange(1, len(losses) + 1) / len(record.epochs[0]["losses"])
            aucs = [epoch["valid_auc"] for epoch in record.epochs]
            style = {
                "name": label, "legendgroup": label, "line": {"color": colour(label)},
                "hovertext": f"{label}, seed {record.spec['seed']}",
            }  # fmt: skip
            figure.add_scatter(
                x=progress.round(3), y=np.round(losses, 5), mode="lines", opacity=0.7,
                showlegend=position == 0, row=1, col=1, **style,
            )  # fmt: skip
            figure.add_scatter(
                x=np.arange(1, len(aucs) + 1), y=aucs, mode="lines+markers",
                showlegend=False, row=1, col=2, **style,
            )  # fmt: skip
    figure.update_xaxes(title="epochs", dtick=1)
    figure.update_xaxes(rangemode="tozero", col=1)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})


def _fields(record: Record) -> tuple[list[str], list[int], list[int]]:
    """Names and cardinalities of the fields from few features to many, and their order."""
    cardinalities = record.dataset["cardinalities"]
    order = sorted(range(len(cardinalities)), key=cardinalities.__getitem__)
    names = [record.dataset["fields"][i] for i in order]
    return names, [cardinalities[i] for i in order], order
