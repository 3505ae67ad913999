"""A dataset at a glance."""

import pandas as pd

from .dataset import Dataset
from .vocabulary import RARE


def summarise(dataset: Dataset) -> pd.DataFrame:
    """A row per field: how many ids it has, and the share of rows in its rare bucket."""
    rare = (dataset.ids == RARE).mean(axis=0)
    return pd.DataFrame(
        {"features": dataset.cardinalities, "rare share": rare},
        index=pd.Index([field.name for field in dataset.fields], name="field"),
    )
