"""The spectrum of any field in any run, and another beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from embedding_collapse.book.plots import COLOURS
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import (
    directions,
    effective_rank,
    information_abundance,
    random_abundance,
)

from .explorer import (
    LEGEND,
    Control,
    Explorer,
    State,
    View,
    by_cardinality,
    by_design,
    packed,
    unpacked,
)

JOINED = ", joined"  # a field's sets side by side as one table


def explorer(records: Sequence[Record]) -> Explorer:
    """Normalised spectra of the paper's six models, first seed, field by field.

    Args:
        records: of runs; what is no model of the paper's is left out.

    Raises:
        ParameterError: no model has runs of every design and scale on every dataset.
    """
    cells = {cell: group[0] for cell, group in by_cell(records).items() if cell.model in PAPER}
    datasets: dict[str, Any] = {}
    runs: dict[str, Any] = {}
    labels = []
    for cell, record in cells.items():
        about = datasets.setdefault(
            cell.dataset,
            {key: record.dataset[key] for key in ("fields", "cardinalities")} | {"random": {}},
        )
        readings = {cell.label: np.array(record.spectra)}
        if cell.design == "me":
            readings[cell.label + JOINED] = np.array(record.joined_spectra)[:, None]
        for label, values in readings.items():
            labels.append(label)
            _, sets, width = values.shape
            largest = values.max(-1, keepdims=True)
            shares = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)
            runs[f"{cell.dataset} {cell.model} {label}"] = {
                "sets": sets,
                "width": width,
                "shares": packed(shares),
            }
            about["random"][str(width)] = [
                round(random_abundance(rows, width), 4) for rows in about["cardinalities"]
            ]
    labels = by_design(labels)
    models = [
        model
        for model in PAPER
        if all(f"{name} {model} {label}" in runs for name in datasets for label in labels)
    ]
    if not models:
        raise ParameterError(f"no model has runs of all of {labels} on each of {list(datasets)}")
    fields = {name: by_cardinality(about) for name, about in datasets.items()}
    first = next(iter(datasets))
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "marker": {"size": 4},
        "hovertemplate": "%{fullData.name}<br>direction %{customdata}: %{y:.3f}<extra></extra>",
    }
    return Explorer(
        name="spectrum",
        title="Where the directions go",
        hint="pin this one, then choose SE 10x: ten times the dimensions, but how many times the "
        "information abundance (IA)?",
        alt="Singular values of a table, divided by the largest, against the direction's place",
        controls=[
            Control("choice", "dataset", "Dataset", [(name, name) for name in datasets]),
            Control("choice", "model", "Model", [(model, MODELS[model].name) for model in models]),
            Control("choice", "run", "Design and scale", [(label, label) for label in labels]),
            Control("choice", "field", "Field", fields, by="dataset"),
            Control("pin", "pinned", "Pin this one"),
        ],
        start={
            "dataset": first,
            "model": "dcnv2" if "dcnv2" in models else models[0],
            "run": labels[0],
            "field": fields[first][-1][0],
            "pinned": None,
        },
        data={"datasets": datasets, "runs": runs, "models": {m: MODELS[m].name for m in PAPER}},
        styles={
            "base": line | {"line": {"color": COLOURS["base"]}},
            "SE": line | {"line": {"color": COLOURS["SE"]}},
            "ME": line | {"line": {"color": COLOURS["ME"]}},
            "pinned": line | {"line": {"color": COLOURS["random"], "dash": "dash"}},
        },
        layout={
            "xaxis": {"title": {"text": "direction k, as a share of K"}, "range": [0, 1.02]},
            "yaxis": {"title": {"text": "σ<sub>k</sub> / σ<sub>1</sub>"}, "range": [0, 1.05]},
            "legend": LEGEND,
            "hovermode": "closest",
        },
        view=view,
        sources=list(cells.values()),
    )


def view(data: dict[str, Any], state: State) -> View:
    """The spectra of one table, or of all sets of a field, and those of the pinned one."""
    marks = []
    columns = [
        [
            "",
            "IA",
            "IA / K",
            "IA against random",
            "effective rank",
            "directions for 90% of the energy",
            "for 99%",
        ]
    ]
    for shown, pinned in ((state, False), (state["pinned"], True)):
        if shown is None:
            continue
        dataset = data["datasets"][shown["dataset"]]
        run = data["runs"][" ".join(shown[key] for key in ("dataset", "model", "run"))]
        sets, width, field = run["sets"], run["width"], shown["field"]
        spectra = unpacked(run["shares"], len(dataset["fields"]), sets, width)[field]
        name = f"{data['models'][shown['model']]} {shown['run']}, {dataset['fields'][field]}"
        design = shown["run"].split()[0]
        for m, shares in enumerate(spectra):
            marks.append(
                {
                    "like": "pinned" if pinned else design,
                    "name": name if m == 0 else f"{name}, set {m + 1}",
                    "legendgroup": name,
                    "showlegend": m == 0,
                    "x": [(k + 1) / width for k in range(width)],
                    "y": shares.tolist(),
                    "customdata": list(range(1, width + 1)),
                }
            )
        values = torch.from_numpy(spectra.copy())
        abundance = information_abundance(values).mean().item()
        random = dataset["random"][str(width)][field]
        columns.append(
            [
                f"{shown['dataset']}, {name}" + (", mean of its sets" if sets > 1 else ""),
                f"{abundance:.2f} of {width}",
                f"{abundance / width:.3f}",
                f"{abundance / random:.3f}",
                f"{effective_rank(values).mean().item():.2f}",
                *(
                    f"{directions(values, share).double().mean().item():.1f}"
                    for share in (0.9, 0.99)
                ),
            ]
        )
    return View(marks, [list(row) for row in zip(*columns, strict=True)])
