"""The product of two tables in the page is the library's, and its bound holds."""

from collections.abc import Callable

import pytest
import torch

from embedding_collapse.book.explorers import bottleneck


@pytest.mark.parametrize("rank", [1, 3, 10])
@pytest.mark.parametrize("rest", [0, 0.03, 1])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_pages_spectra_are_the_librarys(
    call: Callable, rank: int, rest: float, seed: int
) -> None:
    setting = {"width": 10, "rank": rank, "rest": rest, "seed": seed}
    ours, expected = call("product", setting), bottleneck.product(**setting)
    for name in expected._fields:
        values = torch.tensor(ours[name], dtype=torch.float64)
        # relative to the largest: the page takes roots of eigenvalues, and the draws are float32
        atol = 1e-5 * getattr(expected, name)[0].item()
        torch.testing.assert_close(values, getattr(expected, name), rtol=0, atol=atol)
    assert (expected.both <= expected.bound + 1e-9 * expected.bound[0]).all()
    assert (expected.both > 1e-9 * expected.both[0]).sum() == (10 if rest else rank)
