"""Explorers: things to turn, alive in Jupyter and, with no kernel, in the published page::

    explorers.show("spectrum")                                  # one of EXPLORERS as it stands
    explorers.show(explorers.spectrum(records.load_all(...)))   # over runs of your own
    explorers.train("collapse")                                 # one of TRAINING, in the page

`explorer` says what an explorer is made of; each of the other modules holds one.
"""

from collections.abc import Callable
from functools import lru_cache

from embedding_collapse.lab.records import Record, folder_of, load_all
from embedding_collapse.parameters import check_choice

from . import bottleneck, collapse, page, sets, training
from .bending import bend
from .dimensions import sizing
from .explorer import Explorer
from .heat_map import sub_embeddings
from .scales import scaling
from .spectra import spectrum
from .toy_curves import toy
from .training import Training

GRID = "results/grid"  # the runs that an explorer shows where none are given


@lru_cache
def _grid() -> list[Record]:
    return load_all(folder_of(GRID))


EXPLORERS: dict[str, Callable[[], Explorer]] = {
    "sizing": sizing,
    "spectrum": lambda: spectrum(_grid()),
    "bend": bend,
    "sub_embeddings": lambda: sub_embeddings(_grid()),
    "toy": toy,
    "scaling": lambda: scaling(_grid()),
}


TRAINING = {figure.name: figure for figure in (collapse.FIGURE, sets.FIGURE, bottleneck.FIGURE)}


def show(explorer: str | Explorer) -> None:
    """Display an explorer, one of `EXPLORERS` by its name or one made over other runs.

    Raises:
        ParameterError: an unknown name; the message lists the known ones.
    """
    if isinstance(explorer, str):
        check_choice("explorer", explorer, EXPLORERS)
        explorer = EXPLORERS[explorer]()
    page.show(explorer)


def train(name: str) -> None:
    """Display a figure that trains in the reader's page, one of `TRAINING`.

    Raises:
        ParameterError: an unknown name; the message lists the known ones.
    """
    check_choice("figure", name, TRAINING)
    training.show(TRAINING[name])


__all__ = [
    "EXPLORERS",
    "TRAINING",
    "Explorer",
    "Training",
    "bend",
    "scaling",
    "show",
    "sizing",
    "spectrum",
    "sub_embeddings",
    "toy",
    "train",
]
