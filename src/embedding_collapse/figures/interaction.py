"""Sub-embeddings: what a field becomes for another."""

from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go

from ..models import MODELS
from ..records import Record, by_cell
from .style import with_menu


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
    return with_menu(figure, owner, "Run")
