"""Products in bf16 or TF32: which numbers are rounded, and to what."""

import pytest
import torch
from test_training import tiny_dataset
from torch.utils._python_dispatch import TorchDispatchMode

from embedding_collapse.lab.engine import products as module
from embedding_collapse.lab.engine.loop import StepByStep
from embedding_collapse.lab.engine.products import InFloat32, products
from embedding_collapse.lab.models import MODELS, Size, build

CPU = torch.device("cpu")


def test_bf16_changes_the_products_and_float32_is_left_alone():
    x = torch.randn(20, 20)
    with products("bf16", x.device):
        assert (x @ x).dtype == torch.bfloat16
    with products(None, x.device):
        assert (x @ x).dtype == torch.float32
    before = torch.get_float32_matmul_precision()
    with products("tf32", x.device):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


@pytest.fixture(params=[True, False], ids=["with instructions", "without"])
def instructions(request, monkeypatch):
    """A processor with and one without instructions for bf16."""
    monkeypatch.setattr(module, "multiplies_bf16", lambda: request.param)


@pytest.mark.rounding
@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_in_bf16_is_that_of_the_rounded_numbers_rounded_once(transposed):
    """On any processor: float64 has the product of numbers of 8 bits and sums them exactly enough;
    what is left is one rounding to 8 bits, and the order of sums of float32 before it."""
    a, b, c = torch.randn(3, 20, 30), torch.randn(3, 30, 40), torch.randn(40)
    b = b.mT.contiguous().mT if transposed else b
    exact = [x.bfloat16().double() for x in (a, b, c)]
    with products("bf16", CPU):
        found = {
            "bmm": (torch.bmm(a, b), exact[0] @ exact[1]),
            "mm": (a[0] @ b[0], exact[0][0] @ exact[1][0]),
            "linear": (
                torch.nn.functional.linear(a, b[0].mT, c),
                exact[0] @ exact[1][0] + exact[2],
            ),
        }
    for name, (product, expected) in found.items():
        assert product.dtype == torch.bfloat16, name
        sums = 30 * torch.finfo(torch.float32).eps * 30  # of 30 products of a few units each
        unit = torch.finfo(torch.bfloat16).eps / 2 * expected.abs()
        assert ((product.double() - expected).abs() <= unit + sums).all(), name


class Executed(TorchDispatchMode):
    """What is executed, with whether bf16 goes in."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        bf16 = any(x.dtype == torch.bfloat16 for x in tensors)
        self.found.add((operation.name().split("::")[1].split(".")[0], bf16))
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", MODELS)
def test_without_instructions_no_product_of_any_model_is_left_to_torchs_slow_way(name, monkeypatch):
    monkeypatch.setattr(module, "multiplies_bf16", lambda: False)
    dataset = tiny_dataset(64)
    model = build(name, dataset.cardinalities, Size(len(dataset.fields), 2, 3, hidden=8))
    ids, labels = torch.from_numpy(dataset.ids), torch.from_numpy(dataset.labels).float()
    loop = StepByStep(model, ids, labels, learning_rate=1e-3, weight_decay=0, precision="bf16")
    with Executed() as executed:
        loop.backward(torch.arange(64))
    names = {name for name, bf16 in executed.found if bf16}
    assert names or name == "ffm"  # which multiplies no matrices
    assert not [name for name in names if any(x in name for x in ("mm", "mv", "dot", "linear"))]


def test_products_of_other_numbers_pass_through_as_they_are():
    for dtype in (torch.float32, torch.float64):
        x = torch.randn(4, 4, dtype=dtype)
        with InFloat32():
            product = x @ x
        assert product.dtype == dtype
        assert torch.equal(product, x @ x)
