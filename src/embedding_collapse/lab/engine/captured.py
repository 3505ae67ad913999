"""Training steps for large tables, and for a GPU: there a window of them is one CUDA graph, and
nothing in it waits.

A step looks rows up, goes forward and backward, and updates: `ExactBlockedAdam` for the table,
fused Adam for the rest. What stands between the products (norms, ReLU, dropout, sums, casts) is
fused by `torch.compile`. Batches are slices of a permutation on the device. The `block` steps from
one flush of the table to the next are captured as one graph and replayed; what does not fill a
window, and the first window of each batch size, runs uncaptured, step by step.

On a CPU the same steps run uncaptured, and the tests hold them against the plain loop; `checked`
holds the capture against the plain loop at the start of every run.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from blocked_adam import ExactBlockedAdam, LookUps, group_look_ups, kernels_run_on
from embedding_collapse.lab.environment import keep_kernels_apart
from embedding_collapse.lab.models import Recommender

from .loop import STEPS_BETWEEN_CHECKS
from .products import products

ALIGN = {  # numbers: on a GPU 16 bytes for tensor cores, on a CPU as measured; 1 is as it comes
    "cuda": {None: 1, "tf32": 4, "bf16": 8},
    "cpu": {None: 4, "tf32": 4, "bf16": 1},
}
BLOCK = 32  # steps from one flush to the next in a graph
LONGER = 128  # and on a CPU, where a flush reads and writes the tables from memory
TOGETHER = 8  # steps whose look-ups are grouped at once where they make no graph: it takes memory
WORTH_COMPILING = 5_000_000  # rows; estimated, not measured: below, compiling may not pay


class Window(NamedTuple):
    """Steps from one flush to the next, with batches of one size.

    Attributes:
        step: number of the first one in the epoch.
        row: where its batch begins in the epoch's permutation.
        steps: how many.
        batch: rows of each.
    """

    step: int
    row: int
    steps: int
    batch: int

    def batches(self, order: Tensor) -> Tensor:
        """Its rows of a permutation, `[steps, batch]`."""
        return order[self.row : self.row + self.steps * self.batch].view(self.steps, self.batch)


def windows(rows: int, steps: int, block: int) -> list[Window]:
    """Cut an epoch of so many steps as `Tensor.tensor_split` does, then each size into windows."""
    least, larger = divmod(rows, steps)  # so many of the batches have a row more
    return [
        Window(step, step * least + min(step, larger), min(block, last - step), batch)
        for first, last, batch in ((0, larger, least + 1), (larger, steps, least))
        for step in range(first, last, block)
    ]


class Seen(NamedTuple):
    """What a step computed on its way.

    Attributes:
        loss, penalty: as `Engine.step` returns them.
        looked_up: the table's rows as the step read them, `[B, N, M*K]`.
        of_rows: their gradients.
        gradients: of the dense parameters; None where the loss does not depend on one.
        buffers: the model's, after the step: the running statistics of batch norm.
    """

    loss: Tensor
    penalty: Tensor | None
    looked_up: Tensor
    of_rows: Tensor
    gradients: list[Tensor | None]
    buffers: list[Tensor]


class Engine:
    """Takes the steps of an epoch with a model whose table it looks up itself.

    A float32 table's steps are captured where `kernels_run_on` the device.

    Args:
        model: on the device.
        ids, labels: int32 `[rows, N]` and `[rows]`, the whole dataset on the device.
        learning_rate, weight_decay: Adam's; they do not change, since a graph holds them.
        precision: see `products`.
        block: steps from one flush to the next, and in a graph; by default `BLOCK`, on a CPU
            `LONGER`.
        compile: whether `torch.compile` fuses what stands between the products; by default where
            steps are captured and the dataset has `WORTH_COMPILING` rows. It draws other random
            numbers for dropout. Where `taken_in_float32`, nothing can be compiled.
    """

    def __init__(
        self,
        model: Recommender,
        ids: Tensor,
        labels: Tensor,
        *,
        learning_rate: float,
        weight_decay: float,
        precision: str | None = None,
        block: int | None = None,
        compile: bool | None = None,
    ) -> None:
        self.model, self.ids, self.labels, self.precision = model, ids, labels, precision
        self.device = ids.device
        on_gpu = self.device.type == "cuda"
        # a look at the losses waits for a GPU
        self.steps_between_checks = 2048 if on_gpu else STEPS_BETWEEN_CHECKS
        self.capture = model.table.dtype == torch.float32 and kernels_run_on(self.device)
        self.optimizer = ExactBlockedAdam(
            model.parameters(),
            learning_rate,
            weight_decay=weight_decay,
            block=(BLOCK if on_gpu else LONGER) if block is None else block,
            fused=True,
            capturable=on_gpu,
        )
        self.dense = [p for p in model.parameters() if p is not model.table]
        for layer in model.layers():
            layer.align = ALIGN[self.device.type][precision]
        self._loss = loss_of  # not a method: a cycle would keep the GPU's memory from the next fit
        if compile is None:
            compile = self.capture and len(ids) >= WORTH_COMPILING
        self.compiled = compile
        if compile:
            keep_kernels_apart()
            torch.compiler.reset()  # it gives up on code that it has compiled for many models
            self._loss = torch.compile(loss_of, dynamic=False)  # each batch size for itself
        self._graphs: dict[int, _Graph | None] = {}

    @property
    def kind(self) -> str:
        """How steps are taken: "captured" once there is a graph."""
        return "captured" if any(self._graphs.values()) else "uncaptured"

    def epoch(self, order: Tensor, losses: Tensor, penalties: Tensor) -> Iterator[int]:
        """Take an epoch's steps; after each window yields how many have been taken.

        Args:
            order: row numbers int64 `[rows]`, in the order in which they train.
            losses, penalties: `[steps]`, filled in.
        """
        most = self.optimizer.block if self.capture else min(self.optimizer.block, TOGETHER)
        for window in windows(len(order), len(losses), most):
            rows, taken = window.batches(order), window.step + window.steps
            results = self.take(rows) if self.capture else self.window(rows, flush=False)
            losses[window.step : taken], penalties[window.step : taken] = results
            if taken == len(losses):
                self.optimizer.flush()
            yield taken

    def take(self, rows: Tensor) -> Tensor:
        """As `window`, by a graph where there can be one; what a graph returns is overwritten when
        it is replayed."""
        steps, batch = rows.shape
        if self.replays(rows):
            graph = self._graphs[batch]
            if graph is None:
                others = [other for other in self._graphs.values() if other]
                graph = self._graphs[batch] = _Graph(self, rows, *others[:1])
            return graph.replay(rows)
        losses = self.window(rows)
        if steps == self.optimizer.block:  # a capture finds made all that it needs
            self._graphs[batch] = None
        return losses

    def replays(self, rows: Tensor) -> bool:
        """Whether `take` replays a graph, captured where it is not there yet: not for what does
        not fill a window, nor for the first window of a batch size."""
        steps, batch = rows.shape
        return self.capture and steps == self.optimizer.block and batch in self._graphs

    def window(self, rows: Tensor, seen: list[Seen] | None = None, *, flush: bool = True) -> Tensor:
        """Take the steps of batches `[steps, batch]`; their losses and penalties `[2, steps]`.

        Args:
            rows: of the dataset.
            seen: gets what each step computed.
            flush: whether the table may be read afterwards.
        """
        ids = self.ids[rows].long() + self.model.starts  # [steps, B, N], rows of the joint table
        look_ups = group_look_ups(ids.flatten(1), len(self.model.table))
        losses = torch.zeros(2, len(rows), device=self.device)
        for number in range(len(rows)):
            labels = self.labels[rows[number]]
            loss, penalty = self.step(ids[number], labels, look_ups.of_step(number), seen)
            losses[0, number] = loss
            if penalty is not None:
                losses[1, number] = penalty
        if flush:
            self.optimizer.flush()
        return losses

    def step(
        self, ids: Tensor, labels: Tensor, look_ups: LookUps, seen: list[Seen] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """One step of rows ids `[B, N]` of the table; the loss and the penalty."""
        table = self.model.table
        self.optimizer.catch_up(table, look_ups)
        looked_up = F.embedding(ids, table.detach().flatten(1)).requires_grad_()
        with products(self.precision, self.device):
            loss, penalty = self._loss(self.model, looked_up, labels)
            total = loss if penalty is None else loss + penalty
            of_rows, *gradients = torch.autograd.grad(
                total, [looked_up, *self.dense], allow_unused=True
            )
        for p, gradient in zip(self.dense, gradients, strict=True):
            # fused Adam reads memory as the parameter lies; `backward` would have seen to that
            p.grad = None if gradient is None else gradient.contiguous()
        self.optimizer.give(table, look_ups, of_rows)
        self.optimizer.step()
        loss, penalty = loss.detach(), None if penalty is None else penalty.detach()
        if seen is not None:
            buffers = [buffer.clone() for buffer in self.model.buffers()]
            read = looked_up.detach()
            seen.append(Seen(loss, penalty, read, of_rows, list(gradients), buffers))
        return loss, penalty


def loss_of(model: Recommender, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
    """The loss and the penalty of looked-up rows `[B, N, M*K]` and their labels `[B]`."""
    return model.loss_of(model.arrange(rows), labels)


class _Graph:
    """A window's steps as one CUDA graph, for batches of one size.

    Args:
        beside: another one, whose memory it may use.
    """

    def __init__(self, engine: Engine, rows: Tensor, beside: "_Graph | None" = None) -> None:
        self.optimizer, self.rows = engine.optimizer, torch.zeros_like(rows)
        self.optimizer.announce(len(rows))
        self.graph = torch.cuda.CUDAGraph()
        # Graphs can share memory: what one leaves is copied before another is replayed. While one
        # is captured nothing is computed, but the host counts the steps. A capture that fails would
        # leave its stream behind as the current one.
        pool = None if beside is None else beside.graph.pool()
        here = torch.cuda.current_stream(rows.device)
        with torch.cuda.stream(here), torch.cuda.graph(self.graph, pool=pool):
            self.losses = engine.window(self.rows)
        self.optimizer.count_steps(-len(rows))

    def replay(self, rows: Tensor) -> Tensor:
        """As `Engine.window`; what it returns is overwritten by the next replay."""
        self.rows.copy_(rows)
        self.optimizer.announce(len(rows))
        self.graph.replay()
        self.optimizer.count_steps(len(rows))
        return self.losses
