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
        f"{difference(_abundance(groups[label]), _abundance(groups[base])).verdict}."
        for label in scaled
    ]


def outcome(records: Sequence[Record]) -> str:
    """What the runs say of base, SE and ME at one scale, in Markdown sentences with numbers.

    ME's collapse is told twice: of its sets, and of a field's sets side by side as one table as
    wide as SE's.

    Raises:
        ValueError: records of other than three labels.
    """
    groups = by_label(records)
    if len(groups) != 3:
        raise ValueError(f"records of {', '.join(groups)}; base, SE and ME at one scale are needed")
    (base, bases), (se, ses), (me, mes) = groups.items()
    joined = [record.joined_abundance.mean().item() for record in mes]
    lines = [
        _sentence(f"Collapse, {new}", "mean IA/K over fields", old, old_values, new_values,
                  lower="more collapsed", higher="less collapsed")
        for new, new_values, old, old_values in (
            (se, _abundance(ses), base, _abundance(bases)),
            (me, _abundance(mes), base, _abundance(bases)),
            (f"{me}, sets joined", joined, se, _abundance(ses)),
        )
    ]  # fmt: skip
    lines += [
        _sentence(f"Test AUC, {new}", "test AUC", old, _auc(olds), _auc(news),
                  lower="worse", higher="better")
        for new, news, old, olds in (
            (se, ses, base, bases),
            (me, mes, base, bases),
            (me, mes, se, ses),
        )
    ]  # fmt: skip
    return "\n".join(f"- {line}" for line in lines)


def _abundance(group: Sequence[Record]) -> list[float]:
    return [record.relative_abundance.mean().item() for record in group]


def _auc(group: Sequence[Record]) -> list[float]:
    return [record.test["auc"] for record in group]


def _sentence(
    title: str, measure: str, old: str, before: list[float], after: list[float], *,
    lower: str, higher: str,
) -> str:  # fmt: skip
    """One comparison in words: means, difference, interval and verdict."""
    seeds, change = min(len(before), len(after)), difference(after, before)
    if seeds < 2:
        verdict = "one seed, so the noise is not known"
    else:
        words = {"higher": higher, "lower": lower, "not told apart": "inside the noise"}
        verdict = (
            f"{words[change.verdict]} (difference {change.mean:+.4f}, 95% interval "
            f"{change.low:+.4f} to {change.high:+.4f} over {seeds} seeds)"
        )
    return (
        f"**{title} against {old}.** The {measure} is {np.mean(after):.4f}, "
        f"{np.mean(before):.4f} in {old}: {verdict}."
    )
