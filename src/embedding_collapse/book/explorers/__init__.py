"""Explorers: things to turn, alive in Jupyter and, with no kernel, in the published page::

    explorers.show("spectrum")                                  # one of EXPLORERS as it stands
    explorers.show(spectrum.explorer(records.load_all(...)))    # over runs of your own
    explorers.train("collapse")                                 # one of TRAINING, in the page

`explorer` says what an explorer is made of; `display` shows it, `live` with a kernel and `static`
without a script. `training` says what a figure that trains is made of and shows it, and `collapse`,
`sets` and `bottleneck` hold one each. Each of the other modules holds the explorer of its name:
`explorer` makes it, and `view` is what it shows.
"""

from collections.abc import Callable
from functools import lru_cache

from embedding_collapse.book.analysis.ledger import sharing
from embedding_collapse.lab.groups import by_cell, cell_of
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.studies import study
from embedding_collapse.lab.studies.decide import BASES, TELLING
from embedding_collapse.parameters import check_choice

from . import (
    bend,
    bottleneck,
    collapse,
    display,
    projection,
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
def _decided() -> list[Record]:
    """The runs that an explorer shows where none are given: the study's two main data sets."""
    runs = study("decide").records(missing_ok=True)
    return [run for base in BASES for run in sharing(base, runs)]


def _in_both() -> list[Record]:
    """Those of a model and size that both data sets have, so that every choice leads somewhere."""
    cells = set(by_cell(_decided()))
    names = {cell.dataset for cell in cells}
    return [
        run
        for run in _decided()
        if all(cell_of(run)._replace(dataset=name) in cells for name in names)
    ]


EXPLORERS: dict[str, Callable[[], Explorer]] = {
    "sizing": sizing.explorer,
    # more models would be more than a page may weigh
    "spectrum": lambda: spectrum.explorer(
        [run for run in _decided() if run.spec["model"] in TELLING], spectrum.STEPS
    ),
    "bend": bend.explorer,
    "sub_embeddings": lambda: sub_embeddings.explorer(_in_both(), steps=sub_embeddings.STEPS),
    "toy": toy.explorer,
    "projection": projection.explorer,
    "scaling": lambda: scaling.explorer(_decided(), scaling.STEPS),
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
