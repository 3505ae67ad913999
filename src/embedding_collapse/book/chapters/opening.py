"""The opening page: the puzzle in the paper's numbers, and one picture of the answer."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from embedding_collapse.book.plots import BELOW, COLOURS, DASHES, colour, size_axis
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


def gains(points: pd.DataFrame, panel: str) -> go.Figure:
    """Test AUC minus the base model's against size: a line per data set, model and design.

    Args:
        points: see `plots.points`.
        panel: what has a panel of its own, "dataset" or "model"; what has none is told by dashes.
    """
    of_dataset, names = panel == "dataset", list(dict.fromkeys(points[panel]))
    dashes = dict(zip(dict.fromkeys(points["dataset"]), DASHES, strict=False))
    titles = [
        name.partition(",")[0].capitalize() if of_dataset else MODELS[name].name for name in names
    ]
    count = -(-len(names) // 3)  # of rows of panels
    columns = -(-len(names) // count)
    figure = make_subplots(
        rows=count,
        cols=columns,
        subplot_titles=titles,
        shared_yaxes="all",
        horizontal_spacing=0.06,
        vertical_spacing=0.16,
    )
    base = points[points["scale"] == 1].set_index(["dataset", "model", "line"])["mean"]
    legend: set[str] = set()
    for key, rows in points.groupby(["dataset", "model", "line"], sort=False):
        dataset, model, line = map(str, key)
        rows, place = rows.sort_values("scale"), names.index(dataset if of_dataset else model)
        name = WORDS[line] if of_dataset else f"{line}, {dataset}"
        figure.add_scatter(
            x=rows["scale"],
            y=(rows["mean"] - base[dataset, model, line]).round(5),
            mode="lines" if of_dataset else "lines+markers",
            name=name,
            line={
                "color": COLOURS[line],
                "width": 2,
                "dash": "solid" if of_dataset else dashes[dataset],
            },
            opacity=0.75 if of_dataset else 1,
            legendgroup=name,
            showlegend=name not in legend,
            hovertemplate=f"{MODELS[model].name}, {line} %{{x}}: %{{y:+.4f}}<extra></extra>",
            row=place // columns + 1,
            col=place % columns + 1,
        )
        legend.add(name)
    figure.update_xaxes(size_axis(points["scale"].tolist()))
    figure.update_xaxes(title="embedding size", row=count)
    figure.update_yaxes(tickformat="+.3f")
    figure.update_yaxes(title="test AUC minus the base model's", col=1)
    return figure.update_layout(legend=BELOW, hovermode="closest")
