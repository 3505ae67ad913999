"""What layers hand on lies in memory as what comes next reads it, and is what it was."""

import pytest
import torch
from rounding import assert_same_sums
from torch import nn

from embedding_collapse.lab.engine.products import products
from embedding_collapse.lab.models import fused
from embedding_collapse.lab.models.layers import Projection, SetNorm, unit

CPU = torch.device("cpu")


@pytest.mark.rounding
def test_an_output_unit_is_torchs_and_its_gradient_lies_as_its_input_does():
    h, output, found = torch.randn(5, 37, dtype=torch.float64), nn.Linear(5, 1).double(), []
    for plain in (False, True):
        x = h.clone().requires_grad_()
        y = output(x.mT).squeeze(-1) if plain else unit(x.mT, output)
        gradients = torch.autograd.grad(y.square().sum(), [x, *output.parameters()])
        found.append([y, *gradients])
    assert_same_sums(*found, 2 * (5 + 37))
    assert found[0][1].is_contiguous()
    assert torch.autograd.gradgradcheck(lambda x: unit(x.mT, output).square(), h.requires_grad_())


def test_an_output_unit_is_not_in_bf16_but_of_what_is():
    h, output = torch.randn(37, 5), nn.Linear(5, 1)
    exact = unit(h, output)
    with products("bf16", CPU):
        assert torch.equal(unit(h, output), exact)
        assert unit(h.bfloat16(), output).dtype == torch.bfloat16


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_what_products_alone_read_is_the_same_in_bf16(training, mean, monkeypatch):
    """Rounded once, where it would be rounded before the product, and its gradient as well."""
    pytest.importorskip("numba")
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    x, found = torch.randn(3, 5, 37), []
    given = torch.randn(1 if mean else 3, 5, 37).bfloat16()
    for multiplied in (True, False):
        norm = SetNorm(3, 5).train(training)
        z = (x * 2).requires_grad_(training)
        torch.manual_seed(2)
        with products("bf16", CPU), torch.set_grad_enabled(training):
            y = norm(z * 1, relu=True, rate=0.2, mean=mean, multiplied=multiplied)
        assert y.dtype == (torch.bfloat16 if multiplied else torch.float32)
        y = y.bfloat16()
        gradients = torch.autograd.grad(y, [z, *norm.parameters()], given) if training else []
        found.append([y, *gradients])
    assert all(map(torch.equal, *found))
    assert norm(x, multiplied=True).dtype == torch.float32  # as other products are


def test_what_is_not_multiplied_alone_stays_in_float32(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    x = torch.randn(2, 37, 5)
    for multiplied in (True, False):
        project = Projection(2, 5, 3, 0.0, multiplied=multiplied)
        with products("bf16", CPU):
            assert (project(x).dtype == torch.bfloat16) == multiplied
