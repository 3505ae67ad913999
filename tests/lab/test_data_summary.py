"""The data command: what is in a dataset, printed."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from embedding_collapse.cli import main
from embedding_collapse.lab import records
from embedding_collapse.lab.data import Dataset, Field, compare, load, summarise

pytestmark = pytest.mark.usefixtures("own_cache")

CRITEO = Path(__file__).parents[1] / "data" / "criteo_format.txt.gz"


@pytest.fixture(scope="module")
def criteo_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "train.txt"
    path.write_bytes(gzip.decompress(CRITEO.read_bytes()))
    return path


def test_the_summary_counts_features_and_rare_rows(tmp_path):
    data = load("criteo", path=CRITEO, cache=tmp_path)
    table = summarise(data)
    assert table["features"].sum() == 632
    for i, field in enumerate(data.fields):
        assert table.loc[field.name, "rare share"] == pytest.approx((data.ids[:, i] == 0).mean())


def test_the_summary_takes_little_memory_however_many_rows_there_are():
    rows = 1_000_000
    fields = tuple(Field(str(i), 2, pa.array(["a"])) for i in range(20))
    ids, labels = np.broadcast_to(np.int32(1), (rows, 20)), np.resize(np.uint8([0, 1]), rows)
    data = Dataset("clicks", ids, labels, fields, "0" * 64)
    tracemalloc.start()
    assert (summarise(data)["rare share"] == 0).all()
    assert tracemalloc.get_traced_memory()[1] < rows * 20 / 4  # of a byte per id
    tracemalloc.stop()


def test_a_comparison_has_the_rare_share_of_all_fields_and_the_label_rate():
    data = load("synthetic-mini", 1500)
    column = compare([data])["synthetic-mini"]
    assert column["rare share"] == f"{(data.ids == 0).mean():.4f}"
    assert column["label rate"] == f"{data.labels.mean():.4f}"


def test_the_command_prints_rows_features_and_rejected_lines(criteo_file, tmp_path, capsys):
    command = ["data", "criteo", "--path", str(criteo_file), "--cache", str(tmp_path), "--quiet"]
    assert main(command) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == "criteo: 2,997 rows, 39 fields, 632 features"
    assert lines[1] == "label rate 0.2432, rare share 0.0250"
    assert lines[2] == (
        "3 rows rejected: line 8: 39 columns, 40 are needed; "
        "line 1501: 39 columns, 40 are needed; line 3000: 39 columns, 40 are needed"
    )
    assert len(lines) == 3 + 2 + 39
    assert said.err == ""


def test_a_table_by_the_command_tells_its_guess(tmp_path, capsys):
    path = tmp_path / "own.csv"
    path.write_text("y;site;price\n" + "0;a;1.5\n1;b;2\n" * 30)
    own = ["table", "--path", str(path), "--label", "y", "--cache", str(tmp_path)]
    assert main(["data", *own]) == 0
    assert "guessed categorical: site; numeric: price\n" in capsys.readouterr().out


def test_a_run_reads_a_table_of_ones_own(tmp_path, capsys):
    path = tmp_path / "own.csv"
    path.write_text("y;site\n" + "0;a\n1;b\n" * 60)
    own = ["--dataset", "table", "--path", str(path), "--label", "y", "--epochs", "1", "--hidden"]
    assert main(["run", *own, "8", "--output", str(tmp_path / "runs"), "--quiet"]) == 0
    (record,) = records.load_all(tmp_path / "runs")
    assert record.dataset["fields"] == ["site"]


def test_a_fault_is_one_line_on_stderr_and_a_failure(tmp_path, capsys):
    assert main(["data", "criteo", "--path", str(tmp_path / "none.txt")]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"error: path is '{tmp_path}/none.txt'; there is no such file\n"
