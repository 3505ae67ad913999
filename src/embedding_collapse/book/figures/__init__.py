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
from .interaction import influence, sub_embeddings, sub_embeddings_with_sums
from .runs import overfitting
from .sizing import distortion, fields_and_rule, rule_and_practice
from .toy import pulls_by_direction, toy_curves, toy_span, toy_sweep

__all__ = [
    "AUC",
    "COLLAPSE",
    "COLOURS",
    "DIVERSITY",
    "against_scale",
    "collapse_in_training",
    "distortion",
    "fields_and_rule",
    "forest",
    "influence",
    "overfitting",
    "points",
    "published_points",
    "pulls_by_direction",
    "rule_and_practice",
    "show",
    "sub_embeddings",
    "sub_embeddings_with_sums",
    "table_spectra",
    "toy_curves",
    "toy_span",
    "toy_sweep",
]
