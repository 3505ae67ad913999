"""Two checkpoints, table by table."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from embedding_collapse.cli import main
from embedding_collapse.inspection.comparison import NO_MATCH, comparison, names_alike, unmatched
from embedding_collapse.inspection.markdown import markdown
from embedding_collapse.inspection.page import html
from embedding_collapse.inspection.report import Inspection, inspect


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_what_is_compared_is_what_the_verdicts_go_by():
    """A table that is shifted has not lost a direction, and no difference says that it has."""
    table = normal(500, 16)
    (row,) = comparison(inspect({"emb": table}), inspect({"emb": table + 3}))
    assert (row["verdict A"], row["verdict B"]) == ("not collapsed", "offset")
    assert row["B - A, centred"] in ("+0.000", "-0.000")
    assert row["IA/random, centred A"] == row["IA/random, centred B"]
    assert "B - A, weighted" not in row


def test_with_rows_weighted_that_is_compared_too():
    counts = np.r_[np.full(100, 50), np.ones(400)]
    table = normal(500, 16)
    changed = torch.cat([normal(100, 2) @ normal(2, 16), table[100:]])
    both = [inspect({"emb": values}, row_weights=counts) for values in (table, changed)]
    (row,) = comparison(*both)
    before, after = (one.tables[0].weighted["against_random"] for one in both)
    assert row["B - A, weighted"] == f"{after - before:+.3f}"
    assert float(row["B - A, weighted"]) < float(row["B - A, centred"]) < 0


def test_where_rows_of_the_second_alone_are_weighted_that_is_shown_too():
    table = {"emb": normal(500, 16)}
    (row,) = comparison(inspect(table), inspect(table, row_weights=torch.arange(1.0, 501)))
    assert row["IA/random, weighted A"] == row["B - A, weighted"] == "-"
    assert float(row["IA/random, weighted B"]) > 0


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "state_dict."])
def test_what_ddp_and_compile_put_before_names_does_not_keep_tables_apart(prefix):
    plain = {"emb.user": normal(300, 8), "emb.item": normal(200, 8)}
    wrapped = {prefix + name: table for name, table in plain.items()}
    first, second = inspect(plain), inspect(wrapped)
    assert [row["table"] for row in comparison(first, second)] == list(plain)
    assert not any("-" in row.values() for row in comparison(first, second))
    assert unmatched(first, second) == ""
    assert html(first, second).count("<h3>") == 2


def test_a_wrapped_module_of_torch_has_the_names_of_the_plain_one():
    model = nn.ModuleDict({"emb": nn.Embedding(300, 8)})
    wrapped = nn.ModuleDict({"module": torch.compile(model)})
    assert inspect(wrapped).tables[0].name == "module._orig_mod.emb.weight"
    assert names_alike(inspect(model), inspect(wrapped))[1] == {
        "module._orig_mod.emb.weight": "emb.weight"
    }


def test_names_that_would_be_one_without_their_beginning_stay_as_they_are():
    first = inspect({"x.emb": normal(300, 8)})
    second = inspect({"module.emb": normal(300, 8), "_orig_mod.emb": normal(200, 8)})
    assert list(names_alike(first, second)[1].values()) == ["module.emb", "_orig_mod.emb"]


def test_two_files_without_a_table_in_common_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        torch.save({f"{name}.emb": normal(300, 8)}, f"{name}.pt")
    assert main(["inspect", "a.pt", "b.pt", "--output=r.html"]) == 0
    assert f"note: {NO_MATCH}" in capsys.readouterr().out
    assert NO_MATCH in Path("r.html").read_text()
    both: list[Inspection] = [inspect("a.pt"), inspect("b.pt")]
    assert NO_MATCH in markdown(*both)
    assert not re.search(NO_MATCH, markdown(both[0], both[0]))
