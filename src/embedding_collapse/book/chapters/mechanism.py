"""Chapter 6: what multi-embedding's sets do, what it owes to its parts, and what else it is."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book import plots
from embedding_collapse.book.analysis import measures, verdicts
from embedding_collapse.book.analysis.growth import Parts, by_rows, families
from embedding_collapse.book.analysis.measures import Measure, total_parameters
from embedding_collapse.book.analysis.verdicts import Cells, Claim, Runs
from embedding_collapse.lab.groups import Cell, by_cell, datasets_of, runs_in, select
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record, folder_of, load_all
from embedding_collapse.lab.studies import study
from embedding_collapse.subspace import random_diversity

SCALES = (4, 10)
MOST_LAYERS = (8, 16)
EQUAL = {14: 4, 24: 10}  # SE's embedding size, and the scale of ME that has as many parameters

ME_VARIANTS = [
    plots.Series("ME", "dcnv2", "ME", plots.COLOURS["ME"], "solid"),
    plots.Series("shared interaction", "dcnv2-shared", "ME", plots.PINK, "dash", base="dcnv2"),
    plots.Series("no non-linearity", "dcnv2-linear", "ME", plots.AMBER, "dot"),
    plots.Series("aligned norms", "dcnv2-aligned", "ME", plots.SKY, "dashdot", base="dcnv2"),
]
OTHER_REMEDIES = ("dcnv2-flat", "dcnv2-sfg", "dcnv2-distinct")

# --- the runs -------------------------------------------------------------------------------------


def runs_of(folder: str, beyond: str) -> tuple[Cells, Parts]:
    """Recorded runs by cell, and those of the study `beyond` by its parts.

    Raises:
        ParameterError: a folder that is not there.
    """
    further = folder_of(beyond)
    parts = {
        name: study("beyond").part(name).records(further, missing_ok=True)
        for name in ("parameters", "depth", "rows")
    }
    return by_cell(load_all(folder_of(folder))), parts


# --- is there a gain to explain? ------------------------------------------------------------------


def _like(cells: Cells, dataset: str, model: str = "dcnv2") -> list[tuple[Runs, Runs]]:
    """ME and SE of the same sizes."""
    pairs = [
        (Cell(dataset, model, "me", scale), Cell(dataset, model, "se", scale)) for scale in SCALES
    ]
    return [(cells.get(me, []), cells.get(se, [])) for me, se in pairs]


def claims_of_gain(cells: Cells) -> pd.DataFrame:
    """Does ME of DCNv2 beat base and SE, and does it overfit less? A row per claim, a column of
    answers per data set; 4x and 10x together."""

    def claims(dataset: str) -> list[Claim]:
        like = _like(cells, dataset)
        base = cells.get(Cell(dataset, "dcnv2", "se", 1), [])
        six = [pair for model in PAPER for pair in _like(cells, dataset, model)]
        return [
            Claim("ME beats base (AUC)", measures.AUC, "higher", [(me, base) for me, _ in like]),
            Claim("ME beats SE of the same size (AUC)", measures.AUC, "higher", like),
            Claim(
                "ME overfits less than SE (six models, fall of validation AUC)",
                measures.DECLINE,
                "lower",
                six,
            ),
        ]

    return verdicts.table({dataset: claims(dataset) for dataset in datasets_of(cells)})


# --- the sets: what they span, and which fields meet in them --------------------------------------


def diversity_by_field(cells: Cells) -> go.Figure:
    """Diversity of every field, fields sorted by cardinality: mean and range over seeds, beside
    that of random tables; a menu of data sets and scales; one model."""
    figures: dict[str, go.Figure] = {}
    what = {"se": "SE, blocks of its table", "me": "ME, its sets"}
    for cell, group in ((cell, group) for cell, group in cells.items() if cell.scale > 1):
        names, cardinalities, order = plots.fields(group[0])
        width = group[0].spec["embedding_size"]
        figure = figures.setdefault(f"{cell.dataset}, {cell.scale}x", go.Figure())
        values, ink = np.array([run.diversity for run in group])[:, order], plots.colour(cell.label)
        figure.add_trace(plots.by_field(names, values, cardinalities, what[cell.design], ink))
        if len(figure.data) == 1:
            figure.add_scatter(
                x=names,
                y=[round(random_diversity(rows, width), 4) for rows in cardinalities],
                name="random tables, 1 − K/D",
                mode="lines",
                line={"color": plots.COLOURS["random"], "dash": "dash"},
            )
    figure = plots.one_of(figures, "Run").update_xaxes(plots.BY_FEATURES)
    return figure.update_yaxes(title="diversity", range=[-0.02, 1.02])


def projection_norms(runs: Sequence[Record]) -> go.Figure:
    """`||W_{i->j}^{(m)}||_F` of the first cross layer, a heat-map per set, fields sorted by
    cardinality; a menu of the runs, which have equally many sets."""
    sets = runs[0].spec["scale"] if runs[0].spec["design"] == "me" else 1
    columns = min(2, sets)
    rows = -(-sets // columns)
    figures = {}
    for run in runs:
        figure = make_subplots(
            rows,
            columns,
            subplot_titles=[f"set {m + 1}" for m in range(sets)],
            vertical_spacing=0.45 / rows,
            horizontal_spacing=0.25,
        )
        names, _, order = plots.fields(run)
        norms = np.array(run.projection_norms)[:, order][:, :, order]
        for m, values in enumerate(norms):
            figure.add_heatmap(
                z=values.round(3),
                x=names,
                y=names,
                colorscale="Viridis",
                zmin=float(norms.min().round(3)),
                zmax=float(norms.max().round(3)),
                colorbar={"title": "‖W‖<sub>F</sub>"},
                showscale=m == 0,
                hovertemplate=f"set {m + 1}: of %{{y}} for %{{x}}, %{{z:.3f}}<extra></extra>",
                row=m // columns + 1,
                col=m % columns + 1,
            )
        figures[f"{run.spec['dataset']}, {MODELS[run.spec['model']].name}"] = figure
    figure = plots.one_of(figures, "Run")
    figure.update_xaxes(dtick=1, tickangle=-90, tickfont={"size": 9})  # every field is named
    figure.update_yaxes(dtick=1, tickfont={"size": 9})
    figure.update_xaxes(title="for field j", row=rows, col=columns)  # stacked, the last panel's
    return figure.update_yaxes(title="of field i", col=1)


def claims_of_sets(cells: Cells) -> pd.DataFrame:
    """What the paper claims of ME's sets, and whether they differ by more than chance: a row each,
    a column of answers per data set; 4x and 10x together."""

    def claims(dataset: str) -> list[Claim]:
        like = _like(cells, dataset)
        apart = measures.as_sets(cells.get(Cell(dataset, "dcnv2", "se", 1), []))
        projected = measures.PROJECTED_ABUNDANCE
        return [
            Claim("Sets are more diverse than blocks of SE", measures.DIVERSITY, "higher", like),
            Claim(
                "Sets are less alike than models trained apart (norms of W)",
                measures.COMMON_PATTERN,
                "lower",
                [(me, apart) for me, _ in like],
            ),
            Claim("Sub-embeddings are less collapsed (IA/K)", projected, "higher", like),
        ]

    return verdicts.table({dataset: claims(dataset) for dataset in datasets_of(cells)})


# --- what ME owes to its parts --------------------------------------------------------------------


def against_size(
    cells: Cells, series: Sequence[plots.Series], panels: Mapping[str, Measure]
) -> go.Figure:
    """A panel per measure, by its title, a line per model; a menu of data sets."""
    models = {one.model for one in series}
    return plots.series_against_scale(
        {
            dataset: {
                title: plots.points(runs_in(select(cells, models, dataset=dataset)), measure)
                for title, measure in panels.items()
            }
            for dataset in datasets_of(select(cells, models))
        },
        series,
    )


def claims_of_parts(cells: Cells) -> pd.DataFrame:
    """What ME 10x loses without one of its parts: test AUC, diversity and IA."""
    losses = {
        "loses AUC": measures.AUC,
        "makes sets less diverse": measures.DIVERSITY,
        "makes them more collapsed (IA / random)": measures.FAIR_ABUNDANCE,
    }

    def claims(dataset: str) -> list[Claim]:
        whole, *lacking = (cells.get(Cell(dataset, one.model, "me", 10), []) for one in ME_VARIANTS)
        names = [f"{one.name[0].upper()}{one.name[1:]}" for one in ME_VARIANTS[1:]]
        return [
            Claim(f"{name} {words}", measure, "lower", [(runs, whole)])
            for name, runs in zip(names, lacking, strict=True)
            for words, measure in losses.items()
        ]

    return verdicts.table({dataset: claims(dataset) for dataset in datasets_of(cells)})


# --- what else it could be ------------------------------------------------------------------------


def against_parameters(families: Mapping[str, Mapping[str, Runs]]) -> go.Figure:
    """Test AUC against the number of all parameters: means and 95% intervals over seeds.

    Args:
        families: from `families`.
    """
    figure = go.Figure()
    for (name, groups), dash in zip(families.items(), plots.DASHES, strict=False):
        sizes = sorted((total_parameters(runs), label) for label, runs in groups.items() if runs)
        aucs = [[measures.AUC.value(run) for run in groups[label]] for _, label in sizes]
        figure.add_scatter(
            x=[count for count, _ in sizes],
            **plots.with_intervals(aucs),
            name=name,
            mode="lines+markers",
            hovertext=[label for _, label in sizes],
            line={"color": plots.COLOURS.get(name.split(",")[0], plots.PINK), "dash": dash},
            hovertemplate="%{hovertext}, %{x:,} parameters: %{y:.4f}<extra></extra>",
        )
    ticks = [digit * 10**power for power in range(3, 10) for digit in (1, 2, 5)]
    figure.update_xaxes(
        title="parameters, embeddings included",
        type="log",
        tickvals=ticks,
        tickformat="~s",
        minor_ticks="",
    )
    figure.update_yaxes(title="test AUC")
    return figure.update_layout(legend=plots.BELOW, hovermode="closest")


def against_rows(groups: Mapping[int, Mapping[str, Runs]]) -> go.Figure:
    """Test AUC, and IA against random tables, by the number of rows: means and 95% intervals over
    seeds; a line each for base, SE and ME.

    Args:
        groups: from `by_rows`.
    """
    panels = {"test AUC": measures.AUC, "IA, random tables = 1": measures.FAIR_ABUNDANCE}
    figure = make_subplots(cols=2, subplot_titles=list(panels))
    for label in next(iter(groups.values())):
        runs = {rows: group[label] for rows, group in groups.items()}
        for column, measure in enumerate(panels.values(), 1):
            values = [[measure.value(run) for run in group] for group in runs.values()]
            figure.add_scatter(
                x=list(runs),
                **plots.with_intervals(values),
                name=label,
                legendgroup=label,
                showlegend=column == 1,
                mode="lines+markers",
                line={"color": plots.colour(label)},
                row=1,
                col=column,
                hovertemplate=f"{label}, %{{x:,}} rows: %{{y:.4f}}<extra></extra>",
            )
    figure.update_xaxes(plots.log_axis({rows: f"{rows:,}" for rows in groups}), title="rows")
    return figure.update_layout(legend=plots.BELOW, hovermode="closest")


def claims_of_size(cells: Cells, parts: Parts) -> pd.DataFrame:
    """Is ME's gain that of its parameters, and do depth, rows or other remedies do as much? A row
    per claim, a column of answers per data set."""

    def claims(dataset: str) -> list[Claim]:
        def at(model: str, design: str, scale: int = 10) -> Runs:
            return cells.get(Cell(dataset, model, design, scale), [])

        wide, _, deep = families(cells, parts, dataset).values()
        se, me, flat = at("dcnv2", "se"), at("dcnv2", "me"), at("dcnv2-flat", "se")
        equal = [
            (at("dcnv2", "me", scale), wide.get(f"SE, K = {width}", []))
            for width, scale in EQUAL.items()
        ]
        deeper = [(deep.get(f"{layers} layers", []), deep["base"]) for layers in MOST_LAYERS]
        rows = by_rows(cells, parts, dataset)
        most = rows[max(rows)] if len(rows) > 1 else {}
        on_most = [(most.get("ME 10x", []), most.get("SE 10x", []))]
        auc, fair = measures.AUC, measures.FAIR_ABUNDANCE
        return [
            Claim("ME beats SE with as many parameters", auc, "higher", equal),
            Claim("More cross layers beat base", auc, "higher", deeper),
            Claim("More cross layers collapse tables (IA / random)", fair, "lower", deeper),
            Claim("On the most rows ME beats SE", auc, "higher", on_most),
            Claim("Flat spectra fill SE's tables (IA / random)", fair, "higher", [(flat, se)]),
            Claim("Flat spectra beat SE", auc, "higher", [(flat, se)]),
            Claim("SFG's encoder beats SE", auc, "higher", [(at("dcnv2-sfg", "se"), se)]),
            Claim("Distinct sets beat ME", auc, "higher", [(at("dcnv2-distinct", "me"), me)]),
        ]

    return verdicts.table({dataset: claims(dataset) for dataset in datasets_of(cells)})


# --- all numbers ----------------------------------------------------------------------------------


def numbers(cells: Cells) -> dict[str, pd.DataFrame]:
    """Every cell's means over seeds, by what the table is called."""
    variants = {one.model for one in ME_VARIANTS} | set(OTHER_REMEDIES)
    return {
        "DCNv2, its variants and other remedies": measures.overview(
            select(cells, variants), [measures.AUC, measures.ABUNDANCE, measures.FAIR_ABUNDANCE]
        ),
        "Sets": measures.overview(
            select(cells, variants, design="me"),
            [measures.DIVERSITY, measures.RELATIVE_DIVERSITY, measures.COMMON_PATTERN],
        ),
        "Six models": measures.overview(
            select(cells, PAPER), [measures.AUC, measures.BEST_EPOCH, measures.DECLINE]
        ),
    }
