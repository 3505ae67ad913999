"""One function per figure: data in, plotly figure out. Nothing here trains or measures time."""

from .interaction import sub_embeddings
from .opening import directions_in_use, remedy
from .page import provenance, show
from .runs import accuracy, overfitting, training_curves
from .scaling import AUC, COLLAPSE, DIVERSITY, Line, against_scale, points, published_points
from .spectra import abundance_by_field, spectra_by_field
from .style import COLOURS, DASHES, colour

__all__ = [
    "AUC",
    "COLLAPSE",
    "COLOURS",
    "DASHES",
    "DIVERSITY",
    "Line",
    "abundance_by_field",
    "accuracy",
    "against_scale",
    "colour",
    "directions_in_use",
    "overfitting",
    "points",
    "provenance",
    "published_points",
    "remedy",
    "show",
    "spectra_by_field",
    "sub_embeddings",
    "training_curves",
]
