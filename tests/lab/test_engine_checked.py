"""What differs is caught, what only rounds is not; nothing is lost when the loop takes over."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from test_training import fit_tiny, tiny_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from blocked_adam import choice, group_look_ups, reference
from blocked_adam import optimizer as optimizer_module
from embedding_collapse.errors import DivergedError
from embedding_collapse.lab.checkpoint import Fit
from embedding_collapse.lab.data import Dataset, Field
from embedding_collapse.lab.engine import captured as engine_module
from embedding_collapse.lab.engine.agreement import State, compare_steps, tensors_of
from embedding_collapse.lab.engine.captured import Engine, loss_of
from embedding_collapse.lab.engine.checked import CheckedEngine
from embedding_collapse.lab.engine.loop import StepByStep
from embedding_collapse.lab.engine.products import PRODUCTS, taken_in_float32
from embedding_collapse.lab.models import MODELS, PAPER, Recommender, Size, build

pytestmark = pytest.mark.slow

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
        how: "tf32" cuts digits off what goes in, "float64" rounds once, at the end, "backwards"
            begins a sum with its last term.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        if operation.overloadpacket not in PRODUCTS:
            return operation(*arguments, **(options or {}))
        if self.how == "float64":
            return operation(*(x.double() for x in arguments)).to(arguments[0].dtype)
        *before, one, other = arguments
        if self.how == "backwards":
            one, other = one.flip(-1), other.flip(-2)
        elif one.dtype == torch.float32:
            one, other = (
                (x.contiguous().view(torch.int32) & -(2**13)).view(torch.float32)
                for x in (one, other)
            )
        return operation(*before, one, other)


def sides(
    name: str = "dcnv2", precision: str | None = None, *, dtype=torch.float32, **changed
) -> tuple[Engine, StepByStep]:
    """An engine and a loop of one model, in the paper's settings; TF32 as far as a CPU has it."""
    torch.manual_seed(0)  # of dropout, or results would depend on the tests before
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


def with_products(function: Callable, how: str) -> Callable:
    def within(*arguments):
        with Products(how):
            return function(*arguments)

    return within


def compare(engine: Engine, loop: StepByStep, first: int = 0, steps: int = 3) -> str | None:
    rows = torch.arange(first, first + steps * BATCH).view(steps, BATCH)
    return compare_steps(engine, loop, rows, State(engine))


# --- what rounds is not caught --------------------------------------------------------------------


# the paper's models in every precision; those made of the same layers in the finest and coarsest
@pytest.mark.parametrize(
    "precision, name",
    [
        *product(PRECISIONS, PAPER),
        *product([None, "bf16"], [name for name in MODELS if name not in PAPER]),
    ],
)
def test_both_sides_agree_at_the_start_and_later(precision, name):
    engine, loop = sides(name, precision)
    assert compare(engine, loop) is None
    engine.window(torch.arange(5 * BATCH).view(5, BATCH))
    assert compare(engine, loop, first=6 * BATCH) is None


@pytest.mark.parametrize("name", [*PAPER, "dcnv2-regularized", "dcnv2-linear", "ffm"])
@pytest.mark.parametrize(
    "precision, how",
    [(None, "float64"), (None, "backwards"), ("bf16", "backwards"), ("tf32", "tf32")],
)
def test_products_that_round_otherwise_are_not_caught(name, precision, how):
    """Other kernels for the engine; in TF32 the loop's in float32, as for dimensions that a GPU
    does not take."""
    engine, loop = sides(name)
    engine.precision = loop.precision = precision
    engine.window = with_products(engine.window, how)
    engine.window(torch.arange(5 * BATCH).view(5, BATCH))
    assert compare(engine, loop, first=6 * BATCH) is None


@pytest.mark.skipif(not shutil.which("g++"), reason="the compiler for a CPU needs g++")
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("precision", [None, "bf16"])
def test_compiled_code_agrees_though_it_drops_other_units(precision):
    if taken_in_float32(precision, torch.device("cpu")):
        pytest.skip("this processor has no instructions for products in bf16")
    engine, loop = sides("dnn", precision, compile=True)
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
    step = optimizer_module.dense_step

    def without(optimizer):
        with pytest.MonkeyPatch.context() as inner:
            inner.setitem(optimizer.param_groups[0], "weight_decay", 0)
            step(optimizer)

    patch.setattr(optimizer_module, "dense_step", without)
    yield


@contextlib.contextmanager
def no_weight_decay_of_rows_looked_up(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    apply = reference.apply
    patch.setattr(
        reference, "apply", lambda *parts: apply(*parts[:-1], parts[-1]._replace(weight_decay=0))
    )
    yield


@contextlib.contextmanager
def rows_read_before_they_are_caught_up(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    patch.setattr(engine.optimizer, "catch_up", lambda *_: None)
    yield


@contextlib.contextmanager
def a_row_left_behind(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    flush = reference.flush

    def all_but_one(table, now, decay):
        row = int((table.last[:-1] == 0).nonzero()[0])  # in no batch
        before = [part[row].clone() for part in table[:3]]
        flush(table, now, decay)
        for part, values in zip(table[:3], before, strict=True):
            part[row] = values

    patch.setattr(reference, "flush", all_but_one)
    yield


@contextlib.contextmanager
def a_row_looked_up_left_behind(engine: Engine, patch: pytest.MonkeyPatch) -> Iterator:
    catch_up = reference.catch_up

    def all_but_one(table, look_ups, now, decay):
        rows = look_ups.rows[: look_ups.different]
        late = rows[table.last[rows] < now]
        before = [part[late[:1]].clone() for part in table[:3]]
        catch_up(table, look_ups, now, decay)
        for part, values in zip(table[:3], before, strict=True):
            part[late[:1]] = values

    patch.setattr(reference, "catch_up", all_but_one)
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
    apply = reference.apply
    patch.setattr(
        reference,
        "apply",
        lambda table, look_ups, gradients, *rest: apply(table, look_ups, -gradients, *rest),
    )
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
        no_weight_decay,
        no_weight_decay_of_dense,
        no_weight_decay_of_rows_looked_up,
        rows_read_before_they_are_caught_up,
        a_row_left_behind,
        a_row_looked_up_left_behind,
        steps_miscounted,
        a_step_of_the_wrong_sign,
        statistics_that_run_too_fast,
        another_batch,
    )
}


def with_fault(engine: Engine, fault: Callable) -> None:
    """The engine alone has it, while it takes steps."""
    window = engine.window

    def faulty(*arguments):
        with pytest.MonkeyPatch.context() as patch, fault(engine, patch):
            return window(*arguments)

    engine.window = faulty


@pytest.mark.filterwarnings("ignore:.*were read while they were behind:UserWarning")  # one of them
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_fault_is_caught_in_every_precision(precision, fault):
    engine, loop = sides(precision=precision)
    engine.window(torch.arange(5 * BATCH).view(5, BATCH))
    with_fault(engine, FAULTS[fault])
    reason = compare(engine, loop, first=6 * BATCH)
    assert reason is not None


@pytest.mark.parametrize("precision, factor", [(None, 1.0001), ("tf32", 1.1), ("bf16", 1.3)])
def test_how_small_an_error_of_scale_is_caught(precision, factor):
    engine, loop = sides(precision=precision)
    engine.window(torch.arange(5 * BATCH).view(5, BATCH))
    with_fault(engine, partial(gradient_of, WEIGHT, factor))
    assert "gradient of interaction.project.linear.weight" in compare(engine, loop, 6 * BATCH)


# --- nothing is changed where both agree ----------------------------------------------------------


class Window:
    """Stands in for a graph where there is no GPU: replays by taking the steps."""

    def __init__(self, engine: Engine, rows: Tensor, pool: object = None) -> None:
        self.engine, self.graph = engine, self

    def pool(self) -> None:
        return None

    def replay(self, rows: Tensor) -> Tensor:
        return self.engine.window(rows)


@pytest.fixture(autouse=True)
def in_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are updated by the reference, whose passes the faults are put into."""
    monkeypatch.setattr(choice, "numba_runs", lambda: False)


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    """Has engines capture what stands in for a graph."""

    def use(kind: type) -> None:
        monkeypatch.setattr(engine_module, "kernels_run_on", lambda device: True)
        monkeypatch.setattr(
            engine_module, "LONGER", engine_module.BLOCK
        )  # as where steps are captured
        monkeypatch.setattr(engine_module, "_Graph", kind)

    return use


BLOCK, ROWS, STEPS = 4, 403, 26  # batches of 16 and of 15, 13 of each: three windows and a step


def trained(trainer) -> dict[str, Tensor]:
    """Train an epoch; weights, Adam's state, buffers, and the losses."""
    torch.manual_seed(0)
    order, found = torch.randperm(ROWS), torch.zeros(2, STEPS)
    taken = list(trainer.epoch(order, *found))
    assert taken == sorted(set(taken)) and taken[-1] == STEPS
    optimizer, model = trainer.optimizer, getattr(trainer, "loop", trainer).model
    optimizer.state_dict()  # writes the table's number of steps down
    moments = {
        f"{part} of {name}": value
        for name, p in model.named_parameters()
        for part, value in optimizer.state[p].items()
    }
    return dict(model.state_dict()) | moments | {"losses": found}


def assert_same_bits(ones: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    assert ones.keys() == others.keys()
    for name, value in ones.items():
        assert torch.equal(value, others[name]), name


@pytest.mark.parametrize("name", [*PAPER, "dcnv2-regularized", "ffm"])
def test_a_run_that_is_checked_has_the_bits_of_one_that_is_not(name, captures):
    captures(Window)
    checked = CheckedEngine(*sides(name, block=BLOCK))
    ours = trained(checked)
    assert checked.kind == "captured"
    assert checked._compared == {(16, False): 1, (16, True): 2, (15, False): 1, (15, True): 2}
    assert_same_bits(ours, trained(sides(name, block=BLOCK)[0]))


def test_comparing_steps_puts_everything_back():
    engine, loop = sides()
    engine.window(torch.arange(5 * BATCH).view(5, BATCH))
    engine.optimizer.zero_grad()
    state = State(engine)
    compare_steps(engine, loop, torch.arange(3 * BATCH).view(3, BATCH), state)
    for name, value in tensors_of(engine).items():
        assert torch.equal(value, state.copies[name]), name
    assert torch.equal(torch.get_rng_state(), state.random[0])
    assert all(p.grad is None for p in engine.model.parameters())


# --- the loop takes over --------------------------------------------------------------------------


class EngineThenLoop:
    """The engine, unchecked, up to a step; then the loop with what it left."""

    def __init__(self, engine: Engine, loop: StepByStep, first: int) -> None:
        self.engine, self.loop, self.first, self.optimizer = engine, loop, first, loop.optimizer

    def epoch(self, order: Tensor, losses: Tensor, penalties: Tensor) -> Iterator[int]:
        batches = order.tensor_split(len(losses))
        for window in engine_module.windows(len(order), len(losses), BLOCK):
            place = slice(window.step, window.step + window.steps)
            if window.step < self.first:
                losses[place], penalties[place] = self.engine.take(window.batches(order))
                yield place.stop
        for layer in self.loop.model.layers():
            layer.align = 1
        state = self.engine.optimizer.state_dict()["state"]
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        for step in range(self.first, len(losses)):
            losses[step], _ = self.loop.backward(batches[step])
            self.optimizer.step()
            yield step + 1


def test_a_disagreement_at_the_start_leaves_the_loops_own_run(captures):
    captures(Window)
    engine, loop = sides()
    with_fault(engine, FAULTS["a gradient of the wrong sign"])
    checked = CheckedEngine(engine, loop)
    with pytest.warns(UserWarning, match="the engine is left.* the gradient of") as told:
        ours = trained(checked)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    assert checked.kind.startswith("loop (fallback: the gradient of interaction.project.linear")
    alone = sides()[1]
    for layer in alone.model.layers():
        layer.align = 1  # as it is where there is no engine
    assert_same_bits(ours, trained(alone))


class Broken(Window):
    """Cannot be captured for batches of a size."""

    size: int

    def __init__(self, engine: Engine, rows: Tensor, pool: object = None) -> None:
        super().__init__(engine, rows, pool)
        if rows.shape[1] == self.size:
            ids = engine.ids[rows[0]].long() + engine.model.starts
            engine.step(
                ids, engine.labels[rows[0]], group_look_ups(ids.flatten(), len(engine.model.table))
            )
            try:
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
            finally:
                raise RuntimeError("CUDA error: operation failed due to a previous error")


@pytest.mark.parametrize("precision", [None, "bf16"])  # bf16 has dimensions filled up
@pytest.mark.parametrize("size, first", [(16, 4), (15, 17)])
def test_a_capture_that_fails_leaves_no_step_out_and_takes_none_twice(
    size, first, precision, captures
):
    """Of the first size of batches, after a window; or of the second, when there is a graph."""
    captures(type("Graph", (Broken,), {"size": size}))
    checked = CheckedEngine(*sides(precision=precision, block=BLOCK))
    with pytest.warns(UserWarning, match="the engine is left") as told:
        ours = trained(checked)
    why = "RuntimeError: CUDA error: operation not permitted when stream is capturing"
    assert len(told) == 1
    assert checked.kind == f"loop (fallback: {why})"
    captures(Window)
    assert_same_bits(ours, trained(EngineThenLoop(*sides(precision=precision, block=BLOCK), first)))


class SameBatches(Window):
    """Has kept the batches that it was captured with."""

    def __init__(self, engine: Engine, rows: Tensor, pool: object = None) -> None:
        super().__init__(engine, rows, pool)
        self.rows = rows.clone()

    def replay(self, rows: Tensor) -> Tensor:
        return self.engine.window(self.rows)


class SameNumbers(Window):
    """Draws the same random numbers at each replay."""

    random = None

    def replay(self, rows: Tensor) -> Tensor:
        self.random = torch.get_rng_state() if self.random is None else self.random
        before = torch.get_rng_state()
        torch.set_rng_state(self.random)
        found = self.engine.window(rows)
        torch.set_rng_state(before)
        return found


class SameCoefficients(Window):
    """Has kept the number of steps that it was captured at."""

    before = None

    def replay(self, rows: Tensor) -> Tensor:
        (window,) = self.engine.optimizer._windows.values()
        self.before = window.before if self.before is None else self.before
        late = window.before - self.before
        self.engine.optimizer.count_steps(-late)
        found = self.engine.window(rows)
        self.engine.optimizer.count_steps(late)
        return found


class OneStepShort(Window):
    """Leaves the last step out."""

    def replay(self, rows: Tensor) -> Tensor:
        found = self.engine.window(rows[:-1])
        self.engine.optimizer.count_steps(1)
        return torch.cat([found, found[:, -1:]], 1)


class RowLeft(Window):
    """Leaves a row that is not looked up as it was."""

    def replay(self, rows: Tensor) -> Tensor:
        table = self.engine.model.table.detach()
        rare = self.engine.ids[rows][..., 1].flatten()
        row = 9 + int((rare.bincount(minlength=600) == 0).nonzero()[-1])
        before = table[row].clone()
        found = self.engine.window(rows)
        table[row] = before
        return found


@pytest.mark.parametrize(
    "graph, first, why",
    [
        (SameBatches, 8, "table differs from uncaptured in rows that are not looked up"),
        (SameNumbers, 4, "the random generator ends elsewhere than uncaptured"),
        (SameCoefficients, 8, "table differs from uncaptured in rows that are not looked up"),
        (OneStepShort, 4, "the random generator ends elsewhere than uncaptured"),
        (RowLeft, 4, "table differs from uncaptured in rows that are not looked up"),
    ],
)
@pytest.mark.parametrize("precision", [None, "bf16"])
def test_a_graph_that_replays_something_else_is_caught(graph, first, why, precision, captures):
    captures(graph)
    checked = CheckedEngine(*sides(precision=precision, block=BLOCK))
    with pytest.warns(UserWarning, match="the engine is left"):
        ours = trained(checked)
    assert checked.kind.startswith(f"loop (fallback: {why}")
    captures(Window)
    assert_same_bits(ours, trained(EngineThenLoop(*sides(precision=precision, block=BLOCK), first)))


class OtherOrder(Window):
    """Sums in another order, as a GPU's `index_add` may."""

    def replay(self, rows: Tensor) -> Tensor:
        with Products("backwards"):
            return self.engine.window(rows)


@pytest.mark.parametrize("precision", [None, "bf16"])
@pytest.mark.parametrize("name", PAPER)
def test_a_graph_whose_sums_round_otherwise_is_not_caught(name, precision, captures):
    captures(OtherOrder)
    checked = CheckedEngine(*sides(name, precision, block=BLOCK))
    trained(checked)
    assert checked.kind == "captured"


# --- what a run says of it ------------------------------------------------------------------------


def fitted(engine: bool | None, **changed) -> tuple[Recommender, Fit]:
    dataset = some_dataset(1700)  # 85 batches
    model = tiny_model(dataset)
    return model, fit_tiny(model, dataset, **({"batch_size": 16, "engine": engine} | changed))


def test_a_fit_says_how_its_steps_were_taken(captures):
    assert fitted(engine=None, epochs=1)[1].engine == "loop"
    assert fitted(engine=True, epochs=1)[1].engine == "uncaptured"
    captures(Window)
    assert fitted(engine=True, epochs=1)[1].engine == "captured"


def test_a_run_resumed_after_a_fallback_stays_with_the_loop_and_ends_with_the_same_bits(
    captures, tmp_path
):
    captures(RowLeft)
    with pytest.warns(UserWarning, match="the engine is left"):
        whole, expected = fitted(engine=True, epochs=3)
    with pytest.warns(UserWarning, match="the engine is left"):
        fitted(engine=True, epochs=1, checkpoints=tmp_path)
    resumed, found = fitted(engine=True, epochs=3, checkpoints=tmp_path)  # and warns no more
    assert found.engine == expected.engine
    assert found.engine.startswith("loop (fallback: table differs from uncaptured")
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loss_that_diverges_is_told_as_such_and_not_laid_on_the_engine(captures):
    captures(Window)
    with pytest.raises(DivergedError, match="not finite"):
        fitted(engine=True, learning_rate=1e30)


# --- on a GPU -------------------------------------------------------------------------------------


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@needs_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
def test_on_a_gpu_the_engine_is_kept(name, precision):
    dataset = some_dataset()
    model = build(name, dataset.cardinalities, Size(2, 2, 5, hidden=16))
    found = fit_tiny(model, dataset, device="cuda", precision=precision, batch_size=16)
    assert found.engine == "captured"


@needs_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_on_a_gpu_the_compiled_engine_is_kept(precision):
    dataset = some_dataset()
    settings = {"precision": precision, "batch_size": 16, "compile": True}
    found = fit_tiny(tiny_model(dataset), dataset, device="cuda", **settings)
    assert found.engine == "captured"


@needs_gpu
def test_on_a_gpu_training_goes_on_after_a_capture_that_failed():
    """Dropout draws from torch's generator, which the capture would have left unusable."""
    dataset = some_dataset()
    model = tiny_model(dataset)
    model.head.register_forward_hook(
        lambda *_: torch.cuda.is_current_stream_capturing() and torch.cuda.synchronize()
    )
    with pytest.warns(UserWarning, match="the engine is left"):
        found = fit_tiny(model, dataset, device="cuda", batch_size=16)
    assert found.engine.startswith("loop (fallback: ") and "captur" in found.engine
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert found.test["auc"] > 0.6
