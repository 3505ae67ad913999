"""Display a figure so that it is alive in Jupyter and in the published page alike.

Its data is in the output once, as Jupyter's kind of figure. Beside it stands the element for the
page, without the data: building the book puts it there (`_ext/figures.py`), and a small script
draws it in the colours of the page, light or dark.
"""

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
from IPython.display import HTML

from embedding_collapse.book.analysis.ledger import Finding
from embedding_collapse.lab.contrast import Effect
from embedding_collapse.lab.groups import Cell, cell_of
from embedding_collapse.lab.records import Record

# what Jupyter needs to show the page's colours: a template of Plotly's own has 700 lines of JSON
TEMPLATE = go.layout.Template(
    layout={
        "colorway": ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C"],
        "colorscale": {"sequential": "Viridis", "sequentialminus": "Viridis"},
    }
)
IN_NAME = (*Cell._fields, "seed")  # of a spec, see `_name`
NONE = {"rows": "all", "precision": "float32"}  # what it stands for, of those left


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

    layout = {"height": height, "template": TEMPLATE, "margin": {"t": 40, "r": 10}}
    figure = go.Figure(figure).update_layout(layout)
    data = json.loads(plotly.io.to_json(figure, remove_uids=True))
    page = (
        f'<div class="ec-figure" role="img" aria-label="{html.escape(alt)}" '
        f'style="min-height:{height}px"><noscript>This figure needs JavaScript.</noscript></div>'
    )
    if caption:
        page = f"<figure>{page}<figcaption><p>{caption}</p></figcaption></figure>"
    page += provenance(list(source or []))
    display({"application/vnd.plotly.v1+json": data, "text/html": page}, raw=True)


def rounded(table: pd.DataFrame, digits: int) -> pd.DataFrame:
    """A table of numbers and effects as text, with that many decimals; what isn't known is blank.

    Whole numbers have commas between thousands; text stays as it is.
    """

    def text(value: object) -> object:
        if isinstance(value, Effect):
            return f"{value:+.{digits}f}"
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:.{digits}f}"
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return f"{value:,}" if whole else value

    return table.map(text)


def answered(table: pd.DataFrame, digits: int = 4) -> HTML:
    """A table of answers to claims, see `analysis.settings.lines`: in each cell the verdict, below
    it new minus old with its interval."""

    def text(answer: Finding) -> str:
        if answer.effect is None:
            return answer.verdict
        effect = f"{answer.effect:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
        effect = effect.replace(", ", ",\N{NO-BREAK SPACE}")
        return f"<strong>{answer.verdict}</strong><br>{effect}"

    html = table.map(text).to_html(escape=False, classes="ec-prose")
    return HTML(f'<div class="ec-scroll">{html}</div>')


def all_numbers(tables: Mapping[str, pd.DataFrame], name: str) -> HTML:
    """Tables behind one line that opens them, each with a file to download.

    Args:
        tables: by what each is called.
        name: of the files, before the number of the table.
    """
    parts = []
    for number, (title, table) in enumerate(tables.items(), 1):
        data = base64.b64encode(table.to_csv().encode()).decode()
        parts.append(
            f'<p>{title} (<a download="{name}_{number}.csv" '
            f'href="data:text/csv;charset=utf-8;base64,{data}">CSV</a>)</p>'
            f'<div class="ec-scroll">{table.to_html()}</div>'
        )
    return HTML(
        f'<details class="ec-numbers"><summary>All numbers</summary>{"".join(parts)}</details>'
    )


def provenance(records: Sequence[Record]) -> str:
    """HTML that says which runs a figure was made from and links to the record of each.

    Building the book copies the records that its pages link to into `records/`.
    """
    records = list({record.key: record for record in records}.values())
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
    parts = [cell_of(record).title]
    for name, value in record.spec.items():
        if name not in IN_NAME and any(r.spec.get(name) != value for r in among):
            said = NONE.get(name, "none") if value is None else value
            parts.append(f"{name.replace('_', ' ')} {said}")
    return ", ".join(parts)
