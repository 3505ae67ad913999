"""Chapter 6: what multi-embedding's sets do, what it owes to its parts, and what else it is."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from embedding_collapse.book import plots
from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.claims import compared
from embedding_collapse.book.analysis.influence import PASSED_ON
from embedding_collapse.book.analysis.ledger import by_spec, difference, weighted
from embedding_collapse.book.analysis.measures import Measure, total_parameters
from embedding_collapse.book.analysis.settings import Setting, one_each, settings
from embedding_collapse.lab.contrast import Effect
from embedding_collapse.lab.data.dataset import split_sizes
from embedding_collapse.lab.data.spec import US_FLIGHTS
from embedding_collapse.lab.groups import Cell, Cells, by_cell, datasets_of, runs_in, select
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record, design_label, folder_of, load_all
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies.decide import BASE, EQUAL, ME4, ME10, SE4, SE10, DesignAtScale
from embedding_collapse.parameters import ParameterError
from embedding_collapse.subspace import random_diversity

MODEL, LINEAR = "dcnv2", "dcnv2-linear"  # whose sets are looked into; without non-linearity
ME_VARIANTS = [
    plots.Series("ME", "dcnv2", "ME", plots.COLOURS["ME"], "solid"),
    plots.Series("shared interaction", "dcnv2-shared", "ME", plots.PINK, "dash", base="dcnv2"),
    plots.Series("no non-linearity", LINEAR, "ME", plots.AMBER, "dot"),
    plots.Series("aligned norms", "dcnv2-aligned", "ME", plots.SKY, "dashdot", base="dcnv2"),
]
WAYS = {
    "SE, wider": plots.COLOURS["SE"],
    "ME, more sets": plots.COLOURS["ME"],
    "ME, wider sets": plots.SKY,
    "more cross layers": plots.PINK,
    "more hidden units": plots.AMBER,
    "ten columns, wider interaction": plots.COLOURS["base"],
}
OTHER_REMEDIES = {
    "dcnv2-flat": "flat spectra",
    "dcnv2-sfg": "SFG",
    "dcnv2-distinct": "distinct sets",
}

# --- the runs -------------------------------------------------------------------------------------


def runs_of(folder: str) -> tuple[list[Record], list[Setting], Cells]:
    """Recorded runs: all; the two data sets with the most of them, with the claims put to these;
    and their runs by cell.

    Raises:
        ParameterError: a folder that is not there, or without runs of DCNv2, ME 4x.
    """
    runs = load_all(folder_of(folder))
    asked = one_each(settings(runs))[:2]
    cells = {cell: group for one in asked for cell, group in by_cell(one.runs).items()}
    if not select(cells, {MODEL}, design="me", scale=4):
        raise ParameterError(
            f"folder is {folder!r}, which has no run of {MODEL} ME 4x; its sets are looked into"
        )
    return runs, asked, cells


# --- the sets: what they span, and which fields meet in them --------------------------------------


def diversity_by_field(cells: Cells) -> go.Figure:
    """Diversity of every field, fields sorted by cardinality: mean and range over seeds, beside
    that of random tables; a menu of data sets and scales; one model."""
    figures: dict[str, go.Figure] = {}
    what = {"se": "SE, slices of its table", "me": "ME, its sets"}
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


def likeness(asked: Sequence[Setting]) -> pd.DataFrame:
    """How alike the sets' weights are, see `measures.likeness`, and in how many steps they were
    trained to the tested epoch (blank where the study took all rows, however many): a row per data
    set and size that has several seeds, by steps."""
    rows = {
        (one.name, cell.label): {
            "steps": np.mean([_steps(run) for run in runs]),
            **measures.likeness(runs)._asdict(),
        }
        for one in asked
        for cell, runs in select(by_cell(one.runs), [MODEL], design="me").items()
        if len(runs) > 1
    }
    words = {"together": "of one run", "apart": "of different runs", "nearer": "one - different"}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["steps", *words])
    table = table.rename(columns=words)
    table = table.sort_values("steps", kind="stable")
    return table.assign(steps=[f"{n:,.0f}" if n == n else "" for n in table["steps"]])


def passed_on(cells: Cells) -> pd.DataFrame:
    """What learned projections leave of sub-embeddings' IA, see `influence.passed_on`: a row per
    size, a column per data set."""
    rows: dict[str, dict[str, float]] = {}
    for cell, runs in select(cells, [MODEL]).items():
        rows.setdefault(cell.label, {})[cell.dataset] = PASSED_ON.mean(runs)
    return pd.DataFrame.from_dict(rows, orient="index")


def _steps(run: Record) -> float:
    data = Spec.read(run.spec).data
    if data.rows is None:
        return np.nan
    for_training = data.held_out or data.split == "given" or data.name in US_FLIGHTS
    rows = data.rows if for_training else split_sizes(data.rows)[0]
    return (run.best_epoch + 1) * np.ceil(rows / run.spec["batch_size"])


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


def without_nonlinearity(cells: Cells) -> pd.DataFrame:
    """What test AUC each size gains by lacking the non-linearity, and how much more ME 4x does than
    the others: a row each, the `Effect`s on every data set."""

    def gain(cell: Cell, sign: float = 1.0) -> list[tuple[float, list[Record]]]:
        return [(sign, cells[cell]), (-sign, cells[cell._replace(model=MODEL)])]

    rows: dict[str, dict[str, Effect]] = {}
    both = [cell for cell in select(cells, [LINEAR]) if cell._replace(model=MODEL) in cells]
    for cell in both:
        rows.setdefault(cell.label, {})[cell.dataset] = weighted(gain(cell))
        me = Cell(cell.dataset, LINEAR, "me", 4)
        if me in both and me != cell:
            words = f"{me.label} minus {cell.label}"
            rows.setdefault(words, {})[cell.dataset] = weighted(gain(me) + gain(cell, -1.0))
    return pd.DataFrame.from_dict(rows, orient="index")


# --- what else it could be ------------------------------------------------------------------------


def families(runs: Sequence[Record], base: Spec) -> dict[str, dict[str, list[Record]]]:
    """DCNv2 made larger in several ways, by what its sizes are called.

    Args:
        runs: of any settings.
        base: whose data and settings they should share.
    """
    groups, equal = by_spec(runs), EQUAL.get(base.data.name, {})

    def at(*sizes: DesignAtScale, model: str = MODEL) -> dict[str, list[Record]]:
        return {design_label(*size): groups.get(compared(base, model, size), []) for size in sizes}

    def with_option(
        words: str, size: DesignAtScale, name: str, *values: int
    ) -> dict[str, list[Record]]:
        return {
            words.format(value): groups.get(compared(base, MODEL, size, **{name: value}), [])
            for value in values
        }

    def known(*names: str) -> list[int]:
        return [equal[name] for name in names if name in equal]

    groups_of = [
        at(BASE, SE4, SE10)
        | with_option("one set, K = {}", BASE, "embedding_size", *known("interaction", "all")),
        at(BASE, ME4, ME10),
        at(ME4) | with_option("ME 4x, K = {}", ME4, "embedding_size", *known("me")),
        at(BASE) | with_option("{} layers", BASE, "cross_layers", 16),
        at(BASE) | with_option("{} hidden units", BASE, "hidden", *known("hidden")),
        at(BASE) | at(SE4, SE10, model="dcnv2-lifted"),
    ]
    return dict(zip(WAYS, groups_of, strict=True))


def against_parameters(families: Mapping[str, Mapping[str, list[Record]]]) -> go.Figure:
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
            line={"color": WAYS[name], "dash": dash},
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


def other_remedies(cells: Cells) -> pd.DataFrame:
    """What other remedies do to AUC, and to how full tables are: a row per data set and remedy, the
    `Effect`s beside plain SE or ME of the same size."""
    rows = {}
    for cell, group in select(cells, OTHER_REMEDIES).items():
        plain = cells.get(cell._replace(model=MODEL))
        if plain:
            words = f"{OTHER_REMEDIES[cell.model]}, {cell.label}"
            rows[cell.dataset, words] = {
                "test AUC": difference(group, plain),
                "IA against random": difference(group, plain, measures.FAIR_ABUNDANCE),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


# --- all numbers ----------------------------------------------------------------------------------


def numbers(cells: Cells) -> dict[str, pd.DataFrame]:
    """Every cell's means over seeds, by what the table is called."""
    variants = {one.model for one in ME_VARIANTS}.union(OTHER_REMEDIES)
    return {
        "DCNv2, its variants and other remedies": measures.overview(
            select(cells, variants), [measures.AUC, measures.ABUNDANCE, measures.FAIR_ABUNDANCE]
        ),
        "Sets": measures.overview(
            select(cells, variants, design="me"),
            [measures.DIVERSITY, measures.RELATIVE_DIVERSITY, measures.COMMON_PATTERN],
        ),
    }
