import math

import numpy as np
import pytest

from embedding_collapse.book.analysis.measures import common_pattern, with_own_field, with_partner
from embedding_collapse.book.findings.comparisons import (
    NOTABLE,
    Comparison,
    abundance,
    between,
    decline,
    joined_abundance,
    me_against_se,
    of_runs,
    projected_abundance,
    scaled,
)
from embedding_collapse.lab.metrics import Difference

SEEDS = range(3)


def test_a_comparison_is_as_claimed_only_outside_the_noise_and_on_the_claimed_side():
    up, down, noise = Difference(1, 0.5, 1.5), Difference(-1, -1.5, -0.5), Difference(1, -1, 3)
    found = {
        (expected, change): Comparison("", change, expected).outcome
        for expected in ("higher", "lower")
        for change in (up, down, noise, None)
    }
    assert found == {
        ("higher", up): "as claimed", ("higher", down): "against the claim",
        ("higher", noise): "inside the noise", ("higher", None): "not run",
        ("lower", up): "against the claim", ("lower", down): "as claimed",
        ("lower", noise): "inside the noise", ("lower", None): "not run",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.01, NOTABLE / 2, "as claimed"),  # at most half of what counts
        (NOTABLE / 4, NOTABLE / 2, "as claimed"),  # a gain, but not one that counts
        (-NOTABLE, 2 * NOTABLE, "inside the noise"),  # it might count
        (NOTABLE / 2, 2 * NOTABLE, "against the claim"),
    ],
)
def test_no_gain_needs_an_interval_below_what_counts(low, high, outcome):
    assert Comparison("", Difference((low + high) / 2, low, high), "no gain").outcome == outcome


def cells(make_record, **values) -> dict:
    """Three runs each of DCNv2's base, SE 4x and ME 4x, with the attribute at these values."""
    (name, levels), *_ = values.items()
    keys = [("dcnv2", "se", 1), ("dcnv2", "se", 4), ("dcnv2", "me", 4)]
    return {
        key: [make_record(*key[1:], seed, **{name: level + seed / 1000}) for seed in SEEDS]
        for key, level in zip(keys, levels, strict=True)
    }


def test_claims_compare_the_cells_that_they_speak_of(make_record):
    found = cells(make_record, abundance=(0.5, 0.3, 0.7))
    (up,) = scaled(("dcnv2",), "se", abundance, "lower", (4,))(found)
    assert up.what == "DCNv2 SE 4x against base"
    assert up.change.mean == pytest.approx(-0.2)
    (across,) = me_against_se(("dcnv2",), abundance, "higher", (4,))(found)
    assert across.what == "DCNv2 ME 4x against SE 4x"
    assert across.change.mean == pytest.approx(0.4)
    found["dnn", "se", 4] = found["dcnv2", "me", 4]
    (other,) = between("dnn", "dcnv2", "se", abundance, "higher", (4,))(found)
    assert other.what == "DNN SE 4x against DCNv2 SE 4x"
    assert other.change.mean == pytest.approx(0.4)


def test_cells_that_lack_runs_of_two_seeds_are_not_run(make_record):
    found = cells(make_record, abundance=(0.5, 0.3, 0.7))
    found["dcnv2", "se", 4] = found["dcnv2", "se", 4][:1]
    claim = scaled(("dcnv2", "dnn"), "se", abundance, "lower", (4, 10))
    assert [comparison.outcome for comparison in claim(found)] == ["not run"] * 4


def test_joined_sets_are_compared_with_one_table_of_their_width(make_record):
    found = cells(make_record, abundance=(0.5, 0.5, 0.5))
    me, se = found["dcnv2", "me", 4], found["dcnv2", "se", 4]
    expected = np.mean([m.joined_abundance.mean() - s.relative_abundance.mean()
                        for m, s in zip(me, se, strict=True)])  # fmt: skip
    assert joined_abundance(me, se).mean == pytest.approx(expected)
    assert expected < 0  # sets of different scale, side by side, are more collapsed than each


def test_overfitting_is_the_fall_from_the_best_epoch_to_the_last(make_record):
    def run(aucs, seed):
        return make_record(seed=seed, epochs=[{"valid_auc": auc} for auc in aucs])

    fallen = [run((0.7, 0.8, 0.75), seed) for seed in SEEDS]
    rising = [run((0.6, 0.7, 0.8), seed) for seed in SEEDS]
    assert decline(fallen, rising).mean == pytest.approx(0.05)


def test_a_number_of_runs_is_tested_against_a_threshold_like_one_sample(make_record):
    found = {("dcnv2", "se", 1): [make_record(seed=seed, auc=0.7 + seed / 10) for seed in SEEDS]}
    (one,) = of_runs(lambda r: r.test["auc"], 0.5, "higher", [("dcnv2", "se", 1)])(found)
    reach = 4.302653 * 0.1 / math.sqrt(3)  # t of 2 degrees of freedom at 97.5%
    assert one.change == pytest.approx((0.3, 0.3 - reach, 0.3 + reach), rel=1e-6)


# --- what is measured of pairs of fields ----------------------------------------------------------

OWN = [0.3, 0.5, 0.9]  # IA / K of three fields, so IA is in this order too


@pytest.mark.parametrize("statistic", [with_own_field, with_partner])
def test_the_rank_correlation_sees_which_field_a_sub_embedding_follows(make_record, statistic):
    follows_own = [[[ia] * 3 for ia in OWN]]  # [set][i][j]: the same for every partner j
    follows_partner = [[OWN] * 3]
    for pairs in (follows_own, follows_partner):
        record = make_record(abundance=OWN, projected_abundance=pairs)
        follows = (statistic is with_own_field) == (pairs is follows_own)
        assert statistic(record) == pytest.approx(1 if follows else 0)


def test_the_field_with_itself_counts_for_nothing(make_record):
    pairs = np.array([[OWN] * 3])
    record = make_record(abundance=OWN, projected_abundance=pairs.tolist())
    for i in range(3):
        pairs[0, i, i] = 100
    changed = make_record(abundance=OWN, projected_abundance=pairs.tolist())
    assert with_partner(changed) == with_partner(record) == pytest.approx(1)
    assert projected_abundance([changed] * 2, [record] * 2).mean == pytest.approx(0)


def test_two_sets_have_one_pattern_where_their_weights_are_in_the_same_order(make_record):
    one = np.arange(9.0).reshape(3, 3)
    for other, expected in ((2 * one + 1, 1), (-one, -1)):
        record = make_record("me", 2, projection_norms=[one.tolist(), other.tolist()])
        assert common_pattern(record) == pytest.approx(expected)
