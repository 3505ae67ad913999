"""One function per figure: data in, plotly figure out. Nothing here trains or measures time."""

from .interaction import sub_embeddings
from .page import show
from .runs import accuracy, overfitting, training_curves
from .scaling import AUC, COLLAPSE, DIVERSITY, Line, against_scale, points, published_points
from .sets import diversity_by_field, projection_norms, sums_of_abundance
from .spectra import abundance_by_field, spectra_by_field
from .studies import against_parameters, against_rows, best_epochs
from .style import COLOURS, DASHES, colour
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
    "against_parameters",
    "against_rows",
    "against_scale",
    "best_epochs",
    "block_deviations",
    "both_designs",
    "colour",
    "diversity_by_field",
    "overfitting",
    "points",
    "projection_norms",
    "published_points",
    "series_against_scale",
    "show",
    "spectra_by_field",
    "sub_embeddings",
    "sums_of_abundance",
    "training_curves",
]
