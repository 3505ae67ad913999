"""Explorers: things to turn, alive in Jupyter and, with no kernel, in the published page::

    explorers.show("spectrum")                                  # one of EXPLORERS as it stands
    explorers.show(explorers.spectrum(records.load_all(...)))   # over runs of your own
    explorers.show_collapse()                                   # a model that trains in the page

`explorer` says what an explorer is made of; each of the other modules holds one.
"""

from collections.abc import Callable
from functools import lru_cache

from embedding_collapse.lab.records import Record
from embedding_collapse.lab.studies import study
from embedding_collapse.parameters import check_choice

from . import page
from .bending import bend
from .dimensions import sizing
from .explorer import Explorer
from .heat_map import sub_embeddings
from .scales import scaling
from .spectra import spectrum
from .toy_curves import toy
from .training import show_collapse


@lru_cache
def _grid() -> list[Record]:
    """The runs that an explorer shows where none are given."""
    return study("grid").records()


EXPLORERS: dict[str, Callable[[], Explorer]] = {
    "sizing": sizing,
    "spectrum": lambda: spectrum(_grid()),
    "bend": bend,
    "sub_embeddings": lambda: sub_embeddings(_grid()),
    "toy": toy,
    "scaling": lambda: scaling(_grid()),
}


def show(explorer: str | Explorer) -> None:
    """Display an explorer, one of `EXPLORERS` by its name or one made over other runs.

    Raises:
        ParameterError: an unknown name; the message lists the known ones.
    """
    if isinstance(explorer, str):
        check_choice("explorer", explorer, EXPLORERS)
        explorer = EXPLORERS[explorer]()
    page.show(explorer)


__all__ = [
    "EXPLORERS",
    "Explorer",
    "bend",
    "scaling",
    "show",
    "show_collapse",
    "sizing",
    "spectrum",
    "sub_embeddings",
    "toy",
]
