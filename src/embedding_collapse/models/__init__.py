"""The models: each file is one interaction, `[M, B, N, K] -> [M, B, H]`, and little else."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from ..parameters import check_choice
from .dcnv2 import DCNv2
from .dnn import DNN
from .layers import Head
from .recommender import Recommender, Size


class Model(NamedTuple):
    """A line about the model, and how to build its interaction."""

    about: str
    interaction: Callable[[Size], nn.Module]


MODELS = {
    "dnn": Model("an MLP on the embeddings side by side; interaction is implicit", DNN),
    "dcnv2": Model("four cross layers before the MLP; interaction is explicit", DCNv2),
}


def build(name: str, cardinalities: Sequence[int], size: Size, seed: int = 0) -> Recommender:
    """A freshly initialised model: the same weights for the same seed, on every device.

    Args:
        name: one of `MODELS`.
        cardinalities: features per field, rare bucket included.
        size: its dimensions.
        seed: of the initial weights; torch's global random state is left as it was.

    Raises:
        ParameterError: an unknown name; the message lists the known ones.
    """
    check_choice("model", name, MODELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        interaction = MODELS[name].interaction(size)
        head = Head(size.hidden, size.hidden, size.dropout)
        return Recommender(cardinalities, size, interaction, head)


__all__ = ["MODELS", "Model", "Recommender", "Size", "build"]
