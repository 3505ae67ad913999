"""Numbers of a run, on records whose numbers are known."""

from dataclasses import replace
from hashlib import sha256
from itertools import combinations, product

import numpy as np
import pytest

from embedding_collapse.book.analysis import measures
from embedding_collapse.lab.contrast import difference
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.parameters import ParameterError


def test_sets_as_diverse_as_random_tables_have_a_relative_diversity_of_one(make_record):
    random = [1 - 4 / 50, 0.0, 1 - 4 / 20]  # a field with fewer features than K has none
    assert measures.relative_diversity(make_record("me", 4, diversity=random)) == pytest.approx(1)
    half = make_record("me", 4, diversity=[value / 2 for value in random])
    assert measures.relative_diversity(half) == pytest.approx(0.5)
    assert np.isnan(measures.relative_diversity(make_record()))


def test_likeness_is_over_pairs_of_sets_of_one_run_and_of_different_runs(make_record):
    draw = np.random.default_rng(0)
    shared = draw.random((2, 8, 8))
    runs = [
        make_record("me", 2, projection_norms=(shared + draw.random((2, 8, 8))).tolist())
        for _ in range(4)
    ]
    found = measures.likeness(runs)
    assert found.together == pytest.approx(measures.COMMON_PATTERN.mean(runs))
    of_pairs = [
        measures.common_pattern(make_record(projection_norms=[one, other]))
        for first, second in combinations(runs, 2)
        for one, other in product(first.projection_norms, second.projection_norms)
    ]
    assert found.apart == pytest.approx(np.mean(of_pairs))
    assert found.nearer.value == pytest.approx(found.together - found.apart)
    assert found.nearer.low < found.nearer.value < found.nearer.high
    assert np.isinf(measures.likeness(runs[:2]).nearer.high)


def test_the_interval_of_likeness_holds_none_as_often_as_it_says(make_record):
    """Sets drawn alike in and across runs: nothing to see, at 95%, in nearly all."""
    draw = np.random.default_rng(1)
    pattern = draw.random((6, 6))
    held = [
        effect.low < 0 < effect.high
        for _ in range(200)
        for effect in [
            measures.likeness(
                [
                    make_record("me", 2, projection_norms=of.tolist())
                    for of in pattern + draw.random((5, 2, 6, 6))
                ]
            ).nearer
        ]
    ]
    assert 0.9 < np.mean(held) < 0.99


def test_runs_tested_on_other_rows_are_not_compared_row_by_row(make_record):
    """One table, read by two versions that order its test rows in two ways."""
    old, new = (
        [
            replace(
                one, spec=one.spec | {"dataset": "table"}, dataset=one.dataset | {"fingerprint": f}
            )
            for one in (make_record(design, 4, seed, auc=0.7 + seed / 100) for seed in range(3))
        ]
        for design, f in (("se", "an order"), ("me", "another"))
    )
    with pytest.raises(
        ParameterError, match="other rows, fingerprint an order and fingerprint another;"
    ):
        measures.AUC.mean_difference([(new, old)])
    assert np.isfinite(measures.ABUNDANCE.mean_difference([(new, old)]).value)  # of no rows
    alike = [replace(one, dataset=old[0].dataset) for one in new]
    assert np.isfinite(measures.AUC.mean_difference([(alike, old)]).value)


def of_data(make_record, **spec) -> list:
    """Runs on data of a description, whose fingerprint follows from it."""
    runs = [make_record("se", 1, seed, auc=0.7 + seed / 100) for seed in range(3)]
    return [
        replace(
            one,
            key=f"{one.key} {spec}",
            spec=one.spec | spec,
            dataset=one.dataset | {"fingerprint": sha256(repr(spec).encode()).hexdigest()},
        )
        for one in runs
    ]


FLIGHTS = {"dataset": "us-flights"}
DRAWN = {"dataset": "synthetic-mini"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FLIGHTS | {"rows": 60_000}, FLIGHTS | {"rows": None}),
        (DRAWN | {"rows": 1000, "held_out": [10, 20]}, DRAWN | {"rows": 900, "held_out": [10, 20]}),
    ],
)
def test_runs_on_other_numbers_of_rows_are_compared_where_the_same_are_held_out(
    make_record, one, other
):
    new, old = of_data(make_record, **one), of_data(make_record, **other)
    assert np.isfinite(measures.AUC.mean_difference([(new, old)]).value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DRAWN | {"rows": 1000}, DRAWN | {"rows": 900}),  # cut 8:1:1
        (DRAWN | {"held_out": [10, 20]}, DRAWN | {"held_out": [10, 30]}),
        (DRAWN | {"held_out": [10, 20]}, {"dataset": "synthetic", "held_out": [10, 20]}),
        (FLIGHTS, FLIGHTS | {"split": "time"}),
        (FLIGHTS, FLIGHTS | {"held_out": [1000, 1000]}),
    ],
)
def test_runs_that_hold_out_other_rows_are_not_compared(make_record, one, other):
    new, old = of_data(make_record, **one), of_data(make_record, **other)
    with pytest.raises(ParameterError, match="runs tested on other rows, "):
        measures.AUC.mean_difference([(new, old)])


def test_a_decline_is_from_the_best_epoch_to_the_last(make_record):
    epochs = [{"valid_auc": auc} for auc in (0.6, 0.8, 0.7)]
    assert measures.DECLINE.value(make_record(epochs=epochs)) == pytest.approx(0.1)


def test_epochs_are_counted_from_one_for_readers(make_record):
    assert measures.BEST_EPOCH.value(make_record(best_epoch=1)) == 2


def test_where_the_truth_is_known_the_auc_is_the_expected_one(make_record):
    record = make_record(test={"auc": 0.7, "log_loss": 0.5, "expected_auc": 0.75})
    assert measures.AUC.value(record) == 0.75
    assert measures.AUC.value(make_record(auc=0.7)) == 0.7


def test_a_field_projected_for_itself_does_not_count_among_sub_embeddings(make_record):
    pairs = np.full((1, 3, 3), 2.0) + 2 * np.eye(3)
    record = make_record(projected_abundance=pairs.tolist())
    assert measures.PROJECTED_ABUNDANCE.value(record) == pytest.approx(2 / 4)  # K = 4


def test_sums_over_the_projected_fields_are_ordered_as_their_partners(make_record):
    pairs = [[[1.0, 2.0, 3.0], [2.0, 3.0, 3.9], [1.0, 1.1, 1.2]]]  # of field i for partner j
    record = make_record(abundance=[0.4, 0.6, 0.8], projected_abundance=pairs)
    assert measures.PARTNER_IN_SUMS.value(record) == pytest.approx(1)


def test_joined_abundance_is_that_of_the_sets_side_by_side(make_record):
    record = make_record("me", 2, joined_spectra=[[1.0] * 8] * 3)
    assert measures.JOINED_ABUNDANCE.value(record) == pytest.approx(1)
    assert measures.ABUNDANCE.value(record) == pytest.approx(0.5)


def test_a_pattern_needs_two_sets(make_record):
    assert np.isnan(measures.common_pattern(make_record()))
    same = make_record("me", 2, projection_norms=[np.eye(3).tolist()] * 2)
    assert np.isnan(measures.common_pattern(same)) or measures.common_pattern(same) == 0


def test_an_overview_has_means_with_their_spread_and_leaves_blank_what_a_run_lacks(make_record):
    runs = [make_record("se", 4, seed, auc=0.7 + seed / 100) for seed in range(3)]
    table = measures.overview(by_cell(runs), [measures.AUC, measures.COMMON_PATTERN])
    (row,) = table.index
    assert row == "synthetic-mini, DCNv2 SE 4x"
    assert table.loc[row, "test AUC"] == "0.7100 ± 0.0100"
    assert table.loc[row, "rank correlation of two sets' weights"] == ""
    assert table.loc[row, "parameters"] == f"{measures.total_parameters(runs):,}"


def test_a_mean_of_differences_counts_runs_that_pairs_share_once(make_record):
    """Base, in both pairs, has the weight -1: its spread is not taken for that of six runs."""

    def group(share, *cell, noise=(-1e-4, 0.0, 1e-4)):
        return [
            make_record(*cell, seed, abundance=share + change) for seed, change in enumerate(noise)
        ]

    base = group(0.5, "se", 1, noise=(-0.1, 0.0, 0.1))
    small, large = group(0.4, "se", 4), group(0.2, "se", 10)
    shared = measures.ABUNDANCE.mean_difference([(small, base), (large, base)])
    assert shared.value == pytest.approx(-0.2, abs=1e-6)
    alone = difference([0.3, 0.3, 0.3], [0.4, 0.5, 0.6])
    assert shared.half_width == pytest.approx(alone.half_width, rel=0.01)
    through = measures.ABUNDANCE.mean_difference([(small, base), (base, large)])
    direct = measures.ABUNDANCE.mean_difference([(small, large)])  # what both pairs hold cancels
    assert (through.value, through.half_width) == pytest.approx(
        (direct.value / 2, direct.half_width / 2)
    )
