"""The ledger as a table of the page, and its numbers."""

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from embedding_collapse.book.analysis.claims import CONTROL, READERS, Entry
from embedding_collapse.book.analysis.ledger import Finding
from embedding_collapse.book.analysis.settings import Setting

SIGNS = {"holds": "✓", "fails": "✗", "undecided": "○", "not run": "–"}


def ledger_page(settings: Sequence[Setting]) -> str:
    """The ledger in HTML, a line per claim: what is expected, and of each data set verdict, effect
    and 95% interval."""
    heads = "".join(f"<th scope='col'>{escape(one.name)}</th>" for one in settings)
    lines = [
        f"<tr><th scope='row'>{number}. {first.claim.text} {_expected(first.claim)}</th>"
        + "".join(
            f'<td data-of="{escape(one.name)}">{_answer(finding)}</td>'
            for one, finding in zip(settings, findings, strict=True)
        )
        + "</tr>"
        for number, findings in enumerate(zip(*(one.findings for one in settings), strict=True), 1)
        for first in findings[:1]
    ]
    return (
        '<table class="dataframe ec-ledger"><thead><tr><th scope="col">Claim</th>'
        f"{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _expected(claim: Entry) -> str:
    """What is measured and which way it should go; then whose claim it is, if not the paper's."""
    whose = f" · {claim.where}" if claim.where in (READERS, CONTROL) else ""
    return f'<span class="ec-expected">{claim.measure.name}, {claim.expected}{whose}</span>'


def _answer(finding: Finding) -> str:
    verdict, effect = finding.verdict, finding.effect
    sign = SIGNS[verdict]
    said = f'<span class="ec-said" data-said="{sign}">{sign} {verdict}</span>'
    if effect is None:
        return said
    told = [f"{effect.value:+z.4f}"]
    if np.isfinite(effect.low):
        told.append(f"[{effect.low:+z.4f},\u00a0{effect.high:+z.4f}]")
        if finding.missing:
            made = len(finding.parts)
            told.append(f"{made} of {made + len(finding.missing)} comparisons")
        if opposed(finding):
            told.append("opposite signs")
    return " ".join([said, *(f"<span class='ec-effect'>{part}</span>" for part in told)])


def opposed(finding: Finding) -> bool:
    """Whether of the comparisons that an effect is the mean of one lies above zero beyond chance,
    and another below it."""
    effects = [effect for _, effect in finding.parts]
    return any(effect.low > 0 for effect in effects) and any(effect.high < 0 for effect in effects)


def ledger_numbers(settings: Sequence[Setting]) -> pd.DataFrame:
    """Every claim that was run, with what is compared, effect, interval, smallest effect that could
    have been seen, comparisons made and missing, corrected p, and verdict: a row per claim and data
    set; of one run a cell there is no interval."""
    made = [
        (number, one.name, finding, effect)
        for one in settings
        for number, finding in enumerate(one.findings, 1)
        if (effect := finding.effect)
    ]
    index = pd.MultiIndex.from_tuples([of[:2] for of in made], names=["claim", "data"])
    return pd.DataFrame(
        [
            {
                "measure": finding.claim.measure.name,
                "expected": finding.claim.expected,
                "effect": effect.value,
                "low": effect.low,
                "high": effect.high,
                "smallest to be seen, uncorrected": effect.smallest,
                "comparisons": len(finding.parts),
                "missing": len(finding.missing),
                "p, corrected": finding.p,
                "verdict": finding.verdict,
            }
            for *_, finding, effect in made
        ],
        index,
    ).replace([np.inf, -np.inf], np.nan)
