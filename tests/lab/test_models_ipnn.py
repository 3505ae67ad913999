"""IPNN's inner products, compiled, are torch's."""

import pytest
import torch
from rounding import assert_same_sums
from torch import Tensor

from embedding_collapse.lab.engine.products import products
from embedding_collapse.lab.models import Size, fused
from embedding_collapse.lab.models.ipnn import IPNN

pytest.importorskip("embedding_collapse.lab.models.compiled_inner")

# sets, rows, fields, width: a few rows, more than are in hand, numbers in fours and not
SHAPES = [(1, 5, 2, 3), (3, 32, 4, 8), (2, 75, 6, 11), (1, 65, 7, 21)]


def embedded(shape, dtype=torch.float64) -> Tensor:
    """As they are looked up, and laid out as `[M, B, N, K]`."""
    sets, rows, fields, width = shape
    draw = torch.Generator().manual_seed(0)
    looked_up = torch.randn(rows, fields, sets, width, generator=draw).to(dtype)
    return looked_up.permute(2, 0, 1, 3).requires_grad_()


def inputs_of(embeddings: Tensor, raw: bool, align: int = 1) -> Tensor:
    """What IPNN projects."""
    sets, _, fields, width = embeddings.shape
    model, seen = IPNN(Size(fields, sets, width, hidden=3), raw).to(embeddings.dtype), []
    for layer in model.modules():
        layer.align = align
    model.project.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(embeddings)
    of = str(seen[0].grad_fn)
    assert ("_InnerProductsBackward" in of) == (fused.WORTH_FUSING == 0)
    return seen[0]


def with_gradient(embeddings: Tensor, raw: bool, width: int) -> list[Tensor]:
    """The first so many of what IPNN projects, and a gradient from there."""
    y = inputs_of(embeddings, raw)[..., :width]
    given = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad((y * given).sum(), embeddings)]


@pytest.mark.rounding
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_inner_products_are_torchs_on_any_number_of_threads(shape, raw, monkeypatch):
    found, before = [], torch.get_num_threads()
    _, _, fields, width = shape
    inputs = fields * (fields - 1) // 2 + fields * width * raw
    for worth, threads in ((0, 1), (0, 3), (2**62, 1)):
        monkeypatch.setattr(fused, "WORTH_FUSING", worth)
        torch.set_num_threads(threads)
        try:
            found.append(with_gradient(embedded(shape), raw, inputs))
        finally:
            torch.set_num_threads(before)
    one, several, plain = found
    assert all(map(torch.equal, one, several))
    assert_same_sums(one, plain, width + fields)


@pytest.mark.parametrize("raw", [True, False])
def test_compiled_inner_products_are_written_as_they_are_multiplied(raw, monkeypatch):
    """They stay products of float32 where others are in bf16, and zeros fill them up."""
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    embeddings = embedded(SHAPES[2], torch.float32)
    exact = inputs_of(embeddings, raw)
    with products("bf16", torch.device("cpu")):
        found = inputs_of(embeddings, raw, align=8)
    count = exact.shape[-1]
    assert found.shape[-1] == -(-count // 8) * 8 and found.dtype == torch.bfloat16
    assert torch.equal(found[..., :count], exact.bfloat16()) and not found[..., count:].any()
    given = torch.randn(found.shape).bfloat16()
    (ours,) = torch.autograd.grad(found, embeddings, given)
    (in_float32,) = torch.autograd.grad(exact, embeddings, given[..., :count].float())
    assert torch.equal(ours, in_float32)


@pytest.mark.parametrize("fields", [3, 5])
def test_inner_products_of_another_number_of_fields_are_an_error(fields, monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    with pytest.raises((RuntimeError, IndexError)):
        IPNN(Size(4, 1, 5, hidden=3), raw=True)(torch.randn(1, 37, fields, 5))


def test_inner_products_are_taken_of_numbers_wherever_they_lie(monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    embeddings = embedded(SHAPES[2])
    elsewhere = embeddings.detach().mT.contiguous().mT.requires_grad_()
    found = [with_gradient(each, True, 60) for each in (embeddings, elsewhere)]
    assert all(map(torch.equal, *found))
