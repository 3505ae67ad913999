import numpy as np
import pytest

from embedding_collapse.lab.data import Dataset, load

KNOWN_LATER = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}


@pytest.fixture(scope="module")
def flights() -> Dataset:
    return load("flights")


def test_every_flight_with_a_recorded_arrival_is_there(flights):
    assert flights.ids.shape == (327_346, 26)


def test_a_quarter_of_the_flights_is_late(flights):
    assert 0.23 < flights.labels.mean() < 0.25
    assert flights.facts["late_rate"] == flights.labels.mean()


def test_no_field_tells_what_is_known_only_after_departure(flights):
    assert not KNOWN_LATER & {field.name for field in flights.fields}


def test_values_have_ten_rows_or_are_in_the_rare_bucket(flights):
    for column, size in zip(flights.ids.T, flights.cardinalities, strict=True):
        counts = np.bincount(column, minlength=size)
        assert len(counts) == size
        assert counts[1:].min() >= 10


def test_a_blank_is_a_value_of_its_own(flights):
    names = [field.name for field in flights.fields]
    gust = flights.ids[:, names.index("wind_gust")]
    assert (gust == 1).mean() > 0.5  # blanks come first, and most hours have no gust on record


def test_ids_decode_to_what_the_flight_was(flights):
    first = {f.name: f.decode(i) for f, i in zip(flights.fields, flights.ids[0], strict=True)}
    assert first["carrier"] == "UA"
    assert (first["origin"], first["dest"], first["distance"]) == ("EWR", "IAH", "1400")
    assert first["built"] == "1999"
    assert first["wind_gust"] == ""
    assert all(len(f.values) == f.cardinality - 1 for f in flights.fields)


def test_fewer_rows_are_a_fixed_random_subset(flights):
    small = load("flights", 3_000)
    assert len(small) == 3_000
    assert small.fingerprint.startswith("6ec2e257e1d07d99")
    months = np.bincount(small.ids[:, 0], minlength=13)[1:]
    assert months.min() > 150  # all over the year


def test_more_rows_than_there_are_is_refused():
    with pytest.raises(ValueError, match="rows is 327347; flights has 327346 rows"):
        load("flights", 327_347)
