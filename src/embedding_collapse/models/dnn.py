"""DNN: no explicit interaction, the fields' embeddings side by side into a projection."""

from torch import Tensor, nn

from .layers import Projection
from .recommender import Size


class DNN(nn.Module):
    """`[M, B, N, K] -> [M, B, H]`."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        inputs = size.fields * size.width
        self.project = Projection(size.sets, inputs, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.project(embeddings.flatten(2))
