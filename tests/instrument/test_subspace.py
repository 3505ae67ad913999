"""What tables of one field have in common, on tables whose spans are known."""

import pytest
import torch
from torch import Tensor

from embedding_collapse.subspace import diversity, random_diversity


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(normal(rows, columns)).Q


def of_sets(*sets: Tensor) -> list[float]:
    """The diversity of one field with these tables."""
    return diversity(torch.stack(sets, dim=1), [len(sets[0])]).tolist()


def test_sets_that_span_the_same_space_have_none():
    table = normal(30, 4)
    assert of_sets(table, table) == pytest.approx([0], abs=1e-12)
    assert of_sets(table, table @ normal(4, 4, seed=1)) == pytest.approx([0], abs=1e-12)


def test_sets_without_a_common_direction_have_all_of_it():
    axes = orthonormal(30, 12)
    sets = [axes[:, start : start + 4] @ normal(4, 4, seed=start) for start in (0, 4, 8)]
    assert of_sets(*sets) == pytest.approx([1], abs=1e-12)


def test_it_is_the_mean_squared_sine_of_the_angles():
    axes, (cosine, sine) = orthonormal(30, 3), (0.8, 0.6)
    turned = torch.stack([axes[:, 0], cosine * axes[:, 1] + sine * axes[:, 2]], dim=1)
    assert of_sets(axes[:, :2], turned) == pytest.approx([(0 + sine**2) / 2], abs=1e-12)


def test_of_more_than_two_sets_it_is_the_mean_over_pairs():
    axes = orthonormal(30, 4)
    same, other = axes[:, :2], axes[:, 2:]
    assert of_sets(same, same, other) == pytest.approx([2 / 3], abs=1e-12)


def test_it_depends_on_the_spans_alone():
    """Not on how a set's columns are mixed, nor on what either set is called."""
    sets = [normal(30, 4, seed=seed) for seed in range(3)]
    expected = of_sets(*sets)
    assert 0.1 < expected[0] < 0.99
    mixed = [100 * table @ normal(4, 4, seed=9 + seed) for seed, table in enumerate(sets)]
    assert of_sets(*mixed) == pytest.approx(expected, abs=1e-9)
    assert of_sets(*sets[::-1]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_field_with_no_more_features_than_dimensions_has_none(rows):
    assert of_sets(normal(rows, 4), normal(rows, 4, seed=1)) == pytest.approx([0], abs=1e-12)


@pytest.mark.parametrize(("rows", "width"), [(10, 4), (40, 4), (400, 10)])
def test_random_tables_have_one_minus_K_by_D(rows, width):
    found = diversity(normal(rows, 40, width), [rows])  # 780 pairs of sets
    assert found.item() == pytest.approx(1 - width / rows, abs=0.005)


def test_a_single_set_has_no_diversity_to_speak_of():
    assert diversity(normal(30, 1, 4), [10, 20]).isnan().tolist() == [True, True]


def test_there_is_one_number_per_field_in_their_order():
    cardinalities = [40, 3, 20]
    fields = [normal(rows, 2, 4, seed=rows).float() for rows in cardinalities]
    fields[2][:, 1] = fields[2][:, 0]
    found = diversity(torch.cat(fields), cardinalities)
    assert found.dtype == torch.float64
    alone = [diversity(field, [len(field)]).item() for field in fields]
    assert found.tolist() == alone
    assert found.tolist() == pytest.approx([0.9, 0, 0], abs=0.08)


@pytest.mark.parametrize(("rows", "width"), [(12, 5), (40, 5), (5, 5), (3, 5)])
def test_random_tables_have_the_diversity_that_is_expected_of_them(rows, width):
    drawn = [
        of_sets(*normal(6, rows, width, seed=seed)) for seed in range(40)
    ]  # the mean over 15 pairs of sets each
    mean = torch.tensor(drawn).mean().item()
    assert mean == pytest.approx(random_diversity(rows, width), abs=0.01)
