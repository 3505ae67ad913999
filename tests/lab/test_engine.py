"""The engine takes the steps that `training.fit` takes; all but the graphs is tested on a CPU."""

import gc
import os
import shutil
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from rounding import assert_rounding_alone, assert_same_sums, unit
from test_training import fit_tiny, tiny_dataset, tiny_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from embedding_collapse.lab.data import Dataset, DataSpec, Field
from embedding_collapse.lab.engine.captured import Engine, loss_of, windows
from embedding_collapse.lab.environment import instruction_set
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.metrics import auc
from embedding_collapse.lab.models import MODELS, PAPER, Recommender, Size, build
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.training import predict

rounding = pytest.mark.rounding


@pytest.mark.parametrize("rows, steps, block", [(1603, 16, 4), (100, 7, 3), (64, 2, 32), (9, 3, 1)])
def test_windows_are_the_batches_of_an_epoch_in_order_and_of_one_size_each(rows, steps, block):
    order = torch.randperm(rows)
    found = windows(rows, steps, block)
    batches = [batch for window in found for batch in window.batches(order)]
    for ours, theirs in zip(batches, order.tensor_split(steps), strict=True):
        assert torch.equal(ours, theirs)
    assert [window.step for window in found] == [
        sum(w.steps for w in found[:i]) for i in range(len(found))
    ]
    assert max(window.steps for window in found) <= block


def fitted(dataset: Dataset, name: str = "dcnv2", *, engine: bool, dtype=torch.float32, **changed):
    model = build(name, dataset.cardinalities, Size(len(dataset.fields), 2, 3, hidden=8)).to(dtype)
    return model, fit_tiny(model, dataset, engine=engine, **({"epochs": 2} | changed))


def dataset_without_ties(rows: int = 2003) -> Dataset:
    """No two rows are alike. Rounding tells equal rows' scores apart or not, which an AUC shows."""
    generator = np.random.default_rng(0)
    ids = np.stack(np.divmod(generator.permutation(40 * 60)[:rows], 60), 1).astype(np.int32)
    labels = (generator.random(rows) < 0.2 + 0.6 * (ids[:, 0] % 3 == 1)).astype(np.uint8)
    return Dataset("tiny", ids, labels, (Field("a", 40), Field("b", 60)), "tiny")


@rounding
@pytest.mark.parametrize("name", [*PAPER, "dcnv2-regularized", "dcnv2-shared", "dcnv2-sfg"])
def test_uncaptured_it_trains_as_the_loop_does(name):
    """In float64, since Adam makes whole steps of gradients that are rounding alone (of biases
    before batch norm, say)."""
    dataset, runs = dataset_without_ties(), []  # batches of two sizes
    for engine, dtype in ((True, torch.float64), (False, torch.float64), (False, torch.float32)):
        changed = {"weight_decay": 1e-3, "dtype": dtype}  # a row that is forgotten shows
        model, run = fitted(dataset, name, engine=engine, **changed)
        scores = predict(model, torch.from_numpy(dataset.ids), dataset.split[2])
        losses = torch.tensor([epoch["valid_log_loss"] for epoch in run.epochs], dtype=dtype)
        runs.append((run, scores, [losses, *model.parameters()]))
    (ours, scores, _), (theirs, _, _), _ = runs
    assert_rounding_alone(*(found for _, _, found in runs))
    apart = assert_rounding_alone(*(found for _, found, _ in runs))
    assert scores.sort().values.diff().min() > 2 * apart  # so their order is the same
    assert ours.test["auc"] == theirs.test["auc"]
    for new, old in zip(ours.epochs, theirs.epochs, strict=True):
        assert new["valid_auc"] == old["valid_auc"]
        for key in ("train_loss", "penalty"):  # of steps, each kept in float32
            assert new[key] == pytest.approx(old[key], rel=2 * unit(torch.float32)), key


@rounding
def test_in_float32_it_trains_as_the_loop_does_within_rounding():
    dataset = dataset_without_ties()
    losses = [
        torch.tensor([epoch["losses"] for epoch in run.epochs], dtype=dtype)
        for engine, dtype in ((True, torch.float32), (False, torch.float32), (False, torch.float64))
        for _, run in [fitted(dataset, engine=engine, dtype=dtype)]
    ]
    assert_rounding_alone(*losses)


def test_a_run_of_the_engine_cut_short_and_resumed_equals_one_that_was_not(tmp_path):
    dataset = tiny_dataset()
    whole, _ = fitted(dataset, engine=True, epochs=3)
    fitted(dataset, engine=True, epochs=1, checkpoints=tmp_path)
    resumed, _ = fitted(dataset, engine=True, epochs=3, checkpoints=tmp_path)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


@rounding
def test_the_loop_resumes_what_the_engine_began(tmp_path):
    dataset, changed = dataset_without_ties(), {"engine": False, "epochs": 3}
    fitted(dataset, engine=True, epochs=1, checkpoints=tmp_path, dtype=torch.float64)
    resumed, _ = fitted(dataset, **changed, checkpoints=tmp_path, dtype=torch.float64)
    expected, coarse = (
        fitted(dataset, **changed, dtype=dtype)[0].table for dtype in (torch.float64, torch.float32)
    )
    assert_rounding_alone(resumed.table, expected, coarse)


# --- what stands between the products is fused ----------------------------------------------------


def engine_of(model: Recommender, dataset: Dataset, **changed) -> Engine:
    data = (torch.from_numpy(part) for part in (dataset.ids, dataset.labels))
    settings = {"learning_rate": 0.01, "weight_decay": 1e-3}
    return Engine(model, *data, **(settings | changed))


# From embeddings to the loss and back, of 64 rows: a mean and a variance at two layers and the mean
# of the losses are sums over rows; at most 8 layers are sums over at most 32 inputs.
TERMS = 2 * (5 * 64 + 8 * 32)


@rounding
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_one_graph_for_the_compiler(name):
    dataset = tiny_dataset(200)
    # our dropout, on a CPU, breaks it; one cross layer is as another, and traced as long
    size = Size(len(dataset.fields), 2, 3, hidden=8, dropout=0.0, cross_layers=2)
    model = build(name, dataset.cardinalities, size).double()
    engine = engine_of(model, dataset)
    columns = model.table[0].numel()
    rows = torch.randn(64, 2, columns, dtype=torch.float64, requires_grad=True)
    torch.compiler.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = torch.compile(loss_of, fullgraph=True, dynamic=False, backend="aot_eager")
        found = []
        for one in (loss_of, compiled, compiled):
            loss, penalty = one(model, rows, engine.labels[:64])
            total = loss if penalty is None else loss + penalty
            found.append([total, *torch.autograd.grad(total, [rows, *engine.dense])])
    eager, *others = found
    for other in others:
        assert_same_sums(other, eager, TERMS)


@pytest.mark.slow
@rounding
@pytest.mark.skipif(not shutil.which("g++"), reason="the compiler for a CPU needs g++")
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own
def test_fused_it_trains_as_unfused():
    dataset = tiny_dataset(1000)
    tables = []
    for fused, dtype in ((True, torch.float64), (False, torch.float64), (False, torch.float32)):
        # each layer is compiled for itself, and a third one as the second
        model = tiny_model(dataset, dropout=0.0, cross_layers=2).to(dtype)
        engine = engine_of(model, dataset, compile=fused)
        losses = torch.zeros(4)
        list(engine.epoch(torch.arange(1000), losses, torch.zeros_like(losses)))
        tables.append(model.table.detach())
    assert_rounding_alone(*tables)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_what_it_compiles_is_kept_by_instruction_set(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    dataset = tiny_dataset(200)
    engine_of(tiny_model(dataset), dataset, compile=True)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / instruction_set())


# --- dimensions filled up -------------------------------------------------------------------------


def ids_of(dataset: Dataset) -> Tensor:
    return torch.from_numpy(dataset.ids[:64])


def logits_and_gradients(name: str, dataset: Dataset, align: bool) -> list[Tensor]:
    model = build(name, dataset.cardinalities, Size(len(dataset.fields), 2, 5, hidden=9))
    ids, labels = torch.from_numpy(dataset.ids), torch.from_numpy(dataset.labels)
    for layer in model.layers():
        layer.align = 8 if align else 1
    torch.manual_seed(0)  # of dropout
    loss, _ = model.loss(ids[:64], labels[:64])
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    model.eval()
    return [model(ids[:64]).detach(), *(g for g in gradients if g is not None)]


@rounding
@pytest.mark.parametrize("name", MODELS)
def test_with_dimensions_filled_up_logits_and_gradients_are_the_same(name):
    dataset = tiny_dataset(200)
    filled, plain = (logits_and_gradients(name, dataset, align) for align in (True, False))
    assert_same_sums(filled, plain, TERMS)


def test_what_fills_up_stays_exactly_zero_through_the_cross_layers():
    dataset = tiny_dataset(200)
    model = build("dcnv2", dataset.cardinalities, Size(2, 2, 5, hidden=9))
    with torch.no_grad():
        model.interaction.bias.fill_(1)  # zero at first
    for layer in model.layers():
        layer.align = 8
    seen = []
    model.interaction.project.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(ids_of(dataset))
    assert seen[0].shape[-1] == 16
    assert seen[0][..., 10:].abs().max() == 0
    assert seen[0][..., :10].abs().min() > 0


# --- precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_with_products_in_bf16_and_weights_in_float32(name):
    dataset = tiny_dataset(500)
    for engine in (True, False):
        model, found = fitted(dataset, name, engine=engine, precision="bf16", epochs=1)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert np.isfinite(found.test["log_loss"])


def test_a_specs_precision_reaches_the_products_and_older_keys_stay():
    spec = Spec(
        DataSpec("synthetic-mini", 500), epochs=1, batch_size=128, hidden=8, embedding_size=2
    )
    assert spec.key == "5f49597d21cb"
    low = replace(spec, precision="bf16")
    assert low.key != spec.key
    with pytest.raises(ValueError, match="precision 'fp8' is unknown; known: tf32, bf16"):
        replace(spec, precision="fp8")
    records = [run(one, device="cpu", progress=False) for one in (spec, low)]
    losses = [record.epochs[0]["train_loss"] for record in records]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)
    assert records[1].spec["precision"] == "bf16"


# --- what a graph can hold ------------------------------------------------------------------------


class NothingWaits(TorchDispatchMode):
    """Forbids what reads a tensor's content: its value on the host, or a shape that depends on it;
    and what makes a tensor of numbers on the host."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        tags = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
        waits = tags & set(operation.tags) or operation in (
            torch.ops.aten.lift_fresh.default,
            torch.ops.aten._linalg_check_errors.default,
        )
        if operation == torch.ops.aten.index.Tensor:  # whole numbers settle a shape, a mask doesn't
            waits = any(index.dtype == torch.bool for index in arguments[1] if index is not None)
        if waits:
            raise AssertionError(f"{operation} waits for the device")
        return operation(*arguments, **(options or {}))


class Launched:
    """Stands in a kernel's place and does nothing: the passes around it are looked at."""

    def __getitem__(self, grid):
        return lambda *arguments, **constants: None


@pytest.mark.parametrize("name", MODELS)
def test_nothing_in_a_window_waits_for_the_device(name, monkeypatch):
    kernels = pytest.importorskip("blocked_adam.kernels")
    monkeypatch.setattr("blocked_adam.look_ups.numba_runs", lambda: False)  # as on a GPU
    for kernel in ("_replay", "_apply"):
        monkeypatch.setattr(kernels, kernel, Launched())
    dataset = tiny_dataset(200)
    model = build(name, dataset.cardinalities, Size(len(dataset.fields), 2, 3, hidden=8))
    engine = engine_of(model, dataset, block=3)
    engine.optimizer.passes = "kernels"
    rows = torch.arange(150).view(3, 50)
    engine.window(rows)  # makes the optimizers' states
    engine.optimizer.announce(3)
    with NothingWaits():
        engine.window(rows)
    with pytest.raises(AssertionError, match="waits"), NothingWaits():
        engine.labels.sum().item()


def test_an_engine_that_is_dropped_gives_its_memory_back_at_once():
    dataset = tiny_dataset(200)
    engine = engine_of(tiny_model(dataset), dataset, block=3)
    engine.window(torch.arange(150).view(3, 50))
    dropped = weakref.ref(engine)
    gc.disable()
    try:
        del engine
        assert dropped() is None
    finally:
        gc.enable()


# --- on a GPU -------------------------------------------------------------------------------------


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def dataset_for_graphs() -> Dataset:
    """Two sizes of batches, each enough for three windows of 32 steps."""
    generator = np.random.default_rng(0)
    ids = generator.integers(0, (50, 300), (64 * 200 + 100, 2)).astype(np.int32)
    labels = (ids.sum(1) % 3 == 0).astype(np.uint8)
    return Dataset("tiny", ids, labels, (Field("a", 50), Field("b", 300)), "tiny")


def losses_on_gpu(
    model: Recommender, dataset: Dataset, capture: bool = True, **changed
) -> tuple[Tensor, Engine]:
    data = (torch.from_numpy(part).cuda() for part in (dataset.ids, dataset.labels))
    engine = Engine(model.cuda(), *data, learning_rate=1e-2, weight_decay=1e-3, **changed)
    engine.capture = capture
    losses = torch.zeros(2, 200, device="cuda")
    for epoch in losses:
        list(engine.epoch(torch.arange(len(dataset.labels)).cuda(), epoch, torch.zeros_like(epoch)))
    return losses, engine


@needs_gpu
@pytest.mark.parametrize("precision", [None, "tf32", "bf16"])
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_captured_it_trains_as_uncaptured(precision, compile):
    dataset = dataset_for_graphs()
    found = []
    for capture in (True, False):
        model = tiny_model(dataset, dropout=0.0)
        changed = {"precision": precision, "compile": compile, "capture": capture}
        losses, engine = losses_on_gpu(model, dataset, **changed)
        assert engine.optimizer.state_dict()["state"][0]["step"] == 400
        assert len([graph for graph in engine._graphs.values() if graph]) == 2 * capture
        found.append((losses, model.table.detach()))
    for captured, uncaptured in zip(*found, strict=True):
        torch.testing.assert_close(captured, uncaptured, rtol=1e-3, atol=1e-3)


@needs_gpu
@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_captured_and_drops_other_units_at_each_step(name):
    dataset = dataset_for_graphs()
    model = build(name, dataset.cardinalities, Size(2, 2, 3, hidden=8, dropout=0.5))
    losses, engine = losses_on_gpu(model, dataset)
    assert losses.isfinite().all()
    assert losses[1].mean() < losses[0, :10].mean()
    assert len(losses[1].unique()) > 150
    assert auc(model.eval()(engine.ids), engine.labels) > 0.5
