"""What a model is: an interaction, built from a size. Each of the other files here holds one."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from embedding_collapse.parameters import ParameterError


@dataclass(frozen=True)
class Size:
    """What an interaction is built from; the defaults are the paper's.

    Attributes:
        fields: N, the number of fields.
        sets: M, the number of embedding sets.
        width: K, the size of one set's embedding.
        hidden: H, units of the projection and of the head.
        dropout: rate after every hidden layer.
        cross_layers: DCNv2's number of cross layers.
        maps: feature maps in each of xDeepFM's two CIN layers.
    """

    fields: int
    sets: int
    width: int
    hidden: int = 400
    dropout: float = 0.2
    cross_layers: int = 4
    maps: int = 16

    @property
    def inputs(self) -> int:
        """N * K, the length of one set's embeddings side by side."""
        return self.fields * self.width


def check_fields(model: str, size: Size) -> None:
    """Raise a `ParameterError` where there are not the two fields that a model needs."""
    if size.fields < 2:
        raise ParameterError(
            f"{model} on {size.fields} field; fields meet only where there are 2 or more"
        )


class Part(NamedTuple):
    """The rows from `start` to `stop` of a batch of `rows`, whose others are in other processes."""

    start: int
    stop: int
    rows: int


class Layer(nn.Module):
    """A module of which training may change how it computes, and not what.

    Attributes:
        align: what the dimensions of products are filled up to a multiple of; see
            `layers.aligned`.
        dropout: rate.
        part: of the batch that it is given, see `engine.loop.Together`; None where it is the whole.
    """

    align: int = 1
    dropout: float = 0.0
    part: Part | None = None


class Interaction(Layer):
    """How the fields of each embedding set meet, `[M, B, N, K] -> [M, B, H]`; with `mean=True` the
    mean of that over sets, `[1, B, H]`.

    Beside the map itself, what figures and records may ask of any model. The answers here are those
    of an interaction that has no such thing.
    """

    @staticmethod
    def columns(size: Size) -> int:
        """Columns of one set's table."""
        return size.width

    @property
    def projections(self) -> Tensor | None:
        """`[M, N, K, N, K]`: how the first layer projects each field (columns) before it meets each
        other (rows); None where no embedding is projected."""
        return None

    def sub_embeddings(self, table: Tensor) -> Tensor | None:
        """The table `[D, M, K*(N-1)]` as `[D, M, N-1, K]`: by partner, in the order of the fields,
        a field itself left out; None where a feature has one embedding for all partners."""
        return None
