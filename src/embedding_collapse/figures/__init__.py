"""One function per figure: data in, plotly figure out. Nothing here trains or measures time."""

from .checkpoints import collapse_in_training, table_spectra
from .interaction import sub_embeddings
from .page import show
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
    "collapse_in_training",
    "colour",
    "overfitting",
    "points",
    "published_points",
    "show",
    "spectra_by_field",
    "sub_embeddings",
    "table_spectra",
    "training_curves",
]
