"""A spectrum to bend by hand."""

from typing import Any

import torch

from embedding_collapse.book.plots.style import INKS, NEUTRAL
from embedding_collapse.spectrum import (
    directions,
    effective_rank,
    information_abundance,
    stable_rank,
)

from .explorer import Control, Explorer, State, Step, View

WIDTH = 8
UP = 1e-9  # takes a tie up, whatever the last bit of a sum is; its twin adds it too
SHAPES = {
    "Flat": [1.0] * WIDTH,
    "Slow fall": [1 - 0.1 * k for k in range(WIDTH)],
    "Halving": [1, 0.5, 0.25, 0.15, 0.1, 0.05, 0.05, 0],
    "One large": [1] + [0.2] * (WIDTH - 1),
    "One direction": [1] + [0.0] * (WIDTH - 1),
}
MEASURES = ["IA", "effective rank", "stable rank"]
COLOURS = [INKS["information abundance"], INKS["effective rank"], INKS["stable rank"]]


def explorer() -> Explorer:
    """Sliders per direction, and what IA, effective and stable rank make of them."""
    names = [f"s{k}" for k in range(1, WIDTH + 1)]
    shapes = {
        shape: {name: round(float(value), 2) for name, value in zip(names, values, strict=True)}
        for shape, values in SHAPES.items()
    }
    steps = [(round(0.05 * step, 2), f"{0.05 * step:.2f}") for step in range(21)]
    sliders = [Control("slider", f"s{k}", f"σ{k}", steps) for k in range(1, WIDTH + 1)]
    bars = {"type": "bar", "hovertemplate": "%{x}: %{y:.2f}<extra></extra>", "showlegend": False}
    return Explorer(
        name="bend",
        title="How many of eight directions count?",
        alt="Bars of eight singular values, and beside them three measures of how many count",
        controls=[
            Control("presets", "shape", "Shape", [(shapes[shape], shape) for shape in SHAPES]),
            *sliders,
        ],
        start=shapes["Slow fall"],
        steps=[
            Step(
                "Eight singular values that fall slowly, and three soft counts of them.",
                "Effective rank says 7.50, IA 5.20, stable rank 3.80: they differ in what the weak "
                "directions are worth.",
            ),
            Step(
                "All eight equal: where nothing has collapsed, the three agree.",
                "8.00 by each of them.",
                shapes["Flat"],
            ),
            Step(
                "One strong direction over seven that are weak and alike.",
                "Effective rank still says 6.14; IA 2.40 and stable rank 1.28, since both divide "
                "by the largest.",
                shapes["One large"],
            ),
            Step(
                "Now only the strong one is taken down to the others, which stay as they were.",
                "All three are back at 8.00. Which count is right depends on whether that one "
                "direction crowds out the rest.",
                shapes["One large"] | {"s1": 0.2},
            ),
        ],
        data={"width": WIDTH, "measures": MEASURES},
        styles={
            "values": bars | {"marker": {"color": NEUTRAL}},
            "measures": bars | {"marker": {"color": COLOURS}, "xaxis": "x2", "yaxis": "y2"},
        },
        layout={
            "xaxis": {"domain": [0, 0.55], "title": {"text": "direction k"}, "type": "category"},
            "xaxis2": {
                "domain": [0.67, 1],
                "anchor": "y2",
                "type": "category",
                "tickangle": 0,
                "tickvals": MEASURES,
                "ticktext": [measure.replace(" ", "<br>") for measure in MEASURES],
            },
            "yaxis": {"title": {"text": "singular value σ<sub>k</sub>"}, "range": [0, 1.05]},
            "yaxis2": {"title": {"text": "directions"}, "range": [0, WIDTH + 0.4], "anchor": "x2"},
        },
        view=view,
        height=340,
    )


def view(data: dict[str, Any], state: State) -> View:
    """The bars, and three soft counts of directions."""
    numbers = range(1, data["width"] + 1)
    values = [state[f"s{k}"] for k in numbers]
    spectrum = torch.tensor(values, dtype=torch.float64)
    counts = [
        measure(spectrum).item() for measure in (information_abundance, effective_rank, stable_rank)
    ]
    marks = [
        {"like": "values", "x": [str(k) for k in numbers], "y": values},
        {"like": "measures", "x": data["measures"], "y": counts},
    ]
    head = [*data["measures"], "for 90% of the energy", "for 99%"]
    energy = [str(directions(spectrum, share).item()) for share in (0.9, 0.99)]
    return View(marks, [head, [f"{count + UP:.2f}" for count in counts] + energy])
