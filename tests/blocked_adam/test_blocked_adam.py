"""ExactBlockedAdam is dense Adam: the same weights and moments, at every step, to rounding.

Bits are equal where only the time of a row's replay differs: its operations are single ones, each
rounded once, in the same order.
"""

import copy
import io
import pickle
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rounding import assert_rounding_alone, unit
from torch import Tensor, nn

from blocked_adam import ExactBlockedAdam, choice, group_look_ups, reference

pytestmark = pytest.mark.rounding

ROWS, WIDTH, BATCH = 300, 6, 64
SETTINGS = {"lr": 1e-2, "weight_decay": 1e-2}  # large, so that a decay that is missed shows


def zipf_batches(steps: int, rows: int = ROWS, batch: int = BATCH) -> list[Tensor]:
    """Ids by Zipf's law: some rows several times in a batch, some in no batch at all."""
    generator = np.random.default_rng(0)
    chances = 1 / np.arange(1, rows + 1)
    ids = generator.choice(rows, (steps, batch), p=chances / chances.sum())
    drawn = torch.from_numpy(generator.permutation(rows)[ids])
    return list(drawn.to(torch.get_default_device()))


def table(dtype: torch.dtype = torch.float32) -> nn.Parameter:
    values = np.random.default_rng(1).standard_normal((ROWS, WIDTH), dtype=np.float32)
    return nn.Parameter(torch.tensor(values, dtype=dtype))


def loss_of(looked_up: Tensor) -> Tensor:
    """Something with another gradient for every row, of large and small size."""
    weights = torch.linspace(0.1, 2, looked_up.numel(), dtype=looked_up.dtype)
    return (looked_up.sin() * weights.view_as(looked_up)).sum()


def train(p: nn.Parameter, optimizer: torch.optim.Adam, batches: list[Tensor]) -> None:
    """Look up, backward, step: blocked where the optimizer is, dense where it isn't."""
    blocked = isinstance(optimizer, ExactBlockedAdam)
    for ids in batches:
        if blocked:
            optimizer.catch_up(p, ids)
        optimizer.zero_grad()
        loss_of(F.embedding(ids, p, sparse=blocked)).backward()
        optimizer.step()


def blocked(batches: list[Tensor], block: int, **changed) -> tuple[Tensor, dict]:
    p = table(changed.pop("dtype", torch.float32))
    optimizer = ExactBlockedAdam([p], block=block, **(SETTINGS | changed))
    train(p, optimizer, batches)
    state = optimizer.state_dict()["state"][0]  # this flushes
    return p.detach(), state


def dense(batches: list[Tensor], dtype: torch.dtype = torch.float32) -> tuple[Tensor, dict]:
    p = table(dtype)
    optimizer = torch.optim.Adam([p], **SETTINGS)
    train(p, optimizer, batches)
    return p.detach(), optimizer.state_dict()["state"][0]


def assert_same_bits(one: tuple[Tensor, dict], other: tuple[Tensor, dict]) -> None:
    assert torch.equal(one[0], other[0])
    for name in ("step", "exp_avg", "exp_avg_sq"):
        assert torch.equal(one[1][name], other[1][name]), name


def assert_dense(batches: list[Tensor], block: int) -> None:
    """In float64; what float32 makes of the same steps tells how rounding spreads."""
    ours = blocked(batches, block, dtype=torch.float64)
    assert_close(ours, *(dense(batches, dtype) for dtype in (torch.float64, torch.float32)))


def assert_close(*ends: tuple[Tensor, dict]) -> None:
    """Ours, dense Adam's, and dense Adam's in another precision."""
    assert_rounding_alone(*(weights for weights, _ in ends))
    assert ends[0][1]["step"] == ends[1][1]["step"]
    for name in ("exp_avg", "exp_avg_sq"):
        assert_rounding_alone(*(state[name] for _, state in ends))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_tables_of_half_precision_are_trained(dtype):
    batches, changed = zipf_batches(20), {"dtype": dtype, "eps": 1e-4}
    assert_same_bits(blocked(batches, 1, **changed), blocked(batches, 7, **changed))


def test_roots_of_bfloat16_are_the_nearest():
    """Of all its numbers: one step up or down is no closer."""
    bits = torch.arange(0x7F80, dtype=torch.int16)
    exact = bits.view(torch.bfloat16).double().sqrt()
    found = reference._root(bits.view(torch.bfloat16)).view(torch.int16)
    off, *others = (
        ((found + step).clamp(0).view(torch.bfloat16).double() - exact).abs() for step in (0, 1, -1)
    )
    assert all((off <= other).all() for other in others)


@pytest.mark.parametrize("passes", ["compiled", "reference"])
@pytest.mark.parametrize("block", [2, 7, 32])
def test_when_rows_are_flushed_changes_no_bit(block, passes):
    batches = zipf_batches(96)
    assert_same_bits(blocked(batches, 1), blocked(batches, block, passes=passes))


def test_it_is_dense_adam_to_float32_rounding_over_256_steps():
    batches = zipf_batches(256)
    exact, _ = dense(batches, torch.float64)
    ours, theirs = blocked(batches, 32)[0].double(), dense(batches)[0].double()
    errors = [((w - exact).norm() / exact.norm()).item() for w in (ours, theirs)]
    assert max(errors) < 256 * unit(torch.float32)  # each step rounds the weights once
    assert errors[0] < 2 * errors[1]  # no worse than dense Adam in float32 is
    assert_dense(batches, 32)  # and exact where that is


def test_rows_that_no_batch_touches_move_as_under_dense_adam():
    batches = [ids[ids > 5] for ids in zipf_batches(40)]
    untouched = torch.ones(ROWS, dtype=torch.bool)
    untouched[torch.cat(batches)] = False
    moved = blocked(batches, 32)[0] - table().detach()
    assert untouched.sum() > 5
    assert moved[untouched].abs().mean() > 0.2
    assert_dense(batches, 32)


@pytest.mark.parametrize("steps", [1, 31, 32, 33, 50])
def test_the_state_at_any_step_is_dense_adams(steps):
    batches = zipf_batches(steps)
    assert_dense(batches, 32)


def test_the_state_loads_into_dense_adam_and_back():
    batches = zipf_batches(60)
    mixed = table(torch.float64)
    first = ExactBlockedAdam([mixed], **SETTINGS)
    train(mixed, first, batches[:21])
    second = torch.optim.Adam([mixed], **SETTINGS)
    second.load_state_dict(first.state_dict())
    train(mixed, second, batches[21:40])
    third = ExactBlockedAdam([mixed], **SETTINGS)
    third.load_state_dict(second.state_dict())
    train(mixed, third, batches[40:])
    expected, coarse = (dense(batches, dtype) for dtype in (torch.float64, torch.float32))
    assert_close((mixed.detach(), third.state_dict()["state"][0]), expected, coarse)


@pytest.mark.parametrize("cut", [5, 32, 45])
def test_a_run_resumed_across_a_flush_ends_with_the_same_bits(cut):
    batches = zipf_batches(70)
    whole, first, second = table(), table(), table()
    optimizer = ExactBlockedAdam([whole], **SETTINGS)
    train(whole, optimizer, batches)
    optimizer.flush()
    begun = ExactBlockedAdam([first], **SETTINGS)
    train(first, begun, batches[:cut])
    file = io.BytesIO()
    state = begun.state_dict()  # which flushes, so before the weights are read
    torch.save({"w": first, "adam": state}, file)
    file.seek(0)
    saved = torch.load(file)
    second.data.copy_(saved["w"])
    resumed = ExactBlockedAdam([second], **SETTINGS)
    resumed.load_state_dict(saved["adam"])
    train(second, resumed, batches[cut:])
    resumed.flush()
    assert torch.equal(second, whole)


def test_a_learning_rate_that_changes_within_a_window_holds_for_the_steps_it_was_set_for():
    batches, ends = zipf_batches(50), []
    for p, optimizer in _three():
        for number, ids in enumerate(batches):
            optimizer.param_groups[0]["lr"] = 1e-2 / (1 + number)
            train(p, optimizer, [ids])
        optimizer.state_dict()
        ends.append(p.detach())
    assert_rounding_alone(*ends)


def test_a_weight_decay_that_changes_within_a_window_does_too():
    batches, ends = zipf_batches(40), []
    for p, optimizer in _three():
        train(p, optimizer, batches[:20])
        optimizer.param_groups[0]["weight_decay"] = 0.0
        train(p, optimizer, batches[20:])
        optimizer.state_dict()
        ends.append(p.detach())
    assert_rounding_alone(*ends)


def _three(**changed: float) -> Iterator[tuple[nn.Parameter, torch.optim.Adam]]:
    """Blocked and dense Adam in float64, and dense Adam in float32."""
    for kind, dtype in (
        (ExactBlockedAdam, torch.float64),
        (torch.optim.Adam, torch.float64),
        (torch.optim.Adam, torch.float32),
    ):
        p = table(dtype)
        yield p, kind([p], **(SETTINGS | changed))


def test_without_weight_decay_the_moments_still_move_untouched_rows():
    batches, ends = zipf_batches(20), []
    for p, optimizer in _three(weight_decay=0):
        train(p, optimizer, batches)
        optimizer.state_dict()
        ends.append(p.detach())
    assert_rounding_alone(*ends)


def test_hot_ids_and_an_empty_batch_are_steps_like_others():
    hot = torch.zeros(500, dtype=torch.long)
    batches = [hot, torch.empty(0, dtype=torch.long), torch.tensor([7]), hot[:2]]
    assert_dense(batches, 3)


def test_a_step_without_a_gradient_is_no_step_as_in_dense_adam():
    batches, ends = zipf_batches(4), []
    for p, optimizer in _three():
        train(p, optimizer, batches[:2])
        optimizer.zero_grad()
        optimizer.step()
        train(p, optimizer, batches[2:])
        ends.append((p.detach(), optimizer.state_dict()["state"][0]))
    assert_close(*ends)


# --- in somebody's model --------------------------------------------------------------------------


class Theirs(nn.Module):
    """A plain module with an embedding and a dense layer."""

    def __init__(self, sparse: bool, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(ROWS, WIDTH, sparse=sparse)
        self.layer = nn.Linear(WIDTH, 1)
        self.to(dtype)

    def forward(self, ids: Tensor) -> Tensor:
        return self.layer(self.embedding(ids)).squeeze(-1)


def theirs(
    steps: int, sparse: bool, dtype: torch.dtype = torch.float32
) -> tuple[Theirs, torch.optim.Adam]:
    model = Theirs(sparse, dtype)
    if sparse:
        optimizer = ExactBlockedAdam(model.parameters(), **SETTINGS)
        optimizer.attach(model.embedding)
    else:
        optimizer = torch.optim.Adam(model.parameters(), **SETTINGS)
    for ids in zipf_batches(steps):
        optimizer.zero_grad()
        F.softplus(model(ids)).mean().backward()
        optimizer.step()
    return model, optimizer


def test_attached_to_a_module_it_replaces_adam_and_nobody_reads_a_row_that_is_behind():
    expected, adam = theirs(40, False, torch.float64)
    coarse, _ = theirs(40, False)
    model, optimizer = theirs(40, True, torch.float64)
    everything = torch.arange(ROWS)
    behind = (model.embedding.weight - expected.embedding.weight).abs().max()
    assert behind > 1e-3  # the rows that wait are what this test is about
    with torch.no_grad():  # evaluation
        assert_rounding_alone(*(each(everything) for each in (model, expected, coarse)))
    model, optimizer = theirs(40, True, torch.float64)
    states = (each.state_dict() for each in (model, expected, coarse))  # a checkpoint
    assert_rounding_alone(*(list(state.values()) for state in states))
    ours, dense_state = optimizer.state_dict()["state"], adam.state_dict()["state"]
    assert ours.keys() == dense_state.keys()
    assert all(ours[i].keys() == dense_state[i].keys() for i in ours)
    assert optimizer.state_dict()["param_groups"][0].keys() == (
        adam.state_dict()["param_groups"][0].keys()
    )


def test_rows_that_are_read_behind_since_nothing_is_attached_are_told_once():
    model = Theirs(sparse=True)
    optimizer = ExactBlockedAdam(model.parameters(), block=4, **SETTINGS)
    with pytest.warns(UserWarning, match=r"rows of a table of shape .*optimizer\.attach") as told:
        for ids in zipf_batches(12):
            optimizer.zero_grad()
            F.softplus(model(ids)).mean().backward()
            optimizer.step()
    assert len(told) == 1 and told[0].filename == __file__


def test_rows_that_are_read_at_every_step_are_never_behind():
    model = Theirs(sparse=True)  # nothing attached, and nothing to tell
    optimizer = ExactBlockedAdam(model.parameters(), **SETTINGS)
    for _ in range(3):
        optimizer.zero_grad()
        F.softplus(model(torch.arange(ROWS))).mean().backward()
        optimizer.step()


def test_an_embedding_bag_is_attached_as_an_embedding_is():
    ends = []
    for sparse in (False, True):
        torch.manual_seed(0)
        bag = nn.EmbeddingBag(ROWS, WIDTH, sparse=sparse, dtype=torch.float64)
        kind = ExactBlockedAdam if sparse else torch.optim.Adam
        optimizer = kind(bag.parameters(), **SETTINGS)
        if sparse:
            optimizer.attach(bag)
        for ids in zipf_batches(10):
            optimizer.zero_grad()
            loss_of(bag(ids.view(-1, 4))).backward()
            optimizer.step()
        ends.append(bag.state_dict()["weight"])
    torch.testing.assert_close(*ends)


def test_weights_loaded_into_an_attached_module_stay_as_they_were_loaded():
    model, optimizer = theirs(10, sparse=True)
    fresh = Theirs(sparse=True).state_dict()
    model.load_state_dict(fresh)
    optimizer.flush()
    assert torch.equal(model.embedding.weight, fresh["embedding.weight"])


def test_a_copy_of_the_optimizer_has_all_its_steps():
    model, optimizer = theirs(10, sparse=True)
    both = copy.deepcopy({"optimizer": optimizer, "model": model})  # copying it flushes
    assert both["optimizer"].block == optimizer.block
    optimizer.flush()
    assert torch.equal(both["model"].embedding.weight, model.embedding.weight)
    assert both["optimizer"].state_dict()["state"][0]["step"] == 10


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_of_model_and_optimizer_trains_on_as_they_do(copied):
    model, optimizer = theirs(10, sparse=True)
    with pytest.raises(RuntimeError, match="rows of it are behind; call its optimizer's flush"):
        copied((model, optimizer))
    optimizer.flush()
    ends = []
    for each, its_own in ((model, optimizer), copied((model, optimizer))):
        for ids in zipf_batches(10):
            its_own.zero_grad()
            F.softplus(each(ids)).mean().backward()
            its_own.step()
        ends.append((each(torch.arange(ROWS)), each.state_dict()["embedding.weight"]))
    assert all(map(torch.equal, *ends))


@pytest.mark.parametrize("fused", [False, True])
def test_scaled_gradients_are_unscaled_and_infinite_ones_no_step(fused):
    """As under `GradScaler`; powers of two scale without rounding."""
    scaled, plain = (Theirs(sparse=True) for _ in range(2))
    ours, theirs = (ExactBlockedAdam(m.parameters(), fused=fused) for m in (scaled, plain))
    scaler = torch.amp.GradScaler(torch.get_default_device().type, init_scale=2.0**10)
    for number, ids in enumerate(zipf_batches(5)):
        for model, optimizer in ((scaled, ours), (plain, theirs)):
            optimizer.catch_up(model.embedding.weight, ids)
            optimizer.zero_grad()
        overflows = number == 2
        loss = F.softplus(scaled(ids)).mean()
        scaler.scale(loss * torch.inf if overflows else loss).backward()
        scaler.step(ours)
        scaler.update()
        if not overflows:
            F.softplus(plain(ids)).mean().backward()
            theirs.step()
    assert scaler.get_scale() == 2.0**9
    states = [optimizer.state_dict()["state"][0]["exp_avg_sq"] for optimizer in (ours, theirs)]
    assert torch.equal(*states) and torch.equal(scaled.embedding.weight, plain.embedding.weight)


def test_a_gradient_may_be_handed_over_by_look_up():
    """As an engine does that looks rows up outside autograd; rows of any shape."""
    batches = zipf_batches(40)
    p = nn.Parameter(table().detach().view(ROWS, 2, 3))
    optimizer = ExactBlockedAdam([p], **SETTINGS)
    for ids in batches:
        look_ups = group_look_ups(ids, ROWS)
        optimizer.catch_up(p, look_ups)
        rows = p.detach()[ids].requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(rows.flatten(1)), rows)
        optimizer.give(p, look_ups, gradient)
        optimizer.step()
    state = optimizer.state_dict()["state"][0]
    assert torch.equal(p.detach().flatten(1), blocked(batches, 32)[0])
    assert state["exp_avg"].shape == p.shape


def test_coefficients_announced_ahead_are_those_of_the_steps():
    batches = zipf_batches(24)
    p = table()
    optimizer = ExactBlockedAdam([p], block=8, **SETTINGS)
    train(p, optimizer, batches[:8])
    for window in (batches[8:16], batches[16:]):
        optimizer.announce(8)
        train(p, optimizer, window)
    assert torch.equal(p.detach(), blocked(batches, 8)[0])


@pytest.mark.parametrize("passes", ["compiled", "reference"])
@pytest.mark.parametrize(("work", "first"), [("apply", True), ("flush", False)])
def test_interrupted_after_a_step_or_before_a_flush_it_goes_on(work, first, passes, monkeypatch):
    """As by Ctrl-C in a notebook, at the fourth step of a window of four."""
    module, batches, p = choice.passes(passes), zipf_batches(20), table()
    optimizer = ExactBlockedAdam([p], block=4, passes=passes, **SETTINGS)
    train(p, optimizer, batches[:3])
    done = getattr(module, work)

    def interrupted(*inputs) -> None:
        if first:
            done(*inputs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, work, interrupted)
        train(p, optimizer, batches[3:4])
    train(p, optimizer, batches[4:])
    state = optimizer.state_dict()["state"][0]
    assert_same_bits((p.detach(), state), blocked(batches, 4, passes=passes))


def test_what_it_cannot_do_is_an_error():
    with pytest.raises(ValueError, match="block is 0; whole numbers from 1 up are accepted"):
        ExactBlockedAdam([table()], block=0)
    with pytest.raises(ValueError, match="passes 'fast' are unknown; known: kernels, compiled, re"):
        ExactBlockedAdam([table()], passes="fast")
    with pytest.raises(ValueError, match="amsgrad: not an option"):
        ExactBlockedAdam([table()], amsgrad=True)
    p = table()
    optimizer = ExactBlockedAdam([p])
    train(p, optimizer, zipf_batches(2))
    p.grad = torch.zeros_like(p)
    with pytest.raises(ValueError, match="gradient is dense, after sparse ones"):
        optimizer.step()


@pytest.mark.parametrize("passes", ["compiled", "reference"])
def test_what_is_no_row_is_told_before_memory_is_touched(passes):
    """Compiled code checks no bounds."""
    embedding = torch.nn.Embedding(10, 4, sparse=True)
    optimizer = ExactBlockedAdam(embedding.parameters(), passes=passes)
    optimizer.attach(embedding)
    embedding(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    with pytest.raises(IndexError, match="id 5,000,000 of a table of 10 rows"):
        embedding(torch.tensor([3, 5_000_000]))
    with pytest.raises(IndexError, match="id -1 of a table of 10 rows"):
        optimizer.catch_up(embedding.weight, torch.tensor([-1, 3]))
    with pytest.raises(IndexError, match="id 10 of a table of 10 rows"):
        optimizer.give(embedding.weight, torch.tensor([10]), torch.ones(1, 4))
    with pytest.raises(ValueError, match=r"shape \(2, 4\) for 3 look-ups of 4 numbers"):
        optimizer.give(embedding.weight, torch.tensor([0, 1, 2]), torch.ones(2, 4))


def test_no_gradient_is_lost_or_taken_twice_in_silence():
    p = table()
    optimizer = ExactBlockedAdam([p])
    one = torch.tensor([0]), torch.ones(1, p.shape[1])
    optimizer.give(p, *one)
    with pytest.raises(ValueError, match="was given a gradient twice"):
        optimizer.give(p, *one)
    optimizer.zero_grad()
    optimizer.give(p, *one)  # what went before is forgotten, as a gradient is
    p.grad = torch.zeros_like(p)
    with pytest.raises(ValueError, match="gradient is dense, after sparse ones"):
        optimizer.step()
    with pytest.raises(ValueError, match="is not this optimizer's"):
        optimizer.give(table(), *one)


def test_options_of_adam_that_tables_lack_are_refused_wherever_they_come_from():
    p = table()
    optimizer = ExactBlockedAdam([{"params": [p], "maximize": True}])
    optimizer.give(p, torch.tensor([0]), torch.ones(1, p.shape[1]))
    with pytest.raises(ValueError, match="maximize: not an option of tables"):
        optimizer.step()
    later = ExactBlockedAdam([p])
    train(p, later, zipf_batches(1))
    later.param_groups[0]["amsgrad"] = True
    with pytest.raises(ValueError, match="amsgrad: not an option of tables"):
        train(p, later, zipf_batches(1))


@pytest.mark.parametrize("passes", ["compiled", "reference"])
def test_a_table_without_rows_is_stepped_with_as_by_dense_adam(passes):
    p = nn.Parameter(torch.empty(0, 4))
    optimizer = ExactBlockedAdam([p], block=2, passes=passes)
    train(p, optimizer, [torch.empty(0, dtype=torch.long)] * 3)
    assert optimizer.state_dict()["state"][0]["step"] == 3


def test_an_attached_module_may_be_called_by_name():
    embedding = torch.nn.Embedding(10, 4, sparse=True)
    optimizer = ExactBlockedAdam(embedding.parameters(), weight_decay=0.1)
    optimizer.attach(embedding)
    for ids in torch.tensor([[1, 2], [3, 4]]):
        embedding(input=ids).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    read = embedding(input=torch.tensor([1]))
    optimizer.flush()
    assert torch.equal(read, embedding.weight[1:2])


# --- plans ----------------------------------------------------------------------------------------


def test_a_plan_names_each_row_once_and_finds_all_its_look_ups():
    ids = torch.tensor([[5, 2, 5, 9], [1, 1, 1, 1]])
    found = group_look_ups(ids, 10)
    assert found.different.tolist() == [3, 1]
    assert found.rows.tolist() == [[2, 5, 9, 10], [1, 10, 10, 10]]
    assert found.order.tolist() == [[1, 0, 2, 3], [0, 1, 2, 3]]
    assert found.starts.tolist() == [[0, 1, 3, 4, 4], [0, 4, 4, 4, 4]]


def test_ids_beyond_32_bits_keep_their_value():
    ids = torch.tensor([2**40 + 3, 2**31 + 1, 2**40 + 3])
    assert group_look_ups(ids, 2**41).rows.tolist() == [2**31 + 1, 2**40 + 3, 2**41]


def large_table(rows: int = 2**17 + 2, width: int = 2**14) -> reference.Table:
    """More than 2^31 numbers, none of which takes memory before it is written."""
    parts = (
        torch.from_numpy(np.zeros((rows, width), np.float32)).to(torch.get_default_device())
        for _ in range(3)
    )
    coefficients = torch.tensor([[-0.1, 0.5], [-0.1, 0.6]])
    return reference.Table(*parts, torch.zeros(rows + 1, dtype=torch.int32), coefficients)


DECAY = reference.Decay(0.9, 0.999, 1e-8, 0.01)


def check_a_row_beyond_2_to_the_31(passes: ModuleType) -> None:
    far, gradient = large_table(), torch.ones(1, 2**14)
    look_ups = group_look_ups(torch.tensor([2**17 + 1]), len(far.w))
    passes.apply(far, look_ups, gradient, 0, DECAY)
    passes.catch_up(far, look_ups, 2, DECAY)
    assert far.w[2**17 + 1].max() < -0.1
    assert far.w[0].abs().max() == 0 and far.w[1].abs().max() == 0
    assert far.last[2**17 + 1] == 2


def test_a_row_beyond_2_to_the_31_numbers_is_reached():
    check_a_row_beyond_2_to_the_31(reference)
