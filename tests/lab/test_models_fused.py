"""One pass over the hidden units is batch norm, ReLU, dropout and the mean over sets."""

import copy
import runpy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from rounding import assert_rounding_alone, assert_same_sums
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from embedding_collapse.lab.engine import products as module
from embedding_collapse.lab.engine.products import products
from embedding_collapse.lab.models import MODELS, PAPER, Size, build, fused, layers, pairs
from embedding_collapse.lab.models.interaction import Part
from embedding_collapse.lab.models.layers import SetNorm

compiled = pytest.importorskip("embedding_collapse.lab.models.compiled")
CARDINALITIES, ROWS = [30, 7, 11, 5], 37
# a mean, a variance and their gradients are sums over the rows; then there is the mean over sets
TERMS = 8 * (ROWS + 3)


def normed(fuse: bool, dtype: torch.dtype, monkeypatch, **how) -> list[Tensor]:
    """What a norm puts out in two steps, its gradients, and its running statistics."""
    monkeypatch.setattr(fused, "WORTH_FUSING", 0 if fuse else 2**62)
    draw = torch.Generator().manual_seed(1)
    norm = SetNorm(3, 5).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(15, generator=draw))
        norm.bias.copy_(torch.randn(15, generator=draw))
    offset = torch.randn(3, 5, 1, generator=draw).to(dtype).requires_grad_()
    found = []
    torch.manual_seed(2)
    for _ in range(2):
        x = (10 * torch.randn(3, 5, ROWS, generator=draw) + 4).to(dtype).requires_grad_()
        y = norm(x * 1, offset, **how)
        assert (type(y.grad_fn).__name__ == "_FusedBackward") == fuse
        given = torch.randn(y.shape, generator=draw).to(dtype)
        found += [y, *torch.autograd.grad((y * given).sum(), [x, norm.weight, norm.bias, offset])]
    buffers = [buffer.to(dtype) for buffer in norm.buffers()]
    return [each.detach() for each in (*found, *buffers)]


HOW = [
    {"relu": True, "rate": 0.2},
    {"relu": True, "rate": 0.5, "mean": True},
    {"relu": True, "mean": True},
    {"rate": 0.3},
    {},
]


@pytest.mark.rounding
@pytest.mark.parametrize("how", HOW, ids=lambda how: "-".join(how))
def test_fused_it_computes_what_the_modules_do(how, monkeypatch):
    ours, plain = (normed(fuse, torch.float64, monkeypatch, **how) for fuse in (True, False))
    assert_same_sums(ours, plain, TERMS)
    assert [(one == 0).sum() for one in ours[::5]] == [(one == 0).sum() for one in plain[::5]]


@pytest.mark.rounding
@pytest.mark.parametrize("how", HOW, ids=lambda how: "-".join(how))
def test_fused_it_evaluates_as_the_modules_do(how, monkeypatch):
    norm, found = SetNorm(3, 5).double(), []
    draw = torch.Generator().manual_seed(1)
    for each in (*norm.parameters(), norm.running_mean, norm.running_var):
        each.data.copy_(torch.rand(15, generator=draw))
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    for worth in (0, 2**62):
        monkeypatch.setattr(fused, "WORTH_FUSING", worth)
        draw.manual_seed(2)
        x, offset = (torch.randn(3, 5, n, generator=draw).double() for n in (ROWS, 1))
        with torch.no_grad():
            found.append(norm(x, offset, **how))
    assert_same_sums(*found, TERMS)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


@pytest.mark.rounding
def test_fused_in_float32_it_is_as_exact_as_the_modules(monkeypatch):
    exact = normed(False, torch.float64, monkeypatch, **HOW[0])
    ours, plain = (normed(fuse, torch.float32, monkeypatch, **HOW[0]) for fuse in (True, False))
    assert_rounding_alone(ours, plain, exact)


def assert_threads_change_no_bit(compute: Callable[[], list[Tensor]]) -> None:
    before, found = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            found.append(compute())
        finally:
            torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))


def test_fused_it_has_the_same_bits_on_any_number_of_threads(monkeypatch):
    assert_threads_change_no_bit(lambda: normed(True, torch.float32, monkeypatch, **HOW[1]))


def test_fused_bf16_is_read_where_it_lies_and_its_gradient_rounded_as_torch_does(monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    given = torch.randn(1, 5, ROWS, generator=torch.Generator().manual_seed(0))
    given[0, 0, 0], given[0, 1] = torch.nan, 1e38  # not a number, and a gradient that overflows
    found = []
    for lies_in_bf16 in (True, False):
        draw = torch.Generator().manual_seed(1)
        x = (10 * torch.randn(3, 5, ROWS, generator=draw)).bfloat16().requires_grad_()
        norm = SetNorm(3, 5)
        torch.manual_seed(2)
        y = norm(x * 1 if lies_in_bf16 else x.float(), **HOW[1])
        found.append([y, *torch.autograd.grad((y * given).sum(), [x, *norm.parameters()])])
        assert found[-1][1].dtype == torch.bfloat16
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.nan_to_num(7), other.nan_to_num(7))
    assert found[0][1].isnan().any() and found[0][1].isfinite().any()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("how", HOW, ids=lambda how: "-".join(how))
def test_what_is_no_number_stays_none_where_it_is_kept(how, training, monkeypatch):
    """Else a model that diverged would go on."""
    x, found = torch.randn(3, 5, ROWS), []
    x[:, 0, 0], x[:, 1, 0] = torch.nan, torch.inf
    norm = SetNorm(3, 5).train(training)
    for worth in (0, 2**62):
        monkeypatch.setattr(fused, "WORTH_FUSING", worth)
        torch.manual_seed(2)
        with torch.no_grad():
            found.append(norm(x.clone(), **how))
    ours, plain = found
    dropped = (ours == 0) & (training and "rate" in how)  # times 0 it would be none either
    assert torch.equal(ours.isnan(), plain.isnan() & ~dropped) and ours.isnan().any()


@pytest.mark.parametrize("of_norm", [torch.float64, torch.bfloat16])
def test_bf16_beside_other_numbers_than_float32_is_no_fused_pass(of_norm, monkeypatch):
    """Its bits would be taken for numbers."""
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    x, norm = torch.randn(3, 5, ROWS).bfloat16(), SetNorm(3, 5)
    assert fused.pays(x, norm.weight) and not fused.pays(x, norm.to(of_norm).weight)


@pytest.mark.parametrize("ids_in", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_look_ups_is_summed_as_torch_sums_it(dtype, ids_in, monkeypatch):
    """In the order of the batch, so the bits are the same; on one thread and on several, and where
    the gradient is one number for all."""
    ids = torch.randint(11, (ROWS, 4), generator=torch.Generator().manual_seed(0), dtype=ids_in)
    given = torch.randn(ROWS, 4, 6, generator=torch.Generator().manual_seed(1)).to(dtype)

    def found(worth: int) -> list[Tensor]:
        monkeypatch.setattr(fused, "WORTH_FUSING", worth)
        table = torch.arange(78.0).view(13, 6).to(dtype).requires_grad_()  # two that none looks up
        y = fused.look_up(ids, table)
        assert (type(y.grad_fn).__name__ == "_LookUpBackward") == (worth == 0)
        (mixed,) = torch.autograd.grad((y * given).sum(), table, retain_graph=True)
        return [y.detach(), mixed, *torch.autograd.grad(y.sum(), table)]

    assert_threads_change_no_bit(lambda: found(0))
    assert all(map(torch.equal, found(0), found(2**62)))
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    for beyond in (ids + 3, ids - 11):
        with pytest.raises(IndexError, match="out of range"):
            fused.look_up(beyond, torch.zeros(13, 6))


@pytest.mark.parametrize("precision", [None, "bf16"])
@pytest.mark.parametrize(("sets", "align"), [(1, 1), (3, 8)])
@pytest.mark.parametrize("looked_up", [True, False])
def test_embeddings_are_laid_side_by_side_as_torch_lays_them(
    precision, sets, align, looked_up, monkeypatch
):
    """In memory they are `[B, N, M, K]` where they were looked up, and anything elsewhere."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(ROWS, 4, sets, 5, generator=draw).permute(2, 0, 1, 3)
    embeddings, found = (rows if looked_up else rows.contiguous()).requires_grad_(), []
    for worth in (0, 2**62):
        monkeypatch.setattr(fused, "WORTH_FUSING", worth)
        with products(precision, torch.device("cpu")):
            y = layers.side_by_side(embeddings, align)
        assert (type(y.grad_fn).__name__ == "_SideBySideBackward") == (worth == 0)
        given = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
        found.append([y, *torch.autograd.grad((y * given).sum(), [embeddings])])
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def crossed(fuse: bool, precision: str | None, dtype: torch.dtype, align: int, monkeypatch):
    """What DCNv2 puts out, and the gradients of its embeddings and weights."""
    monkeypatch.setattr(fused, "WORTH_FUSING", 0 if fuse else 2**62)
    torch.manual_seed(0)
    model = MODELS["dcnv2-linear"].interaction(Size(4, 3, 5, hidden=8)).to(dtype)
    embeddings = torch.randn(3, ROWS, 4, 5, dtype=dtype).requires_grad_()
    with torch.no_grad():
        model.bias.normal_()
        for layer in model.modules():
            layer.align = align
    seen: list[Tensor] = []
    model.project.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with products(precision, torch.device("cpu")):
        y = model(embeddings)
        assert (type(seen[0].grad_fn).__name__ == "_CrossLayersBackward") == fuse
        given = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
        found = torch.autograd.grad((y * given).sum(), [embeddings, *model.parameters()])
        with torch.no_grad():
            assert torch.equal(model(embeddings), y)
    return [y.detach(), *found]


@pytest.mark.rounding
@pytest.mark.parametrize("align", [1, 8])
@pytest.mark.parametrize("precision", [None, "bf16"])
def test_fused_cross_layers_are_as_exact_as_torchs_own(precision, align, monkeypatch):
    """Those have the same bits where torch multiplies and adds at once, which it leaves be in the
    kernels for any processor."""
    ours, plain = (
        crossed(fuse, precision, torch.float32, align, monkeypatch) for fuse in (True, False)
    )
    exact = crossed(False, None, torch.float64, align, monkeypatch)
    assert_rounding_alone(ours, plain, exact)
    assert all(one.dtype == other.dtype for one, other in zip(ours, plain, strict=True))


@pytest.mark.rounding
@pytest.mark.parametrize("precision", [None, "bf16"])
def test_fused_cross_layers_are_torchs_own_in_float64(precision, monkeypatch):
    """Which products in bf16 leave alone."""
    ours, plain = (
        crossed(fuse, precision, torch.float64, 1, monkeypatch) for fuse in (True, False)
    )
    assert_same_sums(ours, plain, TERMS)


def test_fused_cross_layers_have_the_same_bits_on_any_number_of_threads(monkeypatch):
    assert_threads_change_no_bit(lambda: crossed(True, "bf16", torch.float32, 1, monkeypatch))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_mode_of_torch_has_the_products_of_all_sets_of_fused_cross_layers(threads, monkeypatch):
    """Such as the one that takes bf16's in float32 where a processor has no instructions: it is at
    work on one thread alone."""
    seen = []

    class Seeing(module.InFloat32):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            if operation.overloadpacket is torch.ops.aten.mm:
                seen.append(operation)
            return super().__torch_dispatch__(operation, types, args, kwargs)

    monkeypatch.setattr(module, "multiplies_bf16", lambda: False)
    monkeypatch.setattr(module, "InFloat32", Seeing)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = crossed(True, "bf16", torch.float32, 1, monkeypatch)
        # forward, two backward, and forward without gradients, of each layer of each set
        assert len(seen) == (1 + 2 + 1) * Size(4, 3, 5).cross_layers * 3
        plain = crossed(False, "bf16", torch.float32, 1, monkeypatch)
    finally:
        torch.set_num_threads(before)
    assert_rounding_alone(ours, plain, crossed(False, None, torch.float64, 1, monkeypatch))


@pytest.mark.parametrize("name", ["dcnv2", "ipnn", "nfwfm", "xdeepfm"])
def test_compiled_passes_run_in_inference_mode_on_several_threads(name, monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    model = MODELS[name].interaction(Size(4, 3, 5, hidden=8)).eval()
    embeddings, before = torch.randn(3, ROWS, 4, 5), torch.get_num_threads()
    with torch.no_grad():
        expected = model(embeddings)
    torch.set_num_threads(3)
    try:
        with torch.inference_mode():
            found = model(embeddings.clone())
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, expected)


def test_the_gradient_through_fused_cross_layers_can_be_taken_twice(monkeypatch):
    """What their forward pass keeps is left alone; also where hooks keep it, as checkpoints do."""
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    model = MODELS["dcnv2-linear"].interaction(Size(4, 3, 5, hidden=8))
    embeddings = torch.randn(3, ROWS, 4, 5).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        y = model(embeddings).square().sum()
    (first,), (again,) = (torch.autograd.grad(y, embeddings, retain_graph=True) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", ["dnn", "dcnv2-linear", "ipnn", "nfwfm", "xdeepfm"])
def test_a_second_derivative_through_compiled_passes_is_refused(name, monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    model = MODELS[name].interaction(Size(4, 3, 5, hidden=8))
    embeddings = torch.randn(3, ROWS, 4, 5).requires_grad_()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(model(embeddings).sum(), embeddings, create_graph=True)


def test_a_product_has_a_second_derivative():
    x = torch.randn(3, ROWS, 5, dtype=torch.float64).requires_grad_()
    linear = layers.SetLinear(3, 5, 2).double()
    assert torch.autograd.gradgradcheck(lambda x: linear.product(x).square(), x)


@pytest.mark.parametrize("lie_in", [torch.bfloat16, torch.float16])
def test_embeddings_of_another_dtype_than_weights_are_crossed_by_torch(lie_in, monkeypatch):
    """As a lifted table's are, with products in bf16; their bits would be taken for numbers."""
    model = MODELS["dcnv2-linear"].interaction(Size(4, 3, 5, hidden=8))
    embeddings, found = torch.randn(3, ROWS, 4, 5).to(lie_in), []
    for worth in (0, 2**62):
        monkeypatch.setattr(fused, "WORTH_FUSING", worth)
        with products("bf16", torch.device("cpu")):
            found.append(model(embeddings))
    assert torch.equal(*found)


@pytest.mark.parametrize("name", PAPER)
def test_with_products_in_float16_every_model_takes_a_step(name, monkeypatch):
    """Of which compiled code knows what else stays in float32."""
    model = build(name, CARDINALITIES, Size(4, 3, 5, hidden=8))
    with torch.autocast("cpu", torch.float16):
        loss, *gradients = step(model, True, monkeypatch)
    exact = step(model, True, monkeypatch)[0]
    assert abs(loss - exact) < 0.02
    assert all(each.isfinite().all() for each in gradients)


@pytest.mark.parametrize("name", PAPER)
def test_every_model_is_exported_for_any_batch(name):
    """No size of a batch at which compiled code takes over gets in the way."""
    model = build(name, CARDINALITIES, Size(4, 2, 10, hidden=8)).eval()
    ids = torch.stack([torch.arange(ROWS) % n for n in CARDINALITIES], 1)
    batch = torch.export.Dim("batch", min=2, max=100_000)
    exported = torch.export.export(model, (ids,), dynamic_shapes=({0: batch},)).module()
    torch.testing.assert_close(exported(ids[:5]), model(ids[:5]))


@pytest.mark.parametrize("name", ["dnn-linear", "dcnv2-linear"])
def test_what_compiled_code_does_not_know_is_left_to_torch(name, monkeypatch):
    """Products in float16; weights under a transform of torch.func; what is traced."""
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    model = MODELS[name].interaction(Size(4, 3, 5, hidden=8)).eval()
    embeddings = torch.randn(3, ROWS, 4, 5)
    parameters = {key: value.detach() for key, value in model.named_parameters()}
    with torch.autocast("cpu", torch.float16):
        assert model(embeddings).dtype == torch.float16

    def loss(parameters):
        return torch.func.functional_call(model, parameters, (embeddings,)).square().sum()

    gradients = torch.func.grad(loss)(parameters)
    model(embeddings).square().sum().backward()
    for key, value in model.named_parameters():
        torch.testing.assert_close(gradients[key], value.grad, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        traced = make_fx(model)(embeddings)
        other = torch.randn(3, ROWS, 4, 5)
        torch.testing.assert_close(traced(other), model(other))


def test_cross_layers_that_do_not_fit_are_torchs_error_and_read_nothing_else(monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    model = MODELS["dcnv2-linear"].interaction(Size(4, 3, 5, hidden=8))
    with pytest.raises(RuntimeError, match="size"):
        model(torch.randn(3, ROWS, 3, 5))
    model.bias = torch.nn.Parameter(torch.zeros(4, 1, 1, 20))  # for all sets
    assert model(torch.randn(3, ROWS, 4, 5)).isfinite().all()


def step(model, fuse: bool, monkeypatch) -> list[Tensor]:
    """Loss and gradients of one step, and the buffers after it."""
    monkeypatch.setattr(fused, "WORTH_FUSING", 0 if fuse else 2**62)
    model = copy.deepcopy(model)
    draw = torch.Generator().manual_seed(1)
    ids = torch.stack([torch.randint(n, (ROWS,), generator=draw) for n in CARDINALITIES], 1)
    torch.manual_seed(3)
    loss, penalty = model.loss(ids, torch.arange(ROWS) % 2)
    (loss if penalty is None else loss + penalty).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [loss.detach(), *gradients, *(each.to(loss.dtype) for each in model.buffers())]


@pytest.mark.rounding
@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_the_step_that_it_takes_unfused(name, monkeypatch):
    """Dropout included, which draws the same units in both."""
    model = build(name, CARDINALITIES, Size(4, 3, 2, hidden=8)).double()
    ours, plain = (step(model, fuse, monkeypatch) for fuse in (True, False))
    coarse = step(model.float(), False, monkeypatch)
    for one, other, third in zip(ours, plain, coarse, strict=True):
        assert_rounding_alone(one, other, third)


@pytest.mark.rounding
@pytest.mark.parametrize("name", PAPER)
def test_with_products_in_bf16_sums_and_gradients_are_those_of_float32(name, monkeypatch):
    """What differs from a step in float32 is of the size of bf16's unit, fused or not."""
    model = build(name, CARDINALITIES, Size(4, 3, 2, hidden=8, dropout=0.0))
    exact = step(model, False, monkeypatch)[0]
    for fuse in (True, False):
        with products("bf16", torch.device("cpu")):
            loss, *rest = step(model, fuse, monkeypatch)
        assert abs(loss - exact) < 0.05 and loss != exact
        assert all(each.isfinite().all() and each.dtype == torch.float32 for each in rest)


def test_what_a_part_of_a_batch_drops_is_what_the_whole_drops():
    seed, shape = torch.tensor(-(2**62) + 5), torch.Size((3, 5, ROWS))
    whole = layers.draws(shape, seed)
    for start, stop in ((0, 7), (6, 13), (13, ROWS)):
        part = layers.draws(torch.Size((3, 5, stop - start)), seed, Part(start, stop, ROWS))
        assert torch.equal(part, whole[..., start:stop])


def test_draws_are_even():
    """Each of the 16 bits is set half of the time, and none follows the next entry's."""
    drawn = layers.draws(torch.Size((50, 4001)), torch.tensor(7)).int()
    bits = (drawn.unsqueeze(-1) >> torch.arange(16)) & 1
    signs = 2.0 * bits - 1
    assert signs.mean((0, 1)).abs().max() < 5 / 200_050**0.5
    assert (signs[:, 1:] * signs[:, :-1]).mean((0, 1)).abs().max() < 5 / 200_000**0.5


def test_where_no_folder_may_be_written_code_is_compiled_and_not_kept(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    anew = runpy.run_path(compiled.__file__)
    assert anew["_mean"](np.array([1.0, 3.0])) == 2


def test_a_second_backward_pass_is_an_error_and_no_wrong_gradient(monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    x = torch.randn(2, 3, 8, requires_grad=True)
    y = SetNorm(2, 3)(x * 1, relu=True).sum()
    y.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


# embeddings `[M, B, N, K]`, how many maps besides, how many sums, None being NFwFM's: parts of a
# row in hand, a few rows, all rows; sums one by one, in eights, and both
PAIRS = [
    ((2, 3, 4, 1700), None, None),
    ((2, ROWS, 1, 5), None, None),
    ((2, ROWS, 3, 50), None, None),
    ((2, 3, 4, 1700), None, 2),
    ((1, ROWS, 9, 50), None, 16),
    ((2, 2, 4, 1700), 3, 9),
    ((3, ROWS, 4, 5), 6, 8),
    ((2, ROWS, 5, 30), 16, 3),
]


def of_pairs(shape, maps, sums, dtype=torch.float64) -> list[Tensor]:
    """What `sum_of_pairs` or `cin_layer` takes, maps last."""
    draw = torch.Generator().manual_seed(0)
    sets, rows, fields, width = shape
    shapes: list[tuple[int, ...]] = [(rows, fields, sets, width)]
    if sums is None:
        shapes += [(sets, fields, fields)]
    else:
        shapes += [(sets, sums, fields * (maps or fields)), (sets, sums, 1)]
        shapes += [(sets, maps, rows * width)] if maps else []
    looked_up, *rest = [torch.randn(one, generator=draw).to(dtype) for one in shapes]
    return [one.requires_grad_() for one in (looked_up.permute(2, 0, 1, 3), *rest)]


def layer_of(embeddings, weight, bias=None, maps=None) -> tuple[Tensor, ...]:
    if bias is None:
        return (pairs.sum_of_pairs(embeddings, weight),)
    return pairs.cin_layer(embeddings, maps, weight, bias)


def summed(*inputs: Tensor, read: tuple[int, ...] = (0, 1)) -> list[Tensor]:
    """Sums of pairs and the gradients of what they are made of, of those outputs that are read."""
    outputs = layer_of(*inputs)
    compiled = outputs[0].grad_fn.name().split("Backward")[0] in ("_SumOfPairs", "_CINLayer")
    assert compiled != (fused.WORTH_FUSING > 0)
    draw, loss = torch.Generator().manual_seed(1), torch.zeros(())
    for number, y in enumerate(outputs):
        given = torch.randn(y.shape, generator=draw).to(y.dtype)
        if number in read:
            loss = loss + (y * given).sum()
    return [*(y.detach() for y in outputs), *torch.autograd.grad(loss, inputs)]


@pytest.mark.rounding
@pytest.mark.parametrize("parts", [1, 2, 16])  # several chunks to one, as of a whole batch
@pytest.mark.parametrize("shape, maps, sums", PAIRS)
def test_compiled_sums_of_pairs_are_those_of_all_products_at_once(
    shape, maps, sums, parts, monkeypatch
):
    monkeypatch.setattr(pairs, "PARTS", parts)
    inputs, before = of_pairs(shape, maps, sums), torch.get_num_threads()
    found = []
    for worth, threads in ((0, 1), (0, 2), (0, 3), (2**62, 1)):
        monkeypatch.setattr(fused, "WORTH_FUSING", worth)
        torch.set_num_threads(threads)
        try:
            found.append(summed(*inputs))
        finally:
            torch.set_num_threads(before)
    one, two, three, whole = found
    assert all(map(torch.equal, one, two)) and all(map(torch.equal, one, three))
    terms = shape[1] * shape[3] + shape[2] * (maps or shape[2]) + (sums or 1)
    assert_same_sums(one, whole, terms)


@pytest.mark.rounding
@pytest.mark.parametrize("read", [(0,), (1,)])
def test_of_a_cin_layer_its_maps_or_their_sums_alone_may_be_read(read, monkeypatch):
    inputs, found = of_pairs((2, ROWS, 5, 30), 16, 3), []
    for worth in (0, 2**62):
        monkeypatch.setattr(fused, "WORTH_FUSING", worth)
        found.append(summed(*inputs, read=read))
    assert_same_sums(*found, ROWS * 30 + 5 * 16 + 3)


def test_what_is_no_number_stays_so_in_a_cin_layer(monkeypatch):
    inputs, found = of_pairs((1, ROWS, 4, 5), None, 3), []
    inputs[0].data[0, 3, 1, 2] = torch.nan
    for worth in (0, 2**62):
        monkeypatch.setattr(fused, "WORTH_FUSING", worth)
        found.append([x.isnan() for x in summed(*inputs)])
    assert all(map(torch.equal, *found))
    assert found[0][1].sum() == 3


@pytest.mark.parametrize("shape, maps, sums", PAIRS)
def test_where_products_are_in_bf16_compiled_sums_of_pairs_stay_in_float32(
    shape, maps, sums, monkeypatch
):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    inputs, found = of_pairs(shape, maps, sums, torch.float32), []
    for precision in (None, "bf16"):
        with products(precision, torch.device("cpu")):
            found.append(summed(*inputs))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("maps, sums", [(4, 3), (None, None)])
def test_sums_of_pairs_are_taken_of_numbers_wherever_they_lie(maps, sums, monkeypatch):
    inputs = of_pairs((2, ROWS, 5, 3), maps, sums)
    other = [x.detach().mT.contiguous().mT.requires_grad_() for x in inputs]
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    assert all(map(torch.equal, summed(*inputs), summed(*other)))
    constant = [x.detach() for x in inputs]
    constant[1] = inputs[1]
    (of_weight,) = torch.autograd.grad(layer_of(*constant)[-1].sum(), inputs[1])
    assert of_weight.isfinite().all()


def test_gradients_of_sums_are_kept_in_no_more_parts_than_there_are_chunks():
    """Parts without rows would be memory, and zeros to add up."""
    for rows, parts in ((64, 1), (2048, 26), (10_000, pairs.PARTS)):
        assert pairs._parts(torch.zeros(rows, 39, 1, 10)) == parts


def test_a_cin_layer_of_bf16_takes_no_bits_for_other_numbers(monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    embeddings, *rest = (x.detach().float() for x in of_pairs((2, ROWS, 5, 3), 4, 3))
    found = layer_of(embeddings.bfloat16(), *rest)
    torch.testing.assert_close(found, layer_of(embeddings.bfloat16().float(), *rest))


def test_sums_of_pairs_that_do_not_fit_are_torchs_error_and_read_nothing_else(monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    embeddings, weight, bias, maps = of_pairs((2, ROWS, 5, 3), 4, 3)
    alone = of_pairs((2, ROWS, 5, 3), None, None)[1][..., :-1]
    some = (
        (weight[..., :-1], bias, maps), (weight, bias, maps[..., :-1]), (weight[:1], bias, maps),
        (weight, bias[:, :2], maps), (alone,),
    )  # fmt: skip
    for wrong in some:
        with pytest.raises(RuntimeError, match=r"size|match|shape"):
            layer_of(embeddings, *wrong)
