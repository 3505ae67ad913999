"""The paper's own numbers, and its claims, each answered from records alone.

A verdict is computed, never written: a claim is a list of comparisons, see `comparisons`.
"""

from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd

from .findings.comparisons import (
    NOTABLE,
    OUTCOMES,
    SAME_ORDER,
    Cells,
    Compare,
    Comparison,
    abundance,
    between,
    common_pattern,
    decline,
    diversity,
    fair_abundance,
    joined_abundance,
    me_against_se,
    of_runs,
    projected_abundance,
    scaled,
    with_own_field,
    with_partner,
)
from .metrics import welch_of_moments
from .models import MODELS, PAPER
from .records import Record, auc_change, by_cell, summary, table, told

RUNS = 3  # behind every number of the paper's table


def published() -> pd.DataFrame:
    """The paper's table: dataset, model, design, scale, test_auc and its standard deviation over
    `RUNS` runs (std; NaN where the paper prints none)."""
    text = files(__package__).joinpath("paper_table.csv")
    with text.open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#")


class Claim(NamedTuple):
    """What the paper says, and what to compare.

    Attributes:
        text: the claim in our words.
        where: in the paper.
        criterion: what is compared, in words.
        figure: anchor of the figure that shows it in chapter 7.
        compare: from the records of one dataset to comparisons.
    """

    text: str
    where: str
    criterion: str
    figure: str
    compare: Compare


class Finding(NamedTuple):
    """A claim on one dataset."""

    claim: Claim
    dataset: str
    comparisons: list[Comparison]

    def count(self, outcome: str) -> int:
        """How many comparisons came out so."""
        return sum(comparison.outcome == outcome for comparison in self.comparisons)

    @property
    def verdict(self) -> str:
        """ "reproduced" where every comparison is as claimed, "partly" where some are, "not
        reproduced" where none is, "not run" where there are no runs to compare."""
        claimed, every = self.count("as claimed"), len(self.comparisons)
        if self.count("not run") == every:
            return "not run"
        if claimed == every:
            return "reproduced"
        return "partly" if claimed else "not reproduced"


def ledger(records: Iterable[Record]) -> list[Finding]:
    """Every claim on every dataset that has records, claim by claim."""
    groups = by_cell(records)
    datasets = list(dict.fromkeys(cell.dataset for cell in groups))
    cells = {
        name: {cell[1:]: group for cell, group in groups.items() if cell.dataset == name}
        for name in datasets
    }
    return [
        Finding(claim, name, list(claim.compare(cells[name])))
        for claim in CLAIMS
        for name in datasets
    ]


WIDE = [("dcnv2", "se", scale) for scale in (1, 4, 10)]
SUPPRESSED = ("dcnv2-regularized", "dnn")  # models whose interaction is weaker than DCNv2's

CLAIMS = [
    Claim(
        "Embeddings collapse as they grow: the wider the tables, the smaller the share of "
        "directions that they use.",
        "section 1", "mean IA/K over fields, SE 4x and 10x lower than base, each model",
        "collapse-against-scale", scaled(PAPER, "se", abundance, "lower", (4, 10)),
    ),
    Claim(
        "The same, against random tables of the same shape: they too cannot fill many directions "
        "with few features.",
        "a question of readers", "mean over fields of IA against that of a random table, SE 4x and "
        "10x lower than base, each model; added after the runs", "collapse-against-scale",
        scaled(PAPER, "se", fair_abundance, "lower", (4, 10)),
    ),
    Claim(
        "Making embeddings wider brings no gain.",
        "sections 1 and 5", f"test AUC, SE 10x above base by less than {NOTABLE}, each model",
        "auc-against-scale", scaled(PAPER, "se", auc_change, "no gain"),
    ),
    Claim(
        "DNN, xDeepFM and FinalMLP even lose by it.",
        "table of results", "test AUC, SE 10x lower than base, these three",
        "auc-against-scale", scaled(("dnn", "xdeepfm", "finalmlp"), "se", auc_change, "lower"),
    ),
    Claim(
        "A sub-embedding's information abundance grows with that of the field it comes from.",
        "section 4, finding 1", "rank correlation over i of IA(E_i→j) with IA(E_i), above 0, DCNv2 "
        "at base, SE 4x and 10x", "sub-embeddings", of_runs(with_own_field, 0, "higher", WIDE),
    ),
    Claim(
        "It grows as well with that of the field it is made for: interacting with a collapsed "
        "field lowers information abundance.",
        "section 4, finding 1", "rank correlation over j of IA(E_i→j) with IA(E_j), above 0, DCNv2 "
        "at base, SE 4x and 10x", "sub-embeddings", of_runs(with_partner, 0, "higher", WIDE),
    ),
    Claim(
        "Regularised DCNv2, whose interaction keeps singular values, is less collapsed.",
        "section 4, finding 2", "mean IA/K at SE 10x, higher than DCNv2's",
        "ways-to-suppress-interaction",
        between("dcnv2-regularized", "dcnv2", "se", abundance, "higher"),
    ),
    Claim(
        "DNN, without explicit interaction, is less collapsed.",
        "section 4, finding 2", "mean IA/K at SE 10x, higher than DCNv2's",
        "collapse-against-scale", between("dnn", "dcnv2", "se", abundance, "higher"),
    ),
    Claim(
        "Less collapsed, these two gain nothing from size.",
        "section 4, finding 2", f"test AUC, SE 10x above base by less than {NOTABLE}",
        "ways-to-suppress-interaction", scaled(SUPPRESSED, "se", auc_change, "no gain"),
    ),
    Claim(
        "The reason is overfitting, which grows with size.",
        "section 4, finding 2", "fall of validation AUC from its best epoch to the last, larger at "
        "SE 10x than at base", "overfitting", scaled(SUPPRESSED, "se", decline, "higher"),
    ),
    Claim(
        "Multi-embedding gains from size.",
        "section 5", "test AUC, ME 10x higher than base, each model",
        "auc-against-scale", scaled(PAPER, "me", auc_change, "higher"),
    ),
    Claim(
        "Multi-embedding beats single-embedding of the same size.",
        "section 5", "test AUC at 4x and 10x, ME higher than SE, each model",
        "auc-against-scale", me_against_se(PAPER, auc_change, "higher"),
    ),
    Claim(
        "Multi-embedding is less collapsed, set by set.",
        "section 5", "mean IA/K at 4x and 10x, the mean over ME's sets higher than SE, each model",
        "collapse-against-scale", me_against_se(PAPER, abundance, "higher"),
    ),
    Claim(
        "The same again, against random tables of the same shape.",
        "a question of readers", "mean over fields of IA against that of a random table, at 4x and "
        "10x, the mean over ME's sets higher than SE, each model; added after the runs",
        "collapse-against-scale", me_against_se(PAPER, fair_abundance, "higher"),
    ),
    Claim(
        "Multi-embedding is less collapsed, a field's sets side by side as one table.",
        "section 5", "mean IA/K at 4x and 10x, ME's joined tables higher than SE, each model",
        "collapse-against-scale", me_against_se(PAPER, joined_abundance, "higher"),
    ),
    Claim(
        "In multi-embedding the sub-embeddings are less collapsed too.",
        "section 5", "mean IA/K of E_i→j at 4x and 10x, ME higher than SE, DCNv2",
        "sub-embeddings", me_against_se(("dcnv2",), projected_abundance, "higher"),
    ),
    Claim(
        "The embedding sets are diverse, more so than blocks of one wide table.",
        "section 5", "diversity at 4x and 10x, between ME's sets higher than between SE's blocks, "
        "DCNv2", "diversity-against-scale", me_against_se(("dcnv2",), diversity, "higher"),
    ),
    Claim(
        "Each set lets other pairs of fields interact.",
        "section 5", f"rank correlation of two sets' ||W_i→j||_F, below {SAME_ORDER}, DCNv2 at ME "
        "4x and 10x", "diversity-against-scale",
        of_runs(common_pattern, SAME_ORDER, "lower", [("dcnv2", "me", 4), ("dcnv2", "me", 10)]),
    ),
    Claim(
        "Held to equal patterns (aligned norms), multi-embedding stops scaling.",
        "section 5", "test AUC at 10x, lower than ME's own, DCNv2",
        "variants-of-multi-embedding",
        between("dcnv2-aligned", "dcnv2", "me", auc_change, "lower"),
    ),
    Claim(
        "With one interaction shared by all sets, it stops scaling.",
        "section 5", "test AUC at 10x, lower than ME's own, DCNv2",
        "variants-of-multi-embedding", between("dcnv2-shared", "dcnv2", "me", auc_change, "lower"),
    ),
    Claim(
        "The interaction of a set needs a non-linearity.",
        "section 5", "test AUC at 10x, lower without it than with it, DCNv2",
        "variants-of-multi-embedding", between("dcnv2-linear", "dcnv2", "me", auc_change, "lower"),
    ),
]  # fmt: skip


# --- side by side ---------------------------------------------------------------------------------


COLUMNS = [
    *("SE, paper", "SE, ours", "SE, ours - paper", "ME, paper", "ME, ours", "ME, ours - paper"),
    *("ME - SE, paper", "ME - SE, ours"),
    *("parameters, SE", "parameters, ME", "seconds, SE", "seconds, ME"),
]


def beside(records: Iterable[Record], dataset: str) -> pd.DataFrame:
    """The results on one dataset, the paper's and ours: one row per model and scale.

    For SE and ME the test AUC (mean and standard deviation over seeds) as the paper has it, as we
    have it, and ours minus the paper's; ME minus SE with its 95% interval and whether that is
    outside the noise (the paper's between seeds, ours also from the choice of test rows); and
    parameters and seconds of training of ours. Columns of whoever has no numbers are left out.
    """
    theirs = published()
    theirs = theirs[theirs["dataset"] == dataset].set_index(["model", "design", "scale"])
    ours = {cell[1:]: group for cell, group in by_cell(records).items() if cell.dataset == dataset}
    rows = {}
    for model in PAPER:
        scales = {key[2] for key in (*theirs.index, *ours) if key[0] == model}
        for scale in sorted(scales):
            rows[MODELS[model].name, f"{scale}x"] = _row(model, scale, theirs, ours)
    found = pd.DataFrame.from_dict(rows, orient="index")
    return found.loc[:, (found != "").any()]


def _row(model: str, scale: int, theirs: pd.DataFrame, ours: Cells) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "")
    se, me = ((model, design, scale) for design in ("se", "me"))
    for name, key in (("SE", se), ("ME", me)):
        if key in theirs.index:
            published_auc, deviation = theirs.loc[key, ["test_auc", "std"]]
            row[f"{name}, paper"] = _spread(published_auc, deviation)
        if key in ours:
            runs = table(ours[key])
            auc, deviation = runs["test_auc"].mean(), runs["test_auc"].std()
            row[f"{name}, ours"] = _spread(auc, deviation)
            row[f"parameters, {name}"] = f"{runs['parameters'].iloc[0]:,}"
            row[f"seconds, {name}"] = f"{runs['seconds'].median():.0f}"
            if key in theirs.index:
                row[f"{name}, ours - paper"] = f"{auc - published_auc:+.5f}"
    if se in theirs.index and me in theirs.index:
        aucs, deviations = theirs.loc[[me, se], "test_auc"], theirs.loc[[me, se], "std"]
        change = aucs.iloc[0] - aucs.iloc[1]
        row["ME - SE, paper"] = told(welch_of_moments(change, tuple(deviations), (RUNS, RUNS)))
    if se in ours and me in ours:
        row["ME - SE, ours"] = told(auc_change(ours[me], ours[se]))
    return row


def _spread(mean: float, deviation: float) -> str:
    return f"{mean:.5f}" + ("" if np.isnan(deviation) else f" ± {deviation:.5f}")


def variants(records: Iterable[Record], names: Sequence[str], of: str = "dcnv2") -> pd.DataFrame:
    """One row per scaled-up cell of the named models, beside the model that they vary: test AUC,
    IA/K, parameters, and AUC minus that model's in the same cell."""
    cells = by_cell(records)
    kept = {cell: group for cell, group in cells.items() if cell.model in names and cell.scale > 1}
    if not kept:
        return pd.DataFrame(index=["no runs"])
    found = summary(record for group in kept.values() for record in group)
    found = found[["test AUC", "mean IA/K", "parameters"]]
    others = [cells.get(cell._replace(model=of)) for cell in kept]
    found[f"AUC - {MODELS[of].name}"] = [
        told(auc_change(group, other)) if other else ""
        for group, other in zip(kept.values(), others, strict=True)
    ]
    return found


# --- in words -------------------------------------------------------------------------------------


def verdict_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """One row per claim, one column per dataset: the verdict, and how the comparisons came out."""
    rows: dict[str, dict[str, str]] = {}
    for number, finding in _numbered(findings):
        said = finding.verdict
        if said != "not run":
            counts = [(finding.count(outcome), outcome) for outcome in OUTCOMES]
            said += ": " + ", ".join(f"{count} {outcome}" for count, outcome in counts if count)
        rows.setdefault(f"{number}. {finding.claim.text}", {})[finding.dataset] = said
    return pd.DataFrame.from_dict(rows, orient="index")


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


def in_detail(findings: Sequence[Finding], page: str = "") -> str:
    """Every claim in Markdown: where it stands, the criterion, and each comparison's numbers.

    Args:
        findings: from `ledger`.
        page: that holds the figures, for the links to them; "" is the page itself.
    """
    blocks: dict[int, list[str]] = {}
    for number, finding in _numbered(findings):
        claim = finding.claim
        head = (
            f"**{number}. {claim.text}** ({claim.where}.) Compared: {claim.criterion}. "
            f"[Figure]({page}#{claim.figure})"
        )
        block = blocks.setdefault(number, [head, ""])
        block.append(f"- {finding.dataset}: **{finding.verdict}**" + _numbers(finding))
    return "\n\n".join("\n".join(block) for block in blocks.values())


def _numbered(findings: Sequence[Finding]) -> Iterator[tuple[int, Finding]]:
    numbers: dict[str, int] = {}
    for finding in findings:
        yield numbers.setdefault(finding.claim.text, len(numbers) + 1), finding


def _numbers(finding: Finding) -> str:
    parts = []
    for outcome in OUTCOMES:
        told = [
            f"{what} {change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"
            for what, change, _ in (c for c in finding.comparisons if c.outcome == outcome)
            if change
        ]
        if told:
            parts.append(f" *{outcome.capitalize()}:* {', '.join(told)}.")
    return "." + "".join(parts)
