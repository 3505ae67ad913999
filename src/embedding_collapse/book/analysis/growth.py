"""Runs of DCNv2 by what grows from group to group: its parameters in three ways, or the rows."""

from collections.abc import Iterable, Mapping

from embedding_collapse.lab.groups import Cell, by_label, runs_in, select
from embedding_collapse.lab.records import Record

from .verdicts import Cells, Runs

MODEL = "dcnv2"
Parts = Mapping[str, list[Record]]  # of the study "beyond", by name


def families(cells: Cells, parts: Parts, dataset: str) -> dict[str, dict[str, Runs]]:
    """DCNv2 made larger in three ways, by what its sizes are called.

    Args:
        cells: from `lab.groups.by_cell`.
        parts: of the study "beyond": `parameters` and `depth`.
        dataset: on which.
    """
    own = select(cells, [MODEL], dataset=dataset)
    base = {"base": own.get(Cell(dataset, MODEL, "se", 1), [])}
    se = {cell.label: runs for cell, runs in own.items() if cell.design == "se"}
    me = {cell.label: runs for cell, runs in own.items() if cell.design == "me"}
    equal = _split(parts["parameters"], dataset, "embedding_size")
    deep = _split(parts["depth"], dataset, "cross_layers")
    return {
        "SE, wider": se | {f"SE, K = {width}": runs for width, runs in equal.items()},
        "ME, more sets": base | me,
        "more cross layers": base | {f"{layers} layers": runs for layers, runs in deep.items()},
    }


def _split(runs: Iterable[Record], dataset: str, name: str) -> dict[int, Runs]:
    """The runs on one data set by a parameter of their specs, ascending."""
    groups: dict[int, Runs] = {}
    for run in runs:
        if run.spec["dataset"] == dataset:
            groups.setdefault(run.spec[name], []).append(run)
    return dict(sorted(groups.items()))


def by_rows(cells: Cells, parts: Parts, dataset: str) -> dict[int, dict[str, Runs]]:
    """From the number of rows to base, SE 10x and ME 10x of DCNv2.

    Args:
        cells: from `lab.groups.by_cell`.
        parts: of the study "beyond": `rows`.
        dataset: on which.
    """
    groups: dict[int, Runs] = {}
    for run in (*parts["rows"], *runs_in(select(cells, [MODEL], dataset=dataset))):
        if run.spec["dataset"] == dataset and run.spec["scale"] in (1, 10):
            groups.setdefault(run.dataset["rows"], []).append(run)
    return {rows: by_label(runs) for rows, runs in sorted(groups.items())}
