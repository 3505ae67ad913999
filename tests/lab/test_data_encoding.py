"""What a table becomes: the paper's ids, and ids that can be turned back into values."""

import gzip
import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedding_collapse.lab.contrast import _delong
from embedding_collapse.lab.data import Dataset, delimited, encoding, load
from embedding_collapse.lab.data.dataset import split_rows
from embedding_collapse.lab.metrics import grouped, placements
from embedding_collapse.parameters import ParameterError

DATA = Path(__file__).parents[1] / "data"
FORMATS = {"criteo": "criteo_format.txt.gz", "avazu": "avazu_format.csv.gz"}


@pytest.fixture(scope="module", params=FORMATS)
def encoded(request, tmp_path_factory) -> tuple[Dataset, dict[str, np.ndarray]]:
    """A file in Kaggle's format as we read it, and what the official code makes of it."""
    name = request.param
    expected = np.load(DATA / f"{name}_format_expected.npz")
    return load(name, path=DATA / FORMATS[name], cache=tmp_path_factory.mktemp("cache")), expected


@pytest.fixture
def read(tmp_path):
    """Loads a table from the text of its file."""

    def load_text(text: str | bytes, name: str = "table", **options) -> Dataset:
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        options = {"label": "y"} | options if name == "table" else options
        return load(name, path=path, cache=tmp_path / "cache", progress=False, **options)

    return load_text


def numbered_by_first_row(column: np.ndarray) -> np.ndarray:
    """Ids in the order of their first row; the rare bucket is -1."""
    numbers = {0: -1}
    return np.array([numbers.setdefault(int(i), len(numbers) - 1) for i in column])


# --- the paper's preprocessing --------------------------------------------------------------------


def test_cardinalities_are_the_official_field_dims(encoded):
    data, expected = encoded
    assert data.cardinalities == expected["field_dims"].tolist()


def test_labels_are_the_official_ones(encoded):
    data, expected = encoded
    assert np.array_equal(data.labels, expected["label"])


def test_ids_partition_the_rows_as_the_official_ones_do(encoded):
    data, expected = encoded
    for ours, theirs in zip(data.ids.T, expected["ids"].T, strict=True):
        assert np.array_equal(numbered_by_first_row(ours), theirs)


def test_rows_of_too_few_columns_are_told_with_their_lines(encoded):
    data, _ = encoded
    told = {
        "criteo": "3 rows rejected: line 8: 39 columns, 40 are needed; "
        "line 1501: 39 columns, 40 are needed; line 3000: 39 columns, 40 are needed",
        "avazu": "1 row rejected: line 12: 22 columns, 24 are needed",
    }
    assert data.notes == (told[data.name],)
    assert data.facts["rejected_share"] == {"criteo": 3, "avazu": 1}[data.name] / 3000


def test_every_id_decodes_to_the_value_in_the_file(encoded):
    data, _ = encoded
    separator, first = ("\t", 1) if data.name == "criteo" else (",", 2)
    lines = gzip.decompress((DATA / FORMATS[data.name]).read_bytes()).decode().splitlines()
    rows = [line.split(separator)[first:] for line in lines[data.name == "avazu" :]]
    rows = [row for row in rows if len(row) == len(data.fields)]
    for i, field in enumerate(data.fields):
        values = [field.decode(number) for number in range(field.cardinality)]
        for row, number in zip(rows, data.ids[:, i], strict=True):
            value = values[number]
            if value is None:
                assert sum(other[i] == row[i] for other in rows) < 10
            elif " to " in value:
                low, high = map(int, value.split(" to "))
                assert low <= int(row[i]) <= high
            else:
                assert value == row[i]


def test_neither_workers_nor_the_size_of_blocks_change_the_ids(tmp_path, monkeypatch):
    path = DATA / FORMATS["criteo"]
    whole = load("criteo", path=path, cache=tmp_path / "1", workers=1)
    monkeypatch.setattr(delimited, "BLOCK", 5000)
    pieces = load("criteo", path=path, cache=tmp_path / "3", workers=3)
    assert np.array_equal(whole.ids, pieces.ids)
    assert np.array_equal(whole.labels, pieces.labels)
    assert whole.notes == pieces.notes
    assert all(a.values.equals(b.values) for a, b in zip(whole.fields, pieces.fields, strict=True))


def test_the_fewest_rows_are_ten_on_criteo_and_four_on_avazu(encoded):
    data, _ = encoded
    least = [np.bincount(column)[1:].min() for column in data.ids.T]
    assert min(least) >= {"criteo": 10, "avazu": 4}[data.name]


# --- choices --------------------------------------------------------------------------------------


def test_a_vocabulary_of_the_training_rows_knows_values_by_them_alone(read):
    rows = 200
    train = np.zeros(rows, bool)
    train[split_rows(rows)[0]] = True
    late = np.cumsum(~train) <= 15  # a value of 15 rows, none of which train
    token = np.where(late & ~train, "unseen", "common")
    text = "y,token\n" + "".join(f"{i % 2},{token[i]}\n" for i in range(rows))
    everything, trained = (read(text, vocabulary=v) for v in ("all", "train"))
    assert everything.cardinalities == [3]
    assert trained.cardinalities == [2]
    assert (trained.ids[token == "unseen"] == 0).all()
    assert everything.fingerprint != trained.fingerprint


def test_rows_are_the_first_that_can_be_used(tmp_path, monkeypatch):
    path = DATA / FORMATS["criteo"]
    monkeypatch.setattr(delimited, "BLOCK", 5000)
    whole, some = (load("criteo", rows, path=path, cache=tmp_path) for rows in (None, 1600))
    assert np.array_equal(some.labels, whole.labels[:1600])
    assert some.notes[0].count("line") == 2  # the third rejected row comes later


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("change", ["grows", "is replaced", "goes"])
def test_a_file_that_changes_between_its_hash_and_its_end_is_refused(
    tmp_path, monkeypatch, kind, change
):
    """Else the rows that are there now would be kept under the hash of those before."""
    frame = pd.DataFrame({"y": [0, 1] * 50, "shop": [*"abcde"] * 20})
    cache, path = tmp_path / "cache", tmp_path / f"own.{kind}"
    write = {"csv": partial(pd.DataFrame.to_csv, index=False), "parquet": pd.DataFrame.to_parquet}
    write[kind](frame, path)
    whole, read = path.read_bytes(), encoding.read_rows

    def meddled(*arguments):
        done = read(*arguments)
        if change == "goes":
            path.unlink()
        else:
            path.write_bytes(whole + b"1,e\n" if change == "grows" else whole)
            os.utime(path, ns=(0, 0))  # both may fall into one tick of the clock
        return done

    monkeypatch.setattr(encoding, "read_rows", meddled)
    with pytest.raises(ParameterError, match=rf"own.{kind} changed while it was read; a file that"):
        load("table", path=path, label="y", cache=cache, progress=False)
    assert [left.name for left in cache.iterdir()] == ["locks"]
    monkeypatch.undo()
    write[kind](frame, path)
    assert len(load("table", path=path, label="y", cache=cache, progress=False)) == 100


def test_more_rows_than_there_are_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rows is 3000; '.*' has 2997 rows, and 10 to 2997"):
        load("criteo", 3000, path=DATA / FORMATS["criteo"], cache=tmp_path)


def test_columns_with_fractions_are_guessed_numeric_and_the_guess_is_told(read, caplog):
    text = "id,price,y\n" + "".join(f"{i % 3},{i / 4},{i % 2}\n" for i in range(100))
    data = read(text)
    assert data.notes[0] == "guessed categorical: id; numeric: price"
    assert data.notes[0] in caplog.text
    assert data.fields[1].cardinality == 1  # 32 bins of three rows are rare, each of them
    assert data.notes[1] == "no value is frequent enough for an id of its own: price"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_index_that_pandas_wrote_is_no_field_and_told(tmp_path, kind):
    path = tmp_path / f"own.{kind}"
    frame = pd.DataFrame({"site": list("ab") * 50, "y": [0, 0, 1, 1] * 25}, index=range(9, 109))
    if kind == "csv":
        frame.to_csv(path)
        told = "index, left out: the column without a name"
    else:
        frame.set_index([[5] * 100]).to_parquet(path)
        told = "index, left out: __index_level_0__"
    data = load("table", path=path, label="y", cache=tmp_path)
    assert [field.name for field in data.fields] == ["site"]
    assert data.notes == (f"guessed categorical: site; {told}",)


def test_numbers_go_into_bins_of_about_equal_size(read):
    numbers = np.random.default_rng(0).lognormal(size=3200)
    text = "price,y\n" + "".join(f"{n:.6f},{i % 2}\n" for i, n in enumerate(numbers))
    field = (data := read(text, numeric="price")).fields[0]
    assert field.cardinality == 33
    assert set(np.bincount(data.ids[:, 0])[1:]) == {100}
    assert (np.diff(data.ids[np.argsort(numbers), 0]) >= 0).all()
    for number, id_ in zip(numbers[:50], data.ids[:50, 0], strict=True):
        low, high = map(float, field.decode(id_).split(" to "))
        assert low <= round(number, 6) <= high


def test_only_the_columns_asked_for_are_fields(read):
    text = "a,b,c,y\n" + "1,2,3,0\n4,5,6,1\n" * 50
    data = read(text, categorical="c", numeric=["a"])
    assert [field.name for field in data.fields] == ["a", "c"]
    assert data.notes == ("left out, since columns are named: b",)
    assert read(text, categorical="c", numeric=["a"], drop="b").notes == ()


@pytest.mark.parametrize(
    "frame",
    [
        {"x": pd.array([1, 2, None, 4] * 25, dtype="Int64")},
        {"x": [1.0, 2.0, np.nan, 4.0] * 25},
        {"x": ["1", "2", "", "4"] * 25},
        {"x": ["1", "2", None, "4"] * 25},
        {"x": pd.Categorical(["1", "2", None, "4"] * 25)},
    ],
    ids=["integers", "floats", "text", "text with nulls", "categories"],
)
def test_parquet_says_the_same_in_every_type(tmp_path, frame):
    path = tmp_path / "own.parquet"
    pd.DataFrame(frame | {"y": [False, True] * 50}).to_parquet(path)
    data = load("table", path=path, label="y", categorical=["x"], cache=tmp_path)
    assert [data.fields[0].decode(i) for i in range(1, 5)] == ["1", "2", "", "4"]
    assert data.ids[:4, 0].tolist() == [1, 2, 3, 4]
    assert data.labels[:4].tolist() == [0, 1, 0, 1]


def test_more_text_than_arrow_keeps_is_refused_by_the_field_that_has_most(read, monkeypatch):
    rows = "".join(f"{i % 2},{i % 4},a long text {i % 5}\n" for i in range(100))
    data = read(f"y,shop,note\n{rows}")
    monkeypatch.setattr(encoding, "MOST_TEXT", 69)  # bytes: 4 shops have one each, 5 notes 13
    told = r"take 69 bytes of text, 65 of them note's; 68 are accepted: drop='note' leaves it out"
    assert np.array_equal(read(f"y,shop,note\n{rows}", rows=90).ids, data.ids[:90])
    monkeypatch.setattr(encoding, "MOST_TEXT", 68)
    with pytest.raises(ParameterError, match=told):
        read(f"y,shop,note\n{rows}", rows=80)


def test_text_quotes_and_types_of_a_table_survive(read):
    rows = ['"a,b",0', '"line\nend",1', '"say ""so""",0', "plain,1"] * 15
    data = read("x,y\n" + "\n".join(rows), categorical="x")
    said = [data.fields[0].decode(i) for i in range(1, 5)]
    assert said == ["a,b", "line\nend", 'say "so"', "plain"]


# --- the order of the rows that are held out ------------------------------------------------------


def ways_to_hold_out(frame: pd.DataFrame) -> list[dict]:
    """Of a table that lies in the order of its column `number`: by it, and in three parts."""
    parts = np.split(np.arange(len(frame)), [8 * len(frame) // 10, 9 * len(frame) // 10])
    given = {
        name: frame.iloc[rows]
        for name, rows in zip(("train", "validation", "test"), parts, strict=True)
    }
    return [{"frame": frame, "split_by": "number"}, {"frame": given, "split": "given"}]


@pytest.mark.parametrize("way", [0, 1], ids=["by a column", "given"])
def test_parts_of_test_rows_differ_by_chance_alone_where_a_table_is_sorted(tmp_path, way):
    """Their variance is that of the rows, which an interval rests on."""
    generator = np.random.default_rng(0)
    rows = 60_000
    user = np.arange(rows) // 300  # a user's rows lie side by side
    rate = generator.uniform(0.2, 0.8, user.max() + 1)[user]
    label = (generator.random(rows) < rate).astype(int)
    frame = pd.DataFrame({"number": np.arange(rows), "user": user, "y": label})
    options = {"label": "y", "categorical": "user", "cache": tmp_path, "progress": False}
    data = load("table", **ways_to_hold_out(frame)[way], **options)
    train, valid, test = (part.numpy() for part in data.split)
    assert np.array_equal(train, np.arange(48_000))
    assert set(valid) == set(range(48_000, 54_000)) and set(test) == set(range(54_000, rows))
    scores = torch.from_numpy(rate + 0.3 * generator.normal(size=rows))[test]
    stand = placements(scores, torch.from_numpy(data.labels)[test])
    assert _delong(grouped(stand)) == pytest.approx(_delong(stand), rel=0.2)


def test_the_order_is_the_same_on_every_machine(tmp_path):
    frame = pd.DataFrame({"number": range(100), "shop": [*range(5)] * 20, "y": [0, 1] * 50})
    for way in ways_to_hold_out(frame):
        data = load("table", **way, label="y", cache=tmp_path, progress=False)
        assert data.split[2].tolist() == [91, 92, 97, 98, 93, 90, 96, 99, 94, 95]


def test_rows_in_an_order_of_earlier_versions_are_other_data(tmp_path):
    """And those held out at random, whose order has not changed, are the same data as ever."""
    text = "y,shop,ts\n" + "".join(f"{i % 2},{i % 7},{i * 7919 % 10007}\n" for i in range(400))
    (tmp_path / "parts").mkdir()
    for name in ("table", "parts/train", "parts/valid", "parts/test"):
        (tmp_path / f"{name}.csv").write_text(text)
    options = {"label": "y", "vocabulary": "all", "cache": tmp_path, "progress": False}
    file = tmp_path / "table.csv"
    at_random, by_time = (load("table", path=file, split_by=by, **options) for by in ("", "ts"))
    given = load("table", path=tmp_path / "parts", split="given", **options)
    assert at_random.fingerprint.startswith("fe3556a7fd9b")
    assert not by_time.fingerprint.startswith("3ec7d16d178c")
    assert not given.fingerprint.startswith("92c8432c75d7")


# --- encode, then decode --------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.lists(st.tuples(words, st.integers(-(10**17), 10**17)), min_size=2, max_size=8),
    blocks=st.sampled_from([64, 1000, 1 << 20]),
)
def test_decoding_what_was_encoded_gives_the_table_back(tmp_path_factory, values, blocks):
    """Whatever the text: delimiters, quotes, line ends, other alphabets."""
    folder = tmp_path_factory.mktemp("any")
    frame = pd.DataFrame(values * 30, columns=["word", "number"])
    frame["y"] = np.arange(len(frame)) // 3 % 2
    frame.to_csv(folder / "any.csv", index=False, lineterminator="\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", blocks)
        options = {"path": folder / "any.csv", "label": "y", "categorical": "word,number"}
        data = load("table", cache=folder, progress=False, **options)
    for i, name in enumerate(("word", "number")):
        decoded = [data.fields[i].decode(number) for number in data.ids[:, i]]
        assert decoded == frame[name].astype(str).tolist()
