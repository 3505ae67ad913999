"""Flights in the United States, January to June 2001, and whether they arrived late.

Real data of three million rows, inside the package: `us_flights.md` says where they come from and
what a row is. The ids are made anew at each load, which takes about a second.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from embedding_collapse.parameters import ParameterError, check_whole

from .dataset import Dataset, Field
from .spec import DataSpec
from .vocabulary import RARE, number_values

FILE = Path(__file__).with_name("us_flights.parquet")
SHA256 = "e05d7ecfdb6338cd14195de6bbcd237d7a972c2158c46789c04538ced675b0b2"
FILE_ROWS = 3_000_000
HELD_OUT = (100_000, 500_000)  # rows of validation and of test
POOL = FILE_ROWS - sum(HELD_OUT)  # rows to train on
FIRST_DAY = np.datetime64("2001-01-01")
CLOCK = ("minute", "time_of_day")  # the fields by which the timetable can be recognised
VARIANTS = {"us-flights": (), "us-flights-forecast": CLOCK}  # the fields that each leaves out


def load_us_flights(spec: DataSpec) -> Dataset:
    """Read the flights, with a test set that is the same whatever `rows` is.

    Every field is categorical; a value of fewer than ten of the 3,000,000 flights falls into the
    rare bucket, so that an id means the same in every subset. A subset is part of a larger one.

    Args:
        spec: of "us-flights", of nine fields, or "us-flights-forecast", which lacks the minute and
            the time of day. Its `rows` are training rows, 1,000 to 2,400,000, by default all of
            these; `held_out` are validation and test rows, at most 100,000 and 500,000, which is
            the default; fewer are the first of these. Its `split` takes them at random, as the
            paper does, or "time" the last 500,000 flights for test and the 100,000 before them for
            validation.

    Returns:
        A `Dataset` whose rows lie as train, validation, test, each in a fixed random order, and
        whose label is 1 where the flight arrived more than 15 minutes late. Its fact `late_rate`
        is that of its rows.

    Raises:
        ParameterError: a value outside these limits, or a data file that is missing or damaged.
    """
    name, rows = spec.name, POOL if spec.rows is None else spec.rows
    validation, test = spec.held_out or HELD_OUT
    check_whole("validation rows", validation, least=1, most=HELD_OUT[0])
    check_whole("test rows", test, least=1, most=HELD_OUT[1])
    table = _read()
    numbers = _row_numbers(table, (rows, validation, test), spec.split)
    columns = {
        field: column for field, column in _columns(table).items() if field not in VARIANTS[name]
    }
    ids = np.empty((len(numbers), len(columns)), np.int32)
    fields = []
    for i, (field, (codes, values)) in enumerate(columns.items()):
        numbering = number_values(np.bincount(codes, minlength=len(values)))
        ids[:, i] = numbering[codes[numbers]]
        kept = pa.array(values[numbering != RARE], pa.string())
        fields.append(Field(field, len(kept) + 1, kept))
    labels = table["late"].to_numpy()[numbers].astype(np.uint8)
    fingerprint = hashlib.sha256(f"{name} {rows} {validation} {test}".encode())
    fingerprint.update(ids.data)
    fingerprint.update(labels.data)
    return Dataset(
        name,
        ids,
        labels,
        tuple(fields),
        fingerprint.hexdigest(),
        {"late_rate": float(labels.mean())},
        held_out=(validation, test),
        spec=spec,
    )


def _read() -> pa.Table:
    """All flights, once the file has proved whole."""
    try:
        content = FILE.read_bytes()
    except OSError as error:
        raise ParameterError(f"the data file {FILE} cannot be read ({error})") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise ParameterError(
            f"the data file {FILE} is damaged: its SHA-256 is {digest}, and {SHA256} is right; "
            "install the package again"
        )
    airports = ["origin", "destination"]
    return pa.parquet.read_table(pa.BufferReader(content), read_dictionary=airports)


def _row_numbers(table: pa.Table, sizes: tuple[int, int, int], split: str) -> np.ndarray:
    """Row numbers of the training, validation and test rows, one after the other."""
    rank = np.random.Philox(key=0).random_raw(FILE_ROWS)  # words that no version of numpy changes
    order = rank if split == "random" else _days(table) * 1440 + table["minute"].to_numpy()
    parts = np.split(np.argsort(order, kind="stable"), np.cumsum((POOL, *HELD_OUT))[:-1])
    shuffled = (part[np.argsort(rank[part], kind="stable")] for part in parts)
    return np.concatenate([part[:size] for part, size in zip(shuffled, sizes, strict=True)])


def _days(table: pa.Table) -> np.ndarray:
    """Days since the first one, int32."""
    return (table["date"].to_numpy().astype("datetime64[D]") - FIRST_DAY).astype(np.int32)


def _columns(table: pa.Table) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The nine fields: all rows as small whole numbers from 0 up, and what these stand for, strings
    in their natural order."""
    ends = [table[end].to_pandas().cat for end in ("origin", "destination")]
    airports = np.union1d(*(np.array(end.categories, object) for end in ends))
    origin, destination = (
        np.searchsorted(airports, end.categories).astype(np.int32)[end.codes] for end in ends
    )
    routes = (airports[:, None] + "-" + airports).ravel()
    days, minutes = _days(table), table["minute"].to_numpy()
    dates = FIRST_DAY + np.arange(days.max() + 1)
    distance = table["distance"].to_numpy()
    clock = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60)]
    return {
        "origin": (origin, airports),
        "destination": (destination, airports),
        "route": (origin * len(airports) + destination, routes),
        "date": (days, dates.astype(str)),
        "weekday": (days % 7, pd.DatetimeIndex(dates[:7]).day_name().to_numpy()),
        "hour": (minutes // 60, np.arange(24).astype(str)),
        "minute": (minutes % 60, np.arange(60).astype(str)),
        "time_of_day": (minutes, np.array(clock)),
        "distance": (distance, np.arange(distance.max() + 1).astype(str)),
    }
