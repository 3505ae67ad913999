"""What is allowed for rounding is enough for it, and for nothing else."""

import pytest
import torch
from rounding import assert_rounding_alone, assert_same_sums
from torch import Tensor

TERMS = 1000


def numbers(dtype: torch.dtype) -> Tensor:
    """Some of them a thousand times as large as others; the same in every type."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(TERMS, 5, generator=generator) * 3).exp().to(dtype)


def one_by_one(terms: Tensor) -> Tensor:
    total = torch.zeros_like(terms[0])
    for each in terms:
        total = total + each
    return total


@pytest.mark.rounding
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sum_in_another_order_agrees_and_one_without_a_term_does_not(dtype):
    terms = numbers(dtype).sort(0).values  # the worst order, and the best
    assert_same_sums(one_by_one(terms.flip(0)), one_by_one(terms), TERMS)
    with pytest.raises(AssertionError):
        assert_same_sums(one_by_one(terms[:-1]), one_by_one(terms), TERMS)


@pytest.mark.rounding
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_other_precision_tells_how_large_rounding_is(dtype):
    other = {torch.float32: torch.float64, torch.float64: torch.float32}[dtype]
    found, expected = one_by_one(numbers(dtype).flip(0)), one_by_one(numbers(dtype))
    reference = one_by_one(numbers(other))
    allowed = assert_rounding_alone(found, expected, reference)
    assert allowed < 1e-3 * expected.max()
    with pytest.raises(AssertionError):
        assert_rounding_alone(found + 2 * allowed, expected, reference)
