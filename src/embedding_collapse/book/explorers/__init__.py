"""Explorers: things to turn, alive in Jupyter and, with no kernel, in the published page::

    explorers.show("spectrum")                                  # one of EXPLORERS as it stands
    explorers.show(spectrum.explorer(records.load_all(...)))    # over runs of your own
    explorers.train("collapse")                                 # one of TRAINING, in the page

`explorer` says what an explorer is made of; `display` shows it, `live` with a kernel and `static`
without a script. `training` says what a figure that trains is made of, `widget` shows it with a
kernel, and `collapse`, `sets` and `bottleneck` hold one each. Each of the other modules holds the
explorer of its name: `explorer` makes it, and `view` is what it shows.
"""

from collections.abc import Callable
from functools import lru_cache

from embedding_collapse.lab.records import Record
from embedding_collapse.lab.studies import study
from embedding_collapse.parameters import check_choice

from . import (
    bend,
    bottleneck,
    collapse,
    display,
    scaling,
    sets,
    sizing,
    spectrum,
    sub_embeddings,
    toy,
    training,
)
from .explorer import Explorer


@lru_cache
def _grid() -> list[Record]:
    """The runs that an explorer shows where none are given."""
    return study("grid").records()


EXPLORERS: dict[str, Callable[[], Explorer]] = {
    "sizing": sizing.explorer,
    # more models would be more than a page may weigh
    "spectrum": lambda: spectrum.explorer(
        [run for run in _grid() if run.spec["model"] in ("dnn", "dcnv2")], spectrum.STEPS
    ),
    "bend": bend.explorer,
    "sub_embeddings": lambda: sub_embeddings.explorer(_grid(), steps=sub_embeddings.STEPS),
    "toy": toy.explorer,
    "scaling": lambda: scaling.explorer(_grid(), scaling.STEPS),
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
    display.show(explorer)


def train(name: str) -> None:
    """Display a figure that trains in the reader's page, one of `TRAINING`.

    Raises:
        ParameterError: an unknown name; the message lists the known ones.
    """
    check_choice("figure", name, TRAINING)
    training.show(TRAINING[name])
