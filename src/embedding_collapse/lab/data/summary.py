"""Datasets at a glance."""

from collections.abc import Iterable

import pandas as pd

from .dataset import Dataset
from .vocabulary import RARE

BLOCK = 1 << 16  # rows that are looked at together: of all at once the comparison takes gigabytes


def summarise(dataset: Dataset) -> pd.DataFrame:
    """A row per field: how many ids it has, and the share of rows in its rare bucket."""
    blocks = (dataset.ids[start : start + BLOCK] for start in range(0, len(dataset), BLOCK))
    rare = sum((ids == RARE).sum(axis=0) for ids in blocks)
    return pd.DataFrame(
        {"features": dataset.cardinalities, "rare share": rare / len(dataset)},
        index=pd.Index([field.name for field in dataset.fields], name="field"),
    )


def compare(datasets: Iterable[Dataset]) -> pd.DataFrame:
    """A column per dataset: its size, its rare share over all fields, and what is known of it."""
    columns = {}
    for dataset in datasets:
        fields = summarise(dataset)
        best = dataset.facts.get("best_auc")
        columns[dataset.name] = {
            "rows": f"{len(dataset):,}",
            "fields": f"{len(fields)}",
            "features": f"{fields['features'].sum():,}",
            "smallest field": f"{fields['features'].min():,}",
            "largest field": f"{fields['features'].max():,}",
            "rare share": f"{fields['rare share'].mean():.4f}",
            "label rate": f"{dataset.labels.mean():.4f}",
            "best possible AUC": "unknown" if best is None else f"{best:.4f}",
        }
    return pd.DataFrame(columns)
