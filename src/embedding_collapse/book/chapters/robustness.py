"""What stands behind chapter 7: other rows and splits, ensembles, collapse's part."""

from collections.abc import Sequence
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd

from embedding_collapse.book import paper
from embedding_collapse.book.analysis import cause, measures
from embedding_collapse.book.analysis.claims import Comparison, compared
from embedding_collapse.book.analysis.ledger import by_spec, effect_of
from embedding_collapse.book.analysis.settings import PAIRS, Gain, Setting
from embedding_collapse.lab.contrast import Effect
from embedding_collapse.lab.groups import by_cell, by_label
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.studies.decide import BASE, ME4, ME10, SE10, TELLING

PUBLISHED = ("criteo", "avazu")  # what the paper trains on
AVERAGED = (2, 4, 5)  # base models of an ensemble


# --- other rows, other splits ---------------------------------------------------------------------


def everywhere(answers: Sequence[Gain]) -> pd.DataFrame:
    """The same differences, for `plots.answered`: a row per model and data set, a column per pair,
    of which a reader's own runs may lack some."""
    rows: dict[str, dict[str, Gain | SimpleNamespace]] = {}
    blank = dict.fromkeys(PAIRS, SimpleNamespace(effect=None, verdict="not run"))
    for one in answers:
        rows.setdefault(one.short_name, {**blank})[one.pair] = one
    return pd.DataFrame.from_dict(rows, orient="index")


def levels(settings: Sequence[Setting]) -> pd.DataFrame:
    """The test AUCs themselves: a row per data set, a column per model and size."""
    rows: dict[str, dict[str, str]] = {}
    for one, model in product(settings, TELLING):
        for label, runs in by_label(r for r in one.runs if r.spec["model"] == model).items():
            column = f"{MODELS[model].name} {label}"
            rows.setdefault(one.name, {})[column] = f"{measures.AUC.mean(runs):.4f}"
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


# --- ensembles ------------------------------------------------------------------------------------


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
        for over, within in cause.OVER.items():
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
