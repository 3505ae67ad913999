"""What the figures share: colours, dashes, axes, the order of fields, the menu."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import printable

# Okabe & Ito's palette, which the colour-blind can tell apart; the same thing, the same colour.
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


def menu(name: str, views: Mapping[str, Sequence[bool]], active: int, y: float) -> dict[str, Any]:
    """A menu above the panels.

    Args:
        name: for those who cannot see it.
        views: the entries, and which traces each of them shows.
        active: the entry that is chosen at first.
        y: where its lower edge is, as a share of the panels' height.
    """
    buttons = [
        {"label": label, "method": "restyle", "args": [{"visible": list(shown)}]}
        for label, shown in views.items()
    ]
    return {
        "name": name,
        "buttons": buttons,
        "active": active,
        "direction": "down",
        "x": 0,
        "xanchor": "left",
        "y": y,
        "yanchor": "bottom",
    }


def with_menu(figure: go.Figure, owner: Sequence[str], name: str) -> go.Figure:
    """Show the traces of one owner at a time, chosen from a menu, at first those of the first; no
    menu for a single one.

    Args:
        figure: with a trace per entry of `owner`.
        owner: whose each trace is.
        name: of the menu.
    """
    figure.update_layout(legend=BELOW, hovermode="closest")
    views = {view: [own == view for own in owner] for view in dict.fromkeys(owner)}
    for trace, shown in zip(figure.data, next(iter(views.values()), []), strict=True):
        trace.visible = shown
    if len(views) < 2:
        return figure
    return figure.update_layout(updatemenus=[menu(name, views, active=0, y=1.05)])


def as_text(name: str) -> str:
    """A name that came with somebody's data, for figures, which take some of HTML for markup."""
    return escape(printable(name), quote=False)


def fields(record: Record) -> tuple[list[str], list[int], list[int]]:
    """Names and cardinalities of the fields from few features to many, and their order."""
    cardinalities = record.dataset["cardinalities"]
    order = sorted(range(len(cardinalities)), key=cardinalities.__getitem__)
    names = [as_text(record.dataset["fields"][i]) for i in order]
    return names, [cardinalities[i] for i in order], order
