"""What several chapters draw alike: colours, menus, spectra, curves against size; and `show`."""

from .page import provenance, rounded, show
from .scaling import AUC, COLLAPSE, DIVERSITY, Line, against_scale, points, published_points
from .spectra import abundance_by_field, spectra_by_field
from .style import COLOURS, DASHES, INKS, as_text, colour, faint, fields, with_menu

__all__ = [
    "AUC", "COLLAPSE", "COLOURS", "DASHES", "DIVERSITY", "INKS", "Line", "abundance_by_field",
    "against_scale", "as_text", "colour", "faint", "fields", "points", "provenance",
    "published_points", "rounded", "show", "spectra_by_field", "with_menu",
]  # fmt: skip
