"""The opening page: the puzzle in the paper's numbers, and one picture of the answer."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from embedding_collapse.book import paper
from embedding_collapse.book.plots import BELOW, COLOURS, colour, size_axis
from embedding_collapse.lab.groups import by_label
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import information_abundance, random_spectrum

WORDS = {"SE": "one wider table per field (SE)", "ME": "several tables per field (ME)"}


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
            y=mean.numpy().round(4),
            marker={"color": colour(label)},
            name=f"{label}: {width} dimensions, {counts[label][0]:.1f} directions in use",
            hovertemplate="direction %{x}: %{y:.3f}<extra></extra>",
            **place,
        )
        figure.add_scatter(
            y=(random / random[0]).numpy().round(4),
            mode="lines",
            line={"color": COLOURS["random"]},
            name=f"a random table: {information_abundance(random).item():.1f}",
            hovertemplate="random, direction %{x}: %{y:.3f}<extra></extra>",
            **place,
        )
    steps = [
        {
            "label": label,
            "method": "restyle",
            "args": [{"visible": [i // 2 == position for i in range(len(figure.data))]}],
        }
        for position, label in enumerate(groups)
    ]
    (first, narrow), *_, (last, wide) = counts.values()
    figure.update_xaxes(title="direction k")
    figure.update_yaxes(title="σ<sub>k</sub> / σ<sub>1</sub>", range=[0, 1.02])
    return figure.update_layout(
        title={
            "text": f"{wide / narrow:.0f} times the dimensions, {last / first:.1f} times the "
            "directions"
        },
        sliders=[{"name": "Embedding size", "steps": steps, "active": len(steps) - 1}],
        legend=BELOW,
        bargap=0.15,
    )


def gains_in_the_paper() -> go.Figure:
    """The paper's table as change of test AUC from the base model: a line per model, SE and ME,
    with each model's name at the end of its line; one panel per data set."""
    table = paper.published()
    names = list(dict.fromkeys(table["dataset"]))
    figure = make_subplots(
        cols=len(names),
        subplot_titles=[name.capitalize() for name in names],
        shared_yaxes=True,
        horizontal_spacing=0.06,
    )
    base = table[table["scale"] == 1].set_index(["dataset", "model"])["test_auc"]
    wider = table[table["scale"] > 1].groupby(["dataset", "model", "design"], sort=False)
    for key, rows in wider:
        dataset, model, design = map(str, key)
        rows = rows.sort_values("scale")
        gains = rows["test_auc"] - base[dataset, model]
        name = design.upper()
        figure.add_scatter(
            x=[1, *rows["scale"]],
            y=[0, *gains.round(5)],
            mode="lines",
            name=WORDS[name],
            line={"color": COLOURS[name], "width": 2},
            opacity=0.75,
            legendgroup=name,
            showlegend=(dataset, model) == base.index[0],
            hovertemplate=f"{MODELS[model].name}, {name} %{{x}}x: %{{y:+.4f}}<extra></extra>",
            row=1,
            col=names.index(dataset) + 1,
        )
    figure.update_xaxes(size_axis(table["scale"].tolist()), title="embedding size")
    figure.update_yaxes(tickformat="+.3f")
    figure.update_yaxes(title="test AUC minus the base model's", col=1)
    return figure.update_layout(legend=BELOW, hovermode="closest")
