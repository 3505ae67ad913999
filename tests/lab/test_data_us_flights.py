import hashlib

import numpy as np
import pytest

from embedding_collapse.lab.data import Dataset, load, us_flights
from embedding_collapse.parameters import ParameterError

SMALL = {"rows": 20_000, "held_out": (1_000, 5_000)}


@pytest.fixture(scope="module")
def flights() -> Dataset:
    return load("us-flights")


@pytest.fixture(scope="module")
def small() -> Dataset:
    return load("us-flights", **SMALL)


@pytest.fixture(scope="module")
def by_time() -> Dataset:
    return load("us-flights", split="time")


def decoded(data: Dataset, row: int) -> dict[str, str | None]:
    return {f.name: f.decode(i) for f, i in zip(data.fields, data.ids[row], strict=True)}


def dates(data: Dataset, share: int) -> np.ndarray:
    """Ids of the date, which run from early to late, of a share of the rows."""
    names = [field.name for field in data.fields]
    return data.ids[data.split[share].numpy(), names.index("date")]


# --- what is in it --------------------------------------------------------------------------------


def test_three_million_flights_of_which_a_fifth_is_late(flights):
    assert len(flights) == 3_000_000
    assert flights.labels.sum() == 599_055
    assert flights.facts == {"late_rate": 0.199685}


def test_fields_have_a_value_per_id_and_a_rare_bucket(flights):
    assert {field.name: field.cardinality for field in flights.fields} == {
        "origin": 229,
        "destination": 229,
        "route": 3356,
        "date": 182,
        "weekday": 8,
        "hour": 25,
        "minute": 61,
        "time_of_day": 1307,
        "distance": 1099,
    }
    assert all(len(f.values) == f.cardinality - 1 for f in flights.fields)
    for column, size in zip(flights.ids.T, flights.cardinalities, strict=True):
        assert np.bincount(column, minlength=size)[1:].min() >= 10


def test_the_forecast_knows_no_minute(small):
    forecast = load("us-flights-forecast", **SMALL)
    kept = [0, 1, 2, 3, 4, 5, 8]
    assert [f.name for f in forecast.fields] == [small.fields[i].name for i in kept]
    assert forecast.cardinalities == [small.cardinalities[i] for i in kept]
    assert np.array_equal(forecast.ids, small.ids[:, kept])
    assert np.array_equal(forecast.labels, small.labels)
    assert forecast.fingerprint != small.fingerprint


def test_fields_of_a_flight_fit_together(small):
    for row in range(200):
        flight = decoded(small, row)
        day = np.datetime64(flight["date"])
        assert day.astype(object).strftime("%A") == flight["weekday"]
        assert flight["route"] == f"{flight['origin']}-{flight['destination']}"
        assert flight["time_of_day"] == f"{int(flight['hour']):02}:{int(flight['minute']):02}"
        assert 21 <= int(flight["distance"]) <= 4_962


def test_distances_are_those_of_the_map(flights):
    names = [field.name for field in flights.fields]
    route, distance = (flights.fields[names.index(name)] for name in ("route", "distance"))
    for ends, miles in (("LAX-JFK", "2475"), ("SEA-ORD", "1721"), ("JFK-BOS", "187")):
        rows = flights.ids[:, 2] == 1 + route.values.to_pylist().index(ends)
        assert {distance.decode(i) for i in np.unique(flights.ids[rows, 8])} == {miles}


# --- the split ------------------------------------------------------------------------------------


def test_all_sizes_share_one_test_set_and_smaller_training_sets_are_part_of_larger(flights):
    fewer = load("us-flights", rows=30_000)
    assert fewer.split_sizes == (30_000, 100_000, 500_000)
    assert np.array_equal(fewer.ids[:30_000], flights.ids[:30_000])
    assert np.array_equal(fewer.ids[30_000:], flights.ids[-600_000:])
    assert np.array_equal(fewer.labels[30_000:], flights.labels[-600_000:])
    assert fewer.cardinalities == flights.cardinalities


def test_fewer_rows_held_out_are_the_first_of_them(flights, small):
    assert small.split_sizes == (20_000, 1_000, 5_000)
    for ours, all_of_them in zip(small.split, flights.split, strict=True):
        first = all_of_them[: len(ours)].numpy()
        assert np.array_equal(small.ids[ours.numpy()], flights.ids[first])
        assert np.array_equal(small.labels[ours.numpy()], flights.labels[first])


def test_the_random_split_takes_rows_from_everywhere(flights):
    for share in range(3):
        counts = np.bincount(dates(flights, share), minlength=182)[1:]
        assert counts.min() > 0.7 * counts.mean()


def test_the_split_by_time_tests_on_the_last_days(by_time, flights):
    train, validation, test = (dates(by_time, share) for share in range(3))
    last = test[test > 0]  # the six flights of the first of July are a rare value
    assert train.max() <= validation.min() <= validation.max() <= last.min()
    assert by_time.split_sizes == flights.split_sizes
    assert np.diff(test[:1000]).min() < 0 < np.diff(train[:1000]).max()  # shuffled all the same
    assert np.array_equal(np.sort(by_time.ids[:, 2]), np.sort(flights.ids[:, 2]))  # the same rows


def test_the_split_by_time_nests_too(by_time):
    fewer = load("us-flights", split="time", **SMALL)
    for ours, all_of_them in zip(fewer.split, by_time.split, strict=True):
        first = all_of_them[: len(ours)].numpy()
        assert np.array_equal(fewer.ids[ours.numpy()], by_time.ids[first])


def test_the_same_rows_come_out_on_every_machine(small, by_time):
    assert small.fingerprint.startswith("71c18d00352ec0dd")
    assert by_time.fingerprint.startswith("953d869c46282449")
    assert load("us-flights", **SMALL).fingerprint == small.fingerprint


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [999, 2_400_001, 0, 2.5])
def test_rows_that_cannot_be_are_refused_with_the_limits(rows):
    with pytest.raises(ParameterError, match=f"rows is {rows}; whole numbers from 1000 to 2400000"):
        load("us-flights", rows=rows)


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        ((0, 5_000), "validation rows is 0; whole numbers from 1 to "),
        ((100_001, 5_000), "validation rows is 100001; whole numbers from 1 to 100000"),
        ((100, 500_001), "test rows is 500001; whole numbers from 1 to 500000"),
    ],
)
def test_rows_held_out_that_cannot_be_are_refused_with_the_limits(held_out, message):
    with pytest.raises(ParameterError, match=message):
        load("us-flights", held_out=held_out)


@pytest.mark.parametrize("change", ["cut", "bit", "gone"])
def test_a_damaged_file_is_told_by_its_checksum(change, tmp_path, monkeypatch):
    content = bytearray(us_flights.FILE.read_bytes())
    path = tmp_path / "us_flights.parquet"
    monkeypatch.setattr(us_flights, "FILE", path)
    if change == "gone":
        with pytest.raises(ParameterError, match=f"the data file {path} cannot be read"):
            load("us-flights", **SMALL)
        return
    if change == "cut":
        content = content[:-1]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    with pytest.raises(ParameterError, match=f"{path} is damaged: its SHA-256 is {digest}, and"):
        load("us-flights", **SMALL)
