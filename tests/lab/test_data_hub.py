"""Datasets of the Hub's kind, read by the real `datasets` library from local folders."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pandas as pd
import pytest

from embedding_collapse.lab.data import hub, load
from embedding_collapse.parameters import ParameterError

CRITEO = Path(__file__).parents[1] / "data" / "criteo_format.txt.gz"


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch, own_cache):
    """Nothing reaches the reader's caches, nor the network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


@pytest.fixture
def criteo_folder(tmp_path, monkeypatch) -> Path:
    """The rows of a file in Criteo's format as the Hub holds them: with a header, in splits."""
    names = ["label", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
    lines = gzip.decompress(CRITEO.read_bytes()).decode().splitlines()
    lines = [line.replace("\t", ",") for line in lines if line.count("\t") == 39]
    folder = tmp_path / "reczoo" / "Criteo_x4"
    folder.mkdir(parents=True)
    for split, part in {
        "train": lines[:2400],
        "valid": lines[2400:2700],
        "test": lines[2700:],
    }.items():
        (folder / f"{split}.csv").write_text("\n".join([",".join(names), *part]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "is_name", lambda path: path == "reczoo/Criteo_x4")
    return folder


def test_criteo_of_the_hub_is_all_its_splits_and_the_same_as_the_file(criteo_folder):
    ours, file = load("criteo"), load("criteo", path=CRITEO)
    assert ours.cardinalities == file.cardinalities
    assert np.array_equal(ours.labels, file.labels)
    assert np.array_equal(ours.ids, file.ids)


def test_its_own_splits_hold_out_what_they_are_named_for(criteo_folder):
    ours, all_of_it = load("criteo", split="given"), load("criteo")
    assert ours.held_out == (300, len(ours) - 2700)
    assert np.array_equal(ours.ids, all_of_it.ids)
    with pytest.raises(ParameterError, match="Criteo_x4:train has train; one of each is accepted"):
        hub.open_dataset("reczoo/Criteo_x4:train", given=True)


def test_tokens_of_digits_stay_text(criteo_folder):
    field = load("criteo").fields[13]
    assert "00000000" in [field.decode(i) for i in range(1, field.cardinality)]


def test_a_change_of_the_dataset_changes_the_fingerprint(criteo_folder):
    before = load("criteo").fingerprint
    assert load("criteo").fingerprint == before
    path = criteo_folder / "train.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert load("criteo").fingerprint != before


def test_a_change_shows_where_datasets_would_hold_all_in_memory(criteo_folder, monkeypatch):
    monkeypatch.setattr(datasets.config, "IN_MEMORY_MAX_SIZE", 1 << 40)
    before = load("criteo").fingerprint
    path = criteo_folder / "train.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert load("criteo").fingerprint != before


def test_any_dataset_with_a_label_can_be_a_table(tmp_path, monkeypatch):
    folder = tmp_path / "someone" / "clicks"
    folder.mkdir(parents=True)
    frame = pd.DataFrame(
        {"site": list("abcd") * 50, "price": np.arange(200) / 8, "y": [0, 1] * 100}
    )
    frame.to_parquet(folder / "train.parquet")
    frame[:50].to_parquet(folder / "test.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "is_name", lambda path: path.startswith("someone/clicks"))
    data = load("table", path="someone/clicks", label="y")
    assert len(data) == 250
    assert data.notes[0] == "guessed categorical: site; numeric: price"
    assert len(load("table", path="someone/clicks:train", label="y")) == 200


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("reczoo/Criteo_x4", True),
        ("someone/clicks:train", True),
        ("someone/clicks.csv", False),
        ("/home/someone/clicks", False),
        ("clicks", False),
        ("data/clicks.parquet", False),
    ],
)
def test_a_name_on_the_hub_is_owner_and_name_and_no_file(path, named):
    assert hub.is_name(path) is named


def test_an_existing_file_is_no_name_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("someone").mkdir()
    Path("someone/clicks").write_text("y,a\n")
    assert not hub.is_name("someone/clicks")


def test_what_neither_the_disk_nor_the_hub_has_is_told():
    with pytest.raises(ParameterError, match="path is 'no/such'; there is no such file, and the"):
        load("table", path="no/such", label="y")


def test_without_a_network_a_wrong_name_is_refused_at_once(tmp_path):
    """In a process of its own, with the real library and an address where nobody listens."""
    code = (
        "import embedding_collapse.lab.data as data\n"
        "try:\n    data.load('table', path='no/such', label='y')\n"
        "except ValueError as error:\n    print(error)\n"
    )
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert "path is 'no/such'; there is no such file" in done.stdout
    assert done.stderr == ""  # where `datasets` says that it tries again, for half a minute
