"""Chapter 2: what information abundance measures, and what it says of trained tables."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import cycle
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from embedding_collapse.book import plots
from embedding_collapse.book.analysis.cause import FORMS
from embedding_collapse.book.analysis.ledger import bases, level_of, sharing
from embedding_collapse.book.analysis.measures import FAIR_ABUNDANCE, block_abundance, in_blocks
from embedding_collapse.book.language_model import TokenEmbedding, TokenSpectrum, measure
from embedding_collapse.lab.contrast import Group, contrast
from embedding_collapse.lab.groups import by_label, cell_of
from embedding_collapse.lab.records import Record, design_label, load_named
from embedding_collapse.lab.studies.decide import BASES
from embedding_collapse.parameters import ParameterError, check_choice
from embedding_collapse.spectrum import (
    effective_rank,
    information_abundance,
    normalised_abundance,
    random_spectrum,
    singular_values,
    stable_rank,
)

DRAWS = 50  # of random tables, for smooth lines
STRONG = 5  # directions of the tables whose truth is known
MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "information abundance": information_abundance,
    "effective rank": effective_rank,
    "stable rank": stable_rank,
}
READINGS = ("as it is", "over K", "against random")
INKS = {"field": plots.COLOURS["SE"], "language model": plots.INKS["information abundance"]}


# --- the phenomenon -------------------------------------------------------------------------------


def runs_of(folders: str, model: str, scale: int, dataset: str) -> dict[str, list[Record]]:
    """Recorded runs of a base model and of SE at one scale, of the data set asked for and of one
    more; those of a data set differ in size and seed alone.

    Of a data set's settings those of the study "decide" come first, then those with the most runs;
    so do data sets.

    Args:
        folders: of records, separated by commas.
        model, scale: which runs.
        dataset: which comes first.

    Raises:
        ParameterError: a folder that is not there; a model, a scale or a data set without runs.
    """
    runs = [run for run in load_named(folders) if cell_of(run).design == "se"]
    check_choice("model", model, sorted({run.spec["model"] for run in runs}))
    runs = [run for run in runs if run.spec["model"] == model]
    check_choice("scale", scale, sorted({run.spec["scale"] for run in runs} - {1}))
    runs = [run for run in runs if run.spec["scale"] in (1, scale)]
    found: dict[str, list[Record]] = {}
    for base in sorted(bases(runs), key=lambda base: base not in BASES):
        groups = by_label(sharing(base, runs))
        if len(groups) == 2:
            found.setdefault(base.data.name, [run for group in groups.values() for run in group])
    if not found:
        pair = f"{model}, base and {design_label('se', scale)}"
        raise ParameterError(f"{folders} holds no runs of {pair}, that share their settings")
    check_choice("dataset", dataset, found)
    return {name: found[name] for name in sorted(found, key=lambda name: name != dataset)[:2]}


def collapse(runs: Mapping[str, Sequence[Record]]) -> go.Figure:
    """IA / K of every field against random tables, by number of features; a menu of data sets."""
    figures = {name: plots.abundance_by_field(group) for name, group in runs.items()}
    return plots.one_of(figures, "Data")


# --- is it fair across widths? --------------------------------------------------------------------


def across_widths() -> go.Figure:
    """Every measure against K, of tables about which the truth is known.

    Left over K, of random tables with 1,000 and with 100 rows. Right as it is, of tables with
    `STRONG` directions of weight 1 and a tenth of that in all others.
    """
    widths = np.unique(np.geomspace(5, 100, 14).round().astype(int))
    strong = [_strong(int(k)) for k in widths]
    titles = ["no collapse: measure / K", f"{STRONG} strong directions: measure"]
    figure = make_subplots(cols=2, subplot_titles=titles)
    drawn = {"x": widths, "mode": "lines", "row": 1}
    for name, formula in MEASURES.items():
        for count, dash in zip((1000, 100), plots.DASHES, strict=False):
            shares = [formula(random_spectrum(count, int(k), DRAWS)).item() / k for k in widths]
            figure.add_scatter(
                y=np.round(shares, 4),
                col=1,
                name=f"{name}, D = {count:,}",
                line={"color": plots.INKS[name], "dash": dash},
                hovertemplate=f"D = {count:,}, K = %{{x}}: %{{y:.2f}}",
                **drawn,
            )
        values = [formula(torch.tensor(spectrum)).item() for spectrum in strong]
        figure.add_scatter(
            y=np.round(values, 4),
            col=2,
            name=name,
            showlegend=False,
            line={"color": plots.INKS[name]},
            hovertemplate="K = %{x}: %{y:.2f}",
            **drawn,
        )
    figure.update_xaxes(title="dimensions K", type="log", tickvals=[5, 10, 20, 50, 100])
    figure.update_yaxes(title="share of K", range=[0, 1.02], row=1, col=1)
    figure.update_yaxes(title="directions", rangemode="tozero", row=1, col=2)
    return figure.update_layout(legend=plots.BELOW)


def _strong(width: int) -> list[float]:
    """The spectrum of a table with `STRONG` directions of weight 1, the others a tenth."""
    return [1.0] * STRONG + [0.1] * (width - STRONG)


@lru_cache(maxsize=4096)
def _of_random(name: str, rows: int, width: int) -> float:
    return MEASURES[name](random_spectrum(rows, width)).item()


def readings(run: Record) -> pd.Series:
    """Every measure of a run's tables as it is, over K and against a random table of the same
    shape: 9 numbers, the mean over fields and sets."""
    spectra = torch.tensor(run.spectra, dtype=torch.float64)  # [N, M, K]
    width, numbers = spectra.shape[-1], {}
    for name, formula in MEASURES.items():
        values = formula(spectra).mean(1)
        random = [_of_random(name, rows, width) for rows in run.dataset["cardinalities"]]
        shares = (values.mean() / width, (values / torch.tensor(random)).mean())
        for reading, value in zip(READINGS, (values.mean(), *shares), strict=True):
            numbers[name, reading] = value.item()
    return pd.Series(numbers).rename_axis(["measure", "reading"])


def beside(
    runs: Mapping[str, Sequence[Record]], numbers: Callable[[Record], pd.Series]
) -> pd.DataFrame:
    """A row per number of a run: of each data set the means of base and SE, and SE minus base, an
    `Effect`, whose interval is over seeds, at the level of the cell with the most looks."""
    columns = {}
    for name, group in runs.items():
        tables = {label: pd.DataFrame(map(numbers, of)) for label, of in by_label(group).items()}
        for label, table in tables.items():
            columns[name, label] = table.mean()
        (old, new), level = tables.values(), level_of(by_label(group).values())
        columns[name, "change"] = pd.Series(
            {key: contrast([Group(1, [*new[key]]), Group(-1, [*old[key]])], level) for key in old}
        )
    return pd.DataFrame(columns)


def without_first(runs: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """IA/K of base and SE, and the same without the first singular value: means over fields and
    runs, a row per data set."""
    forms = {"IA/K": "IA/K", "without σ₁": "IA/K without the first singular value"}
    return pd.DataFrame.from_dict(
        {
            name: {
                (head, label): float(np.mean([FORMS[form](run) for run in records]))
                for head, form in forms.items()
                for label, records in by_label(group).items()
            }
            for name, group in runs.items()
        },
        orient="index",
    )


# --- at one width, and rows that count by how often they occur ------------------------------------


def blocks(runs: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """IA against random of whole tables, and of their columns in blocks as wide as the base
    model's table."""
    rows = {"whole table": FAIR_ABUNDANCE.value, "in blocks": in_blocks}
    return beside(runs, lambda run: pd.Series({name: of(run) for name, of in rows.items()}))


def strong_in_blocks() -> float:
    """IA against random in ten blocks of ten columns, of a table of 1,000 rows with `STRONG`
    directions: what they show of one that has collapsed."""
    return block_abundance(_strong(100), 1000, 10, torch.Generator().manual_seed(0))


def weightings(run: Record) -> pd.Series:
    """IA with all rows alike and with rows weighted by frequency, and what that adds, over K and
    against random: means over fields."""
    values = {}
    for share, alike, often in (
        ("IA / K", run.relative_abundance, run.weighted_abundance),
        ("IA / random", run.abundance_against_random, run.weighted_against_random),
    ):
        values[share, "rows alike"] = alike
        values[share, "rows by frequency"] = often
        values[share, "what weighting adds"] = often - alike
    return pd.Series({row: value.mean().item() for row, value in values.items()})


def weighted(runs: Mapping[str, Sequence[Record]]) -> go.Figure:
    """IA against random, all rows alike (solid) and by frequency (dotted), fields by number of
    features; means and ranges over seeds; a menu of data sets."""
    figures = {name: _weighted(by_label(group)) for name, group in runs.items()}
    figure = plots.one_of(figures, "Data")
    figure.add_hline(
        y=1,
        line={"color": plots.COLOURS["random"], "dash": "dash"},
        annotation={"text": "random table", "xanchor": "right"},
    )
    figure.update_xaxes(plots.BY_FEATURES)
    return figure.update_yaxes(title="IA / IA of a random table", rangemode="tozero")


def _weighted(groups: Mapping[str, Sequence[Record]]) -> go.Figure:
    figure = go.Figure()
    for label, group in groups.items():
        names, counts, order = plots.fields(group[0])
        for name, words, dash in (
            ("abundance_against_random", "rows alike", "solid"),
            ("weighted_against_random", "rows by frequency", "dot"),
        ):
            values = torch.stack([getattr(run, name)[order] for run in group]).numpy()
            look = f"{label}, {words}", plots.colour(label), dash
            line = plots.by_field(names, values, counts, *look)
            line.hovertemplate = "%{x}, %{customdata:,} features: %{y:.3f}"
            figure.add_trace(line)
    return figure


# --- beside a language model ----------------------------------------------------------------------


class Spectrum(NamedTuple):
    """A spectrum to lay beside others.

    Attributes:
        name: of the table.
        of: "field" or "language model".
        rows: of the table.
        full: `[K]` singular values; the first of them are those of the best table of that rank.
        columns: those of its leading columns alone; None where the table isn't at hand.
        centred: `[K]`, those of the table without its mean row; None of a field.
    """

    name: str
    of: str
    rows: int
    full: Tensor
    columns: Tensor | None = None
    centred: Tensor | None = None


def largest_fields(run: Record, count: int = 3) -> list[Spectrum]:
    """The spectra of a run's fields with the most features, largest first."""
    sizes = run.dataset["cardinalities"]
    spectra = []
    for field in sorted(range(len(sizes)), key=sizes.__getitem__)[::-1][:count]:
        values = torch.tensor(run.spectra[field][0], dtype=torch.float64)
        name = f"{run.dataset['fields'][field]} ({sizes[field]:,})"
        spectra.append(Spectrum(name, "field", sizes[field], values, values))
    return spectra


def token_spectra(
    embedding: TokenEmbedding, kept: Sequence[TokenSpectrum], width: int
) -> list[Spectrum]:
    """The spectra of a token embedding, also of its first `width` columns, and of recorded ones."""
    columns = {embedding.name: singular_values(embedding.table[:, :width])}
    others = [spectrum for spectrum in kept if spectrum.name != embedding.name]
    return [
        Spectrum(
            f"{tokens.name} ({tokens.tokens:,})",
            "language model",
            tokens.tokens,
            torch.tensor(tokens.spectrum, dtype=torch.float64),
            columns.get(tokens.name),
            torch.tensor(tokens.centred_spectrum, dtype=torch.float64),
        )
        for tokens in (measure(embedding), *others)
    ]


def beside_language(spectra: Sequence[Spectrum], count: int) -> go.Figure:
    """Normalised spectra of fields and of language models: full, of the first `count` singular
    values, and of the first so many columns."""
    figures = {}
    views = ("full", f"first {count} singular values", f"first {count} columns")
    for position, view in enumerate(views):
        figures[view] = figure = go.Figure()
        dashes = {of: cycle(plots.DASHES) for of in INKS}
        for spectrum in spectra:
            values = (spectrum.full, spectrum.full[:count], spectrum.columns)[position]
            if values is None:
                continue
            figure.add_scatter(
                x=(np.arange(1, len(values) + 1) / len(values)).round(4),
                y=(values / values.max()).numpy().round(4),
                name=spectrum.name,
                mode="lines",
                line={"color": INKS[spectrum.of], "dash": next(dashes[spectrum.of])},
                hovertemplate=f"%{{fullData.name}}, {len(values)} values<br>%{{y:.3f}}"
                "<extra></extra>",
            )
    figure = plots.one_of(figures, "Show")
    figure.update_xaxes(title="direction k, as a share", range=[0, 1.02])
    return figure.update_yaxes(title="σ<sub>k</sub> / σ<sub>1</sub>", range=[0, 1.02])


def language_table(spectra: Sequence[Spectrum], count: int) -> pd.DataFrame:
    """A row per spectrum: IA over K, also without the mean row; IA and effective rank over those of
    a random table; IA over `count` of the first so many singular values, and columns."""
    rows = {}
    for spectrum in spectra:
        random = random_spectrum(spectrum.rows, len(spectrum.full))
        rows[spectrum.name] = {"K": len(spectrum.full)} | {
            name: np.nan if value is None else value.item()
            for name, value in {
                "IA/K": normalised_abundance(spectrum.full),
                "centred": _share(spectrum.centred),
                "IA/random": information_abundance(spectrum.full) / information_abundance(random),
                "erank/random": effective_rank(spectrum.full) / effective_rank(random),
                f"{count} values": normalised_abundance(spectrum.full[:count]),
                f"{count} columns": _share(spectrum.columns),
            }.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _share(spectrum: Tensor | None) -> Tensor | None:
    return None if spectrum is None else normalised_abundance(spectrum)
