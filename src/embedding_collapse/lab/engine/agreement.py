"""Do the engine and the plain loop agree?

*Steps* (`compare_steps`). A few are taken by the engine; then the loop is led along the same path:
it is asked for its loss and gradients where the engine stood, on the same batch, and its Adam goes
on with the engine's gradients. Weights after steps that each takes for itself would be a poor
witness. Adam divides by the size of the gradient: one of the wrong scale leaves next to no trace,
and one that is rounding alone (of a bias before batch norm, say) becomes a whole step in either
direction. Led along, two questions come apart, and each is answered as sharply as it can be:

- Is this the gradient (the loss, the running statistics)? Both sides round, in the training's
  precision, and how much of that reaches a gradient depends on the model. So the yardstick is the
  loop itself: how far its results move when its weights, and what goes into its products, move by
  two roundings.
- Is this Adam's step? Of the same gradients, in float32 whatever the precision. How far rounding
  can carry two sides apart is derived entry by entry. A row that is not caught up, a weight decay
  that is dropped, a wrong sign are orders of magnitude outside.

*Replays* (`compare_replay`). A graph's window against the same window uncaptured, with the same
kernels. Rows that are not looked up, counters and the random generator must agree in every bit; all
else too, unless a kernel sums in no fixed order, as `index_select` does backwards on a GPU. Then
the yardstick is the uncaptured window itself, every weight moved by the rounding of such a sum.

Both sides draw the same numbers for dropout. The generator is put back between them; a graph's
kernels draw what they would have drawn uncaptured, since torch adds the generator's offset at the
replay to each kernel's own and then moves the generator by what all of them took. Compiled code
draws in its own way: there steps are compared without dropout, which compiles the loss once more,
and replays with it.

All that a comparison changed is put back, so that a run whose sides agree has the bits of one that
was not compared. Copies lie in the host's memory; the device holds no more than the loop takes.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from embedding_collapse.lab.models import Recommender

from .captured import Engine, Seen
from .loop import StepByStep
from .rounding import REORDERED, UNITS, Apart, NudgedProducts, beyond, nudged, outside, widened

NUDGES = 3  # for the yardstick, of each step: a single one can be near zero by chance
AT_ONCE = 2**22  # numbers of a weight that are compared at once
MOMENTS = ("exp_avg", "exp_avg_sq")


class State:
    """A copy, in the host's memory, of all that a step changes."""

    def __init__(self, engine: Engine) -> None:
        engine.optimizer.state_dict()  # which brings the table's own number of steps up to date
        live = tensors_of(engine)
        self.copies = {name: value.detach().to("cpu", copy=True) for name, value in live.items()}
        self.random = random_state(engine.device)

    @torch.no_grad()
    def restore(self, engine: Engine, steps: int = 0) -> None:
        """Put everything back where it lies, so that a graph finds it.

        Args:
            engine: that the copy was made of.
            steps: that it has taken since, for its optimizer to forget.
        """
        for name, value in tensors_of(engine).items():
            if name in self.copies:
                value.copy_(self.copies[name])
            else:  # Adam begins with zeros
                value.zero_()
        engine.optimizer.count_steps(-steps)
        set_random_state(engine.device, self.random)


def tensors_of(engine: Engine) -> dict[str, Tensor]:
    """All that a step changes, by name: weights, buffers, and Adam's state of each weight."""
    changed = dict(engine.model.named_parameters()) | dict(engine.model.named_buffers())
    moments = {}
    for name, p in engine.model.named_parameters():
        for part, value in engine.optimizer.state.get(p, {}).items():
            moments[f"{part} of {name}"] = value
    return changed | moments


def random_state(device: torch.device) -> tuple[Tensor, ...]:
    """Of the generators that a step draws from: the host's and the device's."""
    own = (torch.cuda.get_rng_state(device),) if device.type == "cuda" else ()
    return torch.get_rng_state(), *own


def set_random_state(device: torch.device, state: tuple[Tensor, ...]) -> None:
    """What `random_state` returned."""
    host, *own = state
    torch.set_rng_state(host)
    for one in own:
        torch.cuda.set_rng_state(one, device)


# --- steps ----------------------------------------------------------------------------------------


def compare_steps(engine: Engine, loop: StepByStep, rows: Tensor, state: State) -> str | None:
    """Hold the engine's steps against the loop's; the engine stands as before when it is done.

    Args:
        engine: whose table is up to date.
        loop: with the same model, dataset and settings.
        rows: of the dataset, `[steps, batch]`.
        state: the engine's.

    Returns:
        Where they differ, in words; None where they agree, or the loop's loss is not finite.
    """
    seen: list[Seen] = []
    same_draws = layers_changed(engine.model, dropout=0.0) if engine.compiled else nullcontext()
    with same_draws:
        engine.window(rows, seen)
        after = State(engine)
        state.restore(engine, len(rows))
        with layers_changed(engine.model, align=1):
            reason = _Led(engine, loop, rows).compare(seen, after)
    loop.optimizer.zero_grad()  # a gradient of the table would be a second one to the engine
    loop.optimizer.state.clear()
    state.restore(engine)
    return reason


class _Led:
    """The loop, led along the steps `[steps, batch]` that the engine has taken."""

    def __init__(self, engine: Engine, loop: StepByStep, rows: Tensor) -> None:
        self.loop, self.model, self.dense, self.rows = loop, engine.model, engine.dense, rows
        self.table = engine.model.table.detach().flatten(1)
        self.rounding = torch.finfo(self.table.dtype).eps / 2
        self.unit = UNITS[engine.precision] if engine.precision else self.rounding
        loop.optimizer.state.update(engine.optimizer.state)
        self.begun = int(loop.optimizer.state[engine.model.table]["step"])
        self.ids = engine.ids[rows].long() + engine.model.starts  # [steps, B, N]
        self.looked_up = self.ids.unique()  # in all steps
        self.bounds = [torch.zeros_like(self.table[self.looked_up]) for _ in range(3)]
        self.apart, self.moved = Apart(), Apart()

    def compare(self, seen: list[Seen], after: State) -> str | None:
        """Where they differ, in words.

        Args:
            seen: what the engine computed in each step.
            after: the engine's state after the last.
        """
        for number, step in enumerate(seen):
            if reason := self._compare_reading(number, step):
                return reason
            own = self._own_results(number)
            if not own["the loss"].isfinite():
                return None  # `training.fit` will say so
            self.apart.add(self._follow(number, step), own)
        reason = outside(self.apart, self.moved, self.unit)
        return reason or self._compare_weights(after)

    def _compare_reading(self, number: int, step: Seen) -> str | None:
        ids = self.ids[number]
        bound = self.bounds[0][torch.searchsorted(self.looked_up, ids)]
        reason = beyond(step.looked_up, self.table[ids], bound, "a row of the table, as read,")
        self.table[ids] = step.looked_up  # within the bound, and so the loop stands where it stood
        return reason

    def _own_results(self, number: int) -> dict[str, Tensor]:
        """The loop's loss, gradients and buffers where it stands; and the same nudged."""
        random = random_state(self.table.device)
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        rows = self.ids[number].unique()

        def results() -> dict[str, Tensor]:
            set_random_state(self.table.device, random)
            for buffer, value in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(value)
            loss, penalty = self.loop.backward(self.rows[number])
            of_rows = self._table_gradient().flatten(1)[rows]
            return self._named(loss, penalty, of_rows, [p.grad for p in self.dense])

        own = results()
        for nudge in range(NUDGES):
            seed = NUDGES * number + nudge
            chance = torch.Generator(rows.device).manual_seed(seed) if nudge else None
            with (
                nudged(self.model, rows, 2 * self.rounding, seed),
                NudgedProducts(2 * self.unit, chance),
            ):
                self.moved.add(results(), own)
        return own

    def _follow(self, number: int, step: Seen) -> dict[str, Tensor]:
        """Take the step with the engine's gradients; the engine's results."""
        for buffer, value in zip(self.model.buffers(), step.buffers, strict=True):
            buffer.copy_(value)
        rows, place, times = self.ids[number].unique(return_inverse=True, return_counts=True)
        of_each = step.of_rows.flatten(0, -2).double()  # [B*N, M*K]
        zeros = of_each.new_zeros(len(rows), of_each.shape[1])
        of_rows = zeros.index_add(0, place.flatten(), of_each)
        for p, gradient in zip(self.dense, step.gradients, strict=True):
            p.grad = None if gradient is None else gradient.contiguous()  # as fused Adam needs it
        self._table_gradient().zero_().flatten(1)[rows] = of_rows.to(self.table)
        self.loop.optimizer.step()
        # what a sum of so many terms can be off by, in whatever order
        off = zeros.index_add(0, place.flatten(), of_each.abs()) * times[:, None] * self.rounding
        here = torch.searchsorted(self.looked_up, rows)
        off = torch.zeros_like(self.bounds[0]).index_copy(0, here, off.to(self.table))
        led = [part[self.looked_up] for part in self._parts(self.model.table)]
        self.bounds = self._widened(self.bounds, led, off, number)
        return self._named(step.loss, step.penalty, of_rows, step.gradients)

    def _table_gradient(self) -> Tensor:
        gradient = self.model.table.grad
        assert gradient is not None  # the loop has gone backward
        return gradient

    def _named(
        self, loss: Tensor, penalty: Tensor | None, of_rows: Tensor, gradients: list[Tensor | None]
    ) -> dict[str, Tensor]:
        """Results by name; among them the model's buffers as they are."""
        results = {"the loss": loss, "the gradient of table": of_rows}
        if penalty is not None:
            results["the penalty"] = penalty
        names = [name for name, p in self.model.named_parameters() if p is not self.model.table]
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None:
                results[f"the gradient of {name}"] = gradient
        return results | {name: buffer.clone() for name, buffer in self.model.named_buffers()}

    def _compare_weights(self, after: State) -> str | None:
        """Weights and moments: where the loop was led, and where the engine went."""
        for name, p in self.model.named_parameters():
            if p not in self.loop.optimizer.state:  # the loss does not depend on it
                continue
            names = [name, *(f"{part} of {name}" for part in MOMENTS)]
            if self.loop.optimizer.state[p]["step"].item() != after.copies[f"step of {name}"]:
                return f"step of {name} is another"
            for rows in torch.arange(len(p), device=p.device).split(1 + AT_ONCE // p[0].numel()):
                led = [part[rows] for part in self._parts(p)]
                went = [after.copies[one].view(len(p), -1)[rows.cpu()].to(p) for one in names]
                bounds = [torch.zeros_like(part) for part in led]
                for number in range(len(self.rows)):  # what rounds is no larger than at the end
                    bounds = self._widened(bounds, led, 0, number)
                if p is self.model.table:
                    some = (self.looked_up >= rows[0]) & (self.looked_up <= rows[-1])
                    for bound, own in zip(bounds, self.bounds, strict=True):
                        bound[self.looked_up[some] - rows[0]] = own[some]
                for sides in (led, went):
                    sides[2] = sides[2].sqrt()
                for ones, others, bound, what in zip(went, led, bounds, names, strict=True):
                    if reason := beyond(ones, others, bound, what):
                        return reason
        return None

    def _widened(
        self, bounds: list[Tensor], parts: list[Tensor], off: Tensor | float, number: int
    ) -> list[Tensor]:
        group = self.loop.optimizer.param_groups[0]
        return widened(bounds, parts, off, self.begun + number + 1, group)

    def _parts(self, p: Tensor) -> list[Tensor]:
        """The loop's weights and moments of a parameter, `[rows, columns]`."""
        state = self.loop.optimizer.state[p]
        return [part.detach().view(len(p), -1) for part in (p, *map(state.get, MOMENTS))]


# --- replays --------------------------------------------------------------------------------------


def compare_replay(engine: Engine, rows: Tensor, state: State) -> tuple[Tensor, str | None]:
    """Take a window by a graph, and hold it against the same window uncaptured.

    Args:
        engine: that replays these rows.
        rows: of the dataset, `[steps, batch]`.
        state: the engine's.

    Returns:
        What `Engine.take` does, and where they differ, in words; None where they agree, or the
        uncaptured losses are not finite.
    """
    expected = engine.window(rows)
    uncaptured = State(engine)
    state.restore(engine, len(rows))
    losses = engine.take(rows).clone()
    if not expected.isfinite().all():
        return losses, None
    captured = State(engine)
    looked_up = (engine.ids[rows].long() + engine.model.starts).unique()
    reason = _compare_exactly(engine, captured, uncaptured, looked_up.cpu())
    ones = {"the loss": losses} | captured.copies
    others = {"the loss": expected} | uncaptured.copies
    if reason or all(torch.equal(ones[name], others[name]) for name in others):
        return losses, reason
    apart, moved = Apart(), Apart()
    apart.add(ones, others)
    for seed in range(NUDGES):
        state.restore(engine, len(rows))
        with nudged(engine.model, looked_up, REORDERED, seed):
            moved_losses = engine.window(rows)
            moved.add({"the loss": moved_losses} | tensors_of(engine), others)
    captured.restore(engine)
    return losses, outside(apart, moved, REORDERED)


def _compare_exactly(
    engine: Engine, captured: State, uncaptured: State, looked_up: Tensor
) -> str | None:
    """What depends on no sum: the generator, counters, and the table's rows not looked up."""
    if not all(map(torch.equal, captured.random, uncaptured.random)):
        return "the random generator ends elsewhere than uncaptured"
    apart = torch.ones(len(engine.model.table), dtype=torch.bool)
    apart[looked_up] = False
    of_table = {"table", *(f"{part} of table" for part in MOMENTS)}
    for name, value in captured.copies.items():
        expected = uncaptured.copies[name]
        if name in of_table and not torch.equal(value[apart], expected[apart]):
            return f"{name} differs from uncaptured in rows that are not looked up"
        counts = name.startswith("step of ") or not value.is_floating_point()
        if counts and not torch.equal(value, expected):
            return f"{name} differs from uncaptured"
    return None


@contextmanager
def layers_changed(model: Recommender, **changed: float) -> Iterator[None]:
    """Another `align` or `dropout` of all layers, for a while."""
    before = [(layer, {name: getattr(layer, name) for name in changed}) for layer in model.layers()]
    for layer, _ in before:
        vars(layer).update(changed)
    try:
        yield
    finally:
        for layer, own in before:
            vars(layer).update(own)
