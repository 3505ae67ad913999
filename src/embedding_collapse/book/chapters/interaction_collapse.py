"""Chapter 3: how collapse spreads from field to field, and which way."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from safetensors.torch import load_file

from embedding_collapse.book import plots
from embedding_collapse.book.analysis.influence import Influence, correlations, influences
from embedding_collapse.book.analysis.settings import Setting, settings
from embedding_collapse.book.explorers import toy
from embedding_collapse.book.explorers.toy import FEW, MANY
from embedding_collapse.lab import gradient
from embedding_collapse.lab.contrast import Effect, mean_of
from embedding_collapse.lab.data import Dataset, DataSpec
from embedding_collapse.lab.data.spec import US_FLIGHTS
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.gradient import Pull
from embedding_collapse.lab.groups import by_cell, cell_of
from embedding_collapse.lab.records import Record, folder_of, load_all
from embedding_collapse.lab.spec import Spec, build_model
from embedding_collapse.lab.studies.decide import BASES
from embedding_collapse.lab.toy import Curves
from embedding_collapse.lab.toy import run as train
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import projected_abundance

MODELS_SEEN = ("dcnv2", "ffm")  # whose sub-embeddings are made, and those whose are parameters
FIELDS = {"trained": 100, "3 features": 3, "100 features": 100, "100, collapsed": 100}
INKS = [FEW, MANY, plots.AMBER, plots.NEUTRAL]
SMALL = {"tickfont": {"size": 10}}
# the axes of `sub_embeddings`: the heat-map, the bars above it and those beside it
BESIDE_PAIRS: dict[str, Any] = {
    "xaxis": SMALL | {"title": "for field j, by its IA", "tickangle": -60, "domain": [0, 0.8]},
    "yaxis": SMALL | {"title": "of field i, by its IA", "domain": [0, 0.82]},
    "xaxis2": SMALL | {"title": "Σ<sub>j</sub>", "domain": [0.83, 1], "nticks": 3, "tickangle": 0},
    "yaxis2": SMALL | {"title": "Σ<sub>i</sub>", "domain": [0.85, 1], "nticks": 3},
}


def _lines(inks: Iterable[str] = INKS) -> Iterator[dict[str, str]]:
    """How lines look that are to be told apart, without end."""
    for ink, dash in zip(cycle(inks), cycle(plots.DASHES)):
        yield {"color": ink, "dash": dash}


# --- the gradient ---------------------------------------------------------------------------------


def pulls_of(width: int) -> tuple[dict[str, Pull], float]:
    """What three fields add to the gradient of a fourth's table in a factorisation machine.

    The tables are normal, with `FIELDS` rows; in the last one the columns shrink by 0.6.

    Returns:
        A `Pull` by the field's name, and by how much the sum of the three misses what automatic
        differentiation gives, at most: float64.
    """
    generator = torch.Generator().manual_seed(0)
    draw: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    tables = [torch.randn(size, width, **draw) for size in FIELDS.values()]
    tables[3] *= 0.6 ** torch.arange(width)
    ids = torch.stack([torch.rand(10_000, **draw) * size for size in FIELDS.values()], 1).long()
    labels = torch.rand(10_000, **draw).round()
    trained = tables[0].clone().requires_grad_()
    logits = gradient.fm_logits([trained, *tables[1:]], ids)
    of_loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    (expected,) = torch.autograd.grad(of_loss, trained)
    slopes = logits.detach().sigmoid() - labels  # of the logistic loss
    pulls = gradient.pulls(tables, ids, slopes)
    error = torch.stack([pull.theta for pull in pulls.values()]).sum(0) - expected
    return dict(zip(list(FIELDS)[1:], pulls.values(), strict=True)), error.abs().max().item()


def pulls_by_direction(pulls: Mapping[str, Pull]) -> go.Figure:
    """Each other field's part of a gradient: abs(alpha), sigma and their product per direction, the
    first and the last as root mean squares over the table's rows."""
    titles = ["|α<sub>ik</sub>|", "σ<sub>ik</sub>", "|α<sub>ik</sub>| σ<sub>ik</sub>, the pull"]
    figure = make_subplots(cols=3, subplot_titles=titles)
    for (name, pull), line in zip(pulls.items(), _lines(), strict=False):
        alpha = pull.alpha.square().mean(0).sqrt()
        for column, values in enumerate((alpha, pull.sigma, alpha * pull.sigma), 1):
            figure.add_scatter(
                x=list(range(1, len(values) + 1)),
                y=[float(f"{v:.3g}") for v in values],
                mode="lines+markers",
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                line=line,
                row=1,
                col=column,
                hovertemplate=f"{name}<br>direction %{{x}}: %{{y:.3g}}<extra></extra>",
            )
    figure.update_xaxes(title="direction k", dtick=2)
    return figure.update_yaxes(rangemode="tozero").update_layout(legend=plots.BELOW)


# --- the toy experiment ---------------------------------------------------------------------------


def further_fall(curves: Curves) -> Effect:
    """By how much more IA(E_1) falls with the first D_3 than with the last, seeds in pairs."""
    falls = (curves.abundance[..., 0] - curves.abundance[..., -1]).numpy()  # [C, S]
    return mean_of(falls[0] - falls[-1])


def kept(
    thirds: Sequence[int], widths: Iterable[int], seeds: int, iterations: int, loss: str
) -> dict[int, np.ndarray]:
    """The share of its IA that the first table keeps, `[D_3, seeds]` by K: from the record of the
    toy experiment where that has the settings (it takes half a minute), else trained here."""
    grid = (held := toy.stored())["grid"]
    asked = {"third": set(thirds), "widths": set(widths), "seeds": set(range(seeds))}
    as_stored = (iterations, loss) == (grid["iterations"], "logistic")
    if as_stored and all(values <= set(grid[name]) for name, values in asked.items()):
        ends = np.array(held["abundance"])[..., [0, -1]]  # [D_3, K, seed, 2]
        rows = [grid["third"].index(third) for third in thirds]
        curves = {k: ends[rows, grid["widths"].index(k), :seeds] for k in widths}
    else:
        settings: dict[str, Any] = {"seeds": range(seeds), "iterations": iterations, "loss": loss}
        curves = {
            k: train(thirds, k, every=iterations, **settings).abundance.numpy() for k in widths
        }
    return {k: values[..., -1] / values[..., 0] for k, values in curves.items()}


def few_and_many(swept: Mapping[int, np.ndarray], thirds: Sequence[int]) -> pd.DataFrame:
    """A row per K: the share of its IA that the first table keeps with the fewest and with the most
    features in the third field, and by how much more with the most, seeds in pairs; see `kept`."""
    few, many = thirds.index(min(thirds)), thirds.index(max(thirds))
    rows = {}
    for width, shares in swept.items():
        rows[f"K = {width}"] = {
            f"kept with D₃ = {thirds[few]}": shares[few].mean(),
            f"with D₃ = {thirds[many]}": shares[many].mean(),
            "more": mean_of(shares[many] - shares[few]),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def toy_sweep(swept: Mapping[int, np.ndarray], thirds: Sequence[int]) -> go.Figure:
    """How much of its IA the first table keeps, against the third field's features; a line per K,
    mean and range over seeds; see `kept`."""
    figure = go.Figure()
    for (width, shares), line in zip(swept.items(), _lines(), strict=False):
        name, mode = f"K = {width}", "lines+markers"
        plots.add_mean_and_range(figure, thirds, shares.T, name, line, mode=mode)
    figure.update_xaxes(plots.log_axis({third: str(third) for third in thirds}))
    figure.update_xaxes(title="D<sub>3</sub>, features of the third field")
    figure.update_yaxes(title="IA(E<sub>1</sub>) at the end, of its start", tickformat=".0%")
    return figure.update_layout(legend=plots.BELOW)


def where_it_lies(runs: Mapping[str, Curves]) -> pd.DataFrame:
    """A row per run of one third field: the share of `||E_1||_F^2` inside the span of E_3's rows at
    the start, at its peak and at the end, with IA(E_1) then; means over seeds."""
    rows = {}
    for name, curves in runs.items():
        inside, abundance = curves.inside[0].mean(0), curves.abundance[0].mean(0)
        peak = int(inside.argmax())
        places = {"at the start": 0, "at the share's peak": peak, "at the end": -1}
        rows[name] = {
            ("inside the span", when): f"{inside[place]:.0%}" for when, place in places.items()
        } | {("IA(E₁)", when): f"{abundance[place]:.1f}" for when, place in places.items()}
        rows[name]["iteration", "of the peak"] = str(int(curves.steps[peak]))
    return pd.DataFrame.from_dict(rows, orient="index")


def toy_span(runs: Mapping[str, Curves], random: float) -> go.Figure:
    """The share of `||E_1||_F^2` inside the span of E_3, and IA(E_1), over the iterations, on a
    logarithmic axis on which iteration 0 stands a decade before the next; a line per run.

    Args:
        runs: of one third field each.
        random: the share of a random table.
    """
    figure = make_subplots(
        cols=2, subplot_titles=["share inside E<sub>3</sub>'s span", "IA(E<sub>1</sub>)"]
    )
    for (name, curves), line in zip(runs.items(), _lines((FEW, plots.AMBER)), strict=False):
        steps = curves.steps.numpy()  # of which a page shows some 50
        drawn = np.unique([0, *np.geomspace(1, len(steps) - 1, 50).round().astype(int)])
        places = np.where(steps == 0, steps[1] / 10, steps)
        for column, values in ((1, curves.inside), (2, curves.abundance)):
            seeds = values[0][:, drawn].numpy()
            plots.add_mean_and_range(
                figure, places[drawn], seeds, name, line, labels=steps[drawn], row=1, col=column
            )
    first = int(steps[1])
    tens = [first * 10**power for power in range(int(np.log10(steps[-1] / first)) + 1)]
    figure.update_xaxes(plots.log_axis({first / 10: "0"} | {ten: f"{ten:,}" for ten in tens}))
    figure.update_xaxes(title="iteration")
    figure.add_hline(
        y=random,
        line={"color": plots.COLOURS["random"], "dash": "dash"},
        row=1,
        col=1,
        annotation={"text": "random table", "yanchor": "bottom"},
    )
    figure.update_yaxes(tickformat=".0%", range=[0, 1], title="of ‖E<sub>1</sub>‖²", col=1)
    return figure.update_layout(legend=plots.BELOW)


# --- trained models -------------------------------------------------------------------------------


def runs_of(folder: str) -> tuple[list[Setting], list[Record], list[Record]]:
    """Recorded runs: the two data sets with the most of them, with the claims put to these; and of
    their runs base and SE of DCNv2, and of FFM, of which there may be none.

    Raises:
        ParameterError: a folder that is not there, or without runs of DCNv2, base or SE.
    """
    asked = settings(load_all(folder_of(folder)))[:2]
    runs = [run for one in asked for run in one.runs if cell_of(run).design == "se"]
    crossed, aware = ([run for run in runs if run.spec["model"] == name] for name in MODELS_SEEN)
    if not crossed:
        raise ParameterError(
            f"folder is {folder!r}, which has no run of {MODELS_SEEN[0]}, base or SE; its "
            "sub-embeddings are looked into"
        )
    return asked, crossed, aware


def sub_embeddings(runs: Iterable[Record]) -> go.Figure:
    """IA(E_i^{->j}) as a heat-map with its sums, means over sets and seeds, fields sorted by their
    own IA, the pair of a field with itself left out; a menu of datasets, models and designs."""
    figures = {}
    for cell, group in by_cell(runs).items():
        held = [r.projected_abundance for r in group if r.projected_abundance is not None]
        if not held:
            continue
        pairs = np.mean(held, axis=(0, 1))
        np.fill_diagonal(pairs, np.nan)
        own = np.mean([record.abundance.mean(1).numpy() for record in group], 0)
        order = np.argsort(own)
        names = [plots.as_text(group[0].dataset["fields"][i]) for i in order]
        figures[cell.title] = _pairs_of_fields(names, pairs[np.ix_(order, order)], own[order])
    return plots.one_of(figures, "Run").update_layout(BESIDE_PAIRS)


def _pairs_of_fields(names: Sequence[str], pairs: np.ndarray, own: np.ndarray) -> go.Figure:
    """IA of what is of field i and for field j as a heat-map, its row sums beside it and its column
    sums above; to be laid out with `BESIDE_PAIRS`.

    Args:
        names: of the N fields, in the order to be shown.
        pairs: `[i, j]`, `[N, N]`, NaN where there is none.
        own: `[N]`, the fields' own IA.
    """
    figure = go.Figure()
    shown = pairs.round(2)
    figure.add_heatmap(
        z=[[None if np.isnan(value) else value for value in row] for row in shown],
        x=names,
        y=names,
        colorscale="Viridis",
        hoverongaps=False,
        colorbar={"title": "IA", "x": 1.02, "y": 0, "yanchor": "bottom", "len": 0.82},
        hovertemplate="of %{y}<br>for %{x}<br>IA %{z:.2f}<extra></extra>",
    )
    bars = {"marker": {"color": plots.SKY}, "showlegend": False, "customdata": own.round(2)}
    hover = "own IA %{customdata}<extra></extra>"
    figure.add_bar(
        x=names,
        y=np.nansum(shown, 0).round(1),
        yaxis="y2",
        **bars,
        hovertemplate=f"for %{{x}}: sum over i %{{y}}<br>{hover}",
    )
    return figure.add_bar(
        y=names,
        x=np.nansum(shown, 1).round(1),
        xaxis="x2",
        orientation="h",
        **bars,
        hovertemplate=f"of %{{y}}: sum over j %{{x}}<br>{hover}",
    )


def influence(cells: Sequence[Influence]) -> go.Figure:
    """How sub-embeddings' IA goes with that of their own field and of their partner: rank
    correlations, a dot per seed, per dataset and model; grey crosses for random projections."""
    titles = ["with IA(E<sub>i</sub>), own field", "with IA(E<sub>j</sub>), partner"]
    figure = make_subplots(cols=2, subplot_titles=titles, shared_yaxes=True)
    for column, part in ((1, "own"), (2, "partner")):
        for kind, suffix, colour, symbol in (
            ("random projections", "_by_chance", plots.COLOURS["random"], "x"),
            ("trained", "", plots.SKY, "circle"),
        ):
            dots = [
                (value, one.cell.title) for one in cells for value in getattr(one, part + suffix)
            ]
            if not dots:
                continue
            x, y = zip(*dots, strict=True)
            figure.add_scatter(
                x=np.round(x, 3),
                y=y,
                mode="markers",
                name=kind,
                legendgroup=kind,
                showlegend=column == 1,
                row=1,
                col=column,
                marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
                hovertemplate=f"%{{y}}, {kind}: %{{x:.2f}}<extra></extra>",
            )
    figure.update_xaxes(range=[-0.5, 1.05], zeroline=True, dtick=0.5, title="rank correlation")
    order = [one.cell.title for one in cells]
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=order)
    return figure.update_layout(legend=plots.BELOW)


# --- what training added --------------------------------------------------------------------------


class Learned(NamedTuple):
    """What training changed of a first cross layer's projections.

    Attributes:
        record: of the run, its sub-embeddings made by the change, `E_i (W - W_0)_{i->j}^T`.
        moved: `||W - W_0||_F / ||W_0||_F`, W_0 being what training began with.
    """

    record: Record
    moved: float


def specs_of(dataset: str, rows: int, seeds: int) -> list[Spec]:
    """DCNv2's base model as in the study "decide", but trained for two epochs, which a page can
    wait for; a spec per seed. Of all rows where `rows` is 0; of US flights few are held out, since
    they would take longer than training."""
    held_out = (10_000, 10_000) if dataset in US_FLIGHTS else None
    data = DataSpec(dataset, rows or None, held_out=held_out)
    base = replace(BASES[0], data=data, epochs=2, precision=None)
    return [replace(base, seed=seed) for seed in range(seeds)]


def learned(
    spec: Spec, dataset: Dataset, *, device: str = "auto", progress: bool = True
) -> Learned:
    """Train a model that projects its fields, and look at what training added to where it began."""
    with tempfile.TemporaryDirectory() as folder:
        record = run(spec, dataset, output=Path(folder), device=device, progress=progress)
        state = load_file(Path(folder) / f"{spec.key}.safetensors")
    first, model = (build_model(spec, dataset.cardinalities).requires_grad_(False) for _ in "01")
    model.load_state_dict(state)
    start, end = first.interaction.projections, model.interaction.projections  # W_0 is the seed's
    if start is None or end is None:
        raise ParameterError(f"{spec.model!r} projects no field; dcnv2 is accepted")
    change = end - start
    abundance = projected_abundance(model.table, dataset.cardinalities, change)
    return Learned(
        replace(record, projected_abundance=abundance.tolist()),
        (change.norm() / start.norm()).item(),
    )


def what_was_learned(changes: Sequence[Learned]) -> pd.DataFrame:
    """How far the projections moved, and the rank correlations of what the change alone makes."""
    (cell,) = influences(change.record for change in changes)
    table = correlations([cell])[["own field", "partner"]]
    moved = f"{np.mean([change.moved for change in changes]):.0%}"
    table.insert(0, "moved, of the start", moved)
    return table
