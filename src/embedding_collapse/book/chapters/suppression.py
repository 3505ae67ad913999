"""Chapter 4: models whose interaction is suppressed: less collapse, gains, overfitting?"""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from embedding_collapse.book import plots
from embedding_collapse.book.analysis import measures, verdicts
from embedding_collapse.book.analysis.measures import Measure
from embedding_collapse.book.analysis.verdicts import Cells, Claim, Runs
from embedding_collapse.lab.groups import Cell, by_cell, datasets_of, runs_in
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.models.penalties import orthogonality
from embedding_collapse.lab.records import Record, folder_of, load_all
from embedding_collapse.lab.studies import study
from embedding_collapse.parameters import check_choice
from embedding_collapse.spectrum import random_abundance

SERIES = [
    plots.Series("DCNv2", "dcnv2", "SE", plots.COLOURS["SE"], "solid"),
    plots.Series("regularised", "dcnv2-regularized", "SE", plots.PINK, "dash"),
    plots.Series("regularised, fixed scale", "dcnv2-regularized-fixed", "SE", plots.SKY, "dot"),
    plots.Series("DNN", "dnn", "SE", plots.AMBER, "dashdot"),
]
NAMES = {series.model: series.name for series in SERIES}
SUPPRESSED = ("dcnv2-regularized", "dnn")
DASHES = {1: "solid", 4: "dash", 10: "dot"}  # by scale
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-6  # of all runs

# --- the runs -------------------------------------------------------------------------------------


def runs_of(folder: str, beyond: str, scale: int) -> tuple[Cells, Cells]:
    """Recorded runs of DCNv2 and of models whose interaction is suppressed, base and SE, by cell;
    and those without weight decay.

    Args:
        folder: of the records.
        beyond: of those of the study `beyond`, whose parts `fixed` and `decay` are read.
        scale: at which models are compared.

    Raises:
        ParameterError: a folder that is not there; a scale without runs.
    """
    further = folder_of(beyond)
    fixed, undecayed = (
        study("beyond").part(name).records(further, missing_ok=True) for name in ("fixed", "decay")
    )
    runs = [
        run
        for run in (*load_all(folder_of(folder)), *fixed)
        if run.spec["model"] in NAMES and (run.spec["design"] == "se" or run.spec["scale"] == 1)
    ]
    check_choice("scale", scale, sorted({run.spec["scale"] for run in runs} - {1}))
    return by_cell(runs), by_cell(undecayed)


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
    regularised = {cell: runs for cell, runs in cells.items() if "regularized" in cell.model}
    panels = list(dict.fromkeys(cell[:2] for cell in regularised))
    # the last part of a name, since panels are narrow
    titles = [f"{NAMES[model].split(', ')[-1]}, {dataset}" for dataset, model in panels]
    figure = make_subplots(cols=len(panels), subplot_titles=titles, shared_yaxes=True)
    for cell, runs in regularised.items():
        column = panels.index(cell[:2]) + 1
        line = _by_epoch(cell, [block_deviation(run) for run in runs], digits=4)
        figure.add_trace(line.update(showlegend=column == 1), 1, column)
    figure.update_annotations(font_size=11)
    figure.update_xaxes(title="epoch", dtick=1)
    figure.update_yaxes(range=[-0.02, 1.02])
    figure.update_yaxes(title="mean of ‖WW<sup>T</sup> − I‖² / K", col=1)
    return figure.update_layout(legend=plots.BELOW, hovermode="closest")


def _by_epoch(cell: Cell, curves: Sequence[Sequence[float]], digits: int) -> go.Scatter:
    """The mean over seeds of a number, epoch by epoch, as far as all seeds have them."""
    ended = min(map(len, curves))
    mean = np.mean([curve[:ended] for curve in curves], axis=0)
    return go.Scatter(
        x=np.arange(1, ended + 1),
        y=mean.round(digits),
        mode="lines+markers",
        name=cell.label,
        line={"color": plots.colour(cell.label), "dash": DASHES.get(cell.scale, "dashdot")},
        legendgroup=cell.label,
        hovertemplate=f"{cell.label}, epoch %{{x}}: %{{y:.{digits - 1}f}}<extra></extra>",
    )


# --- is there less collapse? ----------------------------------------------------------------------


def abundance(cells: Cells, scale: int) -> go.Figure:
    """IA / K of every field, fields sorted by cardinality: mean and range over seeds; a line per
    model at one scale, one for random tables of that width; a menu of data sets."""
    figures = {}
    for dataset in datasets_of(cells):
        figures[dataset] = figure = go.Figure()
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
            random = [random_abundance(rows, width) / width for rows in cardinalities]
            figure.add_scatter(
                x=names,
                y=np.round(random, 4),
                name=f"random, K={width}",
                mode="lines",
                line={"color": plots.COLOURS["random"], "dash": "dash"},
            )
    figure = plots.one_of(figures, "Dataset").update_xaxes(plots.BY_FEATURES)
    return figure.update_yaxes(title="IA / K", range=[0, 1.02])


# --- do they gain by size? ------------------------------------------------------------------------


def accuracy(cells: Cells) -> go.Figure:
    """Test AUC against size with 95% bands: a panel per data set, ours and then the paper's."""
    ours, theirs = plots.points(runs_in(cells), measures.AUC), plots.published_points()
    table = pd.concat([ours, theirs[theirs["model"].isin(NAMES)]])
    panels = {str(name): rows for name, rows in table.groupby("dataset", sort=False)}
    figure = plots.series_against_scale({"": panels}, SERIES, columns=2)
    return figure.update_yaxes(title="test AUC", col=1)


# --- what became of the finding -------------------------------------------------------------------


def claims(cells: Cells, scale: int) -> pd.DataFrame:
    """The claims of the paper's second finding, and the two on which readers' yardstick may differ:
    a row each, a column of answers per data set."""
    return verdicts.table({name: _claims(cells, name, scale) for name in datasets_of(cells)})


def _claims(cells: Cells, dataset: str, scale: int) -> list[Claim]:
    def runs(model: str, scale: int) -> Runs:
        return cells.get(Cell(dataset, model, "se", scale), [])

    whole, *both = ((runs(model, scale), runs(model, 1)) for model in ("dcnv2", *SUPPRESSED))
    regularised, dnn = ([(runs(model, scale), runs("dcnv2", scale))] for model in SUPPRESSED)
    share, fair, decline = measures.ABUNDANCE, measures.FAIR_ABUNDANCE, measures.DECLINE
    return [
        Claim("Size empties DCNv2's tables", share, "lower", [whole]),
        Claim("Regularised, DCNv2 is less collapsed", share, "higher", regularised),
        Claim("DNN is less collapsed than DCNv2", share, "higher", dnn),
        Claim("Regularised, by the other yardstick (IA / random)", fair, "higher", regularised),
        Claim("DNN, by the other yardstick (IA / random)", fair, "higher", dnn),
        Claim("The two gain nothing from size (AUC)", measures.AUC, "no gain", both),
        Claim("The two overfit more when larger (fall of validation AUC)", decline, "higher", both),
    ]


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


def decay_claims(cells: Cells, undecayed: Cells, scale: int) -> pd.DataFrame:
    """What should be so if weight decay empties the tables: a row per claim, a column of answers
    per data set that has runs without it. Each is of three models at once."""
    models = ("dcnv2", *SUPPRESSED)
    columns = {}
    for dataset in datasets_of(undecayed):
        wide = {model: Cell(dataset, model, "se", scale) for model in models}
        free = {model: undecayed.get(cell, []) for model, cell in wide.items()}
        with_it = [(free[model], cells.get(cell, [])) for model, cell in wide.items()]
        grown = [
            (free[model], undecayed.get(cell._replace(scale=1), [])) for model, cell in wide.items()
        ]
        beside = [(free[model], free["dcnv2"]) for model in SUPPRESSED]
        fair = measures.FAIR_ABUNDANCE
        columns[dataset] = [
            Claim("Without weight decay the wide tables are fuller", fair, "higher", with_it),
            Claim("Without it they still empty with size", fair, "lower", grown),
            Claim("Without it suppressed interaction leaves them fuller", fair, "higher", beside),
        ]
    return verdicts.table(columns)


# --- all numbers ----------------------------------------------------------------------------------


def numbers(cells: Cells, undecayed: Cells) -> dict[str, pd.DataFrame]:
    """Every cell's means over seeds, by what the table is called."""
    columns = [
        measures.AUC,
        measures.ABUNDANCE,
        measures.FAIR_ABUNDANCE,
        measures.BEST_EPOCH,
        measures.DECLINE,
    ]
    regularised = {cell: runs for cell, runs in cells.items() if "regularized" in cell.model}
    return {
        "All runs": measures.overview(cells, columns),
        "Regularised": measures.overview(regularised, [DEVIATION]),
        "Without weight decay": measures.overview(undecayed, columns),
    }


def overfitting(records: Iterable[Record], models: Sequence[str]) -> go.Figure:
    """Training loss and validation AUC epoch by epoch for SE of growing size: means over seeds."""
    cells = by_cell(records)
    models = [model for model in models if model in {cell.model for cell in cells}]
    names = [MODELS[model].name for model in models]
    panels = {"rows": 2, "cols": len(models), "subplot_titles": names * 2, "vertical_spacing": 0.15}
    figures = {dataset: make_subplots(**panels) for dataset in datasets_of(cells)}
    for cell, group in cells.items():
        if cell.design != "se" or cell.model not in models or cell.scale not in DASHES:
            continue
        column = models.index(cell.model) + 1
        for row, metric in ((1, "train_loss"), (2, "valid_auc")):
            curves = [[epoch[metric] for epoch in record.epochs] for record in group]
            line = _by_epoch(cell, curves, digits=5).update(showlegend=row == column == 1)
            figures[cell.dataset].add_trace(line, row, column)
    figure = plots.one_of(figures, "Dataset").update_xaxes(dtick=1)
    figure.update_xaxes(title="epoch", row=2)
    figure.update_yaxes(title="training loss (nats)", row=1, col=1)
    return figure.update_yaxes(title="validation AUC", row=2, col=1)
