"""What is inside a trained model: numbers of a run that explain how it works."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from .comparisons import common_pattern
from .models import MODELS
from .models.penalties import orthogonality
from .records import Record, by_cell, spread
from .spectrum import random_abundance
from .subspace import random_diversity


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
                "of random tables'": spread([relative_diversity(record) for record in group]),
            }
    return _by_tuples(rows)


def pattern_table(records: Iterable[Record]) -> pd.DataFrame:
    """How alike the patterns of `||W_{i->j}||_F` are: rank correlations between the sets of a run
    (mean and standard deviation over seeds), and between runs of one set each."""
    rows = {}
    for cell, group in by_cell(records).items():
        if group[0].projection_norms is None:
            continue
        sets = len(group[0].projection_norms)
        if sets > 1:
            likeness = spread([common_pattern(record) for record in group])
            rows[cell.dataset, f"sets of {MODELS[cell.model].name} {cell.label}"] = likeness
        elif cell.scale == 1 and len(group) > 1:
            likeness = f"{pattern_between_runs(group):.4f}"
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


def pattern_between_runs(records: Sequence[Record]) -> float:
    """Rank correlation between two runs' `||W_{i->j}||_F` over pairs of fields, the mean over
    pairs of runs of one set each; beside it stands that between the sets of one run, see
    `comparisons.common_pattern`."""
    norms = [record.projection_norms[0] for record in records]
    return common_pattern(replace(records[0], projection_norms=norms))
