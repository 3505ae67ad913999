"""Chapter 4: models whose interaction is suppressed: less collapse, gains, overfitting?"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from embedding_collapse.book import plots
from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.ledger import difference, sharing
from embedding_collapse.book.analysis.measures import Measure
from embedding_collapse.book.analysis.settings import Setting, one_each, settings
from embedding_collapse.lab.contrast import Effect
from embedding_collapse.lab.groups import Cell, Cells, by_cell, datasets_of, runs_in, select
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.models.penalties import orthogonality
from embedding_collapse.lab.records import Record, folder_of, load_all
from embedding_collapse.parameters import ParameterError

SERIES = [
    plots.Series("DCNv2", "dcnv2", "SE", plots.COLOURS["SE"], "solid"),
    plots.Series("regularised", "dcnv2-regularized", "SE", plots.PINK, "dash"),
    plots.Series("DNN", "dnn", "SE", plots.AMBER, "dashdot"),
]
NAMES = {series.model: series.name for series in SERIES}
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-6  # of all runs
STOPPED = 3  # epochs, of the runs that are stopped together

# --- the runs -------------------------------------------------------------------------------------


def runs_of(folder: str) -> tuple[list[Setting], Cells, Cells, Cells]:
    """Recorded runs: the two data sets with the most of them, with the claims put to these; their
    runs of DCNv2 and of models whose interaction is suppressed, base and SE, by cell; and the same
    models' without weight decay, and after `STOPPED` epochs.

    Raises:
        ParameterError: a folder that is not there, or without runs of the regularised model.
    """
    runs = load_all(folder_of(folder))
    asked = one_each(settings(runs))[:2]

    def single(runs: Iterable[Record]) -> dict[Cell, list[Record]]:
        return {
            cell: group
            for cell, group in by_cell(runs).items()
            if cell.model in NAMES and cell.design == "se"
        }

    cells: dict[Cell, list[Record]] = {}
    undecayed: dict[Cell, list[Record]] = {}
    stopped: dict[Cell, list[Record]] = {}
    for one in asked:
        cells |= single(one.runs)
        undecayed |= single(sharing(replace(one.base, weight_decay=0.0), runs))
        stopped |= single(sharing(replace(one.base, epochs=STOPPED), runs))
    if not select(cells, ["dcnv2-regularized"]):
        raise ParameterError(
            f"folder is {folder!r}, which has no run of dcnv2-regularized; its blocks are looked "
            "into"
        )
    return asked, cells, undecayed, stopped


# --- did the penalty take hold? -------------------------------------------------------------------


def block_deviation(record: Record) -> list[float]:
    """How far a block of W is from an orthogonal matrix: `||W W^T - I||_F^2 / K`, by epoch.

    The mean over blocks, cross layers and the steps of an epoch, from the penalty that training
    recorded; 0 for orthogonal blocks, 1 for blocks of zeros. Where the model learns a factor per
    block, W is the block without it.

    Raises:
        ValueError: a model that is not regularised so.
    """
    penalty = MODELS[record.spec["model"]].penalty
    if not isinstance(penalty, partial) or penalty.func is not orthogonality:
        raise ValueError(f"{record.spec['model']} has no penalty on the blocks of W")
    count, (sets, width) = len(record.spectra), np.shape(record.spectra[0])
    blocks = record.spec["cross_layers"] * sets * count**2
    scale = penalty.keywords["weight"] * blocks * width
    return [epoch["penalty"] / scale for epoch in record.epochs]


DEVIATION = Measure(
    "block deviation, tested epoch", lambda record: block_deviation(record)[record.best_epoch]
)


def block_deviations(cells: Cells) -> go.Figure:
    """How far the blocks of W are from orthogonal, epoch by epoch: means over seeds; a panel per
    regularised model and data set, a line per size."""
    regularised = select(cells, ["dcnv2-regularized"])
    panels = list(dict.fromkeys(cell[:2] for cell in regularised))
    titles = [f"{NAMES[model]}, {dataset}" for dataset, model in panels]
    figure = make_subplots(cols=len(panels), subplot_titles=titles, shared_yaxes=True)
    for cell, runs in regularised.items():
        column = panels.index(cell[:2]) + 1
        line = plots.by_epoch(cell, [block_deviation(run) for run in runs], digits=4)
        figure.add_trace(line.update(showlegend=column == 1), 1, column)
    figure.update_annotations(font_size=11)
    figure.update_xaxes(title="epoch", dtick=1)
    figure.update_yaxes(range=[-0.02, 1.02])
    figure.update_yaxes(title="mean of ‖WW<sup>T</sup> − I‖² / K", col=1)
    return figure.update_layout(legend=plots.BELOW, hovermode="closest")


# --- is there less collapse? ----------------------------------------------------------------------


def abundance(cells: Cells) -> go.Figure:
    """IA / K of every field, fields sorted by cardinality: mean and range over seeds; a line per
    model at the largest size, one for random tables of that width; a menu of data sets."""
    figures = {}
    for dataset in datasets_of(cells):
        figures[dataset] = figure = go.Figure()
        scale = max(cell.scale for cell in select(cells, dataset=dataset))
        widths = {}
        for line in SERIES:
            group = cells.get(Cell(dataset, line.model, "se", scale))
            if not group:
                continue
            names, cardinalities, order = plots.fields(group[0])
            values = np.array([run.relative_abundance.numpy()[order] for run in group])
            figure.add_trace(
                plots.by_field(names, values, cardinalities, line.name, line.ink, line.dash)
            )
            widths[len(group[0].spectra[0][0])] = names, cardinalities
        for width, (names, cardinalities) in sorted(widths.items()):
            figure.add_trace(plots.random_line(names, cardinalities, width, "dash"))
    figure = plots.one_of(figures, "Dataset").update_xaxes(plots.BY_FEATURES)
    return figure.update_yaxes(title="IA / K", range=[0, 1.02])


def stopped_together(cells: Cells, stopped: Cells) -> pd.DataFrame:
    """IA / K after as many epochs: a row per data set and model of `stopped`; base, the widest
    SE, its difference from DCNv2's, and which epochs are tested where none is stopped."""
    rows = {}
    for dataset, model in dict.fromkeys((cell.dataset, cell.model) for cell in stopped):
        sizes = sorted(select(stopped, [model], dataset=dataset), key=lambda cell: cell.scale)
        narrow, wide = sizes[0], sizes[-1]
        plain = stopped.get(wide._replace(model="dcnv2"))
        own = [run.best_epoch + 1 for run in cells.get(wide, [])]
        rows[dataset, NAMES[model]] = {
            narrow.label: measures.ABUNDANCE.mean(stopped[narrow]),
            wide.label: measures.ABUNDANCE.mean(stopped[wide]),
            "minus DCNv2's": difference(stopped[wide], plain, measures.ABUNDANCE)
            if plain and model != "dcnv2"
            else "",
            "epochs when not stopped": ", ".join(map(str, sorted(own))),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


# --- do they gain by size? ------------------------------------------------------------------------


def accuracy(cells: Cells) -> go.Figure:
    """Test AUC against size with 95% bands: a panel per data set, ours and then the paper's."""
    ours = [
        plots.points(runs_in(select(cells, dataset=name)), measures.AUC)
        for name in datasets_of(cells)
    ]
    theirs = plots.published_points()
    table = pd.concat([*ours, theirs[theirs["model"].isin(NAMES)]])
    panels = {str(name): rows for name, rows in table.groupby("dataset", sort=False)}
    figure = plots.series_against_scale({"": panels}, SERIES, columns=2)
    return figure.update_yaxes(title="test AUC", col=1)


# --- is it weight decay? --------------------------------------------------------------------------


def decayed(
    start: float, steps: int, gradient: float = 0.0, weight_decay: float = WEIGHT_DECAY
) -> float:
    """What weight decay under Adam makes of a number of a table whose row no batch holds.

    Args:
        start: the number before.
        steps: how many.
        gradient: what the first step's batch gave it; 0 for a row that was never seen.
        weight_decay: added to the gradient, times the number.
    """
    number = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    adam = torch.optim.Adam([number], lr=LEARNING_RATE, weight_decay=weight_decay)
    for step in range(steps):
        number.grad = torch.tensor(0.0 if step else gradient, dtype=torch.float64)
        adam.step()
    return number.item()


def without_decay(cells: Cells, undecayed: Cells) -> pd.DataFrame:
    """What weight decay and width do to tables and AUC: a row per data set, model and difference,
    of the widest SE that has runs without decay; effects of IA against random and of AUC."""
    rows = {}
    for dataset, model in dict.fromkeys((cell.dataset, cell.model) for cell in undecayed):
        sizes = sorted(select(undecayed, [model], dataset=dataset), key=lambda cell: cell.scale)
        narrow, wide, name, pairs = sizes[0], sizes[-1], NAMES[model], {}
        if wide in cells:
            both = undecayed[wide], cells[wide]
            pairs[f"{name} {wide.label}: without decay minus with it"] = both
        if narrow != wide:
            both = undecayed[wide], undecayed[narrow]
            pairs[f"{name} without decay: {wide.label} minus {narrow.label}"] = both
        for words, (new, old) in pairs.items():
            rows[dataset, words] = {
                "IA against random": difference(new, old, measures.FAIR_ABUNDANCE),
                "test AUC": difference(new, old),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


# --- all numbers ----------------------------------------------------------------------------------


def numbers(cells: Cells, undecayed: Cells, stopped: Cells) -> dict[str, pd.DataFrame]:
    """Every cell's means over seeds, by what the table is called."""
    columns = [
        measures.AUC,
        measures.ABUNDANCE,
        measures.FAIR_ABUNDANCE,
        measures.BEST_EPOCH,
        measures.DECLINE,
    ]
    regularised = select(cells, ["dcnv2-regularized"])
    return {
        "All runs": measures.overview(cells, columns),
        "Regularised": measures.overview(regularised, [DEVIATION]),
        "Without weight decay": measures.overview(undecayed, columns),
        f"After {STOPPED} epochs": measures.overview(stopped, columns),
    }


def further_falls(cells: Cells) -> pd.DataFrame:
    """How much further validation AUC falls from its best at SE 10x than at base: a row per model,
    the `Effect`s on every data set."""
    rows: dict[str, dict[str, Effect]] = {}
    for cell, runs in select(cells, NAMES, scale=10).items():
        if base := cells.get(cell._replace(scale=1)):
            rows.setdefault(NAMES[cell.model], {})[cell.dataset] = difference(
                runs, base, measures.DECLINE
            )
    return pd.DataFrame.from_dict(rows, orient="index")


def overfitting(cells: Cells) -> go.Figure:
    """Training loss and validation AUC epoch by epoch for SE of growing size: means over seeds; a
    menu of the data sets that have each of the models which any has."""
    models = [model for model in NAMES if select(cells, [model])]
    titles = [NAMES[model] for model in models] * 2
    panels = {"rows": 2, "cols": len(models), "subplot_titles": titles, "vertical_spacing": 0.15}
    figures = {}
    for dataset in datasets_of(cells):
        shown = select(cells, dataset=dataset)
        if {cell.model for cell in shown} < set(models):
            continue
        figures[dataset] = figure = make_subplots(**panels).update_xaxes(title="epoch", row=2)
        figure.update_yaxes(title="training loss (nats)", row=1, col=1)
        figure.update_yaxes(title="validation AUC", row=2, col=1)
        for cell, group in shown.items():
            column = models.index(cell.model) + 1
            for row, metric in ((1, "train_loss"), (2, "valid_auc")):
                curves = [[epoch[metric] for epoch in record.epochs] for record in group]
                line = plots.by_epoch(cell, curves, digits=5).update(showlegend=row == column == 1)
                figure.add_trace(line, row, column)
    return plots.one_of(figures, "Dataset").update_xaxes(dtick=1)
