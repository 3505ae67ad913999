"""Display a figure so that it is alive in Jupyter and in the published page alike.

In the page a small script of the book draws it from the data there and follows light and dark.
"""

import hashlib
import html

import plotly.graph_objects as go
import plotly.io


def show(figure: go.Figure, alt: str, height: int = 420) -> None:
    """Display a figure in a notebook and in the page made of it.

    Args:
        figure: what to show.
        alt: what it shows, for those who cannot see it.
        height: in pixels.
    """
    from IPython.display import display

    layout = {"height": height, "template": "plotly_white", "margin": {"t": 40, "r": 10}}
    figure = go.Figure(figure).update_layout(layout)
    content = plotly.io.to_json(figure, remove_uids=True)
    # A name from the content, not from chance: the same figure is the same output.
    name = hashlib.sha256(content.encode()).hexdigest()[:12]
    page = (
        f'<div class="ec-figure" id="fig-{name}" role="img" aria-label="{html.escape(alt)}" '
        f'style="min-height:{height}px"><script type="application/json">'
        f"{content}</script>"  # plotly escapes "<", so nothing in it ends the element
        "<noscript>This figure needs JavaScript.</noscript></div>"
    )
    bundle = {"application/vnd.plotly.v1+json": figure.to_plotly_json(), "text/html": page}
    display(bundle, raw=True)
