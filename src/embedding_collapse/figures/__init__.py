"""One function per figure: data in, plotly figure out. Nothing here trains or measures time."""

from .abundance import across_widths, bend, beside_language, collapse, weighted
from .interaction import influence, sub_embeddings, sub_embeddings_with_sums
from .page import show
from .runs import accuracy, overfitting, training_curves
from .scaling import AUC, COLLAPSE, DIVERSITY, Line, against_scale, points, published_points
from .sizing import distortion, fields_and_rule, rule_and_practice
from .spectra import abundance_by_field, spectra_by_field
from .style import COLOURS, DASHES, colour
from .toy import pulls_by_direction, toy_curves, toy_span, toy_sweep

__all__ = [
    "AUC",
    "COLLAPSE",
    "COLOURS",
    "DASHES",
    "DIVERSITY",
    "Line",
    "abundance_by_field",
    "accuracy",
    "across_widths",
    "against_scale",
    "bend",
    "beside_language",
    "collapse",
    "colour",
    "distortion",
    "fields_and_rule",
    "influence",
    "overfitting",
    "points",
    "published_points",
    "pulls_by_direction",
    "rule_and_practice",
    "show",
    "spectra_by_field",
    "sub_embeddings",
    "sub_embeddings_with_sums",
    "toy_curves",
    "toy_span",
    "toy_sweep",
    "training_curves",
    "weighted",
]
