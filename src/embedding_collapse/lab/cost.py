"""What a training step must compute, move and hold: from a model's own shapes, without running it.

The model is laid out on torch's meta device, where tensors have shapes and no memory, and taken
through one step, forward and backward, while its products and what it keeps are counted. There its
modules are plain ones, as on a GPU; on a CPU a step keeps less (`models.fused`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from .models import Size, build

FLOAT = 4  # bytes
MARK = 4  # bytes per row, with which `blocked_adam` notes what a row has had


class Cost(NamedTuple):
    """Of one step of a model at one batch size.

    Attributes:
        rows: D, of the joint table.
        columns: M * K, numbers per row of it.
        look_ups: B * N, in a batch.
        dense: parameters outside the table.
        flops: multiplications and additions of matrix products, forward and backward.
        activations: bytes that the forward pass keeps for the backward pass, look-ups included.
    """

    rows: int
    columns: int
    look_ups: int
    dense: int
    flops: int
    activations: int

    @property
    def embedding(self) -> int:
        """Parameters of the table."""
        return self.rows * self.columns

    def memory(self, block: int | None = None) -> dict[str, int]:
        """Bytes in training, by what they are for.

        Args:
            block: T of `ExactBlockedAdam`, which keeps gradients of looked-up rows alone; None is
                dense Adam, with a gradient as large as the table.
        """
        of_rows = self.look_ups * self.columns * FLOAT
        table = self.embedding * FLOAT
        return {
            "embedding": table,
            "embedding's gradient": table if block is None else of_rows,
            "embedding's Adam state": 2 * table + (0 if block is None else MARK * (self.rows + 1)),
            "other parameters, gradients, Adam state": 4 * self.dense * FLOAT,
            "activations": self.activations,
        }

    def traffic(self, touched: float, block: int | None = None) -> dict[str, float]:
        """Bytes that a step must read and write, by what they are for.

        Args:
            touched: different rows of the table in a batch.
            block: as in `memory`.
        """
        return {
            "table": table_traffic(self.rows, self.columns, touched, self.look_ups, block),
            "other parameters": 7 * self.dense * FLOAT,  # read g; read and write w, m, v
            "activations": 2 * self.activations,  # written once, read once
        }


def table_traffic(
    rows: int, columns: int, touched: float, look_ups: int, block: int | None
) -> float:
    """Bytes a step that Adam and the look-ups move of a table `[rows, columns]`.

    Dense Adam reads and writes weights and two moments and reads the gradient, of every row; before
    that the gradient has been set to zero and added to. Blocked Adam does the former to the touched
    rows twice (to catch up, and to step) and to all rows once every `block` steps.
    """
    row = columns * FLOAT
    at_look_ups = 3 * look_ups * row  # read the rows, write their gradients, read those
    if block is None:
        return (7 + 1) * rows * row + at_look_ups + 2 * touched * row
    marks = MARK * (rows / block + 3 * touched)
    return 6 * row * (2 * touched + rows / block) + at_look_ups + marks


def step_cost(name: str, cardinalities: Sequence[int], size: Size, batch: int) -> Cost:
    """Lay a model out and count; takes no memory to speak of.

    Args:
        name: one of `models.MODELS`.
        cardinalities: features per field.
        size: the model's dimensions.
        batch: B, rows per step.
    """
    with torch.device("meta"):
        model = build(name, cardinalities, size)
        ids = torch.zeros(batch, size.fields, dtype=torch.int32)
        labels = torch.zeros(batch)
    own = {p.untyped_storage()._cdata for p in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}  # alive, or others may take their place in memory

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        loss, penalty = model.loss(ids, labels)
        (loss if penalty is None else loss + penalty).backward()
    counts = model.parameter_counts()
    return Cost(
        rows=sum(cardinalities),
        columns=model.table[0].numel(),
        look_ups=batch * size.fields,
        dense=counts["interaction"] + counts["head"],
        flops=counter.get_total_flops(),
        activations=sum(storage.nbytes() for storage in kept.values()),
    )


def expected_touched(chances: Sequence[Tensor], batch: int) -> float:
    """How many different rows a batch looks up, on average.

    Args:
        chances: per field, `[D_i]`: how often each feature occurs, as shares of 1.
        batch: B.
    """
    return sum(float(-torch.expm1(batch * torch.log1p(-p.double())).sum()) for p in chances)
