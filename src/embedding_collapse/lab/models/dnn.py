"""DNN: no explicit interaction, the fields' embeddings side by side into a projection."""

from torch import Tensor, nn

from .interaction import Interaction, Size
from .layers import HiddenProjection, side_by_side


class DNN(Interaction):
    """`[M, B, N, K] -> [M, B, H]`; `projection` is a class of `layers`."""

    def __init__(self, size: Size, projection: type[nn.Module] = HiddenProjection) -> None:
        super().__init__()
        self.project = projection(size.sets, size.inputs, size.hidden, size.dropout)

    def forward(self, embeddings: Tensor, mean: bool = False) -> Tensor:
        return self.project(side_by_side(embeddings, self.align), mean)
