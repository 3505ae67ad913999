"""The paper's claims, each answered from records alone.

A verdict is computed, never written: a difference counts as one when the 95% confidence interval
of Welch's t-test over seeds leaves out zero.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ttest_ind

from .records import Record, by_label


class Difference(NamedTuple):
    """Mean of `new` minus mean of `old` over seeds, with its 95% confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """ "higher", "lower", or "not told apart" where the interval holds zero."""
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "not told apart"


def difference(new: Sequence[float], old: Sequence[float]) -> Difference:
    """Compare two groups of runs; with a single run in either, nothing can be told apart."""
    mean = float(np.mean(new) - np.mean(old))
    if min(len(new), len(old)) < 2:
        return Difference(mean, -np.inf, np.inf)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        # SciPy warns of a group of equal values; it adds no noise, and the interval is right.
        interval = ttest_ind(new, old, equal_var=False).confidence_interval(0.95)
    return Difference(mean, float(interval.low), float(interval.high))


def collapse_verdicts(records: Sequence[Record]) -> list[str]:
    """Does collapse grow with size, and is ME's smaller? In words, without the numbers."""
    groups = by_label(records)
    base, *scaled = groups
    return [
        f"Mean IA/K over fields, {label} against {base}: "
        f"{abundance_difference(groups[label], groups[base]).verdict}."
        for label in scaled
    ]


def abundance_difference(new: Sequence[Record], old: Sequence[Record]) -> Difference:
    """Of the mean IA / K over fields."""
    return difference(*([r.relative_abundance.mean().item() for r in g] for g in (new, old)))


def outcome(records: Sequence[Record]) -> str:
    """What the runs say of base, SE and ME at one scale, in Markdown sentences with numbers.

    Raises:
        ValueError: records of other than three labels.
    """
    groups = by_label(records)
    if len(groups) != 3:
        raise ValueError(f"records of {', '.join(groups)}; base, SE and ME at one scale are needed")
    (base, bases), *scaled = groups.items()
    (se, ses), (me, mes) = scaled
    seeds = min(len(group) for group in groups.values())
    lines = []
    for label, group in scaled:
        change = abundance_difference(group, bases)
        before, after = (
            np.mean([r.relative_abundance.mean().item() for r in g]) for g in (bases, group)
        )
        lines.append(
            f"**Collapse, {label}.** The mean IA/K over fields goes from {before:.3f} ({base}) to "
            f"{after:.3f}: {_in_words(change, seeds, 'more collapsed', 'less collapsed')}."
        )
    for new, news, old, olds in (
        (se, ses, base, bases),
        (me, mes, base, bases),
        (me, mes, se, ses),
    ):
        change = difference(*([r.test["auc"] for r in g] for g in (news, olds)))
        lines.append(
            f"**Test AUC, {new} against {old}.** {change.mean:+.4f}: "
            f"{_in_words(change, seeds, f'{new} is worse', f'{new} is better')}."
        )
    return "\n".join(f"- {line}" for line in lines)


def _in_words(change: Difference, seeds: int, lower: str, higher: str) -> str:
    if seeds < 2:
        return "one seed, so the noise is not known"
    interval = f"95% interval {change.low:+.4f} to {change.high:+.4f} over {seeds} seeds"
    verdict = {"higher": higher, "lower": lower, "not told apart": "inside the noise"}
    return f"{verdict[change.verdict]} ({interval})"
