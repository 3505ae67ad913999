"""The architecture that all models share: embedding sets, one interaction each, mean, head.

Single-embedding (SE) is multi-embedding (ME) with one set, so there is one code path: the M sets
are a batch dimension of every tensor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """What an interaction is built from; the defaults are the paper's.

    Attributes:
        fields: N, the number of fields.
        sets: M, the number of embedding sets.
        width: K, the size of one set's embedding.
        hidden: units of the projection and of the head.
        dropout: rate after every hidden layer.
        cross_layers: DCNv2's number of cross layers.
    """

    fields: int
    sets: int
    width: int
    hidden: int = 400
    dropout: float = 0.2
    cross_layers: int = 4


class Recommender(nn.Module):
    """ids -> embeddings -> one interaction per set -> mean over sets -> head -> logit.

    Attributes:
        table: `[D, M, K]`, the joint table of all fields' features; Xavier-uniform per set over
            `[D, K]`, as in the official code (so the scale depends on the vocabulary).
        interaction: `[M, B, N, K] -> [M, B, H]`.
        head: `[B, H] -> [B]`.
    """

    def __init__(
        self, cardinalities: Sequence[int], size: Size, interaction: nn.Module, head: nn.Module
    ) -> None:
        super().__init__()
        features = sum(cardinalities)
        bound = math.sqrt(6 / (features + size.width))
        self.table = nn.Parameter(
            torch.empty(features, size.sets, size.width).uniform_(-bound, bound)
        )
        starts = torch.tensor([0, *cardinalities[:-1]]).cumsum(0)
        self.register_buffer("starts", starts.int(), persistent=False)
        self.interaction = interaction
        self.head = head

    def embed(self, ids: Tensor) -> Tensor:
        """Look up ids `[B, N]` (from 0 in each field) in all sets: `[M, B, N, K]`."""
        rows = F.embedding(ids + self.starts, self.table.flatten(1))  # [B, N, M*K]
        return rows.unflatten(-1, self.table.shape[1:]).permute(2, 0, 1, 3)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits `[B]` of ids `[B, N]`."""
        h = self.interaction(self.embed(ids))  # [M, B, H], in memory features before rows
        mean = h.mT.sum(0).mT / len(h)  # so averaged in that order: many times faster
        return self.head(mean)

    def parameter_counts(self) -> dict[str, int]:
        """How many parameters the embedding, the interaction and the head hold."""
        parts = {"embedding": [self.table], "interaction": self.interaction.parameters(),
                 "head": self.head.parameters()}  # fmt: skip
        return {name: sum(p.numel() for p in part) for name, part in parts.items()}
