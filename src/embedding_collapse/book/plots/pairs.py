"""A number for each pair of fields."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .style import SKY

SMALL = {"tickfont": {"size": 10}}
# the axes of `pairs_of_fields`: the heat-map, the bars above it and those beside it
BESIDE_PAIRS: dict[str, Any] = {
    "xaxis": SMALL | {"title": "for field j, by its IA", "tickangle": -60, "domain": [0, 0.8]},
    "yaxis": SMALL | {"title": "of field i, by its IA", "domain": [0, 0.82]},
    "xaxis2": SMALL | {"title": "Σ<sub>j</sub>", "domain": [0.83, 1], "nticks": 3, "tickangle": 0},
    "yaxis2": SMALL | {"title": "Σ<sub>i</sub>", "domain": [0.85, 1], "nticks": 3},
}


def pairs_of_fields(names: Sequence[str], pairs: np.ndarray, own: np.ndarray) -> go.Figure:
    """IA of what is of field i and for field j as a heat-map, its row sums beside it and its column
    sums above; to be laid out with `BESIDE_PAIRS`.

    Args:
        names: of the N fields, in the order to be shown.
        pairs: `[i, j]`, `[N, N]`, NaN where there is none.
        own: `[N]`, the fields' own IA.
    """
    figure = go.Figure()
    shown = pairs.round(2)
    figure.add_heatmap(
        z=[[None if np.isnan(value) else value for value in row] for row in shown],
        x=names,
        y=names,
        colorscale="Viridis",
        hoverongaps=False,
        colorbar={"title": "IA", "x": 1.02, "y": 0, "yanchor": "bottom", "len": 0.82},
        hovertemplate="of %{y}<br>for %{x}<br>IA %{z:.2f}<extra></extra>",
    )
    bars = {"marker": {"color": SKY}, "showlegend": False, "customdata": own.round(2)}
    hover = "own IA %{customdata}<extra></extra>"
    figure.add_bar(
        x=names,
        y=np.nansum(shown, 0).round(1),
        yaxis="y2",
        **bars,
        hovertemplate=f"for %{{x}}: sum over i %{{y}}<br>{hover}",
    )
    return figure.add_bar(
        y=names,
        x=np.nansum(shown, 1).round(1),
        xaxis="x2",
        orientation="h",
        **bars,
        hovertemplate=f"of %{{y}}: sum over j %{{x}}<br>{hover}",
    )
