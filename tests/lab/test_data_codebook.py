"""Rows that a dataset never held have the ids that it would have given them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from embedding_collapse.lab.data import Dataset, load
from embedding_collapse.lab.data.bins import Bins
from embedding_collapse.lab.data.codebook import Codebook
from embedding_collapse.lab.data.entry import Entry, read_bins, written_bins
from embedding_collapse.lab.data.sources import CRITEO
from embedding_collapse.parameters import ParameterError

pytestmark = pytest.mark.usefixtures("own_cache")

ROWS = 600
MIXED = {"bought": [object(), "soon", 1] * 200}  # of no type that Arrow has
CRITEO_FILE = Path(__file__).parents[1] / "data" / "criteo_format.txt.gz"


@pytest.fixture
def frame() -> pd.DataFrame:
    """Visits with fields of every kind of a table, blanks and rare values among them."""
    numbers = np.random.default_rng(0)
    minutes = np.round(numbers.lognormal(2, 1, ROWS), 2)
    minutes[numbers.random(ROWS) < 0.2] = 0.0
    minutes[numbers.random(ROWS) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "shop": numbers.geometric(0.1, ROWS),
            "town": numbers.choice(["Ulm", "Bonn", ""], ROWS),
            "minutes": minutes,
            "ts": pd.Timestamp("2024-01-01") + pd.to_timedelta(numbers.permutation(ROWS), unit="h"),
            "bought": numbers.integers(0, 2, ROWS),
        }
    )


def read(frame: pd.DataFrame, **options) -> Dataset:
    return load("table", frame=frame, label="bought", times="ts", progress=False, **options)


@pytest.mark.parametrize("options", [{}, {"vocabulary": "train"}, {"min_count": 1}, {"rows": 300}])
def test_the_rows_of_a_dataset_have_its_ids(frame, options):
    data = read(frame, **options)
    assert np.array_equal(data.codebook.number(frame)[: len(data)], data.ids)


def test_a_codebook_read_again_gives_the_same_ids(frame):
    data = read(frame)
    again = Codebook.read(json.loads(json.dumps(data.codebook.written(), allow_nan=False)))
    assert again.fingerprint == data.fingerprint
    assert np.array_equal(again.number(frame), data.ids)


def test_bins_that_begin_anywhere_are_written_to_the_last_bit():
    starts = np.array([-np.inf, -1e-310, 0.1 + 0.2, np.inf])
    bins = read_bins(json.loads(json.dumps(written_bins(Bins(starts, np.arange(5))))))
    assert np.array_equal(bins.starts, starts) and bins.ids.tolist() == [0, 1, 2, 3, 4]


def test_parts_that_are_held_out_have_the_ids_of_a_dataset_that_holds_them(frame):
    """Its values are counted on the training rows alone, as if the others were new."""
    parts = {"train": frame[:400], "valid": frame[400:500], "test": frame[500:]}
    data = load("table", frame=parts, label="bought", times="ts", split="given", vocabulary="train")
    assert np.array_equal(data.codebook.number(parts["test"]), data.ids[500:])


def test_whole_numbers_and_tokens_of_criteo_have_the_papers_ids():
    data = load("criteo", path=CRITEO_FILE)
    lines = gzip.decompress(CRITEO_FILE.read_bytes()).decode().splitlines()
    rows = [row for row in (line.split("\t") for line in lines) if len(row) == 40]
    rows = pd.DataFrame(rows, columns=["label", *CRITEO])
    assert np.array_equal(data.codebook.number(rows), data.ids)


@pytest.mark.parametrize("first", [0, 1])
def test_the_text_of_criteo_has_no_header_with_the_label_and_without(tmp_path, first):
    data = load("criteo", path=CRITEO_FILE)
    lines = gzip.decompress(CRITEO_FILE.read_bytes()).decode().splitlines()
    rows = [row[first:] for row in (line.split("\t") for line in lines) if len(row) == 40]
    (tmp_path / "test.txt").write_text("\n".join(map("\t".join, rows)))
    assert np.array_equal(data.codebook.number(tmp_path / "test.txt"), data.ids)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_that_are_not_fields_are_not_read(frame, library):
    data = read(frame)
    frames = pytest.importorskip(library)
    rows = frames.DataFrame({name: list(frame[name]) for name in frame.columns[:-1]} | MIXED)
    assert np.array_equal(data.codebook.number(rows), data.ids)


def test_columns_that_are_no_fields_may_share_a_name_with_each_other_or_the_index(frame):
    data = read(frame)
    indexed = frame.assign(visit=range(len(frame))).set_index("visit", drop=False)
    twice = frame.assign(note=1, remark=2).rename(columns={"remark": "note"})
    for rows in (indexed, twice):
        assert np.array_equal(data.codebook.number(rows), data.ids)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_in_a_file_columns_may_share_a_name_but_those_of_fields(frame, tmp_path, suffix):
    data, path = read(frame), tmp_path / f"rows{suffix}"

    def write(name: str) -> None:
        """The rows and two columns of that name."""
        rows = pa.Table.from_pandas(frame)
        for _ in range(2):
            rows = rows.append_column(name, rows.column(0))
        if suffix == ".csv":
            rows.to_pandas().to_csv(path, index=False)
        else:
            pyarrow.parquet.write_table(rows, path)

    write("note")
    assert np.array_equal(data.codebook.number(path), data.ids)
    write("shop")
    with pytest.raises(ParameterError, match="several of its columns are named 'shop'"):
        data.codebook.number(path)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_missing_column_is_told_beside_others_of_no_type(frame, library):
    frames = pytest.importorskip(library)
    rows = frames.DataFrame({name: list(frame[name]) for name in ("shop", "ts")} | MIXED)
    told = "it has no column 'town', 'minutes'; its columns are 'shop', 'ts', 'bought'"
    with pytest.raises(ParameterError, match=told):
        read(frame).codebook.number(rows)


@pytest.mark.parametrize(
    ("trained", "given"), [(" shop", "shop"), ("shop", "shop "), ("a b", "a b")]
)
def test_blanks_around_names_are_no_matter_in_rows_either(frame, tmp_path, trained, given):
    """UCI's Adult has them in its header."""
    visits = frame[["shop", "bought"]].rename(columns={"shop": trained})
    data = load("table", frame=visits, label="bought", progress=False)
    rows = visits.rename(columns={trained: given})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    for one in (rows, tmp_path / "rows.csv"):
        assert np.array_equal(data.codebook.number(one), data.ids)


def test_columns_that_differ_in_blanks_alone_are_none_to_guess_from(frame):
    data = read(frame)
    rows = frame.rename(columns={"shop": " shop"}).assign(**{"shop ": frame["shop"]})
    with pytest.raises(ParameterError, match="' shop', 'shop ' could each be column 'shop'"):
        data.codebook.number(rows)
    assert np.array_equal(data.codebook.number(rows.assign(shop=frame["shop"])), data.ids)


def test_columns_in_another_order_of_other_types_have_the_same_ids(frame, tmp_path):
    data = read(frame)
    other = frame[["ts", "minutes", "bought", "town", "shop"]]
    other = other.astype({"shop": float, "town": "category", "ts": str})
    assert np.array_equal(data.codebook.number(other.drop(columns="bought")), data.ids)
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    for name in ("rows.parquet", "rows.csv"):
        assert np.array_equal(data.codebook.number(tmp_path / name), data.ids)


def test_what_is_new_is_in_the_rare_bucket_and_a_blank_is_a_value(frame):
    data = read(frame)
    shop, town, minutes, *_ = data.fields
    new = pd.DataFrame(
        {
            "shop": [10_000, 1],
            "town": ["Rome", None],
            "minutes": [1e9, np.nan],
            "ts": [frame["ts"][0], pd.NaT],
        }
    )
    ids = data.codebook.number(new)
    assert ids[0, :2].tolist() == [0, 0]
    assert ids[0, 2] == data.ids[:, 2][frame["minutes"] == frame["minutes"].max()][0]
    assert (shop.decode(ids[1, 0]), town.decode(ids[1, 1])) == ("1", "")
    assert minutes.decode(ids[1, 2]) == ""


def test_what_cannot_be_used_counts_as_a_blank_and_is_told(frame, caplog):
    data = read(frame)
    new = frame[:20].astype({"minutes": object})
    new.loc[3, "minutes"] = "soon"
    new["ts"] = new["ts"].astype(str)
    new.loc[[3, 7], "ts"] = "yesterday"
    caplog.clear()
    ids = data.codebook.number(new.astype({"minutes": str}))
    assert data.fields[2].decode(ids[3, 2]) == ""
    assert np.array_equal(np.delete(ids, [3, 7], 0), np.delete(data.ids[:20], [3, 7], 0))
    note, bare = caplog.messages
    assert "2 rows with a value that cannot be used, taken for a blank: row 4: " in note
    assert "row 8: ts is 'yesterday', not a time" in note
    assert "nothing trained the rare bucket of ts hour, ts weekday, where up to 2 rows" in bare


@pytest.mark.parametrize("known", [["3", "true"], ["3.0", "True"], ["3.00", "TRUE"]])
def test_a_value_that_other_tools_spell_otherwise_is_the_same(known):
    entry = categories(known)
    for number, truth in (("3", "true"), ("3.0", "True"), ("3", "TRUE")):
        expected = [1, 2] if known[0] in (number, "3", "3.0") else [0, 2]
        assert entry.number(pa.chunked_array([[number, truth]])).tolist() == expected


def test_a_value_with_a_spelling_of_its_own_keeps_to_it_and_one_between_several_is_new():
    entry = categories(["3", "3.0", "true", "TRUE", "7", "v1", "-5"])
    texts = ["3", "3.0", "3.00", "True", "007", "7.5", "7.0", "V1", "v1.0", "-5.0", "NA", ""]
    ids = entry.number(pa.chunked_array([texts[:5], texts[5:]])).tolist()
    assert ids == [1, 2, 0, 0, 0, 0, 5, 0, 0, 7, 0, 0]


def test_codes_that_lost_their_zeros_are_those_of_training(tmp_path):
    numbers = np.random.default_rng(0)
    codes = numbers.choice(["02139", "00501", "10001", ""], ROWS)
    frame = pd.DataFrame({"zip": codes, "bought": numbers.integers(0, 2, ROWS)})
    data = load("table", frame=frame, label="bought", progress=False)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    for rows in (pd.read_csv(tmp_path / "rows.csv"), frame.replace({"00501": "501"})):
        assert np.array_equal(data.codebook.number(rows), data.ids)


def test_zeros_are_put_before_codes_of_one_width_alone():
    texts = pa.chunked_array([["7", "07", "007", "0007", "v"]])
    for known, ids in ((["007", "120"], [1, 1, 1, 0, 0]), (["007", "99"], [0, 0, 1, 0, 0])):
        assert categories(known).number(texts).tolist() == ids
    assert categories(["007", "v12"]).number(texts).tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("word", ["NA", "None", "null", "n/a"])
def test_a_word_that_pandas_takes_for_a_blank_is_the_value_it_was_in_training(
    tmp_path, caplog, word
):
    numbers = np.random.default_rng(0)
    frame = pd.DataFrame({"area": numbers.choice([word, "EU"], ROWS)})
    frame = frame.assign(shop=1, bought=numbers.integers(0, 2, ROWS))
    file, blank = tmp_path / "visits.csv", frame["area"] == word
    frame.to_csv(file, index=False)
    by_word = load("table", path=file, label="bought", progress=False)
    by_blank = load("table", frame=pd.read_csv(file), label="bought", progress=False)
    for data, rows, text, known in (
        (by_word, pd.read_csv(file), "", word),
        (by_blank, file, word, ""),
    ):
        caplog.clear()
        assert np.array_equal(data.codebook.number(rows), data.ids)
        (note,) = caplog.messages
        assert note.endswith(
            f"{blank.sum()} rows of area with {text!r} taken for {known!r}, the one spelling of a "
            "blank that training had"
        )
    caplog.clear()
    assert np.array_equal(by_word.codebook.number(file), by_word.ids)
    assert caplog.messages == []


def test_a_blank_is_new_where_training_had_several_spellings_of_one_or_none():
    texts = pa.chunked_array([["", "NA", "nan"]])
    assert categories(["NA", "null", "EU"]).number(texts).tolist() == [0, 1, 0]
    assert categories(["EU"]).number(texts).tolist() == [0, 0, 0]


def categories(values: list[str]) -> Entry:
    return Entry("shop", "shop", "categorical", pa.array(values), None, 0.1)


def test_whole_numbers_and_truth_values_with_blanks_are_the_same_in_text_and_frames(tmp_path):
    """A column of whole numbers or truth values that has a blank is none of either in pandas: it
    writes 3.0, and reads 3 as 3.0 and "True" as an object."""
    numbers = np.random.default_rng(0)
    shop, club = numbers.integers(0, 7, ROWS), numbers.random(ROWS) < 0.5
    frame = pd.DataFrame({"shop": shop, "club": club, "bought": numbers.integers(0, 2, ROWS)})
    columns = {"shop": object, "club": object}
    frame = frame.astype(columns)
    frame.loc[shop == 4, list(columns)] = None
    typed = frame.astype({"shop": "Int64", "club": "boolean"})
    floats = frame.astype({"shop": float, "club": object})
    files = {}
    for name, one in {"typed": typed, "floats": floats}.items():
        files[name] = tmp_path / f"{name}.csv"
        one.to_csv(files[name], index=False)
    assert "3.0,True" in files["floats"].read_text()
    by_text = [load("table", path=file, label="bought") for file in files.values()]
    for data in (*by_text, load("table", frame=typed, label="bought")):
        known = data.codebook.number(typed)
        assert (known != 0).all()
        for rows in (floats, pd.read_csv(files["floats"]), *files.values()):
            assert np.array_equal(data.codebook.number(rows), known)


def test_a_column_of_values_that_are_mostly_new_is_told(frame, caplog):
    data = read(frame)
    new = frame["shop"].astype(str)
    new[:380] = "shop " + new[:380]
    caplog.clear()
    ids = data.codebook.number(frame.assign(shop=new))
    share, trained = ((own[:, 0] == 0).mean() for own in (ids, data.ids))
    assert 0 < trained < 0.5 < share
    assert caplog.messages == [
        f"pandas DataFrame: {share:.1%} of the rows have a value of shop that is new or rare, "
        f"{trained:.1%} of those it was trained on"
    ]


def test_a_column_of_which_a_part_is_spelled_otherwise_is_told(tmp_path, caplog):
    """Whoever reads text as numbers loses the zero that ends 8.50."""
    numbers = np.random.default_rng(0)
    price = numbers.choice(["8.50", "9.25", "7.75", "1.99"], ROWS)
    file = tmp_path / "visits.csv"
    pd.DataFrame({"price": price, "bought": numbers.integers(0, 2, ROWS)}).to_csv(file, index=False)
    data = load("table", path=file, label="bought", categorical="price", progress=False)
    caplog.clear()
    ids = data.codebook.number(pd.read_csv(file))
    share = (price == "8.50").mean()
    assert (ids[:, 0] == 0).mean() == share < 0.5
    assert (
        f"{share:.1%} of the rows have a value of price that is new or rare" in caplog.messages[0]
    )


def test_new_rows_of_the_same_kind_are_not_told(caplog):
    """Of them some more are in the bucket than of the training rows: no training row had their
    values."""
    numbers = np.random.default_rng(0)

    def drawn() -> pd.DataFrame:
        columns = {"shop": numbers.zipf(1.3, 5000), "town": numbers.geometric(0.05, 5000)}
        return pd.DataFrame(columns | {"bought": numbers.integers(0, 2, 5000)})

    data = load("table", frame=drawn(), label="bought", progress=False)
    caplog.clear()
    for _ in range(20):
        data.codebook.number(drawn())
        data.codebook.number(drawn()[:7])
    assert caplog.messages == []


def test_blanks_in_a_field_that_had_none_are_told(frame, caplog):
    data = read(frame)
    shop = frame["shop"].astype(object).where(frame.index % 4 > 0, None)
    caplog.clear()
    share = (data.codebook.number(frame.assign(shop=shop))[:, 0] == 0).mean()
    assert caplog.messages == [
        f"pandas DataFrame: {share:.1%} of the rows (150 of them blank) have a value of shop that "
        f"is new or rare, {(data.ids[:, 0] == 0).mean():.1%} of those it was trained on"
    ]


def test_an_empty_line_is_a_row_of_blanks_and_is_told(frame, tmp_path, caplog):
    """Its score has a place of its own, so that the others keep theirs."""
    data = read(frame)
    text = frame[:3].drop(columns="bought").to_csv(index=False)
    (tmp_path / "rows.csv").write_text(f"{text}\n")
    caplog.clear()
    ids = data.codebook.number(tmp_path / "rows.csv")
    assert np.array_equal(ids[:3], data.ids[:3])
    assert len(ids) == 4
    assert {field.decode(id_) for field, id_ in zip(data.fields, ids[3], strict=True)} == {"", None}
    assert caplog.messages[0].endswith("1 row blank in every field, as an empty line is")


def test_blanks_and_a_field_of_rare_values_are_not_told(frame, caplog):
    data = read(frame, min_count=60)
    assert (data.ids[:, 0] == 0).mean() > 0.5  # it is so in training
    caplog.clear()
    data.codebook.number(frame.assign(town=None, minutes=np.nan))
    assert caplog.messages == []


def test_rows_in_a_bucket_that_nothing_trained_are_told(frame, caplog):
    """Of min_count=1 no row that trains is rare, and so is each that is new."""
    data = read(frame, min_count=1)
    new = frame[:50].assign(town=["Rome"] * 3 + ["Ulm"] * 47)
    caplog.clear()
    assert (data.codebook.number(new)[:3, 1] == 0).all()
    assert caplog.messages == [
        "pandas DataFrame: nothing trained the rare bucket of town, where up to 3 rows of 50 are; "
        "a larger min_count in training puts rare values there"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop,town,ts\n", "it has no column 'minutes'; its columns are 'shop', 'town', 'ts'"),
        ("shop,town,minutes,ts\n", "which holds no rows; one is needed"),
        ("shop,town,minutes,ts\n1,Ulm,2.5,\n1,Ulm\n", "line 3 has 2 columns, 4 are needed in each"),
    ],
)
def test_rows_that_cannot_be_numbered_are_refused(frame, tmp_path, text, message):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(ParameterError, match=message):
        read(frame).codebook.number(path)


def test_an_empty_frame_is_refused_and_a_row_will_do(frame):
    data = read(frame)
    with pytest.raises(ParameterError, match="a pandas DataFrame without rows; 1 is needed"):
        data.codebook.number(frame[:0])
    assert np.array_equal(data.codebook.number(frame[:1]), data.ids[:1])


def test_drawn_data_have_no_codebook():
    assert load("synthetic-mini", 200).codebook is None
