"""Explorers: things to turn, alive in Jupyter and, with no kernel, in the published page::

    explorers.show("spectrum")                                  # one of EXPLORERS as it stands
    explorers.show(spectrum.explorer(records.load_all(...)))   # over runs of your own
    explorers.show_collapse()                                   # a model that trains in the page

`explorer` says what an explorer is made of; `display` shows it, `live` with a kernel and `static`
without a script. `collapse` is the model that trains; each of the other modules holds the explorer
of its name: `explorer` makes it, and `view` is what it shows.
"""

from collections.abc import Callable
from functools import lru_cache

from embedding_collapse.lab.records import Record
from embedding_collapse.lab.studies import study
from embedding_collapse.parameters import check_choice

from . import bend, display, scaling, sizing, spectrum, sub_embeddings, toy
from .collapse import show_collapse
from .explorer import Explorer


@lru_cache
def _grid() -> list[Record]:
    """The runs that an explorer shows where none are given."""
    return study("grid").records()


EXPLORERS: dict[str, Callable[[], Explorer]] = {
    "sizing": sizing.explorer,
    "spectrum": lambda: spectrum.explorer(_grid()),
    "bend": bend.explorer,
    "sub_embeddings": lambda: sub_embeddings.explorer(_grid()),
    "toy": toy.explorer,
    "scaling": lambda: scaling.explorer(_grid()),
}


def show(explorer: str | Explorer) -> None:
    """Display an explorer, one of `EXPLORERS` by its name or one made over other runs.

    Raises:
        ParameterError: an unknown name; the message lists the known ones.
    """
    if isinstance(explorer, str):
        check_choice("explorer", explorer, EXPLORERS)
        explorer = EXPLORERS[explorer]()
    display.show(explorer)


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
