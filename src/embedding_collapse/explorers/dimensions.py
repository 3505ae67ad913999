"""How many dimensions do D vectors need, and how many do they get?"""

import math
from importlib.resources import files
from typing import Any

import pandas as pd

from ..figures import COLOURS
from .explorer import LEGEND, Control, Explorer, State, View

FEATURES = [10**exponent for exponent in range(2, 11)]
DISTORTIONS = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5]
# tokens and width of the token embedding, from the models' published configurations
LANGUAGE_MODELS = {
    "BERT base": (30_522, 768),
    "GPT-2": (50_257, 768),
    "GPT-2 XL": (50_257, 1_600),
    "T5 base": (32_128, 768),
    "T5 large": (32_128, 1_024),
    "Llama 2 7B": (32_000, 4_096),
    "Llama 3 8B": (128_256, 4_096),
}
PRACTICE = (10, 100)  # dimensions that recommenders use


def needed(features: int, distortion: float) -> float:
    """`K >= 8 eps^-2 ln D`, as the talk states the bound of Johnson and Lindenstrauss."""
    return 8 * math.log(features) / distortion**2


def sizing() -> Explorer:
    """D and eps to K, with practice and language models marked."""
    with (files("embedding_collapse.data") / "criteo_fields.csv").open(encoding="utf-8") as file:
        fields = pd.read_csv(file, comment="#")
    data = {
        "features": FEATURES,
        "practice": PRACTICE,
        "criteo": {
            "x": fields["num_features"].tolist(),
            "y": fields["embedding_dim"].tolist(),
            "text": [f"Criteo field {number}" for number in fields["field"]],
        },
        "language": {
            "x": [tokens for tokens, _ in LANGUAGE_MODELS.values()],
            "y": [width for _, width in LANGUAGE_MODELS.values()],
            "text": list(LANGUAGE_MODELS),
        },
    }
    hover = "%{text}<br>D = %{x:,}, K = %{y:,}<extra></extra>"
    dots = {"type": "scatter", "mode": "markers", "hovertemplate": hover}
    return Explorer(
        name="sizing",
        title="How many dimensions do D features need?",
        hint="set D to the features of your largest field and ε to 0.1, then see how far below the "
        "line practice is.",
        alt="Dimensions against number of features: a bound, and what is used in practice",
        controls=[
            Control("slider", "D", "Features D", [(size, f"{size:,}") for size in FEATURES]),
            Control("slider", "eps", "Distortion ε", [(eps, str(eps)) for eps in DISTORTIONS]),
        ],
        start={"D": 1_000_000, "eps": 0.1},
        data=data,
        styles={
            "bound": {
                "type": "scatter", "mode": "lines", "line": {"color": COLOURS["base"]},
                "hovertemplate": "D = %{x:,}: K ≥ %{y:,}<extra></extra>",
            },
            "practice": {
                "type": "scatter", "mode": "lines", "fill": "toself", "line": {"width": 0},
                "fillcolor": "rgba(213,94,0,0.18)", "hoverinfo": "skip",
                "name": "recommenders, 10 to 100",
            },
            "criteo": dots | {
                "name": "searched sizes of Criteo's fields",
                "marker": {"color": COLOURS["SE"], "size": 6},
            },
            "language": dots | {
                "name": "language models",
                "marker": {"color": COLOURS["ME"], "size": 8, "symbol": "diamond"},
            },
            "chosen": dots | {
                "name": "your choice",
                "marker": {"color": COLOURS["base"], "size": 13, "symbol": "star"},
            },
        },
        layout={
            "xaxis": {"type": "log", "title": {"text": "features D"}, "dtick": 2},
            "yaxis": {"type": "log", "title": {"text": "dimensions K"}, "range": [0, 5],
                      "dtick": 1},
            "legend": LEGEND,
            "hovermode": "closest",
        },
        view=view,
    )  # fmt: skip


def view(data: dict[str, Any], state: State) -> View:
    """The bound's line and where the choice lies on it."""
    features, distortion = state["D"], state["eps"]
    first, last = data["features"][0], data["features"][-1]
    low, high = data["practice"]
    chosen = needed(features, distortion)
    marks = [
        {"like": "practice", "x": [first, last, last, first], "y": [low, low, high, high]},
        {
            "like": "bound",
            "name": f"K = 8 ε⁻² ln D, ε = {distortion}",
            "x": data["features"],
            "y": [round(needed(size, distortion)) for size in data["features"]],
        },
        {"like": "criteo", **data["criteo"]},
        {"like": "language", **data["language"]},
        {"like": "chosen", "x": [features], "y": [round(chosen)], "text": ["your choice"]},
    ]
    readout = [
        ["D", "ε", "K must be at least", f"that is, times {high}"],
        [f"{features:,}", str(distortion), f"{math.ceil(chosen):,}", f"{chosen / high:.1f}"],
    ]
    return View(marks, readout)
