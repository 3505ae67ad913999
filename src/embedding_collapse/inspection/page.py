"""The report as one HTML file: no script, nothing from elsewhere, everything of others escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

from embedding_collapse.collapse import MEASURES
from embedding_collapse.parameters import printable, short
from embedding_collapse.verdict import (
    COLLAPSED,
    COLLAPSED_IS,
    FEW_IS,
    HEALTHY_IS,
    OFFSET_IS,
    PARTLY,
    PARTLY_IS,
    UNTRAINED_IS,
    Collapse,
)

from .comparison import comparison, names_alike, unmatched
from .course import cards
from .drawing import grid, spectra
from .report import Inspection, measured_with, table

STYLE = Path(__file__).with_name("page.css")
CLASSES = {
    COLLAPSED_IS: "collapsed",
    UNTRAINED_IS: "partly",
    PARTLY_IS: "partly",
    OFFSET_IS: "partly",
    HEALTHY_IS: "healthy",
}
MARK = "<title>Embedding collapse"  # by which a page is known as one of these
MOST_FIRST, MANY = 3, 40  # cards that stand first; tables from which on drawings are small


def html(
    inspection: Inspection, second: Inspection | None = None, *, course: Sequence[Inspection] = ()
) -> str:
    """The whole page.

    Args:
        inspection: from `inspect`.
        second: one more, to stand beside it.
        course: those of a run's checkpoints up to this one, to draw how it came there.
    """
    both = {"A": inspection, "B": second} if second else {"": inspection}
    names = " and ".join(escape(short(one.name)) for one in both.values())
    headed = [(f"{label}: " if label else "", one) for label, one in both.items()]
    body = []
    for label, one in headed:
        body.append(f"<h1>{label}{escape(one.headline)}</h1>")
        body.append(f"<p>{escape(short(one.name))}. {escape(one.summary)}</p>")
    if course:
        body += ["<h2>The course of the run</h2>", cards(course)]
    first, others = _cards(both)
    body += ["<h2>The first to look at</h2>", first]
    if second:
        body += ["<h2>Side by side</h2>", _table(comparison(inspection, second))]
        body += [f"<p>{note}.</p>"] if (note := unmatched(inspection, second)) else []
    body += [f"<h2>{label}All tables</h2>{_table(_rows(one))}" for label, one in headed]
    if others:
        body.append(f"<details><summary>Table by table</summary>{others}</details>")
    body += [f"<h2>{label}How it was measured</h2>{_how(one)}" for label, one in headed]
    body.append(_reading())
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"{MARK}: {names}</title>\n"
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _how(inspection: Inspection) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in inspection.notes)
    return f"<p>{escape(measured_with(inspection))}</p>" + (f"<ul>{notes}</ul>" if notes else "")


def _rows(inspection: Inspection) -> list[dict[str, str]]:
    """A row per table, the first to look at first, and its verdict before its numbers."""
    rows = table(inspection, worst_first=True)
    return [{"table": row["table"], "verdict": row["verdict"]} | row for row in rows]


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows, named in their first column, as a table that scrolls in its own box; verdicts get
    their colour."""
    head = "".join(f'<th scope="col"{_class(title)}>{escape(title)}</th>' for title in rows[0])
    body = "".join(
        f'<tr><th scope="row">{_breakable(name)}</th>'
        + "".join(
            f"<td{_class(title)}>{_verdict(value) if _class(title) else escape(value)}</td>"
            for title, value in cells
        )
        + "</tr>"
        for (_, name), *cells in (row.items() for row in rows)
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _breakable(name: str) -> str:
    """A name that may go on in the next line after a dot or an underscore."""
    return escape(name).replace(".", ".<wbr>").replace("_", "_<wbr>")


def _class(title: str) -> str:
    return ' class="verdict"' if title.startswith("verdict") else ""


def _verdict(verdict: str) -> str:
    if verdict == "-":
        return verdict
    return f'<span class="badge {CLASSES.get(verdict, "other")}">{escape(verdict)}</span>'


def _cards(both: Mapping[str, Inspection]) -> tuple[str, str]:
    """One card per table, the `MOST_FIRST` worst apart from the others.

    Tables of the same name in two checkpoints share a card. Where there are many the spectra are
    drawn with fewer points.
    """
    shown = dict(zip(both, names_alike(*both.values()), strict=True)) if len(both) > 1 else {}
    by_name: dict[str, list[tuple[str, Collapse]]] = {}
    for label, inspection in both.items():
        for one in inspection.worst_first if not by_name else inspection.tables:
            name = shown[label][one.name] if shown else one.name
            by_name.setdefault(name, []).append((label, one))
    cards = [_card(name, labelled, len(by_name)) for name, labelled in by_name.items()]
    first, others = cards[:MOST_FIRST], cards[MOST_FIRST:]
    return grid(first), grid(others) if others else ""


def _card(name: str, labelled: Sequence[tuple[str, Collapse]], count: int) -> str:
    parts = [f"<h3>{escape(short(name))}</h3>"]
    measured = [(label, entry) for label, entry in labelled if entry.spectra is not None]
    if measured:
        parts.append(spectra(measured, short(name), most=128 if count <= MANY else 32))
    for label, entry in labelled:
        before = f"<strong>{label}</strong> " if label else ""
        width = f"{entry.width}" if entry.sets == 1 else f"{entry.sets} sets of {entry.width}"
        parts.append(
            f"<p>{before}{entry.rows:,} rows, K {width} {_verdict(entry.verdict)}</p>"
            + (f'<p class="note">{escape(printable(entry.note))}</p>' if entry.note else "")
            + _more(entry)
        )
        if entry.rests_on:
            parts.append(f"<p>{before}{escape(entry.rests_on)}.</p>")
    # what is advised for both is said once
    for advice in dict.fromkeys(entry.advice for _, entry in labelled):
        labels = " ".join(label for label, entry in labelled if entry.advice == advice)
        before = f"<strong>{labels}</strong> " if labels else ""
        parts.append(f"<p>{before}{escape(advice)}</p>")
    return f'<section class="card">{"".join(parts)}</section>'


def _more(table: Collapse) -> str:
    """The measures that the overview has no room for: per set, joined, weighted."""
    lines: dict[str, dict[str, float]] = {}
    if table.joined:
        lines |= {f"set {m + 1}": measures for m, measures in enumerate(table.per_set)}
        lines["sets joined"] = table.joined
    if table.weighted:
        equal = table.weighted["rows"]
        lines[f"rows weighted (as {equal:,.0f} equal rows)"] = table.weighted
    if not lines:
        return ""
    keys = ("abundance", "relative_abundance", "against_random", "effective_rank")
    return _table(
        [
            {"": name} | {MEASURES[key]: f"{measures[key]:.3f}" for key in keys}
            for name, measures in lines.items()
        ]
    )


def _reading() -> str:
    return f"""<h2>How to read this</h2>
<p>A table of D rows and K columns has K singular values σ<sub>1</sub> ≥ … ≥ σ<sub>K</sub>: how much
of it lies in each of K directions. In a collapsed table a few hold nearly everything.</p>
<dl>
<dt>IA</dt><dd>Information abundance, (σ<sub>1</sub> + … + σ<sub>K</sub>) / σ<sub>1</sub>: K where
all directions matter alike, 1 where one is all there is. IA/K makes widths comparable.</dd>
<dt>IA/random</dt><dd>IA over that of a table of the same shape with independent normal entries, so
that a table with few rows is not blamed for what no such table can have.</dd>
<dt>effective rank, stable rank</dt><dd>exp(entropy of σ / Σσ), and Σσ<sup>2</sup> /
σ<sub>1</sub><sup>2</sup>.</dd>
<dt>90%, 99% energy</dt><dd>How many directions hold that share of Σσ<sup>2</sup>.</dd>
<dt>random tables</dt><dd>How far IA of random tables of that shape goes from its mean, but for one
in a hundred on either side.</dd>
<dt>verdict</dt><dd>By IA/random with the mean of the rows taken off (and rows weighted, where
counts are given): below {COLLAPSED:g} {COLLAPSED_IS}, below {PARTLY:g} {PARTLY_IS}, else
{HEALTHY_IS}. Two cases are told apart: {OFFSET_IS}, where the table is below {PARTLY:g} only with
the mean of its rows; and {UNTRAINED_IS}, where many rows are zero, one and the same vector, or as
they were drawn, and the others alone would get another verdict or are too few for one.
{FEW_IS.capitalize()} is a shape of which no table, however bad, falls below {COLLAPSED:g}, or of
which random tables fall below {PARTLY:g}; where rows are weighted, of as many rows as they amount
to. The thresholds are a convention, the same for every table.</dd>
</dl>
<p>Where a table holds several embedding sets, the numbers above are means over the sets; each set
and all of them joined side by side stand in the table's card. After Guo et al., <cite>On the
Embedding Collapse When Scaling Up Recommendation Models</cite>, ICML 2024. Made by
embedding-collapse {escape(version("embedding-collapse"))}.</p>"""
