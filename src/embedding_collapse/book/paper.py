"""The paper's own numbers beside ours, and what became of its claims, in tables and words."""

from collections.abc import Iterable, Sequence
from importlib.resources import files

import numpy as np
import pandas as pd

from embedding_collapse.book.analysis import measures
from embedding_collapse.lab.groups import auc_change, by_cell, difference_parts, summary, table
from embedding_collapse.lab.metrics import Difference, welch_of_moments
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.records import Record, design_label

from .findings.claims import CLAIMS, READERS, VERDICTS, Finding, ledger
from .findings.comparisons import OUTCOMES, Cells, Comparison

__all__ = [
    "CLAIMS",
    "aucs",
    "beside",
    "in_detail",
    "ledger",
    "published",
    "resolution",
    "sizes",
    "tally",
    "tally_told",
    "variants",
    "verdict_table",
]

RUNS = 3  # behind every number of the paper's table


def published() -> pd.DataFrame:
    """The paper's table: dataset, model, design, scale, test_auc and its standard deviation over
    `RUNS` runs (std; NaN where the paper prints none)."""
    text = files(__package__).joinpath("paper_table.csv")
    with text.open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#")


# --- side by side ---------------------------------------------------------------------------------


SPREAD = "± sd"  # in the corner: what stands after a mean, the standard deviation over seeds


def beside(records: Iterable[Record], dataset: str) -> pd.DataFrame:
    """The results on one dataset, the paper's and ours: one row per model and scale.

    For SE and ME the test AUC (mean and standard deviation over seeds) as the paper has it, as we
    have it, and ours minus the paper's; ME minus SE with its 95% interval, and an arrow where that
    is outside the noise (the paper's between seeds, ours also from the choice of test rows).
    Columns of whoever has no numbers are left out.
    """
    theirs = published()
    theirs = theirs[theirs["dataset"] == dataset].set_index(["model", "design", "scale"])
    ours = {cell[1:]: group for cell, group in by_cell(records).items() if cell.dataset == dataset}
    rows = {}
    for model in PAPER:
        scales = {key[2] for key in (*theirs.index, *ours) if key[0] == model}
        for scale in sorted(scales):
            rows[MODELS[model].name, f"{scale}x"] = _row(model, scale, theirs, ours)
    found = pd.DataFrame.from_dict(rows, orient="index").fillna("")
    return found.loc[:, (found != "").any()].rename_axis(columns=SPREAD)


def _row(model: str, scale: int, theirs: pd.DataFrame, ours: Cells) -> dict[str, str]:
    row: dict[str, str] = {}
    se, me = ((model, design, scale) for design in ("se", "me"))
    for name, key in (("SE", se), ("ME", me)):
        auc, known = np.nan, key in theirs.index
        if key in ours:
            aucs = table(ours[key])["test_auc"]
            auc = aucs.mean()
        row[f"{name}, paper"] = _spread(*theirs.loc[key, ["test_auc", "std"]]) if known else ""
        row[f"{name}, ours"] = _spread(auc, aucs.std()) if key in ours else ""
        both = known and key in ours
        row[f"{name}, ours - paper"] = f"{auc - theirs.loc[key, 'test_auc']:+z.5f}" if both else ""
    if se in theirs.index and me in theirs.index:
        aucs, deviations = theirs.loc[[me, se], "test_auc"], theirs.loc[[me, se], "std"]
        change = welch_of_moments(aucs.iloc[0] - aucs.iloc[1], tuple(deviations), (RUNS, RUNS))
        row["ME - SE, paper"], row["95% interval, paper"] = _marked(change)
    if se in ours and me in ours:
        change = auc_change(ours[me], ours[se])
        row["ME - SE, ours"], row["95% interval, ours"] = _marked(change)
    return row


def _spread(mean: float, deviation: float) -> str:
    return f"{mean:.5f}" + ("" if np.isnan(deviation) else f" ± {deviation:.5f}")


def _marked(change: Difference) -> tuple[str, str]:
    """A difference, with an arrow where it is outside the noise, and its 95% interval."""
    mean, interval, verdict = difference_parts(change)
    return mean + {"higher": "↑", "lower": "↓"}.get(verdict, ""), interval or f"({verdict})"


def aucs(records: Iterable[Record], model: str) -> pd.DataFrame:
    """Test AUC of one model, means over seeds: a row per design and scale, a column per data set,
    the paper's and then ours; NaN where there is none."""
    columns: dict[str, dict[tuple[int, str], float]] = {}
    for row in published().query("model == @model").itertuples():
        column = columns.setdefault(f"{row.dataset.capitalize()}, the paper", {})
        column[row.scale, row.design if row.scale > 1 else "se"] = row.test_auc
    for cell, group in by_cell(records).items():
        if cell.model == model:
            column = columns.setdefault(f"{group[0].dataset['name']}, here", {})
            column[cell.scale, cell.design] = measures.AUC.mean(group)
    order = sorted({size for of in columns.values() for size in of},
                   key=lambda size: (size[0], size[1] == "me"))  # fmt: skip
    rows = [[of.get(size, np.nan) for of in columns.values()] for size in order]
    labels = [design_label(design, scale) for scale, design in order]
    return pd.DataFrame(rows, index=labels, columns=list(columns))


def sizes(records: Iterable[Record], dataset: str) -> pd.DataFrame:
    """What the paper's models cost in our runs on one dataset, beside `beside`: parameters, and
    seconds of training (medians)."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell, group in by_cell(records).items():
        if cell.dataset == dataset and cell.model in PAPER:
            runs, design = table(group), cell.design.upper()
            rows.setdefault((MODELS[cell.model].name, f"{cell.scale}x"), {}).update({
                f"parameters, {design}": f"{runs['parameters'].iloc[0]:,}",
                f"seconds, {design}": f"{runs['seconds'].median():.0f}",
            })  # fmt: skip
    found = pd.DataFrame.from_dict(rows, orient="index").fillna("")
    return found[sorted(found, key=lambda name: (name.split(",")[0], name[-2:] == "ME"))]


def variants(records: Iterable[Record], names: Sequence[str], of: str = "dcnv2") -> pd.DataFrame:
    """One row per scaled-up cell of the named models, beside the model that they vary: test AUC,
    IA/K, parameters, and AUC minus that model's in the same cell."""
    cells = by_cell(records)
    kept = {cell: group for cell, group in cells.items() if cell.model in names and cell.scale > 1}
    if not kept:
        return pd.DataFrame(index=["no runs"])
    found = summary(record for group in kept.values() for record in group)
    found = found[["test AUC", "mean IA/K", "parameters"]]
    found = found.rename(index={name: MODELS[name].name for name in names})
    others = [cells.get(cell._replace(model=of)) for cell in kept]
    found[f"AUC - {MODELS[of].name}"] = [
        " ".join(_marked(auc_change(group, other))) if other else ""
        for group, other in zip(kept.values(), others, strict=True)
    ]
    return found.rename_axis(columns=SPREAD)


# --- in words -------------------------------------------------------------------------------------


SIGNS = {
    "reproduced": "✓", "partly": "◐", "undecided": "○", "not reproduced": "✗", "not run": "–",
    "as claimed": "✓", "inside the noise": "○", "against the claim": "✗",
}  # fmt: skip


def tally(findings: Sequence[Finding]) -> pd.DataFrame:
    """How many of the paper's claims came out how: a row per verdict, a column per dataset."""
    ours = [finding for finding in findings if finding.claim.where != READERS]
    counts = pd.crosstab([f.verdict for f in ours], [f.dataset for f in ours])
    counts = counts.reindex([v for v in VERDICTS if v != "not run" or v in counts.index])
    counts = (
        counts.fillna(0).astype(int).rename(index=lambda verdict: f"{SIGNS[verdict]} {verdict}")
    )
    claims = {finding.claim.number for finding in ours}
    return counts.rename_axis(index=None, columns=f"of the paper's {len(claims)} claims, on")


def tally_told(findings: Sequence[Finding]) -> str:
    """The same in a sentence of Markdown, with what the runs cannot tell."""
    counts = tally(findings)
    parts = [
        f"on {name}: "
        + ", ".join(f"{count} {verdict[2:]}" for verdict, count in of[of > 0].items())
        for name, of in counts.items()
    ]
    text = f"{counts.columns.name.removesuffix(', on').capitalize()}, {'; '.join(parts)}."
    asked = {finding.claim.number for finding in findings if finding.claim.where == READERS}
    return text + (
        f" The ledger has {len(asked)} further rows, of readers' questions." if asked else ""
    )


def verdict_table(findings: Sequence[Finding], linked: bool = False) -> pd.DataFrame:
    """One row per claim, one column per dataset: the verdict, and how the comparisons came out.

    Args:
        findings: from `ledger`.
        linked: whether cells are HTML, with a link to what `in_detail` says on the page.
    """
    rows: dict[str, dict[str, str]] = {}
    for finding in findings:
        number, said = finding.claim.number, finding.verdict
        counts = [(finding.count(outcome), outcome) for outcome in OUTCOMES]
        told = [f"{count} {outcome}" for count, outcome in counts if count]
        told += [finding.beyond_chance] if finding.beyond_chance else []
        after = "" if said == "not run" else f": {', '.join(told)}"
        name = f'<a href="#claim-{number}">{number}</a>' if linked else str(number)
        verdict = _badge(said) if linked else f"{SIGNS[said]} {said}"
        rows.setdefault(f"{name}. {finding.claim.text}", {})[finding.dataset] = verdict + after
    return pd.DataFrame.from_dict(rows, orient="index")


def _badge(said: str) -> str:
    """A verdict or an outcome with its sign, in the colour that the book gives it."""
    return f'<span class="ec-said" data-said="{SIGNS[said]}">{SIGNS[said]} {said}</span>'


def resolution(records: Sequence[Record]) -> str:
    """How small a difference in AUC our runs can see, and how large the paper's are, in Markdown.

    Medians over models and scales: of how far the 95% interval of ME minus SE reaches, in our runs
    on each dataset; and of that difference itself, in the paper's table.
    """
    cells = by_cell(records)
    reaches: dict[str, list[float]] = {}
    for cell, group in cells.items():
        se = cells.get(cell._replace(design="se"), [])
        if cell.model in PAPER and cell.design == "me" and min(len(group), len(se)) > 1:
            change = auc_change(group, se)
            reaches.setdefault(cell.dataset, []).append((change.high - change.low) / 2)
    ours = " and ".join(f"±{np.median(r):.4f} on {name}" for name, r in reaches.items())
    theirs = published().pivot(index=["dataset", "model", "scale"], columns="design")["test_auc"]
    gains = (theirs["me"] - theirs["se"]).dropna().groupby("dataset").median()
    paper = " and ".join(f"{gain:+.4f} on {name}" for name, gain in gains.items())
    return (
        f"Our 95% intervals of ME minus SE reach {ours or 'no end: there are no runs to compare'}; "
        f"in the paper that difference is {paper} (medians over models and scales)."
    )


def in_detail(findings: Sequence[Finding], page: str = "", folded: bool = False) -> str:
    """Every claim in HTML within Markdown: where it stands, the criterion, and each comparison's
    numbers, a column per dataset.

    Args:
        findings: from `ledger`.
        page: that holds the figures, for the links to them; "" is the page itself.
        folded: whether a claim shows its numbers only when it is opened.
    """
    claims: dict[int, list[Finding]] = {}
    for finding in findings:
        claims.setdefault(finding.claim.number, []).append(finding)
    return "\n\n".join(_detail(of, page, folded) for of in claims.values())


def _detail(findings: Sequence[Finding], page: str, folded: bool) -> str:
    claim = findings[0].claim
    verdicts = ", ".join(f"{_badge(f.verdict)} on {f.dataset}" for f in findings)
    rows = zip(*(f.comparisons for f in findings), strict=True)
    heads = "".join(f"<th>{f.dataset}</th>" for f in findings)
    body = "".join(
        f"<tr><th>{row[0].what}</th>" + "".join(f"<td>{_cell(c)}</td>" for c in row) + "</tr>"
        for row in rows
        if any(c.change for c in row)
    )
    beyond = "".join(f" On {f.dataset}, {f.beyond_chance}." for f in findings if f.beyond_chance)
    return (
        f'<details class="ec-claim"{"" if folded else " open"}>'
        f"<summary>{claim.number}. {claim.text} {verdicts}</summary>"
        f'<p id="claim-{claim.number}">{claim.where.capitalize()}. Compared: {claim.criterion}. '
        f'<a href="{page}#{claim.figure}">Figure</a>.{beyond}</p>'
        f'<div class="ec-scroll"><table class="dataframe"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></details>"
    )


def _cell(comparison: Comparison) -> str:
    """How a comparison came out, by its sign, and the number with its 95% interval."""
    if not comparison.change:
        return SIGNS["not run"]
    sign = "+" if comparison.level == 0 else ""
    mean, low, high = (
        f"{value + comparison.level:{sign}z.4f}".replace("-", "−") for value in comparison.change
    )
    outcome = comparison.outcome
    return (
        f'<span class="ec-said" data-said="{SIGNS[outcome]}" title="{outcome}">{SIGNS[outcome]}'
        f"</span> {mean} [{low},\u00a0{high}]"
    )
