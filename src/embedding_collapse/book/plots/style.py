"""What the figures share: colours, dashes, axes, the order of fields, the menu."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import plotly.graph_objects as go

from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import printable

# Okabe & Ito's palette, which the colour-blind can tell apart; the same thing, the same colour.
# Sky and amber are lighter than 3:1 on white; dark enough for that they come too near the others.
COLOURS = {"base": "#009E73", "SE": "#D55E00", "ME": "#0072B2", "random": "#999999"}
PINK, SKY, AMBER = "#CC79A7", "#56B4E9", "#E69F00"  # the rest of it, for what is no design
INKS = {"stable rank": SKY, "information abundance": PINK, "effective rank": AMBER}  # measures
FAINT = 0.14  # opacity of a band
NEUTRAL = "#767676"  # to be read on white and on black
DASHES = ["solid", "dot", "dash", "dashdot", "longdash", "longdashdot"]
BELOW = {"orientation": "h", "y": -0.25}  # a legend
BY_FEATURES = {"title": "field, from few features to many", "tickangle": -60}  # axis of `fields`


def colour(label: str) -> str:
    """The colour of a design: "base", "SE 4x", "ME 10x"."""
    return COLOURS[label.split()[0]]


def faint(colour: str) -> str:
    """A colour of the palette as a band's, which shows what it covers, also another band."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{FAINT})"


def log_axis(ticks: Mapping[float, str]) -> dict[str, Any]:
    """A logarithmic axis with ticks at these places alone, and what is written there."""
    return {
        "type": "log",
        "tickvals": list(ticks),
        "ticktext": list(ticks.values()),
        "minor_ticks": "",
    }


def size_axis(scales: Iterable[int]) -> dict[str, Any]:
    """A logarithmic axis of embedding sizes, "1x" and so on."""
    return log_axis({scale: f"{scale}x" for scale in sorted(set(scales))})


def one_of(
    figures: Mapping[str, go.Figure], name: str, active: int = 0, y: float = 1.05
) -> go.Figure:
    """Figures of which one is shown, chosen from a menu; no menu for a single one.

    Args:
        figures: by what the menu calls them, all laid out as the first; those without traces are
            left out of it.
        name: of the menu, for those who cannot see it.
        active: which of them is shown at first.
        y: where the menu's lower edge is, as a share of the panels' height.
    """
    first, *others = figures.values() or [go.Figure()]
    whole = go.Figure(first).add_traces([trace for other in others for trace in other.data])
    owner = [entry for entry, figure in figures.items() for _ in figure.data]
    views = {entry: [own == entry for own in owner] for entry in dict.fromkeys(owner)}
    for trace, shown in zip(whole.data, [*views.values()][active] if views else [], strict=True):
        trace.visible = shown
    if len(views) > 1:
        buttons = [
            {"label": entry, "method": "restyle", "args": [{"visible": shown}]}
            for entry, shown in views.items()
        ]
        menu = {"name": name, "buttons": buttons, "active": active, "direction": "down"}
        place = {"x": 0, "xanchor": "left", "y": y, "yanchor": "bottom"}
        whole.update_layout(updatemenus=[menu | place])
    return whole.update_layout(legend=BELOW, hovermode="closest")


def as_text(name: str) -> str:
    """A name that came with somebody's data, for figures, which take some of HTML for markup."""
    return escape(printable(name), quote=False)


def fields(record: Record) -> tuple[list[str], list[int], list[int]]:
    """Names and cardinalities of the fields from few features to many, and their order."""
    cardinalities = record.dataset["cardinalities"]
    order = sorted(range(len(cardinalities)), key=cardinalities.__getitem__)
    names = [as_text(record.dataset["fields"][i]) for i in order]
    return names, [cardinalities[i] for i in order], order
