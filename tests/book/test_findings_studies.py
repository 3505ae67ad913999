"""Studies outside the grid: grouping, equal parameters, and what is said of the runs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedding_collapse.book.findings import studies
from embedding_collapse.lab import records
from embedding_collapse.lab.experiment import Spec, parameter_counts
from embedding_collapse.lab.metrics import Difference
from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import ParameterError

RESULTS = Path(__file__).parents[2] / "results"
FIELDS = [40, 7, 300]


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


# --- grouping -------------------------------------------------------------------------------------


def test_groups_are_ordered_by_what_they_vary_and_hold_seeds_in_order(make):
    runs = [make("se", 1, seed, cross_layers=layers) for layers in (8, 2) for seed in (1, 0)]
    found = studies.group_by(runs, "cross_layers")
    assert list(found) == [(2,), (8,)]
    assert [r.spec["seed"] for r in found[8,]] == [0, 1]


def test_rows_are_those_that_the_data_have_where_the_spec_says_all(make):
    runs = [make(seed=0, rows=500), make(seed=1, rows=1000)]
    assert list(studies.group_by(runs, "rows")) == [(500,), (1000,)]
    assert studies.where(runs, rows=500) == runs[:1]


def test_runs_that_differ_in_something_else_are_no_group(make):
    runs = [
        make("se", 1, 0, cross_layers=2, dropout=0.2),
        make("se", 1, 1, cross_layers=2, dropout=0.5),
    ]
    with pytest.raises(ValueError, match=r"differ in dropout: .*'0.2', '0.5'.*group them by it"):
        studies.group_by(runs, "cross_layers", "scale")
    with pytest.raises(ValueError, match="differ in rows"):
        studies.group_by([make(rows=500), make(rows=900)], "scale")


def test_where_keeps_the_runs_that_have_all_the_parameters(make):
    runs = [make("se", 4, 0), make("me", 4, 0), make("me", 10, 0)]
    assert studies.where(runs, design="me", scale=4) == [runs[1]]


# --- equal parameters -----------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [9_000, 25_000, 123_456])
def test_no_other_embedding_size_has_a_number_of_parameters_that_is_closer(wanted):
    spec = Spec(model="dcnv2", hidden=10)

    def off(size: int) -> int:
        counts = parameter_counts(replace(spec, embedding_size=size), FIELDS)
        return abs(sum(counts.values()) - wanted)

    found = studies.with_parameters(spec, FIELDS, wanted)
    assert off(found.embedding_size) == min(off(size) for size in range(1, 60))
    assert replace(found, embedding_size=spec.embedding_size) == spec


def test_fewer_parameters_than_the_smallest_model_has_are_refused():
    with pytest.raises(
        ParameterError, match=r"parameters is 3; DCNv2 base has [\d,]+ at embedding"
    ):
        studies.with_parameters(Spec(), FIELDS, 3)


@pytest.mark.parametrize("scale", [4, 10])
def test_the_recorded_runs_of_equal_size_are_those_that_are_closest_to_me(scale):
    found = records.load_all(RESULTS / "grid", RESULTS / "beyond")
    me = studies.where(found, model="dcnv2", dataset="synthetic-mini", design="me", scale=scale)
    me = [record for record in me if record.dataset["rows"] == 200_000]
    width, twins = studies.twins(found, me)
    assert sorted(run.spec["seed"] for run in twins) == [0, 1, 2]
    assert {run.spec["embedding_size"] * run.spec["scale"] for run in twins} == {width}
    assert studies.total_parameters(twins) == pytest.approx(studies.total_parameters(me), rel=0.05)


def test_a_twin_shares_all_but_size_and_seed(make_record):
    me = [make_record("me", 4, parameters={"all": 3_000_000})]
    width, _ = studies.twins([], me)

    def single(**changes) -> Record:
        record = make_record(seed=5, spectra=[[[1.0] * width]] * 3)
        return replace(record, spec=record.spec | {"embedding_size": width} | changes)

    others = [single(dropout=0.5), single(model="dnn"), make_record(), *me]
    assert studies.twins([single(), *others], me) == (width, [single()])


# --- in numbers and words -------------------------------------------------------------------------


def groups_of(make, **aucs: float) -> dict[str, list[Record]]:
    return {
        name: [make("se", 1, seed, auc=auc + seed / 1000) for seed in range(3)]
        for name, auc in aucs.items()
    }


def test_overview_has_means_over_seeds_and_the_steps_up_to_the_best_epoch(make):
    row = studies.overview(groups_of(make, one=0.7)).loc["one"]
    assert row["parameters"] == "1,492"
    assert row["test AUC"] == "0.7010 ± 0.0010"
    assert row["best epoch"] == "2.0 of 10"
    assert row["steps"] == f"{2 * 800 / 2048:,.0f}"


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


def test_a_tally_counts_verdicts():
    differences = [Difference(1, 0.5, 1.5), Difference(0, -1, 1), Difference(2, 1, 3)]
    assert studies.tally(differences) == "2 higher, 1 inside the noise (of 3)"


def test_runs_on_different_data_are_not_contrasted(make):
    groups = {"a": [make()], "b": [make(fingerprint="other")]}
    with pytest.raises(ValueError, match="a and b are runs on different data"):
        studies.changes(groups, {"it": ("a", "b")})


def test_named_are_the_cells_of_one_dataset(make_record):
    runs = [make_record("me", 4), make_record("se", 1, dataset="flights")]
    assert list(studies.named(runs, "synthetic-mini")) == ["DCNv2 ME 4x"]


def test_independent_differences_subtract_and_their_noise_adds_up_in_squares():
    found = studies.change_of(Difference(5, 2, 8), Difference(1, -3, 5))
    assert found == pytest.approx((4, -1, 9))


def test_simulated_changes_of_differences_stay_in_their_interval_as_often_as_they_should():
    draws = np.random.default_rng(0).normal(size=(2, 4000)) * [[3], [4]]
    inside = 0
    for later, earlier in draws.T:
        found = studies.change_of(
            Difference(later, later - 1.96 * 3, later + 1.96 * 3),
            Difference(earlier, earlier - 1.96 * 4, earlier + 1.96 * 4),
        )
        inside += found.low <= 0 <= found.high
    assert inside / 4000 == pytest.approx(0.95, abs=0.015)


def test_gains_are_tabled_at_each_number_of_rows_with_how_they_move(make):
    gains = {100: 0.01, 400: 0.05}
    runs = [
        make(design, scale, seed, rows=rows, fingerprint=str(rows),
             auc=0.7 + seed / 1000 + (gains[rows] if design == "me" else 0))
        for rows in (400, 100)
        for design, scale in (("me", 10), ("se", 10), ("se", 1))
        for seed in range(3)
    ]  # fmt: skip
    found = studies.by_rows(runs)
    assert list(found) == [100, 400]
    assert [list(of) for of in found.values()] == [["base", "SE 10x", "ME 10x"]] * 2
    tables = studies.gains_by_rows(found, "test AUC")
    assert list(tables) == ["SE 10x (new) against base (old)", "ME 10x (new) against SE 10x (old)"]
    me = tables["ME 10x (new) against SE 10x (old)"]
    assert me["difference"].to_dict() == {
        "100 rows": "+0.0100", "400 rows": "+0.0500", "most − fewest": "+0.0400",
    }  # fmt: skip
    assert me.loc["most − fewest", ["new", "old"]].tolist() == ["+0.0500", "+0.0100"]


def test_course_tells_the_fall_from_the_best_epoch_to_the_last(make_record):
    epochs = [{"train_loss": 0.6, "valid_auc": 0.72}, {"train_loss": 0.4, "valid_auc": 0.69}]
    row = studies.course({"it": [make_record(epochs=epochs, best_epoch=0)]}).loc["it"]
    assert row.tolist() == ["0.6000 → 0.4000", "1.0", "0.7200", "0.6900", "0.0300"]


def test_a_cell_peaks_early_only_if_every_seed_does(make_record):
    runs = [make_record("se", 1, seed, best_epoch=0) for seed in range(3)]
    runs += [make_record("se", 4, seed, best_epoch=seed % 2) for seed in range(3)]
    assert studies.peaks(runs).iloc[0].to_dict() == {"base": "3 of 3", "SE 4x": "2 of 3"}
    assert studies.peaks_in_words(runs) == (
        "- **synthetic-mini.** 1 of 2 cells peak after the first epoch in every seed: DCNv2 base."
    )


def test_falls_are_compared_between_me_and_se_of_one_size(make_record):
    def epochs(fall: float) -> list[dict[str, float]]:
        return [{"valid_auc": 0.7}, {"valid_auc": 0.7 - fall}]

    runs = [
        make_record(design, 4, seed, epochs=epochs(fall + seed / 1000))
        for design, fall in (("se", 0.05), ("me", 0.01))
        for seed in range(3)
    ]
    (found,) = studies.falls(runs).values()
    assert studies.falls_in_words(found).startswith("Of 1 pairs ME falls less in 1 and more in 0;")
    table = studies.as_table(found, "ME minus SE")
    assert table.loc["DCNv2 4x", "difference"] == "\N{MINUS SIGN}0.0400"
