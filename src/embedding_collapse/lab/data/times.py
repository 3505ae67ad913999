"""Timestamps: which texts are some, and what is read off them."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .reading import matching

ACCEPTED = "a time (ISO 8601, or since 1970 in s, ms, µs or ns)"
DATE = r"^[0-9]{4}-[0-9]"
MONTH = r"^[0-9]{4}-[0-9]{1,2}$"  # a time, but codes look like that too
# digits, or as floats are written: ns beside a blank are 1.7092119072500001e+18
DIGITS = r"^([0-9]{9,19}(\.[0-9]*)?|[0-9](\.[0-9]*)?[eE]\+?(0?[89]|1[0-8]))$"
NUMBER = r"^-?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|inf)$"
# A number counts as a time where it falls between these years: the ranges of the four units leave
# gaps, in which dates written as digits lie, such as 20240131 or 20240131235959.
EARLIEST, LATEST = 631_152_000, 4_102_444_800  # the beginnings of 1990 and of 2100, in seconds
UNITS = (1, 1_000, 1_000_000, 1_000_000_000)  # in a second
WEEKDAYS = np.array(  # from that of 1970-01-01 on
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"], object
)


def moments(texts: pa.StringArray) -> np.ndarray:
    """float64 seconds since 1970, UTC, of texts; NaN for what is no time."""
    seconds = np.full(len(texts), np.nan)
    digits = matching(texts, DIGITS)
    numbers = texts.filter(pa.array(digits)).cast(pa.float64()).to_numpy()
    since = np.full(len(numbers), np.nan)
    for unit in UNITS:
        fits = (numbers >= EARLIEST * unit) & (numbers < LATEST * unit)
        since[fits] = numbers[fits] / unit
    seconds[digits] = since
    dated = matching(texts, DATE)
    dates = texts.filter(pa.array(dated))
    # a finer one would have pandas take all in ns, which end in 2262
    dates = pc.replace_substring_regex(dates, r"(\.[0-9]{6})[0-9]+", r"\1")
    parsed = pd.to_datetime(
        pd.Series(dates.to_pylist(), dtype=object), format="ISO8601", utc=True, errors="coerce"
    )
    # in µs, whatever unit pandas took; dates such as 9999-12-31 occur
    stamps = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    seconds[dated] = np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e6)
    return seconds


def ranks(texts: pa.StringArray) -> tuple[np.ndarray, set[str]]:
    """What rows are ordered by, float64, and whether it is "numbers" or "times"; numbers stand for
    themselves, and NaN for what is neither. Where all are whole numbers, int64."""
    numbers = matching(texts, NUMBER)
    if len(texts) and numbers.all():
        with suppress(pa.ArrowInvalid):  # float64 would take ids above 2**53 for one another
            return texts.cast(pa.int64()).to_numpy(), {"numbers"}
    keys = moments(texts)
    keys[numbers] = texts.filter(pa.array(numbers)).cast(pa.float64()).to_numpy()
    times = ~numbers & ~np.isnan(keys)
    return keys, {kind for kind, some in (("numbers", numbers), ("times", times)) if some.any()}


PARTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # of seconds
    "hour": lambda seconds: (seconds % 86_400 // 3_600).astype(np.int64).astype(str),
    "weekday": lambda seconds: WEEKDAYS[(seconds // 86_400).astype(np.int64) % 7],
}
