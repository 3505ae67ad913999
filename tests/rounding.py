"""How far apart rounding may leave two results that one order of operations would make equal.

Equal bits are promised only where the operations are the same, in the same order, on one machine.
Another shape, batch, library, instruction set or number of threads is another order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

CHANCE = 8  # how many times larger than another an error of the same size may be
# Adam adds eps = 1e-8 to the size of a gradient. The rounding of a sum of a hundred can be 60 times
# as large in float32, so Adam's steps show that much less of it; in float64 they show it in full.
HIDDEN = 32

Values = Tensor | Sequence[Tensor]


def unit(dtype: torch.dtype) -> float:
    """Half a unit in the last place of 1: by how much of itself an operation's result is off."""
    return torch.finfo(dtype).eps / 2


def assert_same_sums(
    found: Values, expected: Values, terms: int, size: float | None = None
) -> None:
    """Both are sums of so many terms, or chains of sums with so many in all, each in its own order.

    In any order a sum is off by less than `terms * unit` of what its terms add up to in magnitude
    (Higham 2002, section 4.2), so two orders differ by less than twice that.

    Args:
        found, expected: one tensor or several.
        terms: length of the sum.
        size: what the terms add up to in magnitude; by default the largest number of `expected`,
            for a sum whose terms cancel is one of several whose don't.
    """
    size = _largest(expected) if size is None else size
    for one, other in zip(_several(found), _several(expected), strict=True):
        atol = 2 * terms * unit(other.dtype) * size
        torch.testing.assert_close(one, other, rtol=0, atol=atol)


def assert_rounding_alone(found: Values, expected: Values, reference: Values) -> float:
    """What tells two results apart is of the size of rounding, however that has spread.

    How it spreads through the steps of a training is measured: `reference` is `expected` in the
    other precision, and errors of rounding are in proportion to its unit.

    Args:
        found, expected: float32 or float64, one tensor or several.
        reference: the same as `expected`, by the same operations, in float64 or float32.

    Returns:
        by how much they may differ.
    """
    own, other = (unit(_several(values)[0].dtype) for values in (expected, reference))
    pairs = zip(_several(expected), _several(reference), strict=True)
    apart = _largest([one.double() - two.double() for one, two in pairs])
    spread = HIDDEN * own / other * apart if own < other else apart
    atol = CHANCE * max(spread, own * _largest(expected))
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)
    return atol


def _several(values: Values) -> Sequence[Tensor]:
    return [values] if isinstance(values, Tensor) else values


def _largest(values: Values) -> float:
    return max(each.detach().abs().max().item() for each in _several(values))
