"""The models: each file is one interaction, `[M, B, N, K] -> [M, B, H]`, and little else."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from embedding_collapse.lab.device import random_state_kept
from embedding_collapse.parameters import check_choice

from .dcnv2 import DCNv2
from .dnn import DNN
from .ffm import FFM, Offset
from .finalmlp import FinalMLP, Fusion
from .interaction import Interaction, Size
from .ipnn import IPNN
from .layers import Head, LinearProjection
from .nfwfm import NFwFM
from .penalties import norm_variance, orthogonality, set_overlap, spectral_spread
from .recommender import Penalty, Recommender
from .variants import Lifted, Shared
from .xdeepfm import XDeepFM, XDeepFMHead


class Model(NamedTuple):
    """A model's name in figures, and its parts, whose modules say where they come from.

    Attributes:
        name: as its authors write it.
        interaction: makes the interaction of a size.
        head: makes the head of a size.
        penalty: what training adds to the loss.
        embedding_size: the paper's K at scale 1.
    """

    name: str
    interaction: Callable[[Size], Interaction]
    head: Callable[[Size], nn.Module] = Head
    penalty: Penalty | None = None
    embedding_size: int = 10


MODELS = {
    "dnn": Model("DNN", DNN),
    "ipnn": Model("IPNN", IPNN),
    "nfwfm": Model("NFwFM", NFwFM, embedding_size=50),
    "xdeepfm": Model("xDeepFM", XDeepFM, XDeepFMHead),
    "dcnv2": Model("DCNv2", DCNv2),
    "finalmlp": Model("FinalMLP", FinalMLP, Fusion),
    # one set and several alike, and the variants of ME
    "ipnn-raw": Model("IPNN, raw", partial(IPNN, raw=True)),
    "dcnv2-shared": Model("DCNv2, shared interaction", Shared),
    "dcnv2-linear": Model("DCNv2, linear", partial(DCNv2, projection=LinearProjection)),
    "dnn-linear": Model("DNN, linear", partial(DNN, projection=LinearProjection)),
    "dcnv2-aligned": Model("DCNv2, aligned norms", DCNv2, penalty=partial(norm_variance, weight=1)),
    # interaction suppressed
    "dcnv2-regularized": Model(
        "DCNv2, regularised",
        partial(DCNv2, learn_scale=True),
        penalty=partial(orthogonality, weight=1e-5),
    ),
    # a wide interaction without a wide table
    "dcnv2-lifted": Model("DCNv2, lifted", Lifted),
    # other ways out of collapse
    "dcnv2-flat": Model(
        "DCNv2, flat spectra", DCNv2, penalty=partial(spectral_spread, weight=1e-3)
    ),
    "dcnv2-distinct": Model(
        "DCNv2, distinct sets", DCNv2, penalty=partial(set_overlap, weight=1e-3)
    ),
    "dcnv2-sfg": Model("DCNv2 with SFG", partial(DCNv2, encode=True)),
    # sub-embeddings that are parameters
    "ffm": Model("FFM", FFM, Offset),
}
PAPER = ["dnn", "ipnn", "nfwfm", "xdeepfm", "dcnv2", "finalmlp"]  # the rows of its table


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
    model = MODELS[name]
    with random_state_kept(torch.device("cpu")):
        torch.manual_seed(seed)
        interaction, head = model.interaction(size), model.head(size)
        table_size = replace(size, width=interaction.columns(size))
        return Recommender(cardinalities, table_size, interaction, head, model.penalty)


__all__ = ["MODELS", "PAPER", "Interaction", "Model", "Recommender", "Size", "build"]
