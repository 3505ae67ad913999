"""What a field's table becomes for another field."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from embedding_collapse.book.plots.style import PINK
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import information_abundance

from .explorer import (
    Control,
    Explorer,
    State,
    Step,
    View,
    by_cardinality,
    by_design,
    packed,
    unpacked,
)

MODEL = "dcnv2"  # whose sub-embeddings are as wide as its tables
WEEKDAY, TIME_OF_DAY = 4, 7  # fields of us-flights
FEWEST, FULLEST = 0, 5  # of synthetic-mini: with the fewest features, with the highest IA
STEPS = [  # over the runs of the study "decide"
    Step(
        "DCNv2, SE 4x, real flights. Each row is a field, each column a partner that it meets; "
        "fields are sorted by the IA of their own tables. The lowest row is weekday: seven days "
        "and a rare bucket.",
        "It is dark from end to end, whoever the partner is: 0.109 on average.",
        {"dataset": "us-flights", "run": "SE 4x", "of": WEEKDAY, "for": TIME_OF_DAY},
    ),
    Step(
        "At the top stands the time of day, whose own table uses the largest share of its "
        "directions.",
        "Its row is twice as bright, 0.213, and 0.202 where it meets weekday.",
        {"dataset": "us-flights", "run": "SE 4x", "of": TIME_OF_DAY, "for": WEEKDAY},
    ),
    Step(
        "Now read columns. If the partner counted, they would brighten from left to right.",
        "Of all that is made for weekday the mean is 0.169, for the time of day 0.170: hardly.",
        {"dataset": "us-flights", "run": "SE 4x", "of": WEEKDAY, "for": WEEKDAY},
    ),
    Step(
        "The same of a million synthetic clicks. The lowest row is field_22, of four features.",
        "It is darkest again, 0.038 on average. The last column, made for field_2, has a mean of "
        "0.108.",
        {"dataset": "synthetic-mini", "run": "SE 4x", "of": FEWEST, "for": FULLEST},
    ),
    Step(
        "And the first column, of what is made for field_22?",
        "It is darker, too: 0.079 on average. Here the partner counts, this one more than others.",
        {"dataset": "synthetic-mini", "run": "SE 4x", "of": FULLEST, "for": FEWEST},
    ),
]


def explorer(records: Sequence[Record], steps: Sequence[Step] = ()) -> Explorer:
    """IA of every sub-embedding of DCNv2 as a heat-map; first seed.

    Args:
        records: of runs.
        steps: what to see in them; it opens on the first.

    Raises:
        ParameterError: no records hold any.
    """
    datasets: dict[str, Any] = {}
    runs: dict[str, Any] = {}
    labels, sources, sets_of, most = [], [], {}, 0.0
    for cell, group in by_cell(records).items():
        record = group[0]
        if cell.model != MODEL or record.projected_abundance is None:
            continue
        datasets[cell.dataset] = {key: record.dataset[key] for key in ("fields", "cardinalities")}
        spectra = torch.tensor(record.spectra, dtype=torch.float64)
        sets, width = spectra.shape[1:]
        labels.append(cell.label)
        sources.append(record)
        sets_of[cell.label] = [(m, f"{m} of {sets}") for m in range(1, sets + 1)]
        pairs = np.array(record.projected_abundance) / width
        most = max(most, pairs.max())
        runs[f"{cell.dataset} {cell.label}"] = {
            "sets": sets,
            "width": width,
            "own": packed(information_abundance(spectra).T.numpy() / width),
            "pairs": packed(pairs),
        }
    fields = {name: by_cardinality(about) for name, about in datasets.items()}
    if not datasets:
        raise ParameterError(f"the records hold no sub-embeddings of {MODEL!r}")
    first = min(datasets, key=lambda name: len(datasets[name]["fields"]))  # easiest to read
    labels = by_design(labels)
    return Explorer(
        name="sub_embeddings",
        title="How many directions does each partner see?",
        alt="Heat-map of the information abundance of every field's sub-embedding for every other",
        controls=[
            Control("choice", "dataset", "Dataset", [(name, name) for name in datasets]),
            Control("choice", "run", "Design and scale", [(label, label) for label in labels]),
            Control("choice", "set", "Set m", sets_of, by="run"),
            Control("choice", "sort", "Sort by", [("IA", "IA"), ("cardinality", "cardinality")]),
            Control("choice", "of", "Of field i", fields, by="dataset"),
            Control("choice", "for", "made for field j", fields, by="dataset"),
        ],
        start={
            "dataset": first,
            "run": labels[-1],
            "set": 1,
            "sort": "IA",
            "of": fields[first][-1][0],
            "for": fields[first][0][0],
        }
        | (dict(steps[0].change) if steps else {}),
        steps=steps,
        data={"datasets": datasets, "runs": runs, "model": MODELS[MODEL].name},
        styles={
            "pairs": {
                "type": "heatmap",
                "zmin": 0,
                "zmax": math.ceil(10 * most) / 10,
                "colorscale": "Viridis",
                "colorbar": {"title": {"text": "IA / K"}},
                "hovertemplate": "%{text}<extra></extra>",
            },
            "chosen": {
                "type": "scatter",
                "mode": "markers",
                "hoverinfo": "skip",
                "showlegend": False,
                "marker": {
                    "symbol": "square-open",
                    "size": 15,
                    "line": {"width": 3},
                    "color": PINK,
                },
            },
        },
        layout={
            "xaxis": {"title": {"text": "made for field j"}, "tickangle": -60, "type": "category"},
            "yaxis": {"title": {"text": "of field i"}, "type": "category"},
        },
        view=view,
        height=520,
        sources=sources,
    )


def view(data: dict[str, Any], state: State) -> View:
    """The heat-map of one set, fields in the order asked for, and one cell in words."""
    dataset = data["datasets"][state["dataset"]]
    run = data["runs"][f"{state['dataset']} {state['run']}"]
    names, cardinalities = dataset["fields"], dataset["cardinalities"]
    number, m = len(names), state["set"] - 1
    own = unpacked(run["own"], run["sets"], number)[m].tolist()
    pairs = unpacked(run["pairs"], run["sets"], number, number)[m].tolist()
    by = own if state["sort"] == "IA" else cardinalities
    order = sorted(range(number), key=by.__getitem__)

    def field(i: int) -> str:
        return f"{names[i]} ({cardinalities[i]:,} features, IA/K {own[i]:.3f})"

    i, j = state["of"], state["for"]
    marks = [
        {
            "like": "pairs",
            "x": [names[k] for k in order],
            "y": [names[k] for k in order],
            "z": [[pairs[row][column] for column in order] for row in order],
            "text": [
                [
                    f"of {field(row)}<br>for {field(column)}<br>IA/K {pairs[row][column]:.3f}"
                    for column in order
                ]
                for row in order
            ],
        },
        {"like": "chosen", "x": [names[j]], "y": [names[i]]},
    ]
    row, column = sum(pairs[i]) / number, sum(other[j] for other in pairs) / number
    readout = [
        ["of field i", "made for field j", "IA/K of this one", "mean of its row", "of its column"],
        [field(i), field(j), *(f"{value:.3f}" for value in (pairs[i][j], row, column))],
    ]
    return View(marks, readout)
