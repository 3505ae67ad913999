"""DeepFM (Guo et al. 2017): products of pairs of fields beside an MLP, on one set of tables."""

import torch
from torch import Tensor, nn


class Embeddings(nn.Module):
    def __init__(self, cardinalities: list[int], width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, width) for rows in cardinalities)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, ids: Tensor) -> Tensor:  # [B, N] -> [B, N, K]
        return torch.stack([table(ids[:, i]) for i, table in enumerate(self.tables)], 1)


class Interaction(nn.Module):
    def __init__(self, fields: int, width: int, hidden: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Linear(fields * width, hidden), nn.BatchNorm1d(hidden),
                                  nn.ReLU(), nn.Dropout(0.2))  # fmt: skip

    def forward(self, e: Tensor) -> Tensor:  # [B, N, K] -> [B, K + H]
        products = (e.sum(1).square() - e.square().sum(1)) / 2
        return torch.cat([products, self.deep(e.flatten(1))], 1)


class DeepFM(nn.Module):
    def __init__(self, cardinalities: list[int], width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = Embeddings(cardinalities, width)
        self.interaction = Interaction(len(cardinalities), width, hidden)
        self.head = nn.Linear(width + hidden, 1)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.interaction(self.embedding(ids))
        return self.head(h).squeeze(1)
