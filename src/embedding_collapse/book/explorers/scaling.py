"""AUC against size, ours and the paper's."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from embedding_collapse.book.analysis.measures import AUC
from embedding_collapse.book.plots import BELOW, COLOURS, points, published_points
from embedding_collapse.book.plots.style import faint
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record

from .explorer import Control, Explorer, State, Step, View, signed

DESIGNS = [("SE ME", "SE and ME"), ("SE", "SE"), ("ME", "ME")]
STEPS = [  # over the runs of the study "decide"
    Step(
        "DNN at up to ten times its size: real flights beside the paper's Criteo.",
        "In the paper SE changes by −0.00086 and ME by +0.00059. Here both gain, ME more: "
        "+0.00769 and +0.01740.",
        {"model": "dnn", "left": "us-flights"},
    ),
    Step(
        "Another model, DCNv2, on the same data.",
        "Here the one wide table leads: SE gains +0.02828, ME +0.01847.",
        {"model": "dcnv2", "left": "us-flights"},
    ),
    Step(
        "A band says how far a mean of a few runs can be trusted. DCNv2 on a million synthetic "
        "clicks:",
        "The bands of SE and ME end apart, with ME ahead, as in the paper: it gains +0.00746, SE "
        "+0.00563.",
        {"model": "dcnv2", "left": "synthetic-mini"},
    ),
    Step(
        "Does size help? DNN once more, on the clicks.",
        "As sets (+0.00802) more than as width (+0.00166); in the paper's runs as sets "
        "(+0.00059), not as width (−0.00086).",
        {"model": "dnn", "left": "synthetic-mini"},
    ),
]


def explorer(records: Sequence[Record], steps: Sequence[Step] = ()) -> Explorer:
    """Test AUC of the paper's six models by size, two datasets side by side, with 95% bands.

    Args:
        records: of runs; what is no model of the paper's is left out.
        steps: what to see in them; it opens on the first.
    """
    table = pd.concat([points(records, AUC), published_points()])
    curves: dict[str, Any] = {}
    shown = table[table["model"].isin(PAPER)]
    for place, cells in shown.groupby(["dataset", "model", "line"], sort=False):
        dataset, model, design = map(str, place)
        cells = cells.sort_values("scale")
        curves.setdefault(dataset, {}).setdefault(model, {})[design] = {
            "scale": cells["scale"].tolist(),
            "mean": cells["mean"].round(6).tolist(),
            "reach": [None if pd.isna(r) else round(r, 6) for r in cells["reach"]],
            "runs": cells["runs"].tolist(),
        }
    datasets = [(name, name) for name in curves]
    papers = [name for name in curves if name.endswith(", the paper")]
    models = [model for model in PAPER if all(model in by_model for by_model in curves.values())]
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "hovertemplate": "%{fullData.name}, %{x}: %{y:.5f} %{text}<extra></extra>",
    }
    band = {
        "type": "scatter",
        "mode": "lines",
        "fill": "toself",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    scales = sorted(table["scale"].unique().tolist())
    axis = {
        "type": "log",
        "title": {"text": "embedding size"},
        "tickvals": scales,
        "ticktext": [f"{scale}x" for scale in scales],
    }
    return Explorer(
        name="scaling",
        title="Does size help?",
        alt="Test AUC against embedding size in two panels, ours and the paper's, with bands",
        controls=[
            Control("choice", "model", "Model", [(model, MODELS[model].name) for model in models]),
            Control("choice", "left", "First panel", datasets),
            Control("choice", "right", "Second panel", datasets),
            Control("choice", "design", "Design", DESIGNS),
        ],
        start={"model": "dcnv2", "left": datasets[0][0], "right": papers[0], "design": "SE ME"}
        | (dict(steps[0].change) if steps else {}),
        steps=steps,
        data={"curves": curves},
        styles={
            style: look
            for design in ("SE", "ME")
            for style, look in (
                (design, line | {"line": {"color": COLOURS[design]}, "name": design}),
                (f"{design} band", band | {"fillcolor": faint(COLOURS[design])}),
            )
        },
        layout={
            "xaxis": axis | {"domain": [0, 0.44]},
            "xaxis2": axis | {"domain": [0.58, 1], "anchor": "y2"},
            "yaxis": {"title": {"text": "test AUC, 95% bands"}, "tickformat": ".4f"},
            "yaxis2": {"title": {"text": "test AUC"}, "tickformat": ".4f", "anchor": "x2"},
            "legend": BELOW,
            "hovermode": "closest",
        },
        view=view,
        sources=[record for record in records if record.spec["model"] in PAPER],
    )


def view(data: dict[str, Any], state: State) -> View:
    """A panel per dataset: a line per design with its band, and the change from 1x to the end."""
    marks: list[dict[str, Any]] = []
    titles = []
    readout = [["95% intervals", "at 1x", "at the largest size", "change"]]
    for panel, side in enumerate(("left", "right")):
        dataset = state[side]
        place = {"xaxis": "x2", "yaxis": "y2"} if panel else {}
        for design in state["design"].split():
            curve = data["curves"][dataset][state["model"]][design]
            scales, means, reaches = curve["scale"], curve["mean"], curve["reach"]
            sure = [i for i, reach in enumerate(reaches) if reach is not None]
            back = sure[::-1]
            marks += [
                {
                    "like": f"{design} band",
                    **place,
                    "x": [scales[i] for i in sure + back],
                    "y": [means[i] - reaches[i] for i in sure]
                    + [means[i] + reaches[i] for i in back],
                },
                {
                    "like": design,
                    **place,
                    "x": scales,
                    "y": means,
                    "showlegend": panel == 0,
                    "text": [
                        "" if reach is None else f"± {reach:.5f} (95%, {runs} runs)"
                        for reach, runs in zip(reaches, curve["runs"], strict=True)
                    ],
                },
            ]
            readout.append(
                [
                    f"{dataset}, {design}",
                    _with_reach(means[0], reaches[0]),
                    f"{scales[-1]}x: {_with_reach(means[-1], reaches[-1])}",
                    signed(means[-1] - means[0], 5),
                ]
            )
        titles.append(
            {
                "text": dataset,
                "x": (0.22, 0.79)[panel],
                "y": 1,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    return View(marks, readout, {"annotations": titles})


def _with_reach(mean: float, reach: float | None) -> str:
    return f"{mean:.5f}" + ("" if reach is None else f" ± {reach:.5f}")
