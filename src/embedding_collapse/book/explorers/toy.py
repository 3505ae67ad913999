"""The paper's toy experiment: what the features of a third field do to the first field's table."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedding_collapse.book.plots.style import BELOW, PINK, SKY
from embedding_collapse.files import load_json, store_json
from embedding_collapse.lab.environment import environment
from embedding_collapse.lab.records import folder_of
from embedding_collapse.lab.toy import run

from .explorer import Control, Explorer, State, Step, View, packed, signed, unpacked

FEW, MANY = PINK, SKY  # features of the third field, wherever the toy experiment is drawn
FOLDER, NAME = "results/toy", "abundance.json"
GRID: dict[str, Any] = {
    "third": [1, 2, 3, 5, 10, 20, 50, 100],
    "widths": [5, 10, 20, 40],
    "seeds": [0, 1, 2, 3, 4],
    "iterations": 5_000,
    "every": 100,
}
STEPS = [
    Step(
        "The first table trains beside a third field of 3 features; the dashed line is the same "
        "training beside one of 100.",
        "Both start at IA 7.75. One ends at 6.37, the other at 7.71.",
    ),
    Step(
        "Fewer can't be had: with one feature all rows meet the same third vector.",
        "Now it ends at 4.30.",
        {"third": 1},
    ),
    Step(
        "Another seed: other tables, other labels.",
        "The gap is smaller, 6.62 against 7.17, and on the same side.",
        {"seed": 3},
    ),
    Step(
        "More features than dimensions: the third table has all its directions.",
        "With 50 features the two lines end together, at 7.72 and 7.71.",
        {"third": 50},
    ),
    Step(
        "Does a small field pull a large one down?",
        "Here it does: at K = 40 and one feature from 23.30 to 8.86, beside 22.46 with 100. By "
        "which directions, IA doesn't tell.",
        {"third": 1, "width": 40},
    ),
]


def record(folder: str = FOLDER) -> Path:
    """Run the experiment on the whole grid and keep IA(E_1) along the way; half a minute."""
    fixed = {key: GRID[key] for key in ("third", "seeds", "iterations", "every")}
    curves = [run(width=width, **fixed) for width in GRID["widths"]]
    abundance = torch.stack([curve.abundance for curve in curves], 1)
    content = {  # abundance: [D_3, K, seed, step]
        "grid": GRID,
        "steps": curves[0].steps.tolist(),
        "abundance": np.round(abundance.double().numpy(), 3).tolist(),
        "environment": environment(torch.device("cpu")),
    }
    path = Path(folder) / NAME
    store_json(path, content)
    return path


def stored() -> dict[str, Any]:
    """What `record` has kept in the repository."""
    return load_json(folder_of(FOLDER) / NAME)


def explorer() -> Explorer:
    """IA(E_1) over iterations by D_3, K and seed, from the record in `results/toy`."""
    held = stored()
    grid, steps = held["grid"], held["steps"]
    abundance = np.array(held["abundance"])
    widths = np.array(grid["widths"])
    shares = abundance / widths[:, None, None]
    line = {
        "type": "scatter",
        "mode": "lines",
        "hovertemplate": "%{fullData.name}<br>iteration %{x:,}: IA %{y:.2f}<extra></extra>",
    }
    return Explorer(
        name="toy",
        title="Does a small field pull a large one down?",
        alt="Information abundance of the first field's table over the iterations of training",
        controls=[
            Control("slider", "third", "D₃", [(size, str(size)) for size in grid["third"]]),
            Control("slider", "width", "K", [(width, str(width)) for width in grid["widths"]]),
            Control("choice", "seed", "Seed", [(seed, str(seed)) for seed in grid["seeds"]]),
        ],
        start={"third": 3, "width": 10, "seed": 0},
        steps=STEPS,
        data={
            "third": grid["third"],
            "widths": grid["widths"],
            "seeds": grid["seeds"],
            "steps": steps,
            "shares": packed(shares),
        },
        styles={
            "chosen": line | {"line": {"color": FEW}},
            "most": line | {"line": {"color": MANY, "dash": "dash"}},
        },
        layout={
            "xaxis": {"title": {"text": "iteration"}},
            "yaxis": {"title": {"text": "IA(E<sub>1</sub>)"}, "rangemode": "tozero"},
            "legend": BELOW,
            "hovermode": "closest",
        },
        view=view,
        height=360,
    )


def view(data: dict[str, Any], state: State) -> View:
    """The chosen curve, and that of the largest D_3 with the same K and seed."""
    thirds, widths, seeds, steps = (data[key] for key in ("third", "widths", "seeds", "steps"))
    shape = [len(part) for part in (thirds, widths, seeds, steps)]
    shares = unpacked(data["shares"], *shape)
    width = state["width"]
    k, s = widths.index(width), seeds.index(state["seed"])
    marks = []
    readout = [["", "IA(E₁) at the start", "at the end", "change"]]
    for third, like in ((thirds[-1], "most"), (state["third"], "chosen")):
        values = (shares[thirds.index(third), k, s] * width).tolist()
        name = f"D₃ = {third}, K = {width}, seed {state['seed']}"
        marks.append({"like": like, "name": name, "x": steps, "y": values})
        first, last = values[0], values[-1]
        readout.append([name, f"{first:.2f}", f"{last:.2f}", signed(last - first, 2)])
    return View(marks, readout)
