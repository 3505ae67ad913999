"""Chapter 7: what size gains, and what became of each claim."""

from collections.abc import Sequence
from html import escape
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book import paper
from embedding_collapse.book.analysis import cause, measures
from embedding_collapse.book.analysis.claims import CONTROL, READERS
from embedding_collapse.book.analysis.ledger import Finding
from embedding_collapse.book.analysis.settings import PAIRS, Gain, Setting
from embedding_collapse.book.plots import (
    COLOURS,
    one_of,
    points,
    published_points,
    size_axis,
)
from embedding_collapse.book.plots.scaling import with_band
from embedding_collapse.lab.contrast import Effect
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record, load_named
from embedding_collapse.lab.studies.decide import TELLING

PUBLISHED = ("criteo", "avazu")  # what the paper trains on
SIGNS = {"holds": "✓", "fails": "✗", "undecided": "○", "not run": "–"}
OPPOSED = "opposite signs"
ORDER = (*TELLING, *(model for model in PAPER if model not in TELLING))
DIFFERENCES = ("SE 10x - base", "ME 4x - SE 4x", "ME 10x - SE 10x")
OVER = {"over all": None, "within models": "model", "within sizes": "scale"}  # by `cause.Gains`'s


# --- the runs -------------------------------------------------------------------------------------


def runs_of(folders: str) -> list[Record]:
    """The records of folders, whose names commas separate."""
    return load_named(folders)


def about(settings: Sequence[Setting]) -> pd.DataFrame:
    """What each data set is and how many runs there are: a row each."""
    rows = {
        one.name: {
            "fields": len(one.runs[0].dataset["fields"]),
            "features": f"{sum(one.runs[0].dataset['cardinalities']):,}",
            "models": len({run.spec["model"] for run in one.runs}),
            "runs, controls apart": len(one.runs),
            **{
                fact.replace("_", " ").replace("auc", "AUC"): value
                for fact, value in one.runs[0].dataset["facts"].items()
            },
        }
        for one in settings
    }
    return pd.DataFrame.from_dict(rows, orient="index")


# --- AUC against size -----------------------------------------------------------------------------


def gains(settings: Sequence[Setting]) -> go.Figure:
    """Test AUC of SE and ME against size, a panel per data set, ours above the paper's, with 95%
    bands over seeds; a menu of models, those of `TELLING` first."""
    ours = [points(one.runs, measures.AUC).assign(panel=one.name) for one in settings[:2]]
    theirs = published_points()
    theirs["panel"] = theirs["dataset"].str.capitalize()
    table = pd.concat([*ours, theirs])
    panels = list(dict.fromkeys(table["panel"]))
    rows = -(-len(panels) // 2)
    spacing = {"vertical_spacing": 0.16, "horizontal_spacing": 0.13}
    figures = {}
    for model in (model for model in ORDER if model in set(table["model"])):
        figure = make_subplots(rows, 2, subplot_titles=panels, **spacing)
        legend: set[str] = set()
        for place, panel in enumerate(panels):
            here = table[table["panel"] == panel]
            of_model = here[here["model"] == model].sort_values("scale")
            traces = [] if len(of_model) else [_not_run(here)]
            for line in ("SE", "ME"):
                if len(of_line := of_model[of_model["line"] == line]):
                    traces += with_band(of_line, line, COLOURS[line], "solid")
            for trace in traces:
                trace.showlegend = trace.mode == "lines+markers" and trace.name not in legend
                legend |= {trace.name} if trace.showlegend else set()
                figure.add_trace(trace, row=place // 2 + 1, col=place % 2 + 1)
        figures[MODELS[model].name] = figure
    figure = one_of(figures, "Model").update_layout(legend_y=-0.14)
    figure.update_xaxes(size_axis(table["scale"].tolist()))
    figure.update_xaxes(title="embedding size", row=rows)
    figure.update_yaxes(title="test AUC", col=1)
    return figure.update_yaxes(tickformat=".4f", nticks=5)


def _not_run(here: pd.DataFrame) -> go.Scatter:
    """What stands in a panel where a model has no run; other models' sizes and values reach as far
    as its axes do."""
    (low, high), sizes = (f(here["mean"]) for f in (min, max)), here["scale"]
    return go.Scatter(
        x=[sizes.min(), np.sqrt(sizes.min() * sizes.max()), sizes.max()],
        y=[low, (low + high) / 2, high],
        mode="text",
        text=["", "not run yet", ""],
        hoverinfo="skip",
    )


def differences(settings: Sequence[Setting]) -> pd.DataFrame:
    """What ten times the size gains with one set, and ME minus SE: a row per data set and model of
    the paper that has run there, a column per pair of sizes, in test AUC."""
    rows: dict[tuple[str, str], dict[str, Effect | str]] = {
        (one.name, MODELS[model].name): dict.fromkeys(DIFFERENCES, "")
        for one in settings
        for model in ORDER
    }
    for one in settings:
        for finding in one.findings:
            if finding.claim.measure is not measures.AUC or finding.claim.where == CONTROL:
                continue
            for (new, old), effect in finding.parts:
                place = one.name, MODELS[new.model].name
                pair = f"{new.label} - {old.label}" if old and old.model == new.model else ""
                if place in rows and pair in DIFFERENCES:
                    rows[place][pair] = effect
    made = {place: row for place, row in rows.items() if any(row.values())}
    return pd.DataFrame.from_dict(made, orient="index")


# --- the ledger -----------------------------------------------------------------------------------


def ledger_page(settings: Sequence[Setting]) -> str:
    """The ledger in HTML, a line per claim: of each data set verdict, effect and 95% interval."""
    heads = "".join(f"<th scope='col'>{escape(one.name)}</th>" for one in settings)
    lines = [
        f"<tr><th scope='row'>{number}. {first.claim.text}{_origin(first)}</th>"
        + "".join(
            f'<td data-of="{escape(one.name)}">{_answer(finding)}</td>'
            for one, finding in zip(settings, findings, strict=True)
        )
        + "</tr>"
        for number, findings in enumerate(zip(*(one.findings for one in settings), strict=True), 1)
        for first in findings[:1]
    ]
    return (
        '<table class="dataframe ec-ledger"><thead><tr><th scope="col">Claim</th>'
        f"{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _origin(finding: Finding) -> str:
    where = finding.claim.where
    return f' <span class="ec-origin">{where}</span>' if where in (READERS, CONTROL) else ""


def _answer(finding: Finding) -> str:
    verdict, effect = finding.verdict, finding.effect
    sign = SIGNS[verdict]
    said = f'<span class="ec-said" data-said="{sign}">{sign} {verdict}</span>'
    if effect is None:
        return said
    value = f"{said} <span class='ec-effect'>{effect.value:+z.4f}</span>"
    if not np.isfinite(effect.low):
        return value
    ends = f"[{effect.low:+z.4f},\u00a0{effect.high:+z.4f}]"
    value = f"{value} <span class='ec-effect'>{ends}</span>"
    if finding.missing:
        made = len(finding.parts)
        part = f"{made} of {made + len(finding.missing)} comparisons"
        value = f"{value} <span class='ec-effect'>{part}</span>"
    return f"{value} <span class='ec-effect'>{OPPOSED}</span>" if opposed(finding) else value


def opposed(finding: Finding) -> bool:
    """Whether of the comparisons that an effect is the mean of one lies above zero beyond chance,
    and another below it."""
    effects = [effect for _, effect in finding.parts]
    return any(effect.low > 0 for effect in effects) and any(effect.high < 0 for effect in effects)


def numbers(settings: Sequence[Setting]) -> pd.DataFrame:
    """Every claim that was run, with what is compared, effect, interval, smallest effect that could
    have been seen, comparisons made and missing, corrected p, and verdict: a row per claim and data
    set; of one run a cell there is no interval."""
    made = [
        (number, one.name, finding, effect)
        for one in settings
        for number, finding in enumerate(one.findings, 1)
        if (effect := finding.effect)
    ]
    index = pd.MultiIndex.from_tuples([of[:2] for of in made], names=["claim", "data"])
    return pd.DataFrame(
        [
            {
                "measure": finding.claim.measure.name,
                "expected": finding.claim.expected,
                "effect": effect.value,
                "low": effect.low,
                "high": effect.high,
                "smallest to be seen": effect.smallest,
                "comparisons": len(finding.parts),
                "missing": len(finding.missing),
                "p, corrected": finding.p,
                "verdict": finding.verdict,
            }
            for *_, finding, effect in made
        ],
        index,
    ).replace([np.inf, -np.inf], np.nan)


# --- the first question, wherever it was asked ----------------------------------------------------


def forest(answers: Sequence[Gain]) -> go.Figure:
    """The differences with their 95% intervals, a row per data set and model, a panel per pair."""
    pairs = list(PAIRS)
    figure = make_subplots(
        1, len(pairs), subplot_titles=pairs, shared_yaxes=True, horizontal_spacing=0.07
    )
    for column, pair in enumerate(pairs, 1):
        of_pair = [answer for answer in answers if answer.pair == pair]
        design = pair[:2]
        figure.add_scatter(
            x=[round(one.effect.value, 5) for one in of_pair],
            y=[_short_name(one) for one in of_pair],
            error_x={"array": [round(one.effect.half_width, 5) for one in of_pair]},
            mode="markers",
            marker={"color": COLOURS[design], "size": 9},
            showlegend=False,
            hovertext=[one.verdict for one in of_pair],
            hovertemplate="%{y}: %{x:+.4f}, %{hovertext}<extra></extra>",
            row=1,
            col=column,
        )
    figure.add_vline(x=0, line={"color": COLOURS["random"], "dash": "dot"})
    figure.update_xaxes(tickformat="+.2f", dtick=0.02, tickangle=0)  # on a phone no more have room
    figure.update_xaxes(title="test AUC", col=2)
    return figure.update_yaxes(autorange="reversed", automargin=True)


def everywhere(answers: Sequence[Gain]) -> pd.DataFrame:
    """The same differences, for `plots.answered`: a row per model and data set, a column per pair,
    of which a reader's own runs may lack some."""
    rows: dict[str, dict[str, Gain | SimpleNamespace]] = {}
    blank = dict.fromkeys(PAIRS, SimpleNamespace(effect=None, verdict="not run"))
    for one in answers:
        rows.setdefault(_short_name(one), {**blank})[one.pair] = one
    return pd.DataFrame.from_dict(rows, orient="index")


def _short_name(one: Gain) -> str:
    """Model and runs, as a phone has room for."""
    where = one.where.replace(" rows", "").replace("split by", "by")
    return f"{MODELS[one.model].name}, {where}"


# --- the controls ---------------------------------------------------------------------------------


def controls(settings: Sequence[Setting]) -> pd.DataFrame:
    """What could explain a gain otherwise: a row per comparison that has runs, by the number of its
    claim in the ledger, a column of differences in AUC per data set."""
    rows: dict[tuple[str, str], dict[str, Effect | str]] = {}
    blank = dict.fromkeys((one.name for one in settings), "")
    for claims in zip(*(enumerate(one.findings, 1) for one in settings), strict=True):
        for setting, (number, finding) in zip(settings, claims, strict=True):
            for one, effect in finding.parts if finding.claim.where == CONTROL else ():
                rows.setdefault((f"{number}.", one.label), {**blank})[setting.name] = effect
    return pd.DataFrame.from_dict(rows, orient="index")


# --- collapse's part ------------------------------------------------------------------------------


def foretold(runs: Sequence[Record]) -> pd.DataFrame:
    """Rank correlations over all cells, within models and within sizes, with their 95% intervals by
    bootstrap, by form of collapse: of the base model's collapse with what ME gains over SE, and of
    the fall along SE's sizes with what SE gains."""
    rows = {}
    for form in cause.FORMS:
        cells = cause.cells(runs, form)
        for over, within in OVER.items():
            rows[form, over] = {
                head: _in_words(cause.correlation(cells, *pair, within=within))
                for head, pair in cause.QUESTIONS.items()
            } | {"cells": len(cells)}
    return pd.DataFrame.from_dict(rows, orient="index")


def _in_words(found: cause.Correlation) -> str:
    if found.cells < cause.FEWEST:
        return f"{cause.FEWEST} cells needed"
    if np.isnan(found.value):
        return "all alike"
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


# --- all six models, and the paper's table --------------------------------------------------------


def beside(runs: Sequence[Record], name: str) -> pd.DataFrame:
    """Test AUC of the paper's models on one data set, ours or the paper's: a row per model and
    size, SE and ME with their standard deviations over seeds, and ME minus SE."""
    cells: dict[tuple[str, int, str], list[float]] = {}  # mean and deviation
    if name in PUBLISHED:
        table = paper.published().query("dataset == @name")
        keys = zip(table["model"], table["scale"], table["design"], strict=True)
        cells = dict(zip(keys, table[["test_auc", "std"]].to_numpy().tolist(), strict=True))
    for cell, group in by_cell(run for run in runs if run.spec["dataset"] == name).items():
        aucs = list(map(measures.AUC.value, group))
        deviation = np.std(aucs, ddof=1) if len(aucs) > 1 else np.nan
        cells[cell.model, cell.scale, cell.design] = [float(np.mean(aucs)), float(deviation)]
    rows = {}
    for model, scale in product(PAPER, sorted({scale for _, scale, _ in cells})):
        se, me = (cells.get((model, scale, design)) for design in ("se", "me"))
        if se or me:
            rows[MODELS[model].name, f"{scale}x"] = {
                "SE": _spread(se),
                "ME": _spread(me),
                "ME - SE": f"{me[0] - se[0]:+.5f}" if se and me else "",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="± sd")


def _spread(cell: Sequence[float] | None) -> str:
    if cell is None:
        return ""
    mean, deviation = cell
    return f"{mean:.5f}" + ("" if np.isnan(deviation) else f" ± {deviation:.5f}")
