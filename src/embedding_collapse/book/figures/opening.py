"""The opening page: the phenomenon in one figure, the remedy in the next."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from embedding_collapse.book.plots.scaling import AUC, COLLAPSE, points, published_points, with_band
from embedding_collapse.book.plots.style import COLOURS, colour, with_menu
from embedding_collapse.lab.groups import by_label
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import information_abundance, random_spectrum


def directions_in_use(records: Sequence[Record]) -> go.Figure:
    """The spectrum of the field with the most features as SE grows, one size at a time, beside a
    random table's: the mean over seeds of the singular values, each divided by the largest.

    Args:
        records: of one model on one dataset, SE among them.
    """
    groups = {label: group for label, group in by_label(records).items() if label[:2] != "ME"}
    cardinalities = records[0].dataset["cardinalities"]
    field = int(np.argmax(cardinalities))
    figure = go.Figure()
    counts = {}
    for position, (label, group) in enumerate(groups.items()):
        spectra = torch.tensor([r.spectra[field][0] for r in group], dtype=torch.float64)
        mean = (spectra / spectra[:, :1]).mean(0)  # whose IA is the mean of the seeds' IA
        width = len(mean)
        random = random_spectrum(cardinalities[field], width)
        counts[label] = information_abundance(mean).item(), width
        place = {"x": np.arange(1, width + 1), "visible": position == len(groups) - 1}
        figure.add_bar(
            y=mean.numpy().round(4), marker={"color": colour(label)},
            name=f"{label}: {width} dimensions, {counts[label][0]:.1f} directions in use",
            hovertemplate="direction %{x}: %{y:.3f}<extra></extra>", **place,
        )  # fmt: skip
        figure.add_scatter(
            y=(random / random[0]).numpy().round(4), mode="lines",
            line={"color": COLOURS["random"]},
            name=f"a random table: {information_abundance(random).item():.1f}",
            hovertemplate="random, direction %{x}: %{y:.3f}<extra></extra>", **place,
        )  # fmt: skip
    steps = [
        {"label": label, "method": "restyle",
         "args": [{"visible": [i // 2 == position for i in range(len(figure.data))]}]}
        for position, label in enumerate(groups)
    ]  # fmt: skip
    (first, narrow), *_, (last, wide) = counts.values()
    figure.update_xaxes(title="direction k")
    figure.update_yaxes(title="σ<sub>k</sub> / σ<sub>1</sub>", range=[0, 1.02])
    return figure.update_layout(
        title={"text": f"{wide / narrow:.0f} times the dimensions, {last / first:.1f} times the "
                       "directions"},
        sliders=[{"name": "Embedding size", "steps": steps, "active": len(steps) - 1}],
        legend={"orientation": "h", "y": -0.25}, bargap=0.15,
    )  # fmt: skip


def remedy(records: Sequence[Record], dataset: str, theirs: str = "criteo") -> go.Figure:
    """SE and ME by size: the share of directions in use in our runs, and test AUC in the paper's
    table, with 95% bands; a menu of models, DCNv2 first.

    Args:
        records: of runs; those of the dataset are shown.
        dataset: of ours.
        theirs: the paper's dataset.
    """
    ours = points((r for r in records if r.spec["dataset"] == dataset), COLLAPSE)
    table = published_points()
    panels = [
        (ours, COLLAPSE),
        (table[table["dataset"] == f"{theirs}, the paper"], AUC),
    ]
    titles = [f"our runs on {dataset}", f"the paper's on {theirs}"]
    figure = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.14)
    owner = []
    for model in sorted(PAPER, key=lambda model: model != "dcnv2"):
        for column, (found, lines) in enumerate(panels, start=1):
            found = found[found["model"] == model]
            for line in lines:
                of_line = found[found["line"] == line.name].sort_values("scale")
                ink = COLOURS[line.design.upper()]
                traces = with_band(of_line, line.name, ink, line.dash, line.name)
                traces[1].showlegend = column == 1
                for trace in traces:
                    figure.add_trace(trace.update(visible=model == "dcnv2"), row=1, col=column)
                    owner.append(MODELS[model].name)
    scales = sorted(set(pd.concat([found["scale"] for found, _ in panels])))
    figure.update_xaxes(
        type="log", tickvals=scales, ticktext=[f"{scale}x" for scale in scales], minor_ticks="",
        title="embedding size",
    )  # fmt: skip
    figure.update_yaxes(title="share of directions in use, IA / K", range=[0, 1], col=1)
    figure.update_yaxes(title="test AUC", tickformat=".4f", col=2)
    return with_menu(figure, owner, "Model")
