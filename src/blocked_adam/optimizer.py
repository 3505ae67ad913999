"""Adam with weight decay on embedding tables: the same arithmetic, a fraction of the traffic.

Weight decay and Adam's moments move every row at every step, looked up or not, so a dense optimizer
streams the whole table for the few rows that have a gradient. But a row without a gradient evolves
by a recurrence that needs no data: `g = weight_decay * w`, and Adam's step. It can wait until the
row is next read and then be replayed, several steps at once, while the row is at hand. Every
`block` steps all rows are brought up to date (flushed), which bounds how much there is to replay.
"""

import inspect
import math
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from .choice import PASSES, fastest, passes
from .look_ups import LookUps, group_look_ups
from .reference import Decay, Table

OTHERS = ("amsgrad", "maximize", "decoupled_weight_decay")  # Adam's options that tables lack
dense_step = inspect.unwrap(torch.optim.Adam.step)


class Adam(torch.optim.Adam):
    """`torch.optim.Adam` without the compiler.

    Torch keeps its optimizers out of what `torch.compile` traces, and imports all of the compiler
    to do so: two to three seconds of every process that trains. Nothing here is traced.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(dense_step)


class ExactBlockedAdam(Adam):
    """`torch.optim.Adam` whose sparse gradients cost what they touch, and change nothing else.

    A parameter that receives a sparse gradient, of `nn.Embedding(..., sparse=True)` say, is a
    table: its untouched rows move too, as under dense Adam, but later. All other parameters are
    dense Adam's. What a program owes it is to read no row that is behind:

        optimizer = ExactBlockedAdam(model.parameters(), weight_decay=1e-6)
        optimizer.attach(model.embedding)  # an nn.Embedding with sparse=True
        loss = model(ids).mean()  # the rows of ids are brought up to date before they are read
        loss.backward()
        optimizer.step()
        torch.save((model.state_dict(), optimizer.state_dict()), path)  # both are flushed before

    All embeddings of a model are attached so:

        for module in model.modules():
            if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                optimizer.attach(module)

    Without `attach`, call `catch_up(table, ids)` before a look-up. Where neither was done, the
    first step of rows that were read behind warns. Before a table is read in any other way, call
    `flush()`.

    The learning rate may change at every step. All else ends a window: where betas change at every
    step, as `OneCycleLR` has them by default (`cycle_momentum`), each step flushes.

    Args:
        params, lr, betas, eps, weight_decay: as in `torch.optim.Adam`.
        block: T, steps from one flush to the next. 1 is dense Adam in all but name.
        passes: in which form the work is done, one of `choice.PASSES`; by default the fastest that
            runs where the table is.
        options: `fused`, `foreach` or `capturable`, for the parameters that are no tables.

    Raises:
        ValueError: a block that is not a whole number from 1, or unknown passes.

    Warns:
        UserWarning: once, where rows that were behind were read, at the next step.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        block: int = 32,
        passes: str | None = None,
        **options: bool,
    ) -> None:
        if not isinstance(block, int) or block < 1:
            raise ValueError(f"block is {block!r}; whole numbers from 1 up are accepted")
        if passes not in (None, *PASSES):
            raise ValueError(f"passes {passes!r} are unknown; known: {', '.join(PASSES)}")
        if unknown := options.keys() - {"fused", "foreach", "capturable"}:
            raise ValueError(f"{', '.join(sorted(unknown))}: not an option of this optimizer")
        super().__init__(params, lr, betas, eps, weight_decay, **options)
        # or a GradScaler leaves all to the fused step, which sees no table's gradients
        self._step_supports_amp_scaling = False
        self.block = block
        self.passes = passes
        self._windows: dict[Tensor, _Window] = {}
        self._given: dict[Tensor, tuple[LookUps, Tensor]] = {}
        self._caught_up: dict[Tensor, LookUps] = {}
        self._has_warned = False

    # --- before and after a look-up ---------------------------------------------------------------

    @torch.no_grad()
    def catch_up(self, table: Tensor, ids: Tensor | LookUps) -> None:
        """Bring the rows of a table that are about to be read up to date.

        Args:
            table: a parameter `[D, ...]` of this optimizer.
            ids: rows of it, of any shape and more than once, or grouped already.
        """
        window = self._windows.get(table)
        if window is not None and window.now:
            look_ups = _grouped(ids, table)
            self._passes(table).catch_up(self._table(table), look_ups, window.now, window.decay)
            self._caught_up[table] = look_ups

    def give(self, table: Tensor, ids: Tensor | LookUps, gradients: Tensor) -> None:
        """Hand the next step a table's gradient, where autograd leaves no sparse one.

        Args:
            table: a parameter `[D, ...]` of this optimizer.
            ids: the rows looked up, `[n]` in all, or grouped already.
            gradients: of each look-up, `[n]` times the shape of a row; those of a row that was
                looked up several times are summed, always in the same order. They are taken as
                they are: a `GradScaler` neither unscales them nor looks for infinite ones.

        Raises:
            ValueError: another number of gradients than of look-ups, a second gradient before a
                step, or a table that is no parameter of this optimizer.
        """
        look_ups, width = _grouped(ids, table), math.prod(table.shape[1:])
        n = look_ups.order.shape[-1]
        if gradients.numel() != n * width:
            raise ValueError(
                f"gradients of shape {tuple(gradients.shape)} for {n:,} look-ups of {width} numbers"
            )
        if table in self._given:
            raise ValueError("a table was given a gradient twice; step, or zero_grad, in between")
        if not any(table is p for group in self.param_groups for p in group["params"]):
            raise ValueError(f"a table of shape {tuple(table.shape)} is not this optimizer's")
        self._given[table] = look_ups, gradients.detach().reshape(n, width)

    def attach(self, embedding: nn.Embedding | nn.EmbeddingBag) -> None:
        """Catch up whenever an embedding is called, flush before its state is saved or loaded.

        A copy of the embedding, a pickled one too, is attached to a copy of the optimizer; it is
        refused where rows are behind, so `flush()` before.
        """
        embedding.register_forward_pre_hook(_Hook(self, look_up=True), with_kwargs=True)
        embedding.register_state_dict_pre_hook(_Hook(self))
        embedding.register_load_state_dict_pre_hook(_Hook(self))

    # --- steps ------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient, as Adam counts steps."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p.grad.layout == torch.sparse_coo:
                    self.give(p, p.grad._indices()[0], p.grad._values())
                    p.grad = None  # so that what follows takes the parameter for untouched
                if p.grad is not None and (p in self._given or p in self._windows):
                    raise ValueError(
                        "a table's gradient is dense, after sparse ones; give one kind of them"
                    )
                if p in self._given:
                    self._step_table(p, group, *self._given.pop(p))
        dense_step(self)  # bare, or step hooks would run twice
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As any optimizer's; what was given and not stepped with is forgotten too."""
        self._given.clear()
        super().zero_grad(set_to_none)

    @torch.no_grad()
    def flush(self) -> None:
        """Bring all rows of all tables up to date."""
        for p in self._windows:
            self._flush(p)

    def announce(self, steps: int) -> None:
        """Settle the coefficients of the next steps of a window now, at the learning rate as it is.

        Those steps then need nothing from the host, so that a CUDA graph can hold them.

        Args:
            steps: up to `block`, from a flush on.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if p in self._windows:
                    self._windows[p].announce(group, 0, steps)

    def count_steps(self, steps: int) -> None:
        """Count steps that a CUDA graph has taken, a flush included; below zero, has not."""
        for window in self._windows.values():
            window.before += steps
            window.announced = 0

    def _step_table(self, p: Tensor, group: dict, look_ups: LookUps, gradients: Tensor) -> None:
        if others := [name for name in OTHERS if group.get(name)]:
            raise ValueError(f"{', '.join(others)}: not an option of tables")
        window = self._windows.get(p)
        if window is None:
            window = self._windows[p] = self._begin(p, group)
        decay = _decay(group)
        # the steps so far were taken with the old ones; or a flush was interrupted
        if decay != window.decay or window.now >= self.block:
            self._flush(p)
            window.decay = decay
        now = window.now
        if now >= window.announced:
            window.announce(group, now, 1)
        passes, table = self._passes(p), self._table(p)
        caught_up = self._caught_up.pop(p, None)
        if caught_up is None and now and not self._has_warned:
            self._warn_if_behind(p, look_ups)
        if caught_up is not look_ups and now:
            passes.catch_up(table, look_ups, now, decay)
        window.now += 1  # first: interrupted, no row has had more steps than are counted
        passes.apply(table, look_ups, gradients, now, decay)
        if window.now == self.block:
            self._flush(p)

    def _warn_if_behind(self, p: Tensor, look_ups: LookUps) -> None:
        """Of rows that nobody caught up with in this step, and whose gradients are thus those of
        other weights."""
        window = self._windows[p]
        had = window.last[look_ups.rows[: int(look_ups.different)]]
        if behind := int((had < window.now).sum()):
            self._has_warned = True
            warnings.warn(
                f"{behind:,} rows of a table of shape {tuple(p.shape)} were read while they were "
                "behind, so this is not dense Adam: call optimizer.attach(module) for each "
                "embedding of the model, or optimizer.catch_up(table, ids) before its rows are "
                "read",
                stacklevel=6,
            )

    def _flush(self, p: Tensor) -> None:
        window = self._windows[p]
        if window.now and len(p):
            self._passes(p).flush(self._table(p), window.now, window.decay)
        window.before += window.now
        window.now = window.announced = 0

    # --- state ------------------------------------------------------------------------------------

    def _begin(self, p: Tensor, group: dict) -> "_Window":
        """The state of a table: dense Adam's, and where the window stands."""
        if not p.is_contiguous():
            raise ValueError(f"a table of shape {tuple(p.shape)} is not contiguous in memory")
        state = self.state[p]
        if not state:
            on_device = group["capturable"] or group["fused"]
            state["step"] = torch.zeros((), device=p.device if on_device else "cpu")
            state["exp_avg"] = torch.zeros_like(p)
            state["exp_avg_sq"] = torch.zeros_like(p)
        return _Window(
            before=int(state["step"]),
            decay=_decay(group),
            last=torch.zeros(len(p) + 1, dtype=torch.int32, device=p.device),
            coefficients=torch.zeros(self.block, 2, dtype=p.dtype, device=p.device),
        )

    def _table(self, p: Tensor) -> Table:
        state, window = self.state[p], self._windows[p]
        parts = (p.detach(), state["exp_avg"], state["exp_avg_sq"])
        w, m, v = (part.view(len(p), math.prod(p.shape[1:])) for part in parts)
        return Table(w, m, v, window.last, window.coefficients)

    def _passes(self, p: Tensor) -> ModuleType:
        """The module whose `catch_up`, `apply` and `flush` do the work."""
        return passes(self.passes or fastest(p.device, p.dtype))

    def state_dict(self) -> dict[str, Any]:
        """As dense Adam's, whatever the step: all rows are brought up to date before."""
        self._settle()
        return super().state_dict()

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        return super().__getstate__() | {"block": self.block, "passes": self.passes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state of this optimizer or of dense Adam; `load_state_dict` ends here too. Steps
        not replayed yet are forgotten: the weights that belong to it are loaded into the model."""
        super().__setstate__(state)
        self._windows, self._given, self._caught_up = {}, {}, {}
        self._has_warned = False

    def _settle(self) -> None:
        self.flush()
        for p, window in self._windows.items():
            self.state[p]["step"].fill_(window.before)


class _Hook:
    """Of an attached embedding: catches up with a look-up, or flushes."""

    def __init__(self, optimizer: ExactBlockedAdam, look_up: bool = False) -> None:
        self.optimizer, self.look_up = optimizer, look_up

    def __call__(self, module: nn.Embedding | nn.EmbeddingBag, *inputs: Any) -> None:
        if self.look_up:
            args, named = inputs
            self.optimizer.catch_up(module.weight, args[0] if args else named["input"])
        else:
            self.optimizer.flush()

    def __reduce__(self) -> tuple:
        """Of copies too; the embedding's weights were copied before, as they are."""
        if any(window.now for window in self.optimizer._windows.values()):
            raise RuntimeError(
                "an embedding is copied while rows of it are behind; call its optimizer's flush() "
                "before the model is copied or pickled"
            )
        return _Hook, (self.optimizer, self.look_up)


class _Window:
    """Where a table stands: `now` steps into the window, which began `before` steps from the
    beginning; of its steps, those below `announced` have their coefficients."""

    def __init__(self, before: int, decay: Decay, last: Tensor, coefficients: Tensor) -> None:
        self.before, self.decay, self.last, self.coefficients = before, decay, last, coefficients
        self.now = self.announced = 0

    def announce(self, group: dict, first: int, steps: int) -> None:
        rate, (beta1, beta2) = float(group["lr"]), group["betas"]
        numbers = range(self.before + first + 1, self.before + first + steps + 1)
        rows = [[-rate / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)] for t in numbers]
        values = torch.tensor(rows, dtype=self.coefficients.dtype, device="cpu")
        if self.coefficients.is_cuda:
            values = values.pin_memory()  # or the copy would wait for the device
        self.coefficients[first : first + steps].copy_(values, non_blocking=True)
        self.announced = first + steps


def _grouped(ids: Tensor | LookUps, table: Tensor) -> LookUps:
    if isinstance(ids, LookUps):
        return ids
    ids = ids.detach().reshape(-1)
    if ids.device.type == "cpu" and len(ids):  # compiled code checks no bounds; a GPU would wait
        low, high = ids.aminmax()
        if low < 0 or high >= len(table):
            wrong = int(low if low < 0 else high)
            raise IndexError(f"id {wrong:,} of a table of {len(table):,} rows")
    return group_look_ups(ids, len(table))


def _decay(group: dict) -> Decay:
    beta1, beta2 = group["betas"]
    return Decay(beta1, beta2, group["eps"], group["weight_decay"])
