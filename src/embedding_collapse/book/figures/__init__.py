"""Figures of the chapters that have no module of their own yet; see `plots` and `chapters`."""

from embedding_collapse.book.plots import (
    AUC,
    COLLAPSE,
    COLOURS,
    DIVERSITY,
    against_scale,
    points,
    published_points,
    show,
)

from .checkpoints import collapse_in_training, table_spectra
from .claims import forest
from .interaction import sub_embeddings
from .runs import overfitting

__all__ = [
    "AUC",
    "COLLAPSE",
    "COLOURS",
    "DIVERSITY",
    "against_scale",
    "collapse_in_training",
    "forest",
    "overfitting",
    "points",
    "published_points",
    "show",
    "sub_embeddings",
    "table_spectra",
]
