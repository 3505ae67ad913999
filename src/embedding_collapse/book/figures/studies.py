"""Studies outside the grid: equal parameters, depth, rows, and when a model is at its best."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book.findings.studies import Groups, total_parameters
from embedding_collapse.book.plots.scaling import reach_of
from embedding_collapse.book.plots.style import COLOURS, DASHES, colour, with_menu
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record

INKS = {"more cross layers": "#CC79A7"}  # beside those of the designs


def against_parameters(families: Mapping[str, Groups]) -> go.Figure:
    """Test AUC against the number of all parameters: means and 95% intervals over seeds.

    Args:
        families: by what is scaled up in them ("SE, wider", "ME, more sets", ...), groups of runs
            by what they are called.
    """
    figure = go.Figure()
    for (name, groups), dash in zip(families.items(), DASHES, strict=False):
        points = sorted((total_parameters(group), label) for label, group in groups.items())
        aucs = [[record.test["auc"] for record in groups[label]] for _, label in points]
        figure.add_scatter(
            x=[count for count, _ in points], y=np.round([np.mean(each) for each in aucs], 5),
            error_y={"array": np.round([reach_of(each) for each in aucs], 5)},
            name=name, mode="lines+markers", hovertext=[label for _, label in points],
            line={"color": INKS.get(name) or COLOURS[name.split(",")[0]], "dash": dash},
            hovertemplate="%{hovertext}, %{x:,} parameters: %{y:.4f}<extra></extra>",
        )  # fmt: skip
    ticks = [digit * 10**power for power in range(3, 10) for digit in (1, 2, 5)]
    figure.update_xaxes(title="parameters, embeddings included", type="log", tickvals=ticks,
                        tickformat="~s", minor_ticks="")  # fmt: skip
    figure.update_yaxes(title="test AUC")
    return figure.update_layout(legend={"orientation": "h", "y": -0.25}, hovermode="closest")


def against_rows(groups: Mapping[int, Groups]) -> go.Figure:
    """Test AUC, and IA against random tables, by the number of rows: means and 95% intervals
    over seeds; a line each for base, SE and ME.

    Args:
        groups: from `studies.by_rows`.
    """
    titles = ["test AUC", "IA, random tables = 1"]
    figure = make_subplots(cols=2, subplot_titles=titles)
    for label in next(iter(groups.values())):
        runs = {rows: of[label] for rows, of in groups.items()}
        values = (
            [[record.test["auc"] for record in group] for group in runs.values()],
            [[r.abundance_against_random.mean().item() for r in g] for g in runs.values()],
        )
        for column, each in enumerate(values, 1):
            figure.add_scatter(
                x=list(runs), y=np.round([np.mean(v) for v in each], 5),
                error_y={"array": np.round([reach_of(v) for v in each], 5)},
                name=label, legendgroup=label, showlegend=column == 1, mode="lines+markers",
                line={"color": colour(label)}, row=1, col=column,
                hovertemplate=f"{label}, %{{x:,}} rows: %{{y:.4f}}<extra></extra>",
            )  # fmt: skip
    ticks = list(groups)
    figure.update_xaxes(title="rows", type="log", tickvals=ticks, minor_ticks="",
                        ticktext=[f"{rows:,}" for rows in ticks])  # fmt: skip
    return figure.update_layout(legend={"orientation": "h", "y": -0.25}, hovermode="closest")


def best_epochs(records: Iterable[Record], models: Sequence[str]) -> go.Figure:
    """How far validation AUC falls from its best epoch to the last, a heat-map by model and size,
    with the best epoch written in it: means over seeds; a menu of datasets."""
    cells = by_cell(records)
    order = sorted(cells, key=lambda cell: (cell.scale, cell.design == "me"))
    labels = list(dict.fromkeys(cell.label for cell in order))
    figure, owner = go.Figure(), []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        falls = np.full((len(models), len(labels)), np.nan)
        best = falls.copy()
        for cell, group in cells.items():
            if cell.dataset == dataset and cell.model in models:
                place = models.index(cell.model), labels.index(cell.label)
                aucs = [[epoch["valid_auc"] for epoch in record.epochs] for record in group]
                falls[place] = np.mean([max(each) - each[-1] for each in aucs])
                best[place] = np.mean([record.best_epoch + 1 for record in group])
        text = [["" if np.isnan(v) else f"{v:.1f}" for v in row] for row in best]
        figure.add_heatmap(
            z=falls.round(5), x=labels, y=[MODELS[model].name for model in models], text=text,
            texttemplate="%{text}", colorscale="Viridis", zmin=0,
            colorbar={"title": "fall of AUC"}, visible=not owner, hoverongaps=False,
            hovertemplate="%{y} %{x}: best epoch %{text}, then down by %{z:.4f}<extra></extra>",
        )  # fmt: skip
        owner.append(dataset)
    figure.update_yaxes(autorange="reversed")
    return with_menu(figure, owner, "Dataset")
