"""A table of one's own: what its labels mean, its times, its split, and what is left out of it."""

import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from embedding_collapse.lab.data import Dataset, describe, load, load_spec
from embedding_collapse.lab.data.times import moments
from embedding_collapse.parameters import ParameterError

pytestmark = pytest.mark.usefixtures("own_cache")

ROWS = 400
WORDS = {"label": "bought", "positive": "yes"}


@pytest.fixture
def frame() -> pd.DataFrame:
    """Visits that lie in no order of time."""
    numbers = np.random.default_rng(0)
    start = pd.Timestamp("2024-01-01 00:30")  # a Monday
    return pd.DataFrame(
        {
            "shop": numbers.integers(0, 7, ROWS),
            "ts": start + pd.to_timedelta(numbers.permutation(ROWS), unit="h"),
            "bought": np.where(numbers.random(ROWS) < 0.4, "yes", "no"),
            "stars": numbers.integers(1, 6, ROWS),
        }
    )


@pytest.fixture
def path(frame, tmp_path) -> Path:
    frame.to_csv(tmp_path / "visits.csv", index=False)
    return tmp_path / "visits.csv"


def decoded(data: Dataset, name: str) -> list[str | None]:
    (i,) = (i for i, field in enumerate(data.fields) if field.name == name)
    return [data.fields[i].decode(number) for number in data.ids[:, i]]


# --- labels ---------------------------------------------------------------------------------------


def test_a_label_of_words_is_1_for_the_words_that_one_names(frame, path):
    data = load("table", path=path, label="bought", positive="yes", categorical="shop")
    assert np.array_equal(data.labels, frame["bought"] == "yes")
    left_out = "left out, since columns are named: ts, stars"
    assert data.notes == (left_out, "bought is 1 for yes, 0 for no")
    assert load("table", path=path, label="bought", positive=["yes"], categorical="shop").notes


def test_a_label_that_is_true_or_false_may_be_named_by_a_truth():
    frame = pd.DataFrame({"shop": range(40), "bought": [True, False] * 20})
    for no in (False, np.False_):
        data = load("table", frame=frame, label="bought", positive=no)
        assert data.labels.tolist() == [0, 1] * 20


@pytest.mark.parametrize("first", [10, 3 * 10**12, 10**15])
def test_whole_numbers_with_a_blank_are_ids_however_large(first):
    ids = [None, *(float(first + 7 * (i % 9)) for i in range(59))]
    frame = pd.DataFrame({"user": ids, "price": np.arange(60) * 1.5e12 + 0.5, "y": [0, 1] * 30})
    data = load("table", frame=frame, label="y", min_count=1)
    assert data.notes[0] == "guessed categorical: user; numeric: price"
    assert data.fields[0].cardinality == 11  # nine, the blank one and the rare


@pytest.mark.parametrize(("no", "yes"), [("FALSE", "TRUE"), ("False", "true"), ("0.00", "1.0")])
def test_a_label_may_be_written_as_tools_write_it(frame, no, yes):
    frame["bought"] = frame["bought"].map({"no": no, "yes": yes})
    data = load("table", frame=frame, label="bought", categorical="shop")
    assert np.array_equal(data.labels, frame["bought"] == yes)


def test_a_number_without_end_is_a_number():
    price = np.append(np.arange(63) + 0.5, np.inf)
    frame = pd.DataFrame({"price": np.repeat(price, 20), "y": [0, 1] * 640})
    data = load("table", frame=frame, label="y")
    assert data.notes == ("guessed numeric: price",)
    assert data.fields[0].values.to_pylist()[-1] == "62.5 to inf"


def test_ratings_are_1_from_the_threshold_up(frame, path):
    data = load("table", path=path, label="stars", threshold=4, categorical="shop")
    assert np.array_equal(data.labels, frame["stars"] >= 4)


@pytest.mark.parametrize("word", ["none", "NA", "null", "NAT"])
def test_a_word_that_elsewhere_means_a_blank_is_a_label_beside_the_positive_one(frame, word):
    frame["bought"] = frame["bought"].replace("no", word)
    data = load("table", frame=frame, **WORDS, categorical="shop")
    assert np.array_equal(data.labels, frame["bought"] == "yes")
    assert data.notes[-1] == f"bought is 1 for yes, 0 for {word}"


def test_a_positive_value_that_no_row_has_is_refused_with_those_there_are(path):
    with pytest.raises(ParameterError, match="positive is 'yse', and no row has yse; bought holds"):
        load("table", path=path, label="bought", positive="yse")
    with pytest.raises(ParameterError, match=r"no row has true; .* YAML reads yes and no as true"):
        load("table", path=path, label="bought", positive="true")


def test_who_gives_a_label_of_words_alone_learns_how_to_map_them(path):
    with pytest.raises(
        ParameterError, match=r"bought is 'no', not 0 or 1, true or false.* positive or thre"
    ):
        load("table", path=path, label="bought")


def test_a_rating_that_is_no_number_is_a_rejected_row(path):
    path.write_text(path.read_text() + "1,2024-01-01,yes,many\n2,2024-01-01,no,\n")
    data = load("table", path=path, label="stars", threshold=4)
    assert len(data) == ROWS
    assert "2 rows rejected: line 402: stars is 'many', not a number; line 403: " in "".join(
        data.notes
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"label": "stars", "threshold": 4}, {"label": "stars", "threshold": 5}),
        (WORDS, WORDS | {"positive": "no"}),
        (WORDS | {"split_by": "ts"}, WORDS | {"split_by": "stars"}),
    ],
    ids=["threshold", "positive", "split_by"],
)
def test_one_file_labelled_or_split_in_two_ways_is_two_data_sets(path, first, second):
    one, other = (load("table", path=path, categorical="shop", **way) for way in (first, second))
    assert one.fingerprint != other.fingerprint


# --- times ----------------------------------------------------------------------------------------


def test_a_timestamp_gives_its_hour_and_its_weekday(frame, path):
    data = load("table", path=path, label="stars", threshold=4, times="ts", min_count=1)
    assert [field.name for field in data.fields] == ["shop", "ts hour", "ts weekday", "bought"]
    assert decoded(data, "ts hour") == [str(hour) for hour in frame["ts"].dt.hour]
    assert decoded(data, "ts weekday") == [*frame["ts"].dt.day_name()]


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("2024-02-29", "2024-02-29T00:00"),
        ("2024-02-29 13:05:07.25", "2024-02-29T13:05:07.250"),
        ("2024-02-29T13:05:07+02:00", "2024-02-29T11:05:07"),
        ("2024-02-29T13:05:07Z", "2024-02-29T13:05:07"),
        ("1709211907", "2024-02-29T13:05:07"),
        ("1709211907.0", "2024-02-29T13:05:07"),
        ("1709211907250", "2024-02-29T13:05:07.250"),
        ("1709211907250000", "2024-02-29T13:05:07.250"),
        ("1709211907250000000", "2024-02-29T13:05:07.250"),
        ("1.709211907e+09", "2024-02-29T13:05:07"),
        ("1.7092119072500001e+18", "2024-02-29T13:05:07.250"),
        ("1.5e+6", None),
        ("20240229", None),  # which would be a day in August 1970
        ("20240229130507", None),
        ("9999-12-31", "9999-12-31T00:00"),
        ("0001-01-01T05:00", "0001-01-01T05:00"),
        ("2024-02-30", None),
        ("noon", None),
        ("7", None),
        ("", None),
    ],
)
def test_what_a_time_is(text, then):
    (seconds,) = moments(pa.array([text]))
    if then is None:
        assert np.isnan(seconds)
    else:
        utc = datetime.datetime.fromisoformat(then).replace(tzinfo=datetime.UTC)
        assert seconds == pytest.approx(utc.timestamp(), abs=1e-6)  # 2**8 ns in float64


def test_what_is_no_time_is_a_rejected_row_and_a_blank_a_value(path):
    path.write_text(path.read_text() + "1,noon,yes,4\n2,,no,1\n")
    data = load("table", path=path, label="stars", threshold=4, times="ts", min_count=1)
    assert "1 row rejected: line 402: ts is 'noon', not a time" in data.notes[-1]
    assert decoded(data, "ts hour")[-1] == decoded(data, "ts weekday")[-1] == ""


@pytest.mark.parametrize("missing", ["NULL", "NaT", "None"])
def test_what_tools_write_for_a_missing_time_is_a_blank(frame, path, missing):
    frame.assign(ts=frame["ts"].astype(str).where(frame.index > 9, missing)).to_csv(path)
    options = {"path": path, "label": "stars", "threshold": 4}
    assert decoded(load("table", **options, times="ts", min_count=1), "ts hour")[:10] == [""] * 10
    assert any(note.startswith("timestamps: ts") for note in load("table", **options).notes)


def test_a_column_of_timestamps_that_was_taken_for_a_field_is_told(path):
    data = load("table", path=path, label="stars", threshold=4)
    assert data.notes[1].startswith("timestamps: ts; as times they give the hour")


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_seconds_since_1970_beside_a_blank_are_times_in_every_unit(frame, unit):
    since = frame["ts"].astype("datetime64[s]").astype(int) * unit
    since = since.astype(float).where(since.index > 0)
    data = load("table", frame=frame.assign(ts=since), **WORDS, times="ts", min_count=1)
    assert decoded(data, "ts hour") == ["", *(str(hour) for hour in frame["ts"].dt.hour[1:])]


def test_dates_that_nanoseconds_do_not_reach_are_read(frame, path):
    frame.assign(ts="9999-12-31 07:00").to_csv(path, index=False)
    data = load("table", path=path, label="stars", threshold=4, times="ts", min_count=1)
    assert {*decoded(data, "ts hour"), *decoded(data, "ts weekday")} == {"7", "Friday"}


def test_a_fine_fraction_beside_a_late_date_costs_neither():
    late, fine = moments(pa.array(["9999-12-31", "2024-01-01T00:00:00.123456789"]))
    assert late > 2.5e11 and fine == pytest.approx(1_704_067_200.123456, abs=1e-6)


def test_blanks_behind_commas_cost_no_label(path):
    path.write_text("u, y\n" + "".join(f"u{i % 5}, {i % 2}\n" for i in range(300)))
    data = load("table", path=path, label="y", min_count=1)
    assert data.labels.tolist() == [i % 2 for i in range(300)]


def test_codes_that_look_like_months_are_not_told_as_timestamps(frame, path):
    codes = [f"{7000 + i % 50}-{10 + i % 3}" for i in range(ROWS)]
    frame.assign(ts=codes).to_csv(path, index=False)
    data = load("table", path=path, label="stars", threshold=4)
    assert not any("timestamps" in note for note in data.notes)


# --- splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["time", "seconds"])
def test_the_last_rows_in_time_test_and_those_before_them_validate(frame, tmp_path, written):
    if written == "seconds":
        frame["ts"] = frame["ts"].astype("datetime64[s]").astype(int)
    path = tmp_path / "visits.parquet"
    frame.to_parquet(path)
    data = load("table", path=path, label="stars", threshold=4, split_by="ts")
    order = np.argsort(frame["ts"].to_numpy())
    train, valid, test = (part.numpy() for part in data.split)
    assert np.array_equal(train, order[:320])
    assert set(valid) == set(order[320:360]) and set(test) == set(order[360:])
    assert "ts" not in [field.name for field in data.fields]  # no such value comes again


@pytest.mark.parametrize("way", ["int64", "text"])
def test_whole_numbers_too_large_for_floats_split_exactly(frame, tmp_path, way):
    frame["ts"] = 2**60 + np.random.default_rng(1).permutation(ROWS)
    order = np.argsort(frame["ts"].to_numpy())
    frame["ts"] = frame["ts"].astype("int64" if way == "int64" else str)
    data = load("table", frame=frame, label="stars", threshold=4, split_by="ts")
    parts = [set(part.tolist()) for part in data.split]
    assert parts == [set(part) for part in np.split(order, [320, 360])]


def test_values_are_counted_on_the_rows_that_train_also_in_time(frame, path):
    options = {"label": "stars", "threshold": 4, "split_by": "ts"}
    frame.loc[frame["ts"].argsort()[-80:], "shop"] = 99
    frame.to_csv(path, index=False)
    data = load("table", path=path, **options)
    assert "99" not in data.fields[0].values.to_pylist()
    assert (data.ids[data.split[2].numpy(), 0] == 0).all()  # the rare bucket
    everywhere = load("table", path=path, **options, vocabulary="all")
    assert "99" in everywhere.fields[0].values.to_pylist()


def test_a_rare_bucket_that_nothing_trains_and_others_need_is_told(frame, path):
    frame.loc[frame["ts"].argsort()[-20:], "shop"] = 99
    frame.loc[frame["ts"].argsort()[:3], "shop"] = 98
    frame.to_csv(path, index=False)
    options = {"label": "stars", "threshold": 4, "split_by": "ts", "drop": "bought"}
    data = load("table", path=path, **options, min_count=1)
    told = (
        "no training row is in the rare bucket of shop, where up to 25.0% of the others are: "
        "nothing trains its vector; a min_count above 1 puts rare values there"
    )
    assert data.notes == ("guessed categorical: shop", told)
    for remedy in ({"min_count": 4}, {"min_count": 1, "vocabulary": "all"}):
        assert not any(
            "rare bucket" in n for n in load("table", path=path, **options | remedy).notes
        )


def test_rows_of_numbers_and_times_cannot_be_split_by_both(frame, path):
    frame["ts"] = frame["ts"].astype(str)
    frame.loc[:50, "ts"] = "17"
    frame.to_csv(path, index=False)
    with pytest.raises(ParameterError, match="a column that holds numbers and times; either is"):
        load("table", path=path, label="stars", threshold=4, split_by="ts")


def test_a_column_that_is_the_same_in_all_rows_splits_nothing(frame, path):
    frame.assign(ts=3).to_csv(path, index=False)
    with pytest.raises(ParameterError, match="split_by is 'ts', a column that is the same in all"):
        load("table", path=path, label="stars", threshold=4, split_by="ts")


def test_rows_that_are_alike_in_what_splits_them_stay_as_they_lie(frame, path):
    data = load("table", path=path, **WORDS, split_by="stars")
    order = np.argsort(frame["stars"].to_numpy(), kind="stable")
    parts = [set(part.tolist()) for part in data.split]
    assert parts == [set(part) for part in np.split(order, [320, 360])]
    assert np.array_equal(data.split[0], order[:320])


def test_a_field_that_the_rows_before_lack_the_values_of_is_told(frame, path):
    """Whatever rows values are counted on: they would lie in the rare bucket, unseen."""
    later = frame["ts"].argsort().to_numpy()[-60:]
    frame.loc[later, "shop"] += 100
    frame.to_csv(path, index=False)
    told = "no training row has the value of shop that 75% of the others have"
    for vocabulary in ("all", "train"):
        options = {"label": "stars", "threshold": 4, "vocabulary": vocabulary, "drop": "bought"}
        assert told in load("table", path=path, **options, split_by="ts").notes
        assert told not in load("table", path=path, **options).notes


# --- columns --------------------------------------------------------------------------------------


def test_lists_are_refused_by_name_with_the_way_to_drop_them(frame, tmp_path):
    lists = frame.assign(tags=[["a", "b"]] * ROWS, seen=[[1]] * ROWS)
    lists.to_parquet(tmp_path / "visits.parquet")
    options = {"path": tmp_path / "visits.parquet", "label": "stars", "threshold": 4}
    with pytest.raises(ParameterError, match=r"tags is of type list.*, seen.*drop='tags,seen'"):
        load("table", **options)
    data = load("table", **options, drop="tags,seen")
    assert [field.name for field in data.fields] == ["shop", "ts", "bought"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"drop": "shpo"},
            "it has no column 'shpo'; its columns are 'shop', 'ts', 'bought', 'stars'",
        ),
        ({"drop": "stars"}, "column 'stars' is given twice"),
        ({"times": "ts", "numeric": "ts"}, "column 'ts' is given twice"),
        ({"split_by": "time"}, "it has no column 'time'"),
    ],
)
def test_columns_that_cannot_be_are_refused(path, options, message):
    with pytest.raises(ParameterError, match=message):
        load("table", path=path, label="stars", threshold=4, **options)


def test_min_count_is_the_fewest_rows_that_give_a_value_an_id(frame, path):
    counts = frame["shop"].value_counts()
    options = {"path": path, "label": "stars", "threshold": 4, "categorical": "shop"}
    for least in (1, int(counts.median())):
        data = load("table", **options, min_count=least)
        assert data.cardinalities == [(counts >= least).sum() + 1]


def test_blanks_around_what_one_names_are_no_matter_in_a_header_and_stay_in_a_value(tmp_path):
    """As in UCI's Adult."""
    path = tmp_path / "adult.csv"
    path.write_text("age, job, income\n" + "39, clerk, <=50K\n50, boss, >50K\n" * 20)
    for positive in (" >50K", [" >50K"]):
        data = load("table", path=path, label="income", positive=positive, categorical="age,job")
        assert data.labels.tolist() == [0, 1] * 20
        assert [field.name for field in data.fields] == ["age", " job"]
    exact = load("table", path=path, label=" income", positive=" >50K", drop=["age"], numeric=[])
    assert [field.name for field in exact.fields] == [" job"]


def test_columns_that_are_numbers_may_be_named_by_them():
    frame = pd.DataFrame({0: [0, 1] * 20, 1: range(40), 2: ["a", "b"] * 20})
    data = load("table", frame=frame, label=0, split_by=1, categorical=[2])
    assert data.labels.tolist() == [0, 1] * 20
    with pytest.raises(ParameterError, match="it has no column '5'; its columns are '0', '1', '2'"):
        load("table", frame=frame, label=5)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_what_is_dropped_from_a_frame_may_be_of_no_type(frame, library):
    frames = pytest.importorskip(library)
    visits = frame[["shop", "stars"]].astype(int)
    columns = {name: list(visits[name]) for name in visits}
    mixed = {"seen": [object(), "soon", 1, 2.5] * (ROWS // 4)}
    of = {"label": "stars", "threshold": 4, "progress": False}
    for given in (frames.DataFrame(columns | mixed), frames.DataFrame(mixed | columns)):
        data = load("table", frame=given, drop=" seen", **of)
        assert np.array_equal(data.ids, load("table", frame=visits, **of).ids)
        with pytest.raises(ParameterError, match="columns of one type each, is accepted, and drop"):
            load("table", frame=given, **of)


# --- frames ---------------------------------------------------------------------------------------


def test_a_frame_is_a_table_like_the_file_it_is_written_to(frame, tmp_path):
    frame.to_parquet(tmp_path / "visits.parquet")
    options = {"label": "bought", "positive": "yes", "times": "ts", "split_by": "ts"}
    ours = load("table", frame=frame, **options)
    file = load("table", path=tmp_path / "visits.parquet", **options)
    assert np.array_equal(ours.ids, file.ids) and np.array_equal(ours.labels, file.labels)
    assert ours.fields == file.fields
    assert ours.spec.path is None and len(ours.spec.content) == 64


def test_a_frames_content_is_in_its_spec(frame):
    of = {"label": "stars", "threshold": 4}
    spec = describe("table", frame=frame, **of)
    assert describe("table", frame=frame.copy(), **of) == spec
    assert describe("table", frame=pa.Table.from_pandas(frame), **of) == spec
    assert describe("table", frame=frame.set_axis([7] * ROWS), **of) == spec
    changed = frame.copy()
    changed.loc[7, "shop"] += 1
    assert describe("table", frame=changed, **of) != spec
    assert np.array_equal(load_spec(spec, frame=frame).ids, load("table", frame=frame, **of).ids)
    with pytest.raises(ParameterError, match="a frame is given, which holds other data than when"):
        load_spec(spec, frame=changed)
    with pytest.raises(ParameterError, match="path is not given; the dataset 'table' needs label"):
        load_spec(spec)


def test_a_frame_of_polars_is_that_of_pandas(frame):
    polars = pytest.importorskip("polars")
    of = {"label": "bought", "positive": "yes", "times": "ts"}
    theirs = polars.DataFrame({name: frame[name].to_numpy() for name in ("shop", "stars", "ts")})
    theirs = theirs.with_columns(bought=polars.Series([*frame["bought"]], dtype=polars.Categorical))
    ours = load("table", frame=frame[["shop", "stars", "ts", "bought"]], **of)
    data = load("table", frame=theirs, **of)
    assert np.array_equal(ours.ids, data.ids) and np.array_equal(ours.labels, data.labels)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"frame": 3}, "frame is a builtins int; a DataFrame of pandas or polars, with columns of"),
        ({"frame": pd.DataFrame({"y": [0, "a", None]})}, "pandas DataFrame; a DataFrame of pandas"),
        ({"frame": pd.DataFrame({"y": []})}, "frame is a pandas DataFrame without rows; 10 are"),
        ({"frame": pd.DataFrame({"y": [1]}), "path": "a.csv"}, "in place of a path"),
    ],
)
def test_what_is_no_frame_is_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        load("table", label="y", **given)
