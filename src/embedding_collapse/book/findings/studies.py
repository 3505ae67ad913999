"""Groups of runs side by side, for the page on cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from embedding_collapse.lab.groups import IN_WORDS, auc_change, by_cell
from embedding_collapse.lab.metrics import Difference
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record

from .comparisons import Measure, abundance, fair_abundance

Groups = Mapping[str, Sequence[Record]]  # runs of several seeds by what they are called
Pairs = Mapping[str, tuple[str, str]]  # two such names, new and old, by what the pair is called


MEASURES: dict[str, tuple[Callable[[Record], float], Measure]] = {
    "test AUC": (lambda record: record.test["auc"], auc_change),
    "IA / random": (
        lambda record: record.abundance_against_random.mean().item(),
        fair_abundance,
    ),
    "IA / K": (lambda record: record.relative_abundance.mean().item(), abundance),
}


def changes(groups: Groups, pairs: Pairs, measure: str = "test AUC") -> dict[str, Difference]:
    """The difference of every pair of groups, new minus old, by what the pair is called.

    Args:
        groups: runs by name.
        pairs: two names each, new and old; a pair that lacks runs is left out.
        measure: one of `MEASURES`.

    Raises:
        ValueError: a pair of groups on different data.
    """
    found = {}
    for label, (new, old) in pairs.items():
        if groups.keys() >= {new, old}:
            if groups[new][0].dataset["fingerprint"] != groups[old][0].dataset["fingerprint"]:
                raise ValueError(
                    f"{new} and {old} are runs on different data; they can't be paired"
                )
            found[label] = MEASURES[measure][1](groups[new], groups[old])
    return found


def contrasts(
    groups: Groups,
    pairs: Pairs,
    measures: Sequence[str] = ("test AUC", "IA / random"),
    columns: tuple[str, str] = ("new", "old"),
) -> list[pd.DataFrame]:
    """Pairs of groups side by side, a table per measure and a row per pair; see `changes`.

    Args:
        columns: what to call the two sides.
    """
    tables = []
    for measure in measures:
        value, _ = MEASURES[measure]
        rows = {}
        for label, change in changes(groups, pairs, measure).items():
            means = [np.mean([value(record) for record in groups[name]]) for name in pairs[label]]
            sides = {side: f"{mean:.4f}" for side, mean in zip(columns, means, strict=True)}
            rows[label] = sides | in_columns(change)
        tables.append(_titled(rows, measure))
    return tables


def in_columns(change: Difference) -> dict[str, str]:
    """A difference as the columns of a table: itself, its interval, and its verdict."""
    if not np.isfinite(change.high - change.low):
        return {"difference": _signed(change.mean), "95% interval": "", "verdict": "not known"}
    return {
        "difference": _signed(change.mean),
        "95% interval": f"{_signed(change.low)} to {_signed(change.high)}",
        "verdict": IN_WORDS[change.verdict],
    }


def _signed(value: float) -> str:
    return f"{value:+z.4f}".replace("-", "\u2212")


def _titled(rows: Mapping[str, Mapping[str, str]], title: str) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns=title)


def named(records: Iterable[Record], dataset: str) -> dict[str, list[Record]]:
    """The cells of one dataset, by model and size: "DCNv2 ME 10x"."""
    cells = by_cell(record for record in records if record.spec["dataset"] == dataset)
    return {f"{MODELS[cell.model].name} {cell.label}": group for cell, group in cells.items()}
