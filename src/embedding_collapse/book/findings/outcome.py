"""What the runs of one comparison say: base, SE and ME at one scale.

A verdict is computed, never written: a difference counts as one when its 95% confidence interval
leaves out zero.
"""

from collections.abc import Sequence

import numpy as np

from embedding_collapse.lab.groups import IN_WORDS, auc_change, by_label
from embedding_collapse.lab.metrics import Difference, welch
from embedding_collapse.lab.records import Record


def collapse_verdicts(records: Sequence[Record]) -> list[str]:
    """Does collapse grow with size, and is ME's smaller? In words, without the numbers."""
    groups = by_label(records)
    base, *scaled = groups
    return [
        f"Mean IA/K over fields, {label} against {base}: "
        f"{welch(_abundance(groups[label]), _abundance(groups[base])).verdict}."
        for label in scaled
    ]


def in_short(records: Sequence[Record]) -> str:
    """The same as `outcome` in one sentence, without the numbers."""
    (base, bases), (se, ses), (me, mes) = by_label(records).items()
    if min(len(bases), len(ses), len(mes)) < 2:
        return (
            "**In these runs** of one seed the noise is not known, and nothing can be told apart."
        )
    parts = []
    for label, group in ((se, ses), (f"{me}, set by set,", mes)):
        collapse = welch(_abundance(group), _abundance(bases)).verdict
        words = {"lower": "more collapsed", "higher": "less collapsed"}
        parts.append(
            f"{label} is {words.get(collapse, 'as collapsed, within the noise')}, its test AUC "
            f"{IN_WORDS[auc_change(group, bases).verdict]}"
        )
    return (
        f"**In these runs**, against {base}: {'; '.join(parts)}. {me} against {se}: test AUC "
        f"{IN_WORDS[auc_change(mes, ses).verdict]}."
    )


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
                  welch(new_values, old_values), lower="more collapsed", higher="less collapsed")
        for new, new_values, old, old_values in (
            (se, _abundance(ses), base, _abundance(bases)),
            (me, _abundance(mes), base, _abundance(bases)),
            (f"{me}, sets joined", joined, se, _abundance(ses)),
        )
    ]  # fmt: skip
    lines += [
        _sentence(f"Test AUC, {new}", "test AUC", old, _auc(olds), _auc(news),
                  auc_change(news, olds), lower="worse", higher="better")
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
    title: str, measure: str, old: str, before: list[float], after: list[float],
    change: Difference, **words: str,
) -> str:  # fmt: skip
    """One comparison in words: means, difference, interval and verdict."""
    seeds = min(len(before), len(after))
    if seeds < 2:
        verdict = "one seed, so the noise is not known"
    else:
        verdict = (
            f"{(IN_WORDS | words)[change.verdict]} (difference {change.mean:+.4f}, 95% interval "
            f"{change.low:+.4f} to {change.high:+.4f} over {seeds} seeds)"
        )
    return (
        f"**{title} against {old}.** The {measure} is {np.mean(after):.4f}, "
        f"{np.mean(before):.4f} in {old}: {verdict}."
    )
