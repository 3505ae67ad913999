"""Figures that train in the reader's page: what surrounds their scripts (`book/live/`).

A page holds controls, colours and, for where no script runs, a drawing and tables of how the
training ends. In a notebook with a kernel the same script is an anywidget's.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anywidget
import plotly.graph_objects as go
import traitlets

from embedding_collapse.book.joining import LIVE
from embedding_collapse.book.joining import widget as script

from .static import as_json, image, key, table


@dataclass(frozen=True)
class LiveFigure:
    """One figure that trains.

    Attributes:
        name: of its module in `book/live/`.
        title, hint, alt: what it is, what to try first, and what its drawing shows.
        sliders: label and options by name; options that are words come as a mapping to their names.
        start: the state to begin with.
        end: draws how the training ends from there, with tables, their first rows the heads.
        content: what else the script needs, ready for JSON.
    """

    name: str
    title: str
    hint: str
    alt: str
    sliders: dict[str, tuple[str, Sequence[float] | dict[str, str]]]
    start: dict[str, Any]
    end: Callable[[], tuple[go.Figure, list[list[list[str]]]]]
    content: dict[str, Any]


class TrainingWidget(anywidget.AnyWidget):
    """A page's section, brought to life by the script of its figure: training takes place in the
    browser, and the kernel is free.

    Attributes:
        page: the section as HTML.
    """

    _css = LIVE / "live.css"
    page = traitlets.Unicode().tag(sync=True)


def show(figure: LiveFigure) -> None:
    """Display a figure in a notebook, and in the page made of it."""
    from IPython.display import display

    html = page(figure)
    view, _ = TrainingWidget(page=html, _esm=script(figure.name))._repr_mimebundle_() or ({}, {})
    display(view | {"text/html": html, "text/plain": figure.title}, raw=True)


def page(figure: LiveFigure) -> str:
    """The figure as HTML that needs no kernel and no network."""
    drawn, tables = figure.end()
    static = image(drawn, figure.alt) + key(drawn) + "".join(map(table, tables))
    title = f"ec-{figure.name}-title"
    named = f'id="ec-{figure.name}" aria-labelledby="{title}"'
    return (
        f'<section class="ec-training" data-figure="{figure.name}" {named}>'
        f'<p class="ec-title" id="{title}">{html.escape(figure.title)}</p>'
        f'<p class="ec-hint"><strong>Try this:</strong> {html.escape(figure.hint)}</p>'
        f'<div class="ec-static">{static}</div>'
        f'<script type="application/json">{embedded(figure)}</script>'
        "<noscript>Training in the page needs JavaScript.</noscript></section>"
    )


def embedded(figure: LiveFigure) -> str:
    """What the script needs to know; see `static.as_json`."""
    sliders = []
    for name, (label, options) in figure.sliders.items():
        texts = list(options.values()) if isinstance(options, dict) else [f"{v:,}" for v in options]
        slider = {"name": name, "label": label, "options": list(options), "texts": texts}
        sliders.append(slider)
    return as_json({"sliders": sliders, "start": figure.start} | figure.content)
