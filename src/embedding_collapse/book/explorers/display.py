"""An explorer in a notebook and in the page made of it.

The HTML holds everything: title, steps, data, and a drawing and a table of the first state. The
book's script shows one step at a time and puts controls and a live figure in the drawing's place;
where no script runs, all of it stays. In Jupyter, ipywidgets call the view in Python instead.
"""

import hashlib
import html
from collections.abc import Sequence

from embedding_collapse.book.plots import provenance

from .explorer import Explorer, Step
from .live import Live
from .static import as_json, image, key, table


def show(explorer: Explorer) -> None:
    """Display an explorer in a notebook, and in the page made of it."""
    from IPython.display import display

    bundle = {"text/html": page(explorer), "text/plain": explorer.title}
    display(Live(explorer).box._repr_mimebundle_() | bundle, raw=True)


def page(explorer: Explorer) -> str:
    """The explorer as HTML that needs no kernel and no network."""
    content = embedded(explorer)
    # A name from the content, not from chance: the same explorer is the same output.
    name = f"{explorer.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    view = explorer.view(explorer.data, explorer.start)
    figure = explorer.figure(view)
    static = image(figure, explorer.alt) + key(figure) + table(view.readout)
    return (
        f'<section class="ec-explorer" id="{name}" aria-labelledby="{name}-title">'
        f'<p class="ec-title" id="{name}-title">{html.escape(explorer.title)}</p>'
        f"{_list(explorer.steps)}"
        f'<div class="ec-static">{static}</div>'
        f'<script type="application/json">{content}</script>'
        "<noscript>The controls need JavaScript or, in Jupyter, a run of this cell.</noscript>"
        f"</section>{provenance(explorer.sources)}"
    )


def _list(steps: Sequence[Step]) -> str:
    items = [
        f"<li>{html.escape(step.text)} <strong>{html.escape(step.look)}</strong></li>"
        for step in steps
    ]
    return f'<ol class="ec-steps">{"".join(items)}</ol>' if items else ""


def embedded(explorer: Explorer) -> str:
    """What the book's script needs of an explorer; see `static.as_json`."""
    content = {
        "name": explorer.name,
        "alt": explorer.alt,
        "controls": [control._asdict() for control in explorer.controls],
        "start": explorer.start,
        "steps": [dict(step.change) for step in explorer.steps],
        "data": explorer.data,
        "styles": explorer.styles,
        "layout": explorer.layout,
        "height": explorer.height,
    }
    return as_json(content)
