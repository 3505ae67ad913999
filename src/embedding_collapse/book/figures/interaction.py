"""Sub-embeddings: what a field becomes for another."""

from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book.findings.interaction import Influence
from embedding_collapse.book.plots.style import COLOURS, SKY, as_text, with_menu
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record

BARS = SKY  # no design is meant


def sub_embeddings(records: Iterable[Record]) -> go.Figure:
    """IA / K of every sub-embedding as a heat-map, the mean over sets, fields sorted by their own
    IA; a menu of datasets and designs; first seed."""
    figure = go.Figure()
    above = {
        "title": {"text": "IA / K", "side": "right"}, "orientation": "h", "thickness": 12,
        "y": 1, "yanchor": "bottom",
    }  # fmt: skip
    owner = []
    for cell, group in by_cell(records).items():
        record = group[0]
        if record.projected_abundance is None:
            continue
        width = len(record.spectra[0][0])
        own = record.relative_abundance.numpy()
        order = np.argsort(own)
        values = np.mean(record.projected_abundance, axis=0)[np.ix_(order, order)] / width
        names = [as_text(record.dataset["fields"][i]) for i in order]
        figure.add_heatmap(
            z=values.round(4), x=names,
            y=[f"{name} ({own[i]:.2f})" for name, i in zip(names, order, strict=True)],
            zmin=0, zmax=1, visible=not owner, colorscale="Viridis", colorbar=above,
            hovertemplate="of %{y}<br>for %{x}<br>IA/K %{z:.3f}<extra></extra>",
        )  # fmt: skip
        owner.append(f"{cell.dataset}, {MODELS[cell.model].name} {cell.label}")
    each = {"dtick": 1, "tickfont": {"size": 9}}  # every field is named
    figure.update_xaxes(title="made for field j", tickangle=-90, **each)
    figure.update_yaxes(title="of field i (its own IA/K)", **each)
    return with_menu(figure, owner, "Run")


def sub_embeddings_with_sums(records: Iterable[Record]) -> go.Figure:
    """IA(E_i^{->j}) as a heat-map, with its row sums beside it and its column sums above; means
    over sets and seeds, fields sorted by their own IA, the pair of a field with itself left out;
    a menu of datasets, models and designs."""
    figure = go.Figure()
    owner = []
    for cell, group in by_cell(records).items():
        if group[0].projected_abundance is None:
            continue
        pairs = np.mean([record.projected_abundance for record in group], axis=(0, 1))
        spectra = np.array([record.spectra for record in group])  # [seeds, N, M, K]
        own = (spectra.sum(-1) / spectra.max(-1)).mean((0, 2))
        order = np.argsort(own)
        pairs = pairs[np.ix_(order, order)].round(2)
        np.fill_diagonal(pairs, np.nan)
        names = [as_text(group[0].dataset["fields"][i]) for i in order]
        figure.add_heatmap(
            z=[[None if np.isnan(value) else value for value in row] for row in pairs],
            x=names, y=names, colorscale="Viridis", hoverongaps=False,
            colorbar={"title": "IA", "x": 1.02, "y": 0, "yanchor": "bottom", "len": 0.82},
            hovertemplate="of %{y}<br>for %{x}<br>IA %{z:.2f}<extra></extra>",
        )  # fmt: skip
        bars = {"marker": {"color": BARS}, "showlegend": False, "customdata": own[order].round(2)}
        told = "own IA %{customdata}<extra></extra>"
        figure.add_bar(
            x=names, y=np.nansum(pairs, 0).round(1), yaxis="y2", **bars,
            hovertemplate=f"for %{{x}}: sum over i %{{y}}<br>{told}",
        )  # fmt: skip
        figure.add_bar(
            y=names, x=np.nansum(pairs, 1).round(1), xaxis="x2", orientation="h", **bars,
            hovertemplate=f"of %{{y}}: sum over j %{{x}}<br>{told}",
        )  # fmt: skip
        for trace in figure.data[-3:]:
            trace.visible = not owner
        owner += [f"{cell.dataset}, {MODELS[cell.model].name} {cell.label}"] * 3
    small = {"tickfont": {"size": 10}}
    figure.update_layout(
        xaxis=small | {"title": "for field j, by its IA", "tickangle": -60, "domain": [0, 0.8]},
        yaxis=small | {"title": "of field i, by its IA", "domain": [0, 0.82]},
        xaxis2=small | {"title": "Σ<sub>j</sub>", "domain": [0.83, 1], "nticks": 3, "tickangle": 0},
        yaxis2=small | {"title": "Σ<sub>i</sub>", "domain": [0.85, 1], "nticks": 3},
    )
    return with_menu(figure, owner, "Run")


def influence(found: Sequence[Influence]) -> go.Figure:
    """How sub-embeddings' IA goes with that of their own field and of their partner: rank
    correlations, a dot per seed, per dataset and model; grey dots for
    random projections."""
    titles = ["with IA(E<sub>i</sub>), own field", "with IA(E<sub>j</sub>), partner"]
    figure = make_subplots(cols=2, subplot_titles=titles, shared_yaxes=True)
    names = [f"{each.cell.dataset}, {each.name}" for each in found]
    for column, part in ((1, "own"), (2, "partner")):
        for kind, suffix, colour, symbol in (
            ("random projections", "_by_chance", COLOURS["random"], "x"),
            ("trained", "", BARS, "circle"),
        ):
            dots = [
                (value, name)
                for each, name in zip(found, names, strict=True)
                for value in getattr(each, part + suffix)
            ]
            if not dots:
                continue
            x, y = zip(*dots, strict=True)
            figure.add_scatter(
                x=np.round(x, 3), y=y, mode="markers", name=kind, legendgroup=kind,
                showlegend=column == 1, row=1, col=column,
                marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
                hovertemplate=f"%{{y}}, {kind}: %{{x:.2f}}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(range=[-0.5, 1.05], zeroline=True, dtick=0.5, title="rank correlation")
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=names)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})
