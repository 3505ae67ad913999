"""What is inside a trained model: numbers of a run that explain how it works."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from embedding_collapse.book.analysis.measures import common_pattern
from embedding_collapse.lab.groups import by_cell, spread
from embedding_collapse.lab.metrics import Difference, welch
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.models.penalties import orthogonality
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import random_abundance
from embedding_collapse.subspace import random_diversity


def relative_diversity(record: Record) -> float:
    """Diversity against that of random tables, the mean over fields with more than K features.

    K is that of the base model, as wide as one set of ME or one block of SE. About 1 for tables
    that have nothing to do with each other; NaN at scale 1.
    """
    if record.diversity is None:
        return float("nan")
    width = record.spec["embedding_size"]
    random = np.array([random_diversity(rows, width) for rows in record.dataset["cardinalities"]])
    return float(np.mean(np.array(record.diversity)[random > 0] / random[random > 0]))


def diversity_table(records: Iterable[Record]) -> pd.DataFrame:
    """One row per dataset and size, SE before ME, of one model: diversity, and diversity against
    that of random tables (means over fields, and their standard deviations over seeds)."""
    rows = {}
    for cell, group in by_cell(records).items():
        if cell.scale > 1:
            rows[cell.dataset, cell.label] = {
                "diversity": spread([float(np.mean(record.diversity)) for record in group]),
                "against random tables": spread([relative_diversity(record) for record in group]),
            }
    return _by_tuples(rows)


def pattern_table(records: Iterable[Record]) -> pd.DataFrame:
    """How alike the patterns of `||W_{i->j}||_F` are: rank correlations between the sets of a run
    (mean and standard deviation over seeds), and between runs of one set each (over pairs)."""
    rows = {}
    for cell, group in by_cell(records).items():
        if group[0].projection_norms is None:
            continue
        sets = len(group[0].projection_norms)
        if sets > 1:
            likeness = spread([common_pattern(record) for record in group])
            rows[cell.dataset, f"sets of {MODELS[cell.model].name} {cell.label}"] = likeness
        elif cell.scale == 1 and len(group) > 1:
            likeness = spread(patterns_between_runs(group))
            rows[cell.dataset, f"runs of {MODELS[cell.model].name} {cell.label}"] = likeness
    return _by_tuples({at: {"rank correlation": likeness} for at, likeness in rows.items()})


def _by_tuples(rows: Mapping[tuple[str, str], Mapping[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows.values(), index=pd.MultiIndex.from_tuples(rows))


def abundance_sums(record: Record) -> np.ndarray:
    """`sum_i IA(E_i^{->j})` of every field j, the mean over sets: `[N]`.

    Raises:
        ValueError: a model that projects no fields.
    """
    if record.projected_abundance is None:
        raise ValueError(f"{record.spec['model']} projects no fields before they meet")
    return np.mean(record.projected_abundance, axis=0).sum(0)


def most_abundance(record: Record) -> float:
    """What a sum of `abundance_sums` would be if every table were random and every projection
    kept singular values."""
    width = len(record.spectra[0][0])
    return sum(random_abundance(rows, width) for rows in record.dataset["cardinalities"])


def block_deviation(record: Record) -> list[float]:
    """How far a block of W is from an orthogonal matrix: `||W W^T - I||_F^2 / K`, by epoch.

    The mean over blocks, cross layers and the steps of an epoch, from the penalty that training
    recorded; 0 for orthogonal blocks, 1 for blocks of zeros. Where the model learns a factor per
    block, W is the block without it.

    Raises:
        ValueError: a model that is not regularised so.
    """
    penalty = MODELS[record.spec["model"]].penalty
    if getattr(penalty, "func", None) is not orthogonality:
        raise ValueError(f"{record.spec['model']} has no penalty on the blocks of W")
    fields, (sets, width) = len(record.spectra), np.shape(record.spectra[0])
    blocks = record.spec["cross_layers"] * sets * fields**2
    each = penalty.keywords["weight"] * blocks * width
    return [epoch["penalty"] / each for epoch in record.epochs]


def deviation_table(records: Iterable[Record]) -> pd.DataFrame:
    """`block_deviation` of regularised models in the first epoch, in the one that was tested (the
    best by validation AUC) and in the last: one row per dataset, model and size; means over
    seeds."""
    rows = {}
    for cell, group in by_cell(records).items():
        curves = [(block_deviation(record), record.best_epoch) for record in group]
        rows[cell.dataset, f"{MODELS[cell.model].name} {cell.label}"] = {
            "first epoch": f"{np.mean([curve[0] for curve, _ in curves]):.3f}",
            "tested epoch": f"{np.mean([curve[best] for curve, best in curves]):.3f}",
            "last epoch": f"{np.mean([curve[-1] for curve, _ in curves]):.3f}",
        }
    return _by_tuples(rows)


def patterns_between_runs(records: Sequence[Record]) -> list[float]:
    """Rank correlations between two runs' `||W_{i->j}||_F` over pairs of fields, one for every
    pair of runs of one set each; `measures.common_pattern` is that between the sets of one
    run."""
    return [
        common_pattern(replace(one, projection_norms=[r.projection_norms[0] for r in (one, other)]))
        for one, other in combinations(records, 2)
    ]


def patterns_compared(records: Iterable[Record]) -> dict[str, Difference]:
    """Are the sets of a run less alike than runs that know nothing of each other?

    The difference of the mean rank correlations with its 95% interval (Welch), by dataset and
    cell; the runs of a base model come in pairs that share runs, so that the interval is rather
    too narrow than too wide.
    """
    cells = by_cell(records)
    found = {}
    for cell, group in cells.items():
        apart = cells.get(cell._replace(design="se", scale=1), [])
        if cell.design == "me" and group[0].projection_norms and len(apart) > 1:
            within = [common_pattern(record) for record in group]
            change = welch(within, patterns_between_runs(apart))
            found[f"{cell.dataset}, {MODELS[cell.model].name} {cell.label}"] = change
    return found
