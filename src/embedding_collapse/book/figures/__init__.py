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
from .sets import diversity_by_field, projection_norms, sums_of_abundance
from .sizing import distortion, fields_and_rule, rule_and_practice
from .studies import against_parameters, against_rows, best_epochs
from .toy import pulls_by_direction, toy_curves, toy_span, toy_sweep
from .variants import (
    ME_VARIANTS,
    OTHER_FIXES,
    SUPPRESSED,
    Series,
    abundance_by_model,
    block_deviations,
    both_designs,
    series_against_scale,
)

__all__ = [
    "AUC",
    "COLLAPSE",
    "COLOURS",
    "DIVERSITY",
    "ME_VARIANTS",
    "OTHER_FIXES",
    "SUPPRESSED",
    "Series",
    "abundance_by_model",
    "against_parameters",
    "against_rows",
    "against_scale",
    "best_epochs",
    "block_deviations",
    "both_designs",
    "collapse_in_training",
    "distortion",
    "diversity_by_field",
    "fields_and_rule",
    "forest",
    "influence",
    "overfitting",
    "points",
    "projection_norms",
    "published_points",
    "pulls_by_direction",
    "rule_and_practice",
    "series_against_scale",
    "show",
    "sub_embeddings",
    "sub_embeddings_with_sums",
    "sums_of_abundance",
    "table_spectra",
    "toy_curves",
    "toy_span",
    "toy_sweep",
]
