"""The spectrum of any field in any run, and another beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from embedding_collapse.book.plots import BELOW, COLOURS
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import (
    directions,
    effective_rank,
    information_abundance,
    random_spectrum,
)

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

JOINED = ", joined"  # a field's sets side by side as one table
TAILNUM, ORIGIN = 6, 7  # fields of flights
_WIDE = {"dataset": "flights", "model": "dcnv2", "run": "SE 10x", "field": TAILNUM}
_BASE = _WIDE | {"run": "base"}
STEPS = [  # over the runs of the study "grid"
    Step(
        "The field with the most features, in a table of 50 columns. Dashed: the base model's "
        "table of 5. Grey: a random table of 50, in which nothing has collapsed.",
        "IA is 12.95 of 50 beside 3.83 of 5: ten times the columns, less than four times the "
        "directions.",
        _WIDE | {"pinned": _BASE},
    ),
    Step(
        "The same number of columns as ten sets of five, each with an interaction of its own.",
        "Each set falls like base's table: IA is 4.02 of 5 on average, beside 3.83 of 5.",
        _WIDE | {"run": "ME 10x", "pinned": _BASE},
    ),
    Step(
        "The ten sets side by side as one table of 50 columns, beside the wide table (dashed).",
        "Together 17.03 of 50, the wide table 12.95 of 50: the sets add to each other, but don't "
        "fill the space either.",
        _WIDE | {"run": "ME 10x" + JOINED, "pinned": _WIDE},
    ),
    Step(
        "Where do the directions go? A field of few features can't have many.",
        "Origin has 4 features: 2.39 of 50, and yet 0.715 of what a random table of its shape has. "
        "The fields with many features leave more of theirs unused.",
        _WIDE | {"field": ORIGIN, "pinned": _BASE | {"field": ORIGIN}},
    ),
]


def explorer(records: Sequence[Record], steps: Sequence[Step] = ()) -> Explorer:
    """Normalised spectra of the paper's six models, first seed, field by field.

    Args:
        records: of runs; what is no model of the paper's is left out.
        steps: what to see in them; it opens on the first.

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
            about["random"][str(width)] = packed(_random(about["cardinalities"], width))
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
        title="Where do the directions go?",
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
        }
        | (dict(steps[0].change) if steps else {}),
        steps=steps,
        data={"datasets": datasets, "runs": runs, "models": {m: MODELS[m].name for m in PAPER}},
        styles={
            f"{design}{suffix}": line | {"line": {"color": COLOURS[design], "dash": dash}}
            for design in ("base", "SE", "ME")
            for suffix, dash in (("", "solid"), (" pinned", "dash"))
        }
        | {"random": line | {"mode": "lines", "line": {"color": COLOURS["random"]}}},
        layout={
            "xaxis": {"title": {"text": "direction k, as a share of K"}, "range": [0, 1.02]},
            "yaxis": {"title": {"text": "σ<sub>k</sub> / σ<sub>1</sub>"}, "range": [0, 1.05]},
            "legend": BELOW,
            "hovermode": "closest",
        },
        view=view,
        sources=list(cells.values()),
    )


def _random(cardinalities: Sequence[int], width: int) -> np.ndarray:
    """Spectra of random tables, each divided by its largest: `[N, K]`."""
    spectra = np.zeros((len(cardinalities), width))
    for field, rows in enumerate(cardinalities):
        values = random_spectrum(rows, width).numpy()
        spectra[field, : len(values)] = values / values[0]
    return spectra


def view(data: dict[str, Any], state: State) -> View:
    """The spectra of one table, or of all sets of a field, beside a random table's and those of the
    pinned one."""
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
        numbers = list(range(1, width + 1))
        places = {"x": [k / width for k in numbers], "customdata": numbers}
        name = f"{data['models'][shown['model']]} {shown['run']}, {dataset['fields'][field]}"
        design = shown["run"].split()[0]
        for m, shares in enumerate(spectra):
            marks.append(
                {
                    "like": f"{design} pinned" if pinned else design,
                    "name": name if m == 0 else f"{name}, set {m + 1}",
                    "legendgroup": name,
                    "showlegend": m == 0,
                    "y": shares.tolist(),
                    **places,
                }
            )
        values = torch.from_numpy(spectra.copy())
        abundance = information_abundance(values).mean().item()
        random = unpacked(dataset["random"][str(width)], len(dataset["fields"]), width)[field]
        if not pinned:
            name_of_random = f"a random table, K = {width}"
            marks.append({"like": "random", "name": name_of_random, "y": random.tolist()} | places)
        columns.append(
            [
                f"{shown['dataset']}, {name}" + (", mean of its sets" if sets > 1 else ""),
                f"{abundance:.2f} of {width}",
                f"{abundance / width:.3f}",
                f"{abundance / (random.sum() / random.max()):.3f}",
                f"{effective_rank(values).mean().item():.2f}",
                *(
                    f"{directions(values, share).double().mean().item():.1f}"
                    for share in (0.9, 0.99)
                ),
            ]
        )
    return View(marks, [list(row) for row in zip(*columns, strict=True)])
