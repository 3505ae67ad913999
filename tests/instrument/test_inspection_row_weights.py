"""Weights of rows, matched with the tables."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from embedding_collapse.cli import main
from embedding_collapse.inspection.report import inspect
from embedding_collapse.parameters import ParameterError


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def two(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    torch.save({"a.emb": normal(30, 4), "b.emb": normal(40, 4)}, "two.pt")
    return "two.pt"


def test_an_entry_by_a_tables_name_of_another_length_is_refused_with_both_lengths(two, capsys):
    np.savez("counts.npz", **{"a.emb": np.arange(30), "b.emb": np.arange(41)})
    told = r"counts.npz has b.emb \[41\]; one real number per row is needed, 40 for b.emb"
    with pytest.raises(ParameterError, match=told):
        inspect(two, row_weights="counts.npz")
    assert main(["inspect", two, "--rows-weight=counts.npz", "--output=r.html"]) == 1
    assert "counts.npz has b.emb [41]" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", "30,20,10"])
def test_what_is_no_file_of_weights_is_told_with_the_formats_of_those(two, capsys, content):
    """A folder, an empty file, a text."""
    Path("counts").mkdir() if content is None else Path("counts").write_text(content)
    told = "'counts' is no file of row weights; .npy with a number per row is accepted, and .npz of"
    with pytest.raises(ParameterError, match=told):
        inspect(two, row_weights="counts")
    assert main(["inspect", two, "--rows-weight=counts"]) == 1
    assert told in capsys.readouterr().err


def test_a_file_of_texts_is_no_file_of_weights(two):
    np.save("counts.npy", np.array(["30", "20"]))
    with pytest.raises(ParameterError, match=r"'counts\.npy' is no file of row weights"):
        inspect(two, row_weights="counts.npy")


def test_a_single_number_weighs_no_table(two):
    np.save("counts.npy", np.float64(3))
    with pytest.raises(ParameterError, match=r"weighs no table \(\S+ of one number\)"):
        inspect(two, row_weights="counts.npy")


@pytest.mark.parametrize("names", [("a.emb", "c.emb", "d"), ("x", "y", "z")])
def test_entries_that_fit_no_table_are_noted(two, names):
    """Where names fit tables, and where lengths alone do."""
    counts = dict(zip(names, (np.arange(30), np.arange(5), np.ones((40, 1))), strict=True))
    np.savez("counts.npz", **counts)
    found = inspect(two, row_weights="counts.npz")
    assert [one.weighted is None for one in found.tables] == [False, True]
    note = f"weights that fit no table: {names[1]} [5], {names[2]} [40, 1]"
    assert note in found.notes and note in str(found) and note in found.to_json()["notes"]


def test_an_array_that_weighs_several_tables_by_its_length_is_noted_with_these(tmp_path):
    """They may be of users, and items be as many."""
    tables = {"user.emb": normal(30, 4), "item.emb": normal(30, 4), "shop.emb": normal(40, 4)}
    told = "row_weights weighs user.emb, item.emb alike, by its length alone"
    found = inspect(tables, row_weights=np.arange(30))
    assert told in found.notes and told in str(found)
    named = {name: np.arange(30) for name in ("user.emb", "item.emb")}
    assert not any("alike" in note for note in inspect(tables, row_weights=named).notes)


@pytest.mark.parametrize(("rows", "noted"), [(10, True), (30, False)])
def test_fields_of_one_table_have_a_part_each_of_its_weights_or_are_weighed_alike(rows, noted):
    found = inspect(
        {"joint.emb": normal(30, 4)}, field_dims=[10, 10, 10], row_weights=np.arange(1, rows + 1)
    )
    assert any("alike, by its length alone" in note for note in found.notes) == noted


def test_of_entries_that_fit_a_table_by_length_alone_none_is_chosen(two):
    counts = {"x": np.arange(40), "y": np.ones(30), "z": np.ones(40)}
    told = r"has x \[40\], z \[40\], and by .* may weigh b.emb; .* such as b.emb"
    for order in (counts, dict(reversed(counts.items()))):
        with pytest.raises(ParameterError, match=told if order is counts else "may weigh b.emb"):
            inspect(two, row_weights=order)


def test_one_row_of_all_weight_is_told_in_the_report(two, capsys):
    np.save("counts.npy", np.eye(40)[5])
    outputs = ["--output=r.md", "--output=r.html", "--output=r.json"]
    command = ["inspect", two, "--tables=b*", "--rows-weight=counts.npy", *outputs]
    assert main(command) == 0
    assert "b.emb: too small to tell. rows weighted, as 1 equal row" in capsys.readouterr().out
