"""Groups of runs side by side: differences, their columns, their names."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from embedding_collapse.book.findings import studies
from embedding_collapse.lab.metrics import Difference
from embedding_collapse.lab.records import Record


@pytest.fixture
def make(make_record: Callable[..., Record]) -> Callable[..., Record]:
    """Makes records whose specs and rows differ from `make_record`'s."""

    def of(*cell, rows: int = 1000, fingerprint: str = "none", **spec) -> Record:
        attributes = {
            name: spec.pop(name) for name in ("auc", "abundance", "epochs", "best_epoch")
            if name in spec
        }  # fmt: skip
        record = make_record(*cell, **attributes)
        dataset = record.dataset | {"rows": rows, "fingerprint": fingerprint}
        return replace(record, spec=record.spec | spec, dataset=dataset)

    return of


@pytest.mark.parametrize("wanted", [9_000, 25_000, 123_456])
@pytest.mark.parametrize("scale", [4, 10])
def groups_of(make, **aucs: float) -> dict[str, list[Record]]:
    return {
        name: [make("se", 1, seed, auc=auc + seed / 1000) for seed in range(3)]
        for name, auc in aucs.items()
    }


def test_contrasts_have_both_numbers_and_whether_they_differ_by_measure(make):
    groups = groups_of(make, new=0.8, old=0.7)
    pairs = {"it": ("new", "old"), "lacking": ("new", "absent")}
    auc, abundance = studies.contrasts(groups, pairs, columns=("after", "before"))
    assert (auc.columns.name, abundance.columns.name) == ("test AUC", "IA / random")
    assert list(auc.index) == ["it"]
    row = auc.loc["it"]
    assert (row["after"], row["before"]) == ("0.8010", "0.7010")
    assert (row["difference"], row["verdict"]) == ("+0.1000", "higher")


def test_numbers_below_zero_have_a_minus_and_those_that_round_to_zero_have_none():
    columns = studies.in_columns(Difference(-0.00001, -0.25, 0.25))
    assert columns["difference"] == "+0.0000"
    assert columns["95% interval"] == "\N{MINUS SIGN}0.2500 to +0.2500"
    assert columns["verdict"] == "inside the noise"


def test_one_seed_has_no_interval_and_no_verdict(make):
    groups = {name: [make(auc=0.7)] for name in ("a", "b")}
    auc, _ = studies.contrasts(groups, {"it": ("a", "b")})
    assert auc.loc["it", ["95% interval", "verdict"]].tolist() == ["", "not known"]


def test_runs_on_different_data_are_not_contrasted(make):
    groups = {"a": [make()], "b": [make(fingerprint="other")]}
    with pytest.raises(ValueError, match="a and b are runs on different data"):
        studies.changes(groups, {"it": ("a", "b")})


def test_named_are_the_cells_of_one_dataset(make_record):
    runs = [make_record("me", 4), make_record("se", 1, dataset="flights")]
    assert list(studies.named(runs, "synthetic-mini")) == ["DCNv2 ME 4x"]
