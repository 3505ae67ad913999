"""The page on the data: what it shows of a dataset is what the dataset holds."""

import numpy as np
import pyarrow as pa
import pytest

from embedding_collapse.book.chapters import data as chapter
from embedding_collapse.lab.data import Dataset, Field, load


@pytest.fixture
def flights() -> Dataset:
    """Four flights, each fifty times, of two hours on three routes, the last of which is rare."""
    ids = np.array(50 * [[1, 1, 1], [2, 2, 1], [1, 1, 2], [0, 0, 2]], np.int32)
    fields = (
        Field("route", 3, pa.array(["A-B", "B-A"])),
        Field("distance", 3, pa.array(["10", "20"])),
        Field("hour", 3, pa.array(["7", "23"])),
    )
    return Dataset("some", ids, np.array(50 * [0, 0, 1, 1], np.uint8), fields, "fingerprint")


def test_fields_are_drawn_from_the_one_with_most_features(flights):
    (line,) = chapter.features_per_field([flights]).data
    assert (line.name, list(line.y)) == ("some", [3, 3, 3])


def test_rows_are_shown_as_values_and_the_rare_bucket_as_none_of_them(flights):
    table = chapter.decoded(flights, [2, 3])
    assert table.iloc[0].tolist() == ["A-B", "10", "23", 1]
    assert table.iloc[1].isna().tolist() == [True, True, False, False]


def test_what_depends_on_what_is_seen_in_the_rows(flights):
    assert chapter.depends(flights, "distance", ["route"])
    assert not chapter.depends(flights, "hour", ["route"])
    assert chapter.depends(flights, "route", ["distance", "hour"])


def test_the_share_of_late_flights_is_told_by_the_hours_name(flights):
    shares = chapter.late_by_hour(flights)
    assert shares.to_dict() == {"7": 0, "23": 1}
    (bars,) = chapter.late(shares).data
    assert (list(bars.x), list(bars.y)) == (["7", "23"], [0, 1])


def test_of_the_made_up_visits_three_lines_are_rejected(tmp_path):
    chapter.write_visits(tmp_path / "visits.csv", count=4000)
    library = load("table", path=tmp_path / "visits.csv", label="borrowed", cache=tmp_path)
    assert len(library) == 4000 - 3
    assert [field.name for field in library.fields] == ["reader", "shelf", "weekday", "minutes"]
    assert any(note.startswith("3 rows rejected") for note in library.notes)
