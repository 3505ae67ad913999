"""What several chapters draw alike: colours, menus, spectra, curves against size; and `show`."""

from .page import all_numbers, answered, note, provenance, rounded, show
from .scaling import (
    AUC,
    Line,
    Series,
    both_designs,
    points,
    published_points,
    reach_of,
    series_against_scale,
)
from .spectra import abundance_by_field, by_field, spectra_by_field
from .style import (
    AMBER,
    COLOURS,
    DASHES,
    INKS,
    PINK,
    SKY,
    as_text,
    colour,
    faint,
    fields,
    with_menu,
)

__all__ = [
    "AMBER",
    "AUC",
    "COLOURS",
    "DASHES",
    "INKS",
    "PINK",
    "SKY",
    "Line",
    "Series",
    "abundance_by_field",
    "all_numbers",
    "answered",
    "as_text",
    "both_designs",
    "by_field",
    "colour",
    "faint",
    "fields",
    "note",
    "points",
    "provenance",
    "published_points",
    "reach_of",
    "rounded",
    "series_against_scale",
    "show",
    "spectra_by_field",
    "with_menu",
]
