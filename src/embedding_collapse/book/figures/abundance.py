"""What measures of collapse reward, how they fare across widths, and what they say of tables."""

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from embedding_collapse.book.findings.frequency import Weighting
from embedding_collapse.book.findings.language import Spectrum
from embedding_collapse.book.findings.yardsticks import MEASURES
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import random_spectrum

from .spectra import abundance_by_field
from .style import AMBER, COLOURS, DASHES, NEUTRAL, PINK, SKY, colour, with_menu

INKS = {"stable rank": SKY, "information abundance": PINK, "effective rank": AMBER}
BARS = {"stable<br>rank": SKY, "IA": PINK, "effective<br>rank": AMBER, "rank": COLOURS["random"]}
STEPS = 10  # of the slider that bends a spectrum
FIRST = 3  # where it stands at first
DRAWS = 50  # of random tables, for smooth lines
FIELD_INK, LANGUAGE_INK = COLOURS["SE"], PINK


# --- bending a spectrum ---------------------------------------------------------------------------


def _power_law(width: int, bend: float) -> tuple[str, np.ndarray]:
    return f"σ<sub>k</sub> = k<sup>−{3 * bend:.2f}</sup>", np.arange(1, width + 1) ** (-3 * bend)


def _fewer(width: int, bend: float) -> tuple[str, np.ndarray]:
    count = width - round((width - 1) * bend)
    return f"{count} equal, the rest 0", (np.arange(width) < count).astype(float)


def _one_strong(width: int, bend: float) -> tuple[str, np.ndarray]:
    rest = 10 ** (-1.3 * bend)
    return f"σ<sub>1</sub> = 1, the rest {rest:.2f}", np.array([1.0] + [rest] * (width - 1))


FAMILIES: dict[str, Callable[[int, float], tuple[str, np.ndarray]]] = {
    "a power law": _power_law,
    "fewer and fewer equal directions": _fewer,
    "one strong direction": _one_strong,
}


def _measures(spectrum: np.ndarray) -> list[float]:
    """Stable rank, IA, effective rank and rank, as in `BARS`, from small to large."""
    values = torch.from_numpy(spectrum)
    return [*(MEASURES[name](values).item() for name in INKS), float((values > 0).sum())]


def bend(width: int = 10) -> go.Figure:
    """A spectrum that a slider bends, and what rank and its three relatives say of it.

    Args:
        width: K.
    """
    figure = make_subplots(1, 2, subplot_titles=["the spectrum", "what the measures say"])
    bent = {
        family: [make(width, step / (STEPS - 1)) for step in range(STEPS)]
        for family, make in FAMILIES.items()
    }
    owner = []
    for family, steps in bent.items():
        name, spectrum = steps[FIRST]
        shown = family == next(iter(bent))
        figure.add_bar(
            x=np.arange(1, width + 1), y=spectrum.round(4), name=name, visible=shown,
            marker={"color": NEUTRAL}, row=1, col=1,
            hovertemplate="σ<sub>%{x}</sub> / σ<sub>1</sub> = %{y:.3f}<extra></extra>",
        )  # fmt: skip
        values = _measures(spectrum)
        figure.add_bar(
            x=list(BARS), y=np.round(values, 3), text=[f"{value:.1f}" for value in values],
            textposition="outside", cliponaxis=False, name="measures", visible=shown,
            marker={"color": list(BARS.values())}, showlegend=False, row=1, col=2,
            hovertemplate="%{x}: %{y:.2f}<extra></extra>",
        )  # fmt: skip
        owner += [family, family]
    figure = with_menu(figure, owner, "Family")
    slider = {"name": "Bend", "active": FIRST, "steps": [_step(bent, i) for i in range(STEPS)]}
    figure.update_xaxes(title="direction k", row=1, col=1, dtick=1)
    figure.update_yaxes(title="σ<sub>k</sub> / σ<sub>1</sub>", range=[0, 1.05], row=1, col=1)
    figure.update_yaxes(title="directions", range=[0, 1.1 * width], row=1, col=2)
    return figure.update_layout(sliders=[slider], showlegend=True)


def _step(bent: dict[str, list[tuple[str, np.ndarray]]], index: int) -> dict:
    """What the slider does at one place: every family is bent, seen or not."""
    heights, names, texts = [], [], []
    for steps in bent.values():
        name, spectrum = steps[index]
        values = _measures(spectrum)
        heights += [spectrum.round(4).tolist(), np.round(values, 3).tolist()]
        names += [name, "measures"]
        texts += [[""] * len(spectrum), [f"{value:.1f}" for value in values]]
    return {
        "label": f"{index} of {STEPS - 1}",
        "method": "restyle",
        "args": [{"y": heights, "name": names, "text": texts}],
    }


# --- the same table at other widths ---------------------------------------------------------------


def across_widths(rows: Sequence[int] = (1000, 100), directions: int = 5) -> go.Figure:
    """Every measure against K, of tables about which the truth is known.

    Left over K, of random tables with that many rows. Right as it is, of tables with a number of
    strong directions that stays the same, and a tenth of that in all others.
    """
    widths = np.unique(np.geomspace(5, 100, 14).round().astype(int))
    titles = ["no collapse: measure / K", f"{directions} strong directions: measure"]
    figure = make_subplots(1, 2, subplot_titles=titles)
    for count, dash in zip(rows, DASHES, strict=False):
        spectra = [random_spectrum(count, int(k), DRAWS) for k in widths]
        for name, measure in MEASURES.items():
            values = [measure(each).item() / len(each) for each in spectra]
            figure.add_scatter(
                x=widths, y=np.round(values, 4), mode="lines", row=1, col=1,
                name=f"{name}, D = {count:,}", line={"color": INKS[name], "dash": dash},
                hovertemplate=f"D = {count:,}, K = %{{x}}: %{{y:.2f}}",
            )  # fmt: skip
    for name, measure in MEASURES.items():
        values = [measure(_strong(directions, int(k))).item() for k in widths]
        figure.add_scatter(
            x=widths, y=np.round(values, 4), mode="lines", name=name, showlegend=False,
            line={"color": INKS[name]}, row=1, col=2, hovertemplate="K = %{x}: %{y:.2f}",
        )  # fmt: skip
    figure.update_xaxes(title="dimensions K", type="log", tickvals=[5, 10, 20, 50, 100])
    figure.update_yaxes(title="share of K", range=[0, 1.02], row=1, col=1)
    figure.update_yaxes(title="directions", rangemode="tozero", row=1, col=2)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})


def _strong(directions: int, width: int) -> Tensor:
    values = torch.full((width,), 0.1, dtype=torch.float64)
    values[:directions] = 1
    return values


# --- trained tables -------------------------------------------------------------------------------


def collapse(records: Sequence[Record], first: str) -> go.Figure:
    """IA / K of every field against random tables, fields by cardinality, a menu of datasets.

    Args:
        records: of one model; every dataset's runs are a figure of `abundance_by_field`.
        first: the dataset that is shown at first.
    """
    groups = by_cell(records)
    figure = go.Figure()
    owner = []
    for dataset in sorted({cell.dataset for cell in groups}, key=lambda name: name != first):
        of_it = [r for cell, group in groups.items() if cell.dataset == dataset for r in group]
        drawn = abundance_by_field(of_it)
        figure.update_layout(xaxis=drawn.layout.xaxis, yaxis=drawn.layout.yaxis)
        for trace in drawn.data:
            trace.update(visible=not owner, y=np.round(trace.y, 4))
            if trace.error_y.array is not None:
                below, above = np.round([trace.error_y.arrayminus, trace.error_y.array], 4)
                trace.error_y.update(array=above, arrayminus=below)
        figure.add_traces(drawn.data)
        owner += [dataset] * len(drawn.data)
    return with_menu(figure, owner, "Dataset")


def weighted(groups: dict[str, Sequence[Weighting]]) -> go.Figure:
    """IA against random, all rows alike (solid) and by frequency (dotted), fields by cardinality.

    Args:
        groups: from `frequency.recorded`; means and ranges are over seeds.
    """
    figure = go.Figure()
    for label, group in groups.items():
        frames = [run.frame for run in group]
        for column, words, dash in (
            ("alike / random", "rows alike", "solid"),
            ("weighted / random", "rows by frequency", "dot"),
        ):
            values = np.array([frame[column] for frame in frames])
            mean = values.mean(0)
            figure.add_scatter(
                x=frames[0].index, y=mean.round(4), name=f"{label}, {words}",
                mode="lines+markers", line={"color": colour(label), "dash": dash},
                error_y={"array": (values.max(0) - mean).round(4),
                         "arrayminus": (mean - values.min(0)).round(4)},
                customdata=frames[0]["features"],
                hovertemplate="%{x}, %{customdata:,} features: %{y:.3f}",
            )  # fmt: skip
    figure.add_hline(y=1, line={"color": COLOURS["random"], "dash": "dash"})
    figure.update_xaxes(title="field, from few features to many", tickangle=-60)
    figure.update_yaxes(title="IA / IA of a random table", rangemode="tozero")
    return figure.update_layout(legend={"orientation": "h", "y": -0.25}, hovermode="closest")


def beside_language(spectra: Sequence[Spectrum], count: int) -> go.Figure:
    """Normalised spectra of fields and of language models: full, of the leading singular values,
    and of the leading columns.

    Args:
        spectra: what to draw.
        count: how many values or columns lead.
    """
    figure = go.Figure()
    owner = []
    views: dict[str, Callable[[Spectrum], Tensor | None]] = {
        "full": lambda each: each.full,
        f"first {count} singular values": lambda each: each.leading(count),
        f"first {count} columns": lambda each: each.columns,
    }
    for view, of in views.items():
        seen = {"field": 0, "language model": 0}
        for each in spectra:
            values = of(each)
            if values is None:
                continue
            dash = DASHES[seen[each.of] % len(DASHES)]
            seen[each.of] += 1
            width = len(values)
            figure.add_scatter(
                x=(np.arange(1, width + 1) / width).round(4),
                y=(values / values.max()).numpy().round(4),
                name=each.name, mode="lines", visible=view == "full",
                line={"color": FIELD_INK if each.of == "field" else LANGUAGE_INK, "dash": dash},
                hovertemplate=f"%{{fullData.name}}, {width} values<br>%{{y:.3f}}<extra></extra>",
            )  # fmt: skip
            owner.append(view)
    figure.update_xaxes(title="direction k, as a share", range=[0, 1.02])
    figure.update_yaxes(title="σ<sub>k</sub> / σ<sub>1</sub>", range=[0, 1.02])
    return with_menu(figure, owner, "Show")
