"""The comparisons behind a claim, each with its interval."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book.findings.claims import Finding
from embedding_collapse.book.findings.comparisons import Comparison
from embedding_collapse.book.plots.style import COLOURS, with_menu

# an outcome is told by its mark as well as by its colour
MARKS = {
    "as claimed": (COLOURS["base"], "circle"),
    "inside the noise": (COLOURS["random"], "circle-open"),
    "against the claim": (COLOURS["SE"], "x"),
}


def forest(findings: Sequence[Finding]) -> go.Figure:
    """A panel per dataset, a row per comparison: the difference, or the number itself, with its 95%
    interval beside what it is held against (dotted); a menu of claims.

    Args:
        findings: from `claims.ledger`.
    """
    datasets = list(dict.fromkeys(finding.dataset for finding in findings))
    figure = make_subplots(
        len(datasets), shared_xaxes="all", subplot_titles=datasets, vertical_spacing=0.12
    )
    owner = []
    for finding in findings:
        ran = [comparison for comparison in finding.comparisons if comparison.change]
        row = datasets.index(finding.dataset) + 1
        traces = [_held_against(ran)] if ran else []
        traces += [_points(ran, outcome) for outcome in MARKS]
        for trace in traces:
            figure.add_trace(trace, row=row, col=1)
            owner.append(f"{finding.claim.number}. {finding.claim.text}")
    told: set[tuple[str, str]] = set()
    for trace, claim in zip(figure.data, owner, strict=True):
        trace.visible = claim == owner[0]
        trace.showlegend = trace.name in MARKS and (claim, trace.name) not in told
        told.add((claim, trace.name))
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(showticklabels=True, nticks=5, tickangle=0)
    figure.update_xaxes(title="with 95% intervals", row=len(datasets))
    return with_menu(figure, owner, "Claim").update_layout(legend_y=-0.16)


def _name(comparison: Comparison) -> str:
    """Of a row: the new side, in two lines where a model's name has a part after a comma."""
    return comparison.what.split(" against ")[0].replace(", ", ",<br>")


def _held_against(ran: Sequence[Comparison]) -> go.Scatter:
    return go.Scatter(
        x=[comparison.level for comparison in ran], y=[_name(comparison) for comparison in ran],
        mode="lines", line={"color": COLOURS["random"], "dash": "dot"}, hoverinfo="skip",
        name="level",
    )  # fmt: skip


def _points(ran: Sequence[Comparison], outcome: str) -> go.Scatter:
    """The comparisons that came out so; one empty point where none did, for the legend."""
    colour, symbol = MARKS[outcome]
    shown = [comparison for comparison in ran if comparison.outcome == outcome]
    values = [[part + c.level for part in c.change] for c in shown] or [[None] * 3]
    return go.Scatter(
        x=[round(mean, 6) if shown else None for mean, _, _ in values],
        y=[_name(c) for c in shown] or [None],
        hovertext=[c.what for c in shown],
        error_x={
            "array": [round(high - mean, 6) if shown else None for mean, _, high in values],
            "arrayminus": [round(mean - low, 6) if shown else None for mean, low, _ in values],
            "symmetric": False, "color": colour,
        },
        mode="markers", name=outcome, legendgroup=outcome,
        marker={"color": colour, "symbol": symbol, "size": 9},
        hovertemplate="%{hovertext}: %{x:.4f}, " + outcome + "<extra></extra>",
    )  # fmt: skip
