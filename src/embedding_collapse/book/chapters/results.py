"""Chapter 7: what size gains, and what became of each claim."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.claims import CONTROL
from embedding_collapse.book.analysis.settings import ORDER, PAIRS, Gain, Setting
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
from embedding_collapse.lab.groups import by_cell, select
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.studies.decide import TELLING

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


# --- the first question, wherever it was asked ----------------------------------------------------


def against_rows(settings: Sequence[Setting], answers: Sequence[Gain]) -> go.Figure:
    """What four times the size gains over base against the number of rows, with 95% intervals: a
    panel per model of `TELLING` and each of the first two data sets; a split by time is left out.
    """
    names = list(dict.fromkeys(one.source for one in settings[:2]))
    rows_of = {
        (one.source, one.name): one.rows for one in settings if one.base.data.split != "time"
    }
    panels = list(product(TELLING, names))
    titles = [f"{MODELS[model].name}, {name}" for model, name in panels]
    figure = make_subplots(
        len(TELLING),
        len(names),
        subplot_titles=titles,
        horizontal_spacing=0.13,
        vertical_spacing=0.2,
    )
    for place, (model, name) in enumerate(panels):
        for pair in list(PAIRS)[:2]:
            effects = {
                rows_of[name, one.where]: one.effect
                for one in answers
                if (one.model, one.pair) == (model, pair) and (name, one.where) in rows_of
            }
            rows = sorted(effects)
            figure.add_scatter(
                x=rows,
                y=[round(effects[count].value, 5) for count in rows],
                error_y={"array": [round(effects[count].half_width, 5) for count in rows]},
                name=pair,
                mode="lines+markers",
                line={"color": COLOURS[pair[:2]]},
                showlegend=not place,
                hovertemplate=f"%{{x:,}} rows, {pair}: %{{y:+.4f}}<extra></extra>",
                row=place // len(names) + 1,
                col=place % len(names) + 1,
            )
    for column, name in enumerate(names, 1):
        ticks = sorted(count for (where, _), count in rows_of.items() if where == name)
        short = [f"{count / 1e6:g}M" if count >= 1e6 else f"{count / 1e3:g}k" for count in ticks]
        figure.update_xaxes(tickvals=ticks, ticktext=short, col=column)
    figure.update_xaxes(type="log", tickangle=0)
    figure.update_xaxes(title="rows", row=len(TELLING))
    return figure.update_yaxes(tickformat="+.3f", nticks=5, rangemode="tozero")


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
            y=[one.short_name for one in of_pair],
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
