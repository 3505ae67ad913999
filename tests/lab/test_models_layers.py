"""What layers hand on lies in memory as what comes next reads it, and is what it was."""

import pytest
import torch
from rounding import assert_same_sums
from torch import nn

from embedding_collapse.lab.engine.products import products
from embedding_collapse.lab.models import MODELS, Size, build, fused
from embedding_collapse.lab.models.layers import (
    HiddenProjection,
    Projection,
    SetLinear,
    SetNorm,
    unit,
)

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


@pytest.mark.parametrize("name", ["dnn", "ipnn", "nfwfm", "xdeepfm", "dcnv2", "finalmlp"])
def test_no_rows_have_no_logits(name):
    model = build(name, [3, 7, 5, 11], Size(4, 2, 2, hidden=3)).eval()
    logits = model(torch.zeros(0, 4, dtype=torch.int32))
    assert logits.shape == (0,)
    logits.sum().backward()
    assert not model.table.grad.any()


@pytest.mark.parametrize("name", ["dnn", "ipnn", "nfwfm", "xdeepfm", "dcnv2", "finalmlp"])
def test_torch_copies_nothing_before_a_product(name, monkeypatch):
    """As it does in bf16 where a single matrix's stride to the next is not that of a whole one."""
    read = []

    def seen(self, x):
        read.append(x)
        return product(self, x)

    product = SetLinear.product
    monkeypatch.setattr(SetLinear, "product", seen)
    build(name, [3, 7, 5, 11], Size(4, 2, 2, hidden=3))(torch.zeros(37, 4, dtype=torch.int32))
    for x in read:
        rows, width = x.shape[1:]
        assert x.stride() in [(rows * width, width, 1), (rows * width, 1, rows)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_what_products_alone_read_is_the_same_in_bf16(training, mean, dtype, monkeypatch):
    """Rounded once, where it would be rounded before the product, and its gradient as well."""
    pytest.importorskip("numba")
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    x, found = torch.randn(3, 5, 37).to(dtype), []
    x[0, 0, 0] = torch.nan
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
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.nan_to_num(7), other.nan_to_num(7))
    with torch.set_grad_enabled(training):
        assert norm(x * 1, multiplied=True).dtype == torch.float32  # as other products are


@pytest.mark.parametrize("kind", [Projection, HiddenProjection])
def test_what_is_not_multiplied_alone_stays_in_float32(kind, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    with products("bf16", CPU):
        y = kind(2, 5, 3, 0.0)(torch.randn(2, 37, 5))
    assert y.dtype == (torch.bfloat16 if kind is HiddenProjection else torch.float32)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_in_bf16_is_that_of_units_that_stay_in_float32_till_they_are_multiplied(
    name, monkeypatch
):
    """To the bit: so nothing but products reads what lies in bf16."""
    pytest.importorskip("numba")
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    ids, labels = torch.arange(37 * 4).view(37, 4) % 3, torch.arange(37) % 2
    found = []
    for multiplied in (True, False):
        monkeypatch.setattr(HiddenProjection, "multiplied", multiplied)
        model = build(name, [3, 7, 5, 11], Size(4, 2, 2, hidden=8))
        torch.manual_seed(0)
        with products("bf16", CPU):
            loss, penalty = model.loss(ids, labels)
            (loss if penalty is None else loss + penalty).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        found.append([loss, *gradients, *model.buffers()])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("align", [1, 8])
@pytest.mark.parametrize("fields", [3, 6])
def test_another_number_of_fields_is_an_error(fields, align):
    """And not products with weights that are cut off, or with zeros in their place."""
    model = MODELS["dnn"].interaction(Size(4, 1, 10, hidden=3))
    for layer in model.modules():
        layer.align = align
    with pytest.raises(RuntimeError, match="size"):
        model(torch.randn(1, 37, fields, 10))
