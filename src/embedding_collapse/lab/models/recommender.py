"""What all the lab's models share; around modules of one's own `multi_embedding` does the same.

Embedding sets, one interaction each, the mean over them, a head.

Single-embedding (SE) is multi-embedding (ME) with one set, so there is one code path: the M sets
are a batch dimension of every tensor.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embedding_collapse.lab.processes import add_up

from .fused import look_up
from .interaction import Interaction, Layer, Part, Size

Penalty = Callable[[Interaction, Tensor], Tensor]


class Recommender(nn.Module):
    """ids -> embeddings -> one interaction per set -> mean over sets -> head -> logit.

    Attributes:
        table: `[D, M, K]`, the joint table of all fields' features; Xavier-uniform per set over
            `[D, K]`, as in the official code (so the scale depends on the vocabulary).
        interaction: `[M, B, N, K] -> [M, B, H]`.
        head: `[B, H] -> [B]`.
        penalty: from the interaction and the embeddings `[M, B, N, K]` of a batch to a scalar
            that training adds to the loss; None for a model that is not regularised.
        starts: int32 `[N]`, the table's row with which each field begins.
    """

    starts: Tensor

    def __init__(
        self,
        cardinalities: Sequence[int],
        size: Size,
        interaction: Interaction,
        head: nn.Module,
        penalty: Penalty | None = None,
    ) -> None:
        super().__init__()
        features = sum(cardinalities)
        bound = math.sqrt(6 / (features + size.width))
        self.table = nn.Parameter(
            torch.empty(features, size.sets, size.width).uniform_(-bound, bound)
        )
        # not torch's cumsum: counted on the device "meta" it would import for seconds
        starts = torch.tensor([0, *accumulate(cardinalities[:-1])], dtype=torch.int32)
        self.register_buffer("starts", starts, persistent=False)
        self.interaction = interaction
        self.head = head
        self.penalty = penalty

    def embed(self, ids: Tensor) -> Tensor:
        """Look up ids `[B, N]` (from 0 in each field) in all sets: `[M, B, N, K]`."""
        return self.arrange(look_up(ids + self.starts, self.table.flatten(1)))

    def arrange(self, rows: Tensor) -> Tensor:
        """Rows of the table `[B, N, M*K]`, set by set: `[M, B, N, K]`."""
        return rows.unflatten(-1, self.table.shape[1:]).permute(2, 0, 1, 3)

    def decide(self, embeddings: Tensor) -> Tensor:
        """Logits `[B]` from embeddings `[M, B, N, K]`."""
        mean = self.interaction(embeddings, mean=True)  # each set's own, then their mean: [1, B, H]
        return self.head(mean.squeeze(0))

    def forward(self, ids: Tensor) -> Tensor:
        """Logits `[B]` of ids `[B, N]`."""
        return self.decide(self.embed(ids))

    def loss(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean log-loss (nats per row) of ids `[B, N]` and labels `[B]`, and the penalty."""
        return self.loss_of(self.embed(ids), labels)

    def loss_of(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same, from embeddings `[M, B, N, K]`."""
        logits = self.decide(embeddings)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        penalty = None
        if self.penalty is not None:
            where = "cpu" if embeddings.is_meta else embeddings.device.type
            with torch.autocast(where, enabled=False):
                penalty = self.penalty(self.interaction, _whole(embeddings, self.interaction.part))
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype)), penalty

    def layers(self) -> Iterator[Layer]:
        """The modules whose `align` and `dropout` training may set."""
        return (module for module in self.modules() if isinstance(module, Layer))

    def parameter_counts(self) -> dict[str, int]:
        """How many parameters the embedding, the interaction and the head hold."""
        parts = {
            "embedding": [self.table],
            "interaction": list(self.interaction.parameters()),
            "head": list(self.head.parameters()),
        }
        return {name: sum(p.numel() for p in part) for name, part in parts.items()}


def _whole(embeddings: Tensor, part: Part | None) -> Tensor:
    """The embeddings `[M, B, N, K]` of the batch that these are a part of."""
    if part is None:
        return embeddings
    return add_up(F.pad(embeddings, (0, 0, 0, 0, part.start, part.rows - part.stop)))
