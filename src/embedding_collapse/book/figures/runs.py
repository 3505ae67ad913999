"""How runs went: accuracy, curves of training, overfitting."""

from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.lab.groups import by_cell, by_label
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record

from .style import colour, with_menu


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


def overfitting(records: Iterable[Record], models: Sequence[str]) -> go.Figure:
    """Training loss and validation AUC epoch by epoch for SE of growing size: means over seeds."""
    cells = by_cell(records)
    models = [model for model in models if model in {cell.model for cell in cells}]
    names = [MODELS[model].name for model in models]
    figure = make_subplots(2, len(models), subplot_titles=names * 2, vertical_spacing=0.15)
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
    return with_menu(figure, owner, "Dataset")
