"""How runs overfit."""

from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book.plots.style import colour, with_menu
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record


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
