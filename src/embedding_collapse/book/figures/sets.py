"""Embedding sets beside one another: what they span, and how they let fields interact."""

from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book.findings.mechanism import abundance_sums, most_abundance
from embedding_collapse.book.plots.style import COLOURS, colour, fields, with_menu
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record
from embedding_collapse.subspace import random_diversity

WHAT = {"se": "blocks of its table", "me": "its sets"}


def diversity_by_field(records: Iterable[Record]) -> go.Figure:
    """Diversity of every field, fields sorted by cardinality: mean and range over seeds, beside
    that of random tables; a menu of datasets and scales; one model."""
    cells = {cell: group for cell, group in by_cell(records).items() if cell.scale > 1}
    figure, owner, told = go.Figure(), [], set()
    for cell, group in cells.items():
        names, cardinalities, order = fields(group[0])
        width = group[0].spec["embedding_size"]
        of = f"{cell.dataset}, {cell.scale}x"
        values = np.array([record.diversity for record in group])[:, order]
        mean = values.mean(0)
        name = f"{cell.design.upper()}, {WHAT[cell.design]}"
        figure.add_scatter(
            x=names, y=mean.round(4), name=name, mode="lines+markers",
            line={"color": colour(cell.label)}, customdata=cardinalities,
            error_y={"array": (values.max(0) - mean).round(4),
                     "arrayminus": (mean - values.min(0)).round(4)},
            hovertemplate=f"%{{x}}, %{{customdata:,}} features, {name}: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
        owner.append(of)
        if of not in told:
            told.add(of)
            figure.add_scatter(
                x=names, y=[round(random_diversity(rows, width), 4) for rows in cardinalities],
                name="random tables, 1 − K/D", mode="lines",
                line={"color": COLOURS["random"], "dash": "dash"},
            )  # fmt: skip
            owner.append(of)
    for trace, of in zip(figure.data, owner, strict=True):
        trace.visible = of == owner[0]
    figure.update_xaxes(title="field, from few features to many", tickangle=-60)
    figure.update_yaxes(title="diversity", range=[-0.02, 1.02])
    return with_menu(figure, owner, "Run")


def projection_norms(records: Iterable[Record]) -> go.Figure:
    """`||W_{i->j}^{(m)}||_F` of the first cross layer, a heat-map per set, fields sorted by
    cardinality; a menu of the runs, which have equally many sets."""
    runs = [record for group in by_cell(records).values() for record in group]
    sets = len(runs[0].projection_norms)
    columns = min(2, sets)
    rows = -(-sets // columns)
    figure = make_subplots(
        rows, columns, subplot_titles=[f"set {m + 1}" for m in range(sets)],
        vertical_spacing=0.32 / rows, horizontal_spacing=0.16,
    )  # fmt: skip
    owner = []
    for run in runs:
        names, _, order = fields(run)
        norms = np.array(run.projection_norms)[:, order][:, :, order]
        of = f"{run.spec['dataset']}, {MODELS[run.spec['model']].name}"
        for m, values in enumerate(norms):
            figure.add_heatmap(
                z=values.round(3), x=names, y=names, colorscale="Viridis",
                zmin=float(norms.min().round(3)), zmax=float(norms.max().round(3)),
                colorbar={"title": "‖W‖<sub>F</sub>"}, showscale=m == 0, visible=run is runs[0],
                hovertemplate=f"set {m + 1}: of %{{y}} for %{{x}}, %{{z:.3f}}<extra></extra>",
                row=m // columns + 1, col=m % columns + 1,
            )  # fmt: skip
            owner.append(of)
    figure.update_xaxes(tickvals=[])  # too many names for panels this small; they show on hover
    figure.update_xaxes(title="for field j", row=rows)
    figure.update_yaxes(tickvals=[])
    figure.update_yaxes(title="of field i", col=1)
    return with_menu(figure, owner, "Run")


def sums_of_abundance(records: Iterable[Record], scales: Sequence[int] = (1, 4, 10)) -> go.Figure:
    """`sum_i IA(E_i^{->j})` of every field j, sorted by cardinality, a panel for SE and one for
    ME: means over seeds, as a share of what random tables and orthogonal projections would have;
    a menu of datasets; one model."""
    cells = by_cell(records)
    figure = make_subplots(
        cols=2, subplot_titles=["SE, by field j", "ME, by field j"], shared_yaxes=True
    )
    owner = []
    dashes = dict(zip(scales, ("solid", "dash", "dot"), strict=False))
    for cell, group in cells.items():
        if cell.scale not in dashes:
            continue
        names, _, order = fields(group[0])
        sums = np.mean([abundance_sums(record) for record in group], axis=0)[order]
        share = sums / most_abundance(group[0])
        for column in (1, 2) if cell.scale == 1 else (1 + (cell.design == "me"),):
            figure.add_scatter(
                x=names, y=share.round(4), name=cell.label, mode="lines+markers",
                line={"color": colour(cell.label), "dash": dashes[cell.scale]},
                legendgroup=cell.label, showlegend=cell.scale > 1 or column == 1,
                customdata=sums.round(2), row=1, col=column,
                hovertemplate=f"for %{{x}}, {cell.label}: sum of IA %{{customdata:.1f}}, "
                "%{y:.3f} of the most<extra></extra>",
            )  # fmt: skip
            owner.append(cell.dataset)
    for trace, of in zip(figure.data, owner, strict=True):
        trace.visible = of == owner[0]
    figure.update_xaxes(tickangle=-90, tickfont={"size": 9}, dtick=1)  # every field is named
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title="Σ<sub>i</sub> IA(E<sub>i</sub><sup>→j</sup>), share of the most",
                        col=1)  # fmt: skip
    return with_menu(figure, owner, "Dataset")
