"""What a sub-embedding owes to its own field and its partner, in words; see `analysis.influence`.

A verdict is computed, never written: a correlation counts where its 95% interval over seeds leaves
out zero, and as learned where it leaves out what random projections give as well.
"""

from collections.abc import Sequence

import numpy as np

from embedding_collapse.book.analysis.influence import Influence, influences
from embedding_collapse.lab.groups import IN_WORDS
from embedding_collapse.lab.metrics import welch
from embedding_collapse.lab.models import MODELS

__all__ = ["Influence", "influences", "told"]

NOISE = IN_WORDS["not told apart"]


def told(found: Sequence[Influence]) -> str:
    """What the correlations say, model by model, in Markdown."""
    lines = []
    for model in dict.fromkeys(MODELS[each.cell.model].name for each in found):
        of = [each for each in found if MODELS[each.cell.model].name == model]
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


def _counted(title: str, what: str, settings: Sequence[Sequence[float]]) -> str:
    # against a constant, Welch's test is the t-test of one sample
    verdicts = [welch(values, [0.0] * len(values)).verdict for values in settings]
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


def _range(settings: Sequence[Sequence[float]]) -> str:
    means = [np.mean(values) for values in settings]
    low, high = f"{min(means):.2f}", f"{max(means):.2f}"
    return low if low == high else f"{low} to {high}"
