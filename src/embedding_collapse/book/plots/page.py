"""Display a figure so that it is alive in Jupyter and in the published page alike.

In the page a small script of the book draws it from the data there and follows light and dark.
"""

import hashlib
import html
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go
import plotly.io

from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Cell, Record, cell_of


def show(
    figure: go.Figure,
    alt: str,
    height: int = 420,
    source: Iterable[Record] | None = None,
    caption: str = "",
) -> None:
    """Display a figure in a notebook and in the page made of it.

    Args:
        figure: what to show.
        alt: what it shows, for those who cannot see it.
        height: in pixels.
        source: the runs that its numbers come from; the page links to their records.
        caption: what to look at; HTML.
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
    if caption:
        page = f"<figure>{page}<figcaption>{caption}</figcaption></figure>"
    page += provenance(list(source or []))
    bundle = {"application/vnd.plotly.v1+json": figure.to_plotly_json(), "text/html": page}
    display(bundle, raw=True)


def provenance(records: Sequence[Record]) -> str:
    """HTML that says which runs a figure was made from and links to the record of each.

    Building the book copies the records that its pages link to into `records/`.
    """
    if not records:
        return ""
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (*cell_of(r)._replace(design=""), r.spec["seed"])):
        groups.setdefault(_name(record, records), []).append(record)
    lines = []
    for name, group in groups.items():
        links = ", ".join(
            f'<a href="../records/{record.key}.json">{record.spec["seed"]}</a>' for record in group
        )
        lines.append(f"<li>{html.escape(name)}: seed {links}</li>")
    count = f"{len(records)} recorded run" + ("s" if len(records) > 1 else "")
    return (
        f'<details class="ec-source"><summary>How these numbers were made: {count}</summary>'
        f"<ul>{''.join(lines)}</ul></details>"
    )


def _name(record: Record, among: Sequence[Record]) -> str:
    """Dataset, model, design and scale, and all else in which the runs differ."""
    cell = cell_of(record)
    told = [f"{cell.dataset}, {MODELS[cell.model].name} {cell.label}"]
    for name, value in record.spec.items():
        if name not in (*Cell._fields, "seed") and any(r.spec.get(name) != value for r in among):
            told.append(f"{name.replace('_', ' ')} {'all' if value is None else value}")
    return ", ".join(told)
