"""Sub-embeddings: what a field becomes for another."""

from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go

from embedding_collapse.book.plots.style import as_text, with_menu
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record


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
