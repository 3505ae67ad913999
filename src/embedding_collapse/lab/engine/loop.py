"""The plain training loop: one step after the other, with dense Adam."""

from collections.abc import Iterator

from torch import Tensor

from blocked_adam import Adam
from embedding_collapse.lab.models import Recommender

from .products import products

STEPS_BETWEEN_CHECKS = 25  # a check waits for the device, so not at every step


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
