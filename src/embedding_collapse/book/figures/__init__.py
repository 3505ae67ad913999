"""One function per figure: data in, plotly figure out. Nothing here trains or measures time."""

from .abundance import across_widths, bend, beside_language, collapse, weighted
from .checkpoints import collapse_in_training, table_spectra
from .claims import forest
from .interaction import influence, sub_embeddings, sub_embeddings_with_sums
from .opening import directions_in_use, remedy
from .page import provenance, show
from .runs import accuracy, overfitting, training_curves
from .scaling import AUC, COLLAPSE, DIVERSITY, Line, against_scale, points, published_points
from .sets import diversity_by_field, projection_norms, sums_of_abundance
from .sizing import distortion, fields_and_rule, rule_and_practice
from .spectra import abundance_by_field, spectra_by_field
from .studies import against_parameters, against_rows, best_epochs
from .style import COLOURS, DASHES, colour
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
    "DASHES",
    "DIVERSITY",
    "ME_VARIANTS",
    "OTHER_FIXES",
    "SUPPRESSED",
    "Line",
    "Series",
    "abundance_by_field",
    "abundance_by_model",
    "accuracy",
    "across_widths",
    "against_parameters",
    "against_rows",
    "against_scale",
    "bend",
    "beside_language",
    "best_epochs",
    "block_deviations",
    "both_designs",
    "collapse",
    "collapse_in_training",
    "colour",
    "directions_in_use",
    "distortion",
    "diversity_by_field",
    "fields_and_rule",
    "forest",
    "influence",
    "overfitting",
    "points",
    "projection_norms",
    "provenance",
    "published_points",
    "pulls_by_direction",
    "remedy",
    "rule_and_practice",
    "series_against_scale",
    "show",
    "spectra_by_field",
    "sub_embeddings",
    "sub_embeddings_with_sums",
    "sums_of_abundance",
    "table_spectra",
    "toy_curves",
    "toy_span",
    "toy_sweep",
    "training_curves",
    "weighted",
]
