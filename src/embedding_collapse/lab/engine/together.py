"""The plain loop on several processes, each with a part of every batch."""

from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from embedding_collapse.lab import processes
from embedding_collapse.lab.models import Recommender
from embedding_collapse.lab.models.interaction import Part

from .loop import StepByStep
from .products import products

T = TypeVar("T")


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
