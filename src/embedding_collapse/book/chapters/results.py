"""Chapter 7 and its appendix: what size gains, and what became of each claim."""

from collections.abc import Sequence
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book import paper
from embedding_collapse.book.analysis import cause, measures
from embedding_collapse.book.analysis.claims import CONTROL, Comparison, compared
from embedding_collapse.book.analysis.ledger import by_spec, effect_of
from embedding_collapse.book.analysis.measures import Measure
from embedding_collapse.book.analysis.settings import PAIRS, Gain, Setting
from embedding_collapse.book.plots import (
    COLOURS,
    by_epoch,
    one_of,
    points,
    published_points,
    size_axis,
)
from embedding_collapse.book.plots.scaling import with_band
from embedding_collapse.lab.contrast import Effect
from embedding_collapse.lab.groups import by_cell, by_label, select
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record, load_named
from embedding_collapse.lab.studies.decide import BASE, ME4, ME10, SE4, SE10, TELLING

PUBLISHED = ("criteo", "avazu")  # what the paper trains on
ORDER = (*TELLING, *(model for model in PAPER if model not in TELLING))
DIFFERENCES = {
    "SE 10x - base": (SE10, BASE),
    "ME 10x - base": (ME10, BASE),
    "ME 4x - SE 4x": (ME4, SE4),
    "ME 10x - SE 10x": (ME10, SE10),
}
AVERAGED = (2, 4, 5)  # base models of an ensemble
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


def learning(settings: Sequence[Setting]) -> go.Figure:
    """Validation AUC epoch by epoch, means over seeds: a panel per data set, a line per size; a
    menu of models, those of `TELLING` first."""
    names = [one.name for one in settings]
    figures = {}
    for model in ORDER:
        figure = make_subplots(cols=len(names), subplot_titles=names, horizontal_spacing=0.13)
        legend: set[str] = set()
        for column, one in enumerate(settings, 1):
            for cell, runs in select(by_cell(one.runs), [model]).items():
                curves = [[epoch["valid_auc"] for epoch in run.epochs] for run in runs]
                line = by_epoch(cell, curves, digits=5).update(showlegend=cell.label not in legend)
                legend.add(cell.label)
                figure.add_trace(line, 1, column)
        figures[MODELS[model].name] = figure
    figure = one_of(figures, "Model").update_xaxes(title="epoch", dtick=1)
    return figure.update_yaxes(title="validation AUC", col=1).update_yaxes(tickformat=".3f")


def differences(settings: Sequence[Setting], measure: Measure = measures.AUC) -> pd.DataFrame:
    """What ten times the size gains with one set and with ten, and ME minus SE; then what part of
    SE's parameters ME has, at 4x and at 10x: a row per data set and model of the paper that has run
    there."""
    rows: dict[tuple[str, str], dict[str, Effect | str]] = {}
    groups = {one.name: by_spec(one.runs) for one in settings}
    for one, model in product(settings, ORDER):
        runs, shares = groups[one.name], []
        row: dict[str, Effect | str] = dict.fromkeys(DIFFERENCES, "")
        for pair, sizes in DIFFERENCES.items():
            new, old = (compared(one.base, model, size) for size in sizes)
            if new in runs and old in runs:
                row[pair] = effect_of([Comparison(new, old)], runs, measure)
                counts = [measures.total_parameters(runs[spec]) for spec in (new, old)]
                if new.scale == old.scale:
                    shares.append(f"{counts[0] / counts[1]:.2f}")
        if any(row.values()):
            rows[one.name, MODELS[model].name] = row | {"parameters, ME / SE": ", ".join(shares)}
    return pd.DataFrame.from_dict(rows, orient="index")


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


def levels(settings: Sequence[Setting]) -> pd.DataFrame:
    """The test AUCs themselves: a row per data set, a column per model and size."""
    rows: dict[str, dict[str, str]] = {}
    for one, model in product(settings, TELLING):
        for label, runs in by_label(r for r in one.runs if r.spec["model"] == model).items():
            column = f"{MODELS[model].name} {label}"
            rows.setdefault(one.name, {})[column] = f"{measures.AUC.mean(runs):.4f}"
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


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


def ensembles(runs: Sequence[Record], settings: Sequence[Setting]) -> pd.DataFrame:
    """ME and the widest SE minus base models whose logits are averaged: a row per data set, model
    and size, a column per number of models."""
    groups = by_spec(runs)
    rows: dict[tuple[str, str], dict[str, Effect]] = {}
    for one, model, size in product(settings, TELLING, (ME4, ME10, SE10)):
        new = compared(one.base, model, size)
        for members in AVERAGED:
            old = compared(one.base, model, BASE, members=members, average="logits")
            if new in groups and old in groups:
                place = one.name, f"{MODELS[model].name} {new.label}"
                effect = effect_of([Comparison(new, old)], groups, measures.AUC)
                rows.setdefault(place, {})[f"minus {members} models"] = effect
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
    if np.isnan(found.low):  # of few pairs
        return f"{found.value:+.2f}"
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
