"""What several chapters draw alike: colours, menus, spectra, curves against size; and `show`."""

from .ledger import ledger_numbers, ledger_page
from .page import all_numbers, answered, provenance, rounded, show
from .scaling import Series, points, published_points, series_against_scale
from .seeds import add_mean_and_range, by_epoch, with_intervals
from .spectra import abundance_by_field, by_field, random_line, spectra_by_field
from .style import (
    AMBER,
    BELOW,
    BY_FEATURES,
    COLOURS,
    DASHES,
    INKS,
    NEUTRAL,
    PINK,
    SKY,
    as_text,
    colour,
    faint,
    fields,
    log_axis,
    one_of,
    size_axis,
)
