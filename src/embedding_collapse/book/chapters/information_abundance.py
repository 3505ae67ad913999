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
from embedding_collapse.book.analysis.measures import in_blocks
from embedding_collapse.book.explorers.bend import SHAPES
from embedding_collapse.book.language_model import TokenEmbedding, TokenSpectrum, measure
from embedding_collapse.lab.contrast import Effect, difference
from embedding_collapse.lab.groups import by_label, cell_of
from embedding_collapse.lab.records import Record, load_named
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


def of_shape(name: str) -> dict[str, float]:
    """Each measure of one of the shapes that the first figure offers."""
    spectrum = torch.tensor(SHAPES[name], dtype=torch.float64)
    return {title: formula(spectrum).item() for title, formula in MEASURES.items()}


# --- the phenomenon -------------------------------------------------------------------------------


def runs_of(folders: str, model: str, scale: int, dataset: str) -> dict[str, list[Record]]:
    """Recorded runs of a base model and of SE at one scale, by data set.

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
    names = sorted({run.spec["dataset"] for run in runs}, key=lambda name: (name != dataset, name))
    check_choice("dataset", dataset, names)
    return {name: [run for run in runs if run.spec["dataset"] == name] for name in names}


def collapse(runs: Mapping[str, Sequence[Record]]) -> go.Figure:
    """IA / K of every field against random tables, by number of features; a menu of data sets."""
    figures = {name: plots.abundance_by_field(group) for name, group in runs.items()}
    return plots.one_of(figures, "Data")


# --- is it fair across widths? --------------------------------------------------------------------


def across_widths(rows: Sequence[int] = (1000, 100)) -> go.Figure:
    """Every measure against K, of tables about which the truth is known.

    Left over K, of random tables with that many rows. Right as it is, of tables with `STRONG`
    directions of weight 1 and a tenth of that in all others.
    """
    widths = np.unique(np.geomspace(5, 100, 14).round().astype(int))
    strong = [[1.0] * STRONG + [0.1] * int(k - STRONG) for k in widths]
    titles = ["no collapse: measure / K", f"{STRONG} strong directions: measure"]
    figure = make_subplots(cols=2, subplot_titles=titles)
    drawn = {"x": widths, "mode": "lines", "row": 1}
    for name, formula in MEASURES.items():
        for count, dash in zip(rows, plots.DASHES, strict=False):
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


def nine_readings(runs: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """A row per measure and reading: of each data set the means of base and SE, and how much SE
    changes it: an `Effect`, whose interval is over seeds."""
    columns = {}
    for name, group in runs.items():
        old, new = (pd.DataFrame(map(readings, records)) for records in by_label(group).values())
        for label, values in zip(by_label(group), (old, new), strict=True):
            columns[name, label] = values.mean()
        columns[name, "change"] = pd.Series(
            {key: difference(new[key].to_numpy(), old[key].to_numpy()) for key in old}
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


def _row(values: Mapping[str, Sequence[float] | np.ndarray]) -> dict[str, float | Effect]:
    """The means of base and SE, each of a number per seed, and SE minus base."""
    base, wide = values.values()
    means = {label: float(np.mean(numbers)) for label, numbers in values.items()}
    return means | {"change": difference(wide, base)}


def weightings(folder: str) -> dict[str, list[Record]]:
    """The base model's runs and those of SE at one size in a folder whose records hold spectra of
    rows weighted by frequency, by label.

    Raises:
        ParameterError: there are others of SE, or a record is older than such spectra.
    """
    runs = [run for run in load_named(folder) if cell_of(run).design == "se"]
    if old := [run.key for run in runs if run.weighted_spectra is None]:
        counted = f"{len(old)} of {len(runs)} records of SE in {folder}"
        raise ParameterError(f"{counted} are without weighted spectra, {old[0]} for one")
    groups = by_label(runs)
    if len(groups) != 2 or "base" not in groups:
        held = ", ".join(groups) or "none"
        raise ParameterError(f"sizes of SE in {folder}: {held}; base and one other are needed")
    return groups


def blocks(trained: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """IA against random of columns in blocks as wide as the base model's table."""
    values = {label: list(map(in_blocks, group)) for label, group in trained.items()}
    return pd.DataFrame.from_dict({"IA / random, in blocks": _row(values)}, orient="index")


def weighting(trained: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """IA with all rows alike and with rows weighted by frequency, over K and against random: means
    over fields and seeds. The last row is what weighting adds to the same table."""
    rows: dict[tuple[str, str], Callable[[Record], Tensor]] = {
        ("IA / K", "rows alike"): lambda run: run.relative_abundance,
        ("IA / K", "rows by frequency"): lambda run: run.weighted_abundance,
        ("IA / random", "rows alike"): lambda run: run.abundance_against_random,
        ("IA / random", "rows by frequency"): lambda run: run.weighted_against_random,
        ("IA / random", "what weighting adds"): lambda run: (
            run.weighted_against_random - run.abundance_against_random
        ),
    }
    means = {
        row: {label: [of(run).mean().item() for run in group] for label, group in trained.items()}
        for row, of in rows.items()
    }
    return pd.DataFrame.from_dict({row: _row(pair) for row, pair in means.items()}, orient="index")


def weighted(trained: Mapping[str, Sequence[Record]]) -> go.Figure:
    """IA against random, all rows alike (solid) and by frequency (dotted), fields by number of
    features; means and ranges over seeds."""
    figure = go.Figure()
    for label, group in trained.items():
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
    figure.add_hline(
        y=1,
        line={"color": plots.COLOURS["random"], "dash": "dash"},
        annotation={"text": "random table", "xanchor": "right"},
    )
    figure.update_xaxes(plots.BY_FEATURES)
    figure.update_yaxes(title="IA / IA of a random table", rangemode="tozero")
    return figure.update_layout(legend=plots.BELOW, hovermode="closest")


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
