"""The spectrum of any field in any run, and another beside it."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch

from embedding_collapse.book.plots import BELOW, COLOURS
from embedding_collapse.lab.groups import by_cell, datasets_of, select
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
ROUTE, WEEKDAY = 2, 4  # fields of us-flights
_WIDE = {"dataset": "us-flights", "model": "dcnv2", "run": "SE 10x", "field": ROUTE}
_BASE = _WIDE | {"run": "base"}
STEPS = [  # over the runs of the study "decide"
    Step(
        "The field with the most features, in a table of 100 columns. Dashed: the base model's "
        "table of 10. Grey: a random table of 100, in which nothing has collapsed.",
        "IA is 26.74 of 100 beside 7.16 of 10: ten times the columns, less than four times the "
        "directions.",
        _WIDE | {"pinned": _BASE},
    ),
    Step(
        "Four sets of ten columns instead, each with an interaction of its own.",
        "Each set falls much like base's table: IA is 6.71 of 10 on average, beside 7.16 of 10.",
        _WIDE | {"run": "ME 4x", "pinned": _BASE},
    ),
    Step(
        "The four sets side by side as one table of 40 columns, beside a wide table of 40 "
        "(dashed).",
        "Together 20.03 of 40, the wide table 15.90 of 40: the sets add to each other, but don't "
        "fill the space either.",
        _WIDE | {"run": "ME 4x" + JOINED, "pinned": _WIDE | {"run": "SE 4x"}},
    ),
    Step(
        "Where do the directions go? A field of few features can't have many.",
        "Weekday has 8 features, one of which never occurs: 5.43 of 100, yet 0.845 of what a "
        "random table of its shape has. The fields with many features leave more of theirs unused.",
        _WIDE | {"field": WEEKDAY, "pinned": _BASE | {"field": WEEKDAY}},
    ),
]


def explorer(records: Sequence[Record], steps: Sequence[Step] = ()) -> Explorer:
    """Normalised spectra of the paper's six models, first seed, field by field.

    Args:
        records: of runs; what is no model of the paper's is left out, and a design and scale that
            not every model has on every dataset, so that every choice leads somewhere.
        steps: what to see in them; it opens on the first.

    Raises:
        ParameterError: the models have no design and scale in common.
    """
    every = select(by_cell(records), PAPER)
    names, models = datasets_of(every), [model for model in PAPER if select(every, [model])]
    common = {cell.label for cell in every}.intersection(
        *(
            {cell.label for cell in select(every, [model], dataset=name)}
            for name, model in product(names, models)
        )
    )
    if not common:
        raise ParameterError(f"{models} have no design and scale in common on each of {names}")
    cells = {cell: group[0] for cell, group in every.items() if cell.label in common}
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
    spectra = np.stack([random_spectrum(rows, width).numpy() for rows in cardinalities])
    return spectra / spectra[:, :1]


def view(data: dict[str, Any], state: State) -> View:
    """The spectra of one table, or of all sets of a field, beside a random table's and those of the
    pinned one."""
    marks = []
    head = ["", "IA", "IA / K", "IA against random", "effective rank"]
    columns = [[*head, "directions for 90% of the energy", "for 99%"]]
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
                    f"{directions(values, share).double().mean().item():.2f}"
                    for share in (0.9, 0.99)
                ),
            ]
        )
    return View(marks, [list(row) for row in zip(*columns, strict=True)])
