"""What a sub-embedding owes to its own field and to its partner, and what the toy experiment says.

A verdict is computed, never written: a correlation counts where its 95% interval over seeds leaves
out zero, and as learned where it leaves out what random projections give as well.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.torch import load_file
from scipy.stats import spearmanr

from embedding_collapse.book.analysis.measures import with_own_field, with_partner
from embedding_collapse.lab.data import Dataset
from embedding_collapse.lab.experiment import Spec, build_model, run
from embedding_collapse.lab.groups import IN_WORDS, Cell, by_cell
from embedding_collapse.lab.metrics import Difference, welch
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.toy import Curves
from embedding_collapse.spectrum import projected_abundance

NOISE = IN_WORDS["not told apart"]


class Influence(NamedTuple):
    """The rank correlations of one cell's sub-embeddings, a number per seed.

    Attributes:
        cell: the runs.
        own: of IA(E_i^{->j}) with IA(E_i), see `measures.with_own_field`.
        partner: of IA(E_i^{->j}) with IA(E_j), see `measures.with_partner`.
        own_by_chance, partner_by_chance: the same had nothing been learned, see
            `at_random`; empty for a model that projects nothing.
    """

    cell: Cell
    own: list[float]
    partner: list[float]
    own_by_chance: list[float]
    partner_by_chance: list[float]

    @property
    def name(self) -> str:
        """Model and size: "DCNv2 SE 4x"."""
        return f"{MODELS[self.cell.model].name} {self.cell.label}"


def influences(records: Iterable[Record]) -> list[Influence]:
    """Of all runs that have sub-embeddings, cell by cell."""
    held = [record for record in records if record.projected_abundance is not None]
    found = []
    for cell, group in by_cell(held).items():
        random = [at_random(record) for record in group if record.projection_norms is not None]
        found.append(
            Influence(
                cell,
                *(
                    [correlation(record) for record in of]
                    for of in (group, random)
                    for correlation in (with_own_field, with_partner)
                ),
            )
        )
    return found


def at_random(record: Record) -> Record:
    """The record as if its tables were projected by independent normal matrices.

    A projection passes much of a table's spectrum on whatever it is, so that some correlation with
    the own field is there before anything is learned. Only the spectra matter here, since a normal
    matrix has no preferred directions.
    """
    spectra = np.array(record.spectra).swapaxes(0, 1)  # [M, N, K]
    sets, fields, width = spectra.shape
    generator = np.random.default_rng(record.spec["seed"])
    projections = generator.standard_normal((sets, fields, fields, width, width))
    projected = spectra[:, :, None, :, None] * projections  # [M, i, j, K, K]
    values = np.linalg.svd(projected, compute_uv=False)
    return replace(record, projected_abundance=(values.sum(-1) / values.max(-1)).tolist())


class Learned(NamedTuple):
    """What training changed of a first cross layer's projections.

    Attributes:
        record: of the run, its sub-embeddings made by the change, `E_i (W - W_0)_{i->j}^T`.
        moved: `||W - W_0||_F / ||W_0||_F`, W_0 being what training began with.
    """

    record: Record
    moved: float


def learned(
    spec: Spec, dataset: Dataset, *, device: str = "auto", progress: bool = True
) -> Learned:
    """Train a model that projects its fields, and look at what training added to where it began."""
    with tempfile.TemporaryDirectory() as folder:
        record = run(spec, dataset, output=Path(folder), device=device, progress=progress)
        state = load_file(Path(folder) / f"{spec.key}.safetensors")
    model = build_model(spec, dataset.cardinalities).requires_grad_(False)  # the seed's W_0
    start = model.interaction.projections.clone()
    model.load_state_dict(state)
    change = model.interaction.projections - start
    abundance = projected_abundance(model.table, dataset.cardinalities, change)
    return Learned(
        replace(record, projected_abundance=abundance.tolist()),
        (change.norm() / start.norm()).item(),
    )


# --- in words -------------------------------------------------------------------------------------


def told(found: Sequence[Influence]) -> str:
    """What the correlations say, model by model, in Markdown."""
    lines = []
    for model, of in _by_model(found).items():
        own, partner = [each.own for each in of], [each.partner for each in of]
        lines += [_counted(f"{model}, own field", "IA(Eᵢ)", own)]
        if all(each.own_by_chance for each in of):
            lines[-1] += (
                f" Random projections of the same tables give "
                f"{_range([each.own_by_chance for each in of])}; the trained ones are above them "
                f"in {sum(map(_above_chance, of))} of {len(of)}."
            )
        lines += [_counted(f"{model}, partner", "IA(Eⱼ)", partner)]
    return "\n".join(f"- {line}" for line in lines)


def learned_told(changes: Sequence[Learned]) -> str:
    """What the trained change of the projections says, in Markdown."""
    moved = np.mean([each.moved for each in changes])
    (of,) = influences(each.record for each in changes)
    return (
        f"Over {len(changes)} seeds of {of.name} on {of.cell.dataset}, training moves the "
        f"projections by {moved:.0%} of their initial norm. Of the sub-embeddings that this change "
        f"alone would make, the rank correlation with IA(Eᵢ) is {_interval(of.own, 3)}, and with "
        f"IA(Eⱼ) {_interval(of.partner, 3)}. The second, which is the paper's law, "
        f"{_CONSISTENT[_against_zero(of.partner).verdict]}."
    )


def toy_told(curves: Curves, low: int, high: int) -> str:
    """What the toy experiment says of two cardinalities of the third field, in that order."""
    before, after = curves.abundance[..., 0], curves.abundance[..., -1]
    gaps, change = _gaps(curves)
    return (
        f"IA(E₁) starts at {before.mean():.2f} and ends at {after[0].mean():.2f} with "
        f"D₃ = {low}, at {after[1].mean():.2f} with D₃ = {high} (means over {len(gaps)} seeds). "
        f"With D₃ = {low} it falls by {change.mean:.2f} [{change.low:.2f}, {change.high:.2f}] "
        f"more, and more in {sum(gap > 0 for gap in gaps)} of {len(gaps)} seeds: "
        f"**{_AS[change.verdict]}**."
    )


def sweep_told(swept: Mapping[int, Curves], thirds: Sequence[int]) -> str:
    """What the toy experiment says over cardinalities of the third field, for each K."""
    few, many = thirds.index(min(thirds)), thirds.index(max(thirds))
    lines = []
    for width, curves in swept.items():
        kept = curves.abundance[..., -1] / curves.abundance[..., 0]
        orders = [spearmanr(thirds, of_seed).statistic for of_seed in kept.T]
        lines.append(
            f"- K = {width}: E₁ keeps {kept[few].mean():.0%} of its IA with D₃ = {thirds[few]}, "
            f"{kept[many].mean():.0%} with D₃ = {thirds[many]}; rank correlation of D₃ with what "
            f"is kept {_interval(orders)}."
        )
    return "\n".join(lines)


def span_told(name: str, curves: Curves) -> str:
    """Where E₁ lies: the share of it inside the span of E₃'s rows, on the way and at the end."""
    inside, abundance = curves.inside[0].mean(0), curves.abundance[0].mean(0)
    peak = int(inside.argmax())
    return (
        f"- {name}: {inside[0]:.0%} of E₁ lies inside at the start, {inside[-1]:.0%} at the end, "
        f"and most at iteration {curves.steps[peak]}, {inside[peak]:.0%}. Its IA is "
        f"{abundance[0]:.1f} at the start, {abundance[peak]:.1f} there, and {abundance[-1]:.1f} at "
        "the end."
    )


def agreement(curves: Curves, found: Sequence[Influence]) -> str:
    """Which of the paper's findings these data show, in Markdown.

    A setting counts as showing one where its 95% interval lies above zero. Where random projections
    are there to compare with, what is above them in no setting is no more than chance.
    """
    sides: dict[str, list[str]] = {
        side: [] for side in ("Agrees", "Agrees in part", "No more than chance", "Does not show")
    }
    for what, settings, above in _findings(curves, found):
        shown, number = _above_zero(settings), len(settings)
        if above is not None and shown:
            side = _side(above, number, none="No more than chance")
            told = f"above zero in {shown} of {number}, above random projections in {above}"
        else:
            side, told = _side(shown, number, none="Does not show"), f"in {shown} of {number}"
            if above is None and what.endswith("own field"):
                told += ", with no projections to compare with"
        sides[side].append(f"{what} ({told})")
    return "\n".join(f"- **{side}:** {'; '.join(of)}." for side, of in sides.items() if of)


def in_short(found: Sequence[Influence]) -> str:
    """In how many settings sub-embeddings follow their partner, which is the paper's law, model by
    model: a Markdown sentence."""
    counts = [
        f"those of {model} in {_above_zero([each.partner for each in of])} of {len(of)} settings"
        for model, of in _by_model(found).items()
    ]
    return f"**In our runs,** sub-embeddings follow their partner: {', '.join(counts)}."


def _findings(
    curves: Curves, found: Sequence[Influence]
) -> list[tuple[str, list[list[float]], int | None]]:
    """A finding, a number per seed for each of its settings, and in how many of them it is above
    what random projections give; None without these."""
    tried: list[tuple[str, list[list[float]], int | None]] = [
        ("the toy experiment", [_gaps(curves)[0]], None)
    ]
    for model, of in _by_model(found).items():
        chance = all(each.own_by_chance for each in of)
        tried += [
            (
                f"{model}'s sub-embeddings follow their own field",
                [each.own for each in of],
                sum(map(_above_chance, of)) if chance else None,
            ),
            (f"{model}'s sub-embeddings follow their partner", [each.partner for each in of], None),
        ]
    return tried


def _side(shown: int, number: int, none: str) -> str:
    if not shown:
        return none
    return "Agrees" if shown == number else "Agrees in part"


_AS = {"higher": "as the paper finds", "lower": "against the paper", "not told apart": NOISE}
_CONSISTENT = {
    "higher": "is consistent with training doing what the paper says, hidden under the random "
    "start",
    "lower": "speaks against the law in these runs",
    "not told apart": "is not told apart from zero: of it these runs know nothing",
}


def _by_model(found: Sequence[Influence]) -> dict[str, list[Influence]]:
    names = dict.fromkeys(MODELS[each.cell.model].name for each in found)
    return {name: [i for i in found if MODELS[i.cell.model].name == name] for name in names}


def _gaps(curves: Curves) -> tuple[list[float], Difference]:
    """By how much more IA(E₁) falls with the first D₃ than with the second: by seed, and mean."""
    falls = curves.abundance[..., 0] - curves.abundance[..., -1]
    gaps = (falls[0] - falls[1]).tolist()
    return gaps, _against_zero(gaps)


def _counted(title: str, what: str, settings: Sequence[Sequence[float]]) -> str:
    verdicts = [_against_zero(values).verdict for values in settings]
    counts = {words: verdicts.count(verdict) for verdict, words in _BESIDE_ZERO.items()}
    said = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    return (
        f"**{title}.** Rank correlation with {what} in {len(settings)} settings: {said} "
        f"(means {_range(settings)})."
    )


_BESIDE_ZERO = {"higher": "above zero", "not told apart": NOISE, "lower": "below zero"}


def _above_chance(each: Influence) -> bool:
    """Is the correlation with the own field above that of random projections?"""
    return welch(each.own, each.own_by_chance).verdict == "higher"


def _above_zero(settings: Sequence[Sequence[float]]) -> int:
    return sum(_against_zero(values).verdict == "higher" for values in settings)


def _against_zero(values: Sequence[float]) -> Difference:
    """Against a constant, Welch's test is the t-test of one sample."""
    return welch(values, [0.0] * len(values))


def _interval(correlations: Sequence[float], digits: int = 2) -> str:
    """Mean and interval, cut to where a correlation can be, which takes nothing from its coverage.
    (Fisher's z, which stays within by itself, is infinite for a seed whose correlation is 1.)"""
    change = _against_zero(correlations)
    if not np.isfinite(change.high):
        return f"{change.mean:.{digits}f} (one seed)"
    low, high = max(change.low, -1), min(change.high, 1)
    return (
        f"{change.mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}], "
        f"{_BESIDE_ZERO[change.verdict]}"
    )


def _range(settings: Sequence[Sequence[float]]) -> str:
    means = [np.mean(values) for values in settings]
    low, high = f"{min(means):.2f}", f"{max(means):.2f}"
    return low if low == high else f"{low} to {high}"
