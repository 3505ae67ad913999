import math

import numpy as np
import pytest
import torch

from embedding_collapse.lab import sizing


def true_ratios(points: int, width: int, seed: int = 0) -> np.ndarray:
    """All distances of `sizing.project`'s only draw, one pair at a time, new over old."""
    generator = torch.Generator().manual_seed(seed)
    table = (torch.randn(points, width, generator=generator) / width**0.5).double()
    pairs = torch.combinations(torch.arange(points))
    return ((table[pairs[:, 0]] - table[pairs[:, 1]]).norm(dim=1) / math.sqrt(2)).numpy()


# --- the rule and the proof -----------------------------------------------------------------------


def test_the_rule_gives_the_talks_range():
    assert sizing.least(1e5, 0.5) == 369
    assert sizing.least(1e9, 0.1) == 16_579
    assert sizing.bound(np.array([1e5, 1e9]), 0.5) == pytest.approx([368.41, 663.14], abs=0.01)


def test_the_least_width_satisfies_the_rule_and_one_less_does_not():
    points = np.geomspace(2, 1e9, 50)
    for distortion in (0.05, 0.1, 0.5):
        width = sizing.least(points, distortion)
        asked = sizing.bound(points, distortion)
        assert ((width >= asked) & (width - 1 < asked)).all()


def test_the_rules_inverses_undo_it():
    width = sizing.bound(5000, 0.3)
    assert sizing.bound_distortion(5000, width) == pytest.approx(0.3)
    assert sizing.bound_points(width, 0.3) == pytest.approx(5000)


def union_bound_squared(points, distortion):
    """What the proof asks for where squared distances are meant, as chapter 1 has it."""
    return 8 * math.log(points) / (distortion**2 - 2 * distortion**3 / 3)


@pytest.mark.parametrize("distortion", [0.05, 0.3, 0.9])
def test_the_proof_asks_for_the_least_K_at_which_the_failures_expected_are_at_most_one(distortion):
    points = 1000
    width = sizing.union_bound(points, distortion)
    squared = union_bound_squared(points, distortion)
    log_pairs = math.log(points**2 / 2)
    for longer, k in ((1 + distortion) ** 2, width), (1 + distortion, squared):
        # Chernoff's exponent itself, before its logarithm is cut off after the cubic term
        exponent = k / 2 * (longer - 1 - math.log(longer))
        assert math.exp(log_pairs - exponent) <= 0.5
    assert width < sizing.bound(points, distortion) < squared


# --- random projections ---------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 4 * 40 * 7, 1 << 20])  # bytes: 1 row, 7 rows, all rows
def test_the_distortions_are_those_of_every_pair_once(block, monkeypatch):
    monkeypatch.setattr(sizing, "BLOCK_BYTES", block)
    found, true = sizing.project(40, 12, seed=3), true_ratios(40, 12, seed=3)
    assert found.shortest.item() == pytest.approx(true.min(), rel=1e-5)
    assert found.longest.item() == pytest.approx(true.max(), rel=1e-5)
    assert found.typical.item() == pytest.approx(np.sqrt(((true - 1) ** 2).mean()), rel=1e-5)
    assert found.worst.item() == pytest.approx(np.abs(true - 1).max(), rel=1e-4)
    assert found.worst_squared.item() == pytest.approx(np.abs(true**2 - 1).max(), rel=1e-4)


@pytest.mark.parametrize(("points", "distortion"), [(20, 0.5), (50, 0.5), (20, 0.3)])
def test_the_rule_is_never_violated_in_1000_draws_at_its_own_K(points, distortion):
    width = math.ceil(sizing.bound(points, distortion))
    worst = sizing.project(points, width, draws=1000).worst
    assert len(worst) == 1000
    assert worst.max() < distortion


def test_read_for_squared_distances_the_rule_is_violated_and_the_full_proof_hardly_ever():
    failures = sizing.violations(50, [0.5], draws=300)
    assert failures["squared distances"].item() > 30
    assert failures["distances"].item() == 0
    width = math.ceil(union_bound_squared(50, 0.5))
    assert (sizing.project(50, width, draws=300).worst_squared > 0.5).sum() < 30


@pytest.mark.parametrize("points", [10, 400])
def test_the_typical_distortion_does_not_depend_on_the_number_of_points(points):
    typical = sizing.project(points, 200, draws=40).typical.mean().item()
    assert typical == pytest.approx(1 / math.sqrt(2 * 200), rel=0.05)


def test_draws_depend_on_the_seed_alone():
    first = sizing.project(10, 5, draws=3, seed=1)
    torch.rand(1)
    again, other = sizing.project(10, 5, draws=3, seed=1), sizing.project(10, 5, draws=3, seed=2)
    assert torch.equal(first.worst, again.worst)
    assert not torch.equal(first.worst, other.worst)
    assert len(set(first.worst.tolist())) == 3


# --- how loose ------------------------------------------------------------------------------------


def test_a_width_is_read_off_a_power_law_exactly_and_not_beyond_what_was_measured():
    widths = np.array([10, 100, 1000])
    distortion = widths**-0.5
    assert sizing.width_needed(widths, distortion, 50**-0.5) == pytest.approx(50)
    assert math.isnan(sizing.width_needed(widths, distortion, 0.5))
    assert math.isnan(sizing.width_needed(widths, distortion, 0.01))


def test_the_rule_is_loose_by_a_factor_of_about_four():
    measured = sizing.sweep(100, [16, 64, 256], draws=10)
    assert len(measured) == 30
    loose = sizing.looseness(measured, 100, [0.3, 0.01])
    assert 3 < loose.loc[0.3, "rule / measured"] < 8
    assert loose.loc[0.3, "measured"] < loose.loc[0.3, "proof"] < loose.loc[0.3, "rule"]
    assert math.isnan(loose.loc[0.01, "measured"])


def test_violations_are_counted_at_the_rules_own_width():
    failures = sizing.violations(20, [0.5], draws=200)
    projected = sizing.project(20, int(sizing.least(20, 0.5)), draws=200)
    squared = (projected.worst_squared > 0.5).sum().item()
    assert squared > 0
    assert failures.loc[0.5].tolist() == [sizing.least(20, 0.5), 0, squared]


# --- practice -------------------------------------------------------------------------------------


def test_the_talks_fields_are_39_with_as_many_features_as_it_says():
    fields = sizing.criteo_fields()
    assert len(fields) == 39
    assert fields["num_features"].sum() == 1_327_180
    assert fields["embedding_dim"].agg(["min", "max"]).tolist() == [2, 14]


def test_language_models_have_fewer_rows_and_longer_vectors():
    models = sizing.language_models()
    assert (models["tokens"] < sizing.VOCABULARY[0]).all()
    assert (models["width"] > sizing.PRACTICE[1]).all()
    assert models["source"].str.len().min() > 20
