"""FM's gradient identity, against automatic differentiation."""

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from rounding import assert_same_sums

from embedding_collapse.lab.gradient import fm_logits, pulls

SIZES, WIDTH, ROWS = (9, 3, 20, 40), 6, 500


@pytest.fixture
def batch() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Tables, ids and labels; one field has fewer features than K, each one that never occurs."""
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(d, WIDTH, generator=generator, dtype=torch.float64) for d in SIZES]
    ids = torch.stack([torch.randint(d - 1, (ROWS,), generator=generator) for d in SIZES], 1)
    return tables, ids, torch.randint(2, (ROWS,), generator=generator).double()


def test_logits_are_the_sum_of_the_inner_products_of_all_pairs(batch):
    tables, ids, _ = batch
    expected = [
        sum(tables[i][row[i]] @ tables[j][row[j]] for i, j in combinations(range(4), 2))
        for row in ids
    ]
    # the square of a sum over fields is one over all their pairs
    assert_same_sums(fm_logits(tables, ids), torch.stack(expected), len(SIZES) ** 2 * WIDTH)


@pytest.mark.parametrize("field", range(4))
def test_the_other_fields_pulls_add_up_to_the_gradient_to_1e_10(batch, field):
    tables, ids, labels = batch
    tables[field].requires_grad_()
    logits = fm_logits(tables, ids)
    F.binary_cross_entropy_with_logits(logits, labels).backward()
    found = pulls([t.detach() for t in tables], ids, logits.detach().sigmoid() - labels, field)
    assert set(found) == set(range(4)) - {field}
    error = sum(pull.theta for pull in found.values()) - tables[field].grad
    assert error.abs().max() < 1e-10 < 1e-3 < tables[field].grad.abs().max()


def test_a_pull_is_that_of_its_own_field_direction_by_direction(batch):
    """Each theta_i alone, from the definition with a loop over rows of the batch."""
    tables, ids, labels = batch
    slopes = fm_logits(tables, ids).sigmoid() - labels
    for other, pull in pulls(tables, ids, slopes, field=2).items():
        alone = torch.zeros_like(tables[2])
        for row, slope in zip(ids, slopes, strict=True):
            alone[row[2]] += slope * tables[other][row[other]] / ROWS
        assert_same_sums(pull.theta, alone, ROWS)
        # axes are orthonormal to as many units as the table's longer side has entries
        assert_same_sums(pull.weights, pull.theta @ pull.axes.T, max(SIZES) + 2 * WIDTH)
        assert pull.alpha.shape == (SIZES[2], min(SIZES[other], WIDTH))
        assert not pull.theta[-1].any()  # of the feature that never occurs
