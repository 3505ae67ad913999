"""One function per figure: records in, plotly figure out. Nothing here trains or measures time.

`show` displays a figure so that it is alive in Jupyter and in the published page alike, where a
small script of the book draws it from the data in the page and follows light and dark.
"""

import hashlib
import html
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import torch
from plotly.subplots import make_subplots
from scipy import stats

from . import paper
from .models import MODELS, PAPER
from .records import Record, by_cell, by_label
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


class Line(NamedTuple):
    """What `against_scale` draws of every model: a number per run, in a colour and a dash.

    Attributes:
        name: in the legend.
        design: "se" or "me"; either begins at the base model where that has the number.
        value: from a record to the number; NaN where it has none.
        dash: of the line.
    """

    name: str
    design: str
    value: Callable[[Record], float]
    dash: str = "solid"


AUC = [Line(design.upper(), design, lambda r: r.test["auc"]) for design in ("se", "me")]
COLLAPSE = [
    Line("SE", "se", lambda r: r.relative_abundance.mean().item()),
    Line("ME, mean over sets", "me", lambda r: r.relative_abundance.mean().item()),
    Line("ME, sets joined", "me", lambda r: r.joined_abundance.mean().item(), "dot"),
]
DIVERSITY = [
    Line(name, design, lambda r: np.mean(r.diversity) if r.diversity else np.nan)
    for name, design in (("SE, blocks of its table", "se"), ("ME, its sets", "me"))
]


def points(records: Iterable[Record], lines: Sequence[Line]) -> pd.DataFrame:
    """One row per dataset, model, line and scale: the mean over seeds and how far the 95%
    confidence interval of the mean reaches (t over seeds; NaN with one seed)."""
    rows = []
    for cell, group in by_cell(records).items():
        for line in lines:
            if cell.scale == 1 or cell.design == line.design:
                values = np.array([line.value(record) for record in group])
                rows.append(
                    {"dataset": cell.dataset, "model": cell.model, "line": line.name,
                     "scale": cell.scale, "mean": values.mean(), "runs": len(values),
                     "reach": _reach(values.std(ddof=1), len(values)) if len(values) > 1
                     else np.nan}
                )  # fmt: skip
    return pd.DataFrame(rows).dropna(subset="mean")


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
            "reach": _reach(table["std"], paper.RUNS),
        }
    )


def _reach(deviation: float, runs: int) -> float:
    return stats.t.ppf(0.975, runs - 1) * deviation / np.sqrt(runs)


def against_scale(
    table: pd.DataFrame, lines: Sequence[Line], title: str, models: Sequence[str] = tuple(PAPER)
) -> go.Figure:
    """A panel per model, a line per design with its 95% band over seeds, a menu of datasets.

    Args:
        table: from `points`, or several of them.
        lines: which of them to draw.
        title: of the vertical axes.
        models: the panels; one that the table lacks gets none.
    """
    models = [model for model in models if model in set(table["model"])]
    columns = min(3, len(models))
    rows = -(-len(models) // columns)
    names = [MODELS[model].name for model in models]
    figure = make_subplots(rows, columns, subplot_titles=names, vertical_spacing=0.2)
    datasets = list(dict.fromkeys(table["dataset"]))
    owner = []  # of each trace, its dataset
    for dataset, (panel, model), line in product(datasets, enumerate(models), lines):
        of_line = (table["dataset"] == dataset) & (table["model"] == model)
        found = table[of_line & (table["line"] == line.name)].sort_values("scale")
        if found.empty:
            continue
        ink = COLOURS[line.design.upper()]
        place = {"row": panel // columns + 1, "col": panel % columns + 1}
        sure = found.dropna(subset="reach")
        low, high = sure["mean"] - sure["reach"], sure["mean"] + sure["reach"]
        band = go.Scatter(
            x=[*sure["scale"], *sure["scale"][::-1]], y=[*low.round(6), *high.round(6)[::-1]],
            fill="toself", fillcolor=_faint(ink), line={"width": 0}, mode="lines",
            hoverinfo="skip", showlegend=False, legendgroup=line.name, name=line.name,
        )  # fmt: skip
        drawn = go.Scatter(
            x=found["scale"], y=found["mean"].round(6), mode="lines+markers", name=line.name,
            line={"color": ink, "dash": line.dash}, legendgroup=line.name,
            showlegend=line.name not in {
                trace.name for trace, of in zip(figure.data, owner, strict=True)
                if of == dataset and trace.showlegend
            },
            customdata=found[["reach", "runs"]].round(5),
            hovertemplate=f"{MODELS[model].name}, {line.name}, %{{x}}x: %{{y:.5f}} "
            "± %{customdata[0]:.5f} (%{customdata[1]} runs)<extra></extra>",
        )  # fmt: skip
        for trace in (band, drawn):
            figure.add_trace(trace.update(visible=dataset == datasets[0]), **place)
            owner.append(dataset)
    scales = sorted(table["scale"].unique())
    figure.update_xaxes(
        type="log", tickvals=scales, ticktext=[f"{scale}x" for scale in scales], minor_ticks=""
    )
    figure.update_xaxes(title="embedding size", row=rows)
    figure.update_yaxes(title=title, col=1)
    return _with_menu(figure, owner, "Dataset")


def _faint(colour: str) -> str:
    """A colour of the palette as a band's, which shows what it covers."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _with_menu(figure: go.Figure, owner: Sequence[str], name: str) -> go.Figure:
    """Show the traces of one owner at a time, chosen from a menu; no menu for a single one."""
    owners = list(dict.fromkeys(owner))
    figure.update_layout(legend={"orientation": "h", "y": -0.25}, hovermode="closest")
    if len(owners) < 2:
        return figure
    buttons = [
        {"label": each, "method": "restyle", "args": [{"visible": [of == each for of in owner]}]}
        for each in owners
    ]
    menu = {"name": name, "buttons": buttons, "active": 0, "direction": "down", "x": 0,
            "xanchor": "left", "y": 1.05, "yanchor": "bottom"}  # fmt: skip
    return figure.update_layout(updatemenus=[menu])


def overfitting(records: Iterable[Record], models: Sequence[str]) -> go.Figure:
    """Training loss and validation AUC epoch by epoch for SE of growing size: means over seeds."""
    cells = by_cell(records)
    models = [model for model in models if model in {cell.model for cell in cells}]
    names = [MODELS[model].name for model in models]
    figure = make_subplots(2, len(models), subplot_titles=names, vertical_spacing=0.12)
    owner = []
    dashes = {1: "solid", 4: "dash", 10: "dot"}
    for cell, group in cells.items():
        if cell.design != "se" or cell.model not in models or cell.scale not in dashes:
            continue
        column = models.index(cell.model) + 1
        for row, metric in ((1, "train_loss"), (2, "valid_auc")):
            curves = [[epoch[metric] for epoch in record.epochs] for record in group]
            ended = min(map(len, curves))  # the epochs that all seeds have
            mean = np.mean([curve[:ended] for curve in curves], axis=0)
            figure.add_scatter(
                x=np.arange(1, ended + 1), y=mean.round(5), mode="lines+markers", name=cell.label,
                line={"color": colour(cell.label), "dash": dashes[cell.scale]},
                legendgroup=cell.label, showlegend=row == column == 1, row=row, col=column,
                visible=not owner or owner[0] == cell.dataset,
                hovertemplate=f"{cell.label}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
            )  # fmt: skip
            owner.append(cell.dataset)
    figure.update_xaxes(dtick=1)
    figure.update_xaxes(title="epoch", row=2)
    figure.update_yaxes(title="training loss (nats)", row=1, col=1)
    figure.update_yaxes(title="validation AUC", row=2, col=1)
    return _with_menu(figure, owner, "Dataset")


def sub_embeddings(records: Iterable[Record]) -> go.Figure:
    """IA / K of every sub-embedding as a heat-map, the mean over sets, fields sorted by their own
    IA; a menu of datasets and designs; first seed."""
    figure = go.Figure()
    owner = []
    for cell, group in by_cell(records).items():
        record = group[0]
        if record.projected_abundance is None:
            continue
        width = len(record.spectra[0][0])
        own = record.relative_abundance.numpy()
        order = np.argsort(own)
        values = np.mean(record.projected_abundance, axis=0)[np.ix_(order, order)] / width
        names = [f"{record.dataset['fields'][i]} ({own[i]:.2f})" for i in order]
        figure.add_heatmap(
            z=values.round(4), x=names, y=names, zmin=0, zmax=1, visible=not owner,
            colorscale="Viridis",
            colorbar={"title": "IA / K"},
            hovertemplate="of %{y}<br>for %{x}<br>IA/K %{z:.3f}<extra></extra>",
        )  # fmt: skip
        owner.append(f"{cell.dataset}, {MODELS[cell.model].name} {cell.label}")
    figure.update_xaxes(title="made for field j (its own IA/K)", tickangle=-60)
    figure.update_yaxes(title="of field i (its own IA/K)")
    return _with_menu(figure, owner, "Run")


def _fields(record: Record) -> tuple[list[str], list[int], list[int]]:
    """Names and cardinalities of the fields from few features to many, and their order."""
    cardinalities = record.dataset["cardinalities"]
    order = sorted(range(len(cardinalities)), key=cardinalities.__getitem__)
    names = [record.dataset["fields"][i] for i in order]
    return names, [cardinalities[i] for i in order], order
