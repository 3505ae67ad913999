"""What the figures share: colours, dashes, the order of fields, the menu."""

from collections.abc import Sequence
from html import escape

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


def colour(label: str) -> str:
    """The colour of a design: "base", "SE 4x", "ME 10x"."""
    return COLOURS[label.split()[0]]


def faint(colour: str) -> str:
    """A colour of the palette as a band's, which shows what it covers, also another band."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{FAINT})"


def with_menu(figure: go.Figure, owner: Sequence[str], name: str) -> go.Figure:
    """Show the traces of one owner at a time, chosen from a menu; no menu for a single one."""
    owners = list(dict.fromkeys(owner))
    figure.update_layout(legend={"orientation": "h", "y": -0.25}, hovermode="closest")
    if len(owners) < 2:
        return figure
    buttons = [
        {"label": view, "method": "restyle", "args": [{"visible": [own == view for own in owner]}]}
        for view in owners
    ]
    menu = {
        "name": name,
        "buttons": buttons,
        "active": 0,
        "direction": "down",
        "x": 0,
        "xanchor": "left",
        "y": 1.05,
        "yanchor": "bottom",
    }
    return figure.update_layout(updatemenus=[menu])


def as_text(name: str) -> str:
    """A name that came with somebody's data, for figures, which take some of HTML for markup."""
    return escape(printable(name), quote=False)


def fields(record: Record) -> tuple[list[str], list[int], list[int]]:
    """Names and cardinalities of the fields from few features to many, and their order."""
    cardinalities = record.dataset["cardinalities"]
    order = sorted(range(len(cardinalities)), key=cardinalities.__getitem__)
    names = [as_text(record.dataset["fields"][i]) for i in order]
    return names, [cardinalities[i] for i in order], order
