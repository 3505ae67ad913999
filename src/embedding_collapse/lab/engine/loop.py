"""The plain training loop, one step after the other with dense Adam; on one process or several."""

from collections.abc import Iterator
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from blocked_adam import Adam
from embedding_collapse.lab import processes
from embedding_collapse.lab.models import Recommender
from embedding_collapse.lab.models.interaction import Part

from .products import products

STEPS_BETWEEN_CHECKS = 25  # a check waits for the device, so not at every step
T = TypeVar("T")


class StepByStep:
    """Takes the steps of an epoch one by one; as `captured.Engine`."""

    steps_between_checks = STEPS_BETWEEN_CHECKS
    kind = "loop"

    def __init__(
        self,
        model: Recommender,
        ids: Tensor,
        labels: Tensor,
        *,
        learning_rate: float,
        weight_decay: float,
        precision: str | None,
    ) -> None:
        self.model, self.ids, self.labels, self.precision = model, ids, labels, precision
        self.optimizer = Adam(
            model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
        )

    def epoch(self, order: Tensor, losses: Tensor, penalties: Tensor) -> Iterator[int]:
        """As `Engine.epoch`, after each step."""
        for step, rows in enumerate(order.tensor_split(len(losses))):
            loss, penalty = self.backward(rows)
            self.optimizer.step()
            losses[step] = loss
            if penalty is not None:
                penalties[step] = penalty
            yield step + 1

    def backward(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Leave the gradients of a batch, rows `[B]` of the dataset; its loss and penalty."""
        with products(self.precision, rows.device):
            loss, penalty = self.model.loss(self.ids[rows], self.labels[rows])
            self.optimizer.zero_grad()
            (loss if penalty is None else loss + penalty).backward()
        return loss.detach(), None if penalty is None else penalty.detach()


class Together(StepByStep):
    """Takes the steps that `StepByStep` would take in one process, but for rounding.

    The batches are the same, and each is cut into as many parts as there are processes. Batch norm
    takes the moments of the whole batch, whose sums the processes exchange; dropout draws what it
    would draw for the whole batch, in every process, which uses its part; a penalty sees the whole
    batch's embeddings; the gradients are those of the mean over the whole batch. Every process
    holds the whole tables.

    Attributes:
        parallel: exchanges the gradients.
    """

    def __init__(self, model: Recommender, ids: Tensor, labels: Tensor, **settings: Any) -> None:
        super().__init__(model, ids, labels, **settings)
        self.parallel = DistributedDataParallel(_Loss(model))

    def backward(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """As in one process; of a batch `[B]` that all processes have."""
        rank, count = processes.rank(), processes.count()
        part = Part(len(rows) * rank // count, len(rows) * (rank + 1) // count, len(rows))
        mine = rows[part.start : part.stop]
        self._set(part)
        with products(self.precision, rows.device):
            mean, penalty = self.parallel(self.ids[mine], self.labels[mine])
            term = mean * (len(mine) / len(rows))  # of the mean over the whole batch
            self.optimizer.zero_grad()
            # times their number, for gradients are averaged over the processes
            (term * count if penalty is None else term * count + penalty).backward()
        self._set(None)
        return processes.add_up(term.detach()), None if penalty is None else penalty.detach()

    def _set(self, part: Part | None) -> None:
        for layer in self.model.layers():
            layer.part = part

    def share(
        self, begun: tuple[T, dict[str, Tensor]] | None
    ) -> tuple[T, dict[str, Tensor]] | None:
        """Have all processes go on from the checkpoint that the first has read, if there is one."""
        state = begun and (begun, self.model.state_dict(), self.optimizer.state_dict())
        if state := processes.from_first(state):
            begun, weights, moments = state
            self.model.load_state_dict(weights)
            self.optimizer.load_state_dict(moments)
        return begun


class _Loss(nn.Module):
    """The model's loss as a module's output, which is what the gradients' exchange begins from."""

    def __init__(self, model: Recommender) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.model.loss(ids, labels)
