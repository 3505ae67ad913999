"""Tables of anyone's checkpoint, and of anyone's model while it is trained."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from embedding_collapse.book.plots.style import COLOURS, DASHES, as_text, with_menu
from embedding_collapse.collapse import COLLAPSED, PARTLY, Collapse

MEASURES = {"against_random": "IA / IA of a random table", "relative_abundance": "IA / K"}
MOST_POINTS = 64


def table_spectra(tables: Sequence[Collapse]) -> go.Figure:
    """Normalised spectra of one table, chosen from a menu, beside a random one of its shape."""
    figure, owners = go.Figure(), []
    for table in tables:
        if table.spectra is None:
            continue
        width = table.width
        kept = np.unique(np.linspace(0, width - 1, min(width, MOST_POINTS)).round().astype(int))
        lines = [(spectrum, "ME" if table.sets > 1 else "SE") for spectrum in table.spectra]
        for m, (spectrum, kind) in enumerate([*lines, (table.random, "random")]):
            name = {"random": "random table", "SE": "this table", "ME": f"set {m + 1}"}[kind]
            figure.add_scatter(
                x=((kept + 1) / width).round(4), name=name, mode="lines+markers",
                y=(spectrum / spectrum.max().clamp(min=1e-300)).numpy()[kept].round(4),
                line={"color": COLOURS[kind], "dash": DASHES[m % len(DASHES)]},
                marker={"size": 4}, visible=not owners or owners[0] == as_text(table.name),
            )  # fmt: skip
            owners.append(as_text(table.name))
    figure.update_xaxes(title="direction k, as a share of K", range=[0, 1.02])
    figure.update_yaxes(title="σ<sub>k</sub> / σ<sub>1</sub>", rangemode="tozero")
    return with_menu(figure, owners, "Table")


def collapse_in_training(
    histories: Mapping[str, pd.DataFrame], measure: str = "against_random"
) -> go.Figure:
    """A measure of every table over the steps of training, by design; verdicts' lines across.

    Args:
        histories: tables of `CollapseMonitor.history`, by "SE" or "ME" and what follows it.
        measure: a key of `MEASURES`.
    """
    figure = go.Figure()
    for label, history in histories.items():
        mean = history.groupby("step")[measure].mean()
        for table, rows in history.groupby("table", sort=False):
            figure.add_scatter(
                x=rows["step"], y=rows[measure].round(4), mode="lines", opacity=0.25,
                line={"color": COLOURS[label.split()[0]], "width": 1}, showlegend=False,
                name=f"{label}, {as_text(table)}", legendgroup=label,
            )  # fmt: skip
        figure.add_scatter(
            x=mean.index, y=mean.round(4), mode="lines", name=f"{label}, mean of tables",
            line={"color": COLOURS[label.split()[0]], "width": 3}, legendgroup=label,
        )  # fmt: skip
    if measure == "against_random":
        for threshold in (COLLAPSED, PARTLY):
            figure.add_hline(threshold, line={"color": COLOURS["random"], "dash": "dot"})
    figure.update_xaxes(title="step of training")
    figure.update_yaxes(title=MEASURES[measure], rangemode="tozero")
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})
