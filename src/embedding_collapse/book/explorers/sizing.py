"""How many dimensions do D vectors need, and how many do they get?"""

from typing import Any

from embedding_collapse.book.plots.style import AMBER, BELOW, PINK, SKY, faint
from embedding_collapse.lab.sizing import (
    PRACTICE,
    VOCABULARY,
    criteo_fields,
    language_models,
    least,
)

from .explorer import Control, Explorer, State, Step, View

RULE, MODELS, RECOMMENDERS = SKY, PINK, AMBER
FEATURES = [10**exponent for exponent in range(2, 11)]
DISTORTIONS = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5]
STEPS = [
    Step(
        "The line is the rule at its most generous, ε = 0.5: every distance may be off by half.",
        "A million features ask for 443 dimensions, 4.4 times the top of the recommenders' box. "
        "The language models lie above the line.",
    ),
    Step(
        "A thousand times as many features: the rule knows D by its logarithm alone.",
        "From 443 to 664 dimensions. The line is nearly level.",
        {"D": 1_000_000_000},
    ),
    Step(
        "A fifth of the distortion: ε enters by its square.",
        "Now 11,053 dimensions. The language models lie below the line too.",
        {"eps": 0.1},
    ),
    Step(
        "A field is looked up by itself, so only its own features must be told apart: here a "
        "hundred.",
        "148 dimensions at ε = 0.5. The dots of Criteo's fields still lie far below.",
        {"D": 100},
    ),
    Step(
        "So how many dimensions do a million features need?",
        "443 are enough at ε = 0.5. Whether a click needs its distances kept the rule can't say.",
    ),
]


def explorer() -> Explorer:
    """D and eps to K, with practice and language models marked."""
    fields, models = criteo_fields(), language_models()
    data = {
        "features": FEATURES,
        "practice": PRACTICE,
        "vocabulary": [int(end) for end in VOCABULARY],
        "criteo": {
            "x": fields["num_features"].tolist(),
            "y": fields["embedding_dim"].tolist(),
            "text": [f"Criteo field {number}" for number in fields["field"]],
        },
        "language": {
            "x": models["tokens"].tolist(),
            "y": models["width"].tolist(),
            "text": models["model"].tolist(),
        },
    }
    hover = "%{text}<br>D = %{x:,}, K = %{y:,}<extra></extra>"
    dots = {"type": "scatter", "mode": "markers", "hovertemplate": hover}
    return Explorer(
        name="sizing",
        title="How many dimensions do D features need?",
        alt="Dimensions against number of features: a bound, and what is used in practice",
        controls=[
            Control("slider", "D", "Features D", [(size, f"{size:,}") for size in FEATURES]),
            Control("slider", "eps", "Distortion ε", [(eps, str(eps)) for eps in DISTORTIONS]),
        ],
        start={"D": 1_000_000, "eps": 0.5},
        steps=STEPS,
        data=data,
        styles={
            "bound": {
                "type": "scatter",
                "mode": "lines",
                "line": {"color": RULE},
                "hovertemplate": "D = %{x:,}: K ≥ %{y:,}<extra></extra>",
            },
            "practice": {
                "type": "scatter",
                "mode": "lines",
                "fill": "toself",
                "line": {"width": 0},
                "fillcolor": faint(RECOMMENDERS),
                "hoverinfo": "skip",
                "name": "recommenders",
            },
            "criteo": dots
            | {
                "name": "searched sizes of Criteo's fields",
                "marker": {"color": RECOMMENDERS, "size": 6},
            },
            "language": dots
            | {
                "name": "language models",
                "marker": {"color": MODELS, "size": 8, "symbol": "diamond"},
            },
            "chosen": dots
            | {"name": "your choice", "marker": {"color": RULE, "size": 13, "symbol": "star"}},
        },
        layout={
            "xaxis": {"type": "log", "title": {"text": "features D"}, "dtick": 2},
            "yaxis": {
                "type": "log",
                "title": {"text": "dimensions K"},
                "range": [0, 5],
                "dtick": 1,
            },
            "legend": BELOW,
            "hovermode": "closest",
        },
        view=view,
    )


def view(data: dict[str, Any], state: State) -> View:
    """The bound's line and where the choice lies on it."""
    features, distortion = state["D"], state["eps"]
    (few, many), (low, high) = data["vocabulary"], data["practice"]
    chosen = int(least(features, distortion))
    marks = [
        {"like": "practice", "x": [few, many, many, few], "y": [low, low, high, high]},
        {
            "like": "bound",
            "name": f"K = 8 ε⁻² ln D, ε = {distortion}",
            "x": data["features"],
            "y": [int(least(size, distortion)) for size in data["features"]],
        },
        {"like": "criteo", **data["criteo"]},
        {"like": "language", **data["language"]},
        {"like": "chosen", "x": [features], "y": [chosen], "text": ["your choice"]},
    ]
    readout = [
        ["D", "ε", "K must be at least", f"as a multiple of {high}"],
        [f"{features:,}", str(distortion), f"{chosen:,}", f"{chosen / high:.1f}"],
    ]
    return View(marks, readout)
