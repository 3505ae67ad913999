"""What differs is caught, what merely rounds is not, and nothing is lost when the loop takes over."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from test_training import fit_tiny, tiny_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from embedding_collapse import engine as engine_module
from embedding_collapse.agreement import State, compare_steps, tensors_of
from embedding_collapse.blocked_adam import optimizer as optimizer_module
from embedding_collapse.blocked_adam import twin
from embedding_collapse.checked import CheckedEngine
from embedding_collapse.checkpoint import STATE
from embedding_collapse.data import Dataset, Field
from embedding_collapse.engine import Engine, loss_of
from embedding_collapse.loop import StepByStep
from embedding_collapse.models import MODELS, PAPER, Recommender, Size, build
from embedding_collapse.rounding import PRODUCTS
from embedding_collapse.training import DivergedError

PRECISIONS = (None, "tf32", "bf16")
BATCH = 200


def some_dataset(rows: int = 4003) -> Dataset:
    """Two fields, one with rare features, so that most rows are in no batch; and what to learn."""
    generator = np.random.default_rng(0)
    ids = (generator.random((rows, 2)) ** 3 * (9, 600)).astype(np.int32)
    labels = (generator.random(rows) < 0.2 + 0.6 * (ids[:, 0] == 1)).astype(np.uint8)
    return Dataset("some", ids, labels, (Field("a", 9), Field("b", 600)), "some")


class Products(TorchDispatchMode):
    """Products of matrices as another machine may compute them.

    Args:
        as_on: "tf32" cuts digits off what goes in, "float64" rounds once, at the end.
    """

    def __init__(self, as_on: str) -> None:
        super().__init__()
        self.as_on = as_on

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        if operation.overloadpacket not in PRODUCTS:
            return operation(*arguments, **(options or {}))
        if self.as_on == "float64":
            return operation(*(x.double() for x in arguments)).to(arguments[0].dtype)
        *before, one, other = arguments
        if one.dtype == torch.float32:
            one, other = (
                (x.contiguous().view(torch.int32) & -(2**13)).view(torch.float32)
                for x in (one, other)
            )
        return operation(*before, one, other)


def sides(
    name: str = "dcnv2", precision: str | None = None, *, dtype=torch.float32, **changed
) -> tuple[Engine, StepByStep]:
    """An engine and a loop of one model, in the paper's settings; TF32 as far as a CPU has it."""
    dataset = some_dataset()
    model = build(name, dataset.cardinalities, Size(2, 2, 5, hidden=16)).to(dtype)
    data = [torch.from_numpy(part) for part in (dataset.ids, dataset.labels)]
    settings = {"learning_rate": 1e-3, "weight_decay": 1e-6, "precision": precision}
    engine, loop = Engine(model, *data, **settings, **changed), StepByStep(model, *data, **settings)
    if precision == "tf32":
        engine.window, loop.backward = (
            with_products(one, "tf32") for one in (engine.window, loop.backward)
        )
    return engine, loop


def with_products(function: Callable, as_on: str) -> Callable:
    def within(*arguments):
        with Products(as_on):
            return function(*arguments)

    return within


def compare(engine: Engine, loop: StepByStep, first: int = 0, steps: int = 3) -> str | None:
    rows = torch.arange(first, first + steps * BATCH).view(steps, BATCH)
    return compare_steps(engine, loop, rows, State(engine))


# --- what rounds is not caught --------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_both_sides_agree_at_the_start_and_later(name, precision):
    engine, loop = sides(name, precision)
    assert compare(engine, loop) is None
    engine.window(torch.arange(5 * BATCH).view(5, BATCH))
    assert compare(engine, loop, first=6 * BATCH) is None


@pytest.mark.parametrize("name", [*PAPER, "dcnv2-regularized-fixed", "dcnv2-linear", "ffm"])
@pytest.mark.parametrize(
    "precision, as_on", [(None, "float64"), ("bf16", "float64"), ("tf32", "tf32")]
)
def test_products_that_round_otherwise_are_not_caught(name, precision, as_on):
    """Other kernels for the engine; in TF32 the loop's in float32, as for dimensions that a GPU
    does not take."""
    engine, loop = sides(name)
    engine.precision = loop.precision = precision
    engine.window = with_products(engine.window, as_on)
    for first in (0, 6 * BATCH):
        assert compare(engine, loop, first) is None
        engine.window(torch.arange(5 * BATCH).view(5, BATCH))


@pytest.mark.skipif(not shutil.which("g++"), reason="the compiler for a CPU needs g++")
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("precision", [None, "bf16"])
def test_compiled_code_agrees_though_it_drops_other_units(precision):
    engine, loop = sides(precision=precision, compile=True)
    assert compare(engine, loop) is None


def test_a_loss_that_is_not_finite_is_left_to_whoever_trains():
    engine, loop = sides()
    with torch.no_grad():
        engine.model.head.output.weight.fill_(torch.nan)
    assert compare(engine, loop) is None


# --- what differs is ------------------------------------------------------------------------------


@contextlib.contextmanager
def gradient_of(name: str, factor: float, engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    handle = engine.model.get_parameter(name).register_hook(lambda gradient: factor * gradient)
    yield
    handle.remove()


@contextlib.contextmanager
def gradient_of_rows(factor: float, engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    def scaled(model, rows, labels):
        rows.register_hook(lambda gradient: factor * gradient)
        return loss_of(model, rows * 1, labels)

    patch.setattr(engine, "_loss", scaled)
    yield


@contextlib.contextmanager
def no_weight_decay(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    patch.setitem(engine.optimizer.param_groups[0], "weight_decay", 0)
    yield


@contextlib.contextmanager
def no_weight_decay_of_dense(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    step = optimizer_module._dense_step

    def without(optimizer):
        with pytest.MonkeyPatch.context() as inner:
            inner.setitem(optimizer.param_groups[0], "weight_decay", 0)
            step(optimizer)

    patch.setattr(optimizer_module, "_dense_step", without)
    yield


@contextlib.contextmanager
def no_weight_decay_of_rows_looked_up(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    apply = twin.apply
    patch.setattr(
        twin, "apply", lambda *parts: apply(*parts[:-1], parts[-1]._replace(weight_decay=0))
    )
    yield


@contextlib.contextmanager
def rows_read_before_they_are_caught_up(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    patch.setattr(engine.optimizer, "catch_up", lambda *_: None)
    yield


@contextlib.contextmanager
def a_row_left_behind(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    flush = twin.flush

    def all_but_one(table, now, decay):
        row = int((table.last[:-1] == 0).nonzero()[0])  # in no batch
        before = [part[row].clone() for part in table[:3]]
        flush(table, now, decay)
        for part, values in zip(table[:3], before, strict=True):
            part[row] = values

    patch.setattr(twin, "flush", all_but_one)
    yield


@contextlib.contextmanager
def a_row_looked_up_left_behind(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    catch_up = twin.catch_up

    def all_but_one(table, planned, now, decay):
        late = planned.rows[: planned.count][table.last[planned.rows[: planned.count]] < now]
        before = [part[late[:1]].clone() for part in table[:3]]
        catch_up(table, planned, now, decay)
        for part, values in zip(table[:3], before, strict=True):
            part[late[:1]] = values

    patch.setattr(twin, "catch_up", all_but_one)
    yield


@contextlib.contextmanager
def steps_miscounted(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    announce = optimizer_module._Window.announce

    def late(window, *arguments):
        window.before += 1
        announce(window, *arguments)
        window.before -= 1

    patch.setattr(optimizer_module._Window, "announce", late)
    yield


@contextlib.contextmanager
def a_step_of_the_wrong_sign(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    apply = twin.apply
    patch.setattr(
        twin, "apply", lambda table, planned, gradients, *rest: apply(
            table, planned, -gradients, *rest
        )
    )  # fmt: skip
    yield


@contextlib.contextmanager
def statistics_that_run_too_fast(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    patch.setattr(engine.model.head.hidden.norm, "momentum", 0.2)
    yield


@contextlib.contextmanager
def another_batch(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    patch.setattr(engine, "labels", engine.labels.roll(BATCH))
    yield


WEIGHT = "interaction.project.linear.weight"
FAULTS = {
    "a gradient of the wrong sign": partial(gradient_of, WEIGHT, -1),
    "a gradient twice as large": partial(gradient_of, WEIGHT, 2),
    "a gradient half as large": partial(gradient_of, WEIGHT, 0.5),
    "rows' gradients of the wrong sign": partial(gradient_of_rows, -1),
    "rows' gradients twice as large": partial(gradient_of_rows, 2),
    "rows' gradients half as large": partial(gradient_of_rows, 0.5),
} | {
    fault.__name__.replace("_", " "): fault
    for fault in (
        no_weight_decay, no_weight_decay_of_dense, no_weight_decay_of_rows_looked_up,
        rows_read_before_they_are_caught_up, a_row_left_behind, a_row_looked_up_left_behind,
        steps_miscounted, a_step_of_the_wrong_sign, statistics_that_run_too_fast, another_batch,
    )
}  # fmt: skip


def with_fault(engine: Engine, fault: Callable) -> None:
    """The engine alone has it, while it takes steps."""
    window = engine.window

    def faulty(*arguments):
        with pytest.MonkeyPatch.context() as patch, fault(engine, patch):
            return window(*arguments)

    engine.window = faulty


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["dcnv2", "dnn"])
def test_a_fault_is_caught_in_every_precision(name, precision, fault):
    engine, loop = sides(name, precision)
    engine.window(torch.arange(5 * BATCH).view(5, BATCH))
    with_fault(engine, FAULTS[fault])
    reason = compare(engine, loop, first=6 * BATCH)
    print(reason)
    assert reason is not None


@pytest.mark.parametrize("precision, factor", [(None, 1.0001), ("tf32", 1.1), ("bf16", 1.3)])
def test_how_small_an_error_of_scale_is_caught(precision, factor):
    engine, loop = sides(precision=precision)
    engine.window(torch.arange(5 * BATCH).view(5, BATCH))
    with_fault(engine, partial(gradient_of, WEIGHT, factor))
    assert "gradient of interaction.project.linear.weight" in compare(engine, loop, 6 * BATCH)
