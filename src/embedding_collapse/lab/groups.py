"""Records in groups: runs that differ in the seed alone, compared and in tables."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import groupby
from statistics import median
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedding_collapse.parameters import ParameterError, count

from .contrast import Effect, Group, contrast
from .models import MODELS
from .records import Record, design_label


class Cell(NamedTuple):
    """What runs that differ in the seed alone have in common."""

    dataset: str
    model: str
    design: str
    scale: int
    members: int = 0  # of an ensemble, and what it averages
    average: str = ""

    @property
    def label(self) -> str:
        """See `Record.label`."""
        return design_label(self.design, self.scale, self.members or None, self.average)

    @property
    def title(self) -> str:
        """What a reader calls it, such as "us-flights, DCNv2 ME 4x"."""
        return f"{self.dataset}, {MODELS[self.model].name} {self.label}"


Cells = Mapping[Cell, list[Record]]  # as `by_cell` makes them
ALIKE = ("seed", "design")  # what runs may differ in that are compared at one scale


class Difference(NamedTuple):
    """Two cells of a model on one data set, compared.

    Attributes:
        new, old: which.
        auc: the mean test AUC of the one minus that of the other, see `contrast.contrast`.
    """

    new: Cell
    old: Cell
    auc: Effect

    @property
    def label(self) -> str:
        """Such as "ME 4x - SE 4x"."""
        return f"{self.new.label} - {self.old.label}"


def cell_of(record: Record) -> Cell:
    """The record's cell; at scale 1, where SE and ME are one, the design is "se"."""
    spec = record.spec
    design = "se" if spec["scale"] == 1 else spec["design"]
    ensemble = spec.get("members") or 0, spec.get("average") or ""
    return Cell(spec["dataset"], spec["model"], design, spec["scale"], *ensemble)


def by_cell(records: Iterable[Record], ensembles: bool = False) -> dict[Cell, list[Record]]:
    """Records grouped by cell: by dataset, by model as in `models.MODELS`, base first, then by
    scale, SE before ME; in a group by seed, of which each counts once: at scale 1 SE and ME are the
    same run.

    Args:
        records: of any runs.
        ensembles: whether those of ensembles come too, last; else they are left out, as they are no
            size of their model.

    Raises:
        ParameterError: records of one cell that differ in more than the seed.
    """
    groups: dict[Cell, list[Record]] = {}
    for record in records:
        cell = cell_of(record)
        if ensembles or not cell.members:
            groups.setdefault(cell, []).append(record)
    for cell, group in groups.items():
        group.sort(key=_seed)
        for record in group:
            if differences := _differences(group[0], record):
                raise ParameterError(
                    f"runs of {cell.dataset}, {cell.model} {cell.label} differ in more than the "
                    f"seed, so that they can't be one group: {differences}"
                )
    place = list(MODELS).index
    ordered = sorted(
        groups,
        key=lambda c: (c.dataset, place(c.model), c.members, c.average, c.scale, c.design == "me"),
    )
    return {cell: [next(runs) for _, runs in groupby(groups[cell], _seed)] for cell in ordered}


def _differences(one: Record, other: Record, but: Sequence[str] = ALIKE) -> dict[str, tuple]:
    """What two records differ in beside the seed and the design, or beside what `but` names."""
    differences = {
        name: (one.spec.get(name), other.spec.get(name))
        for name in one.spec | other.spec
        if name not in but and other.spec.get(name) != one.spec.get(name)
    }
    if other.dataset["fingerprint"] != one.dataset["fingerprint"]:
        differences["data"] = (one.dataset["fingerprint"], other.dataset["fingerprint"])
    parts = [tuple(map(len, record.placements.values())) for record in (one, other)]
    if parts[0] != parts[1]:  # of small test sets, as earlier versions summarised them
        differences["parts that test rows are summarised in"] = (parts[0], parts[1])
    return differences


def _seed(record: Record) -> int:
    return record.spec["seed"]


def select(
    cells: Cells, models: Iterable[str] | None = None, **values: object
) -> dict[Cell, list[Record]]:
    """The cells of some models (None: of all) that have these values."""
    kept = None if models is None else set(models)
    return {
        cell: group
        for cell, group in cells.items()
        if (kept is None or cell.model in kept)
        and all(getattr(cell, name) == value for name, value in values.items())
    }


def runs_in(cells: Cells) -> list[Record]:
    """The runs of all cells."""
    return [record for group in cells.values() for record in group]


def datasets_of(cells: Iterable[Cell]) -> list[str]:
    """The data sets that have cells, in their order."""
    return list(dict.fromkeys(cell.dataset for cell in cells))


def by_label(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records of one model on one dataset, grouped and ordered as in `by_cell`, by label.

    Raises:
        ParameterError: records of several models or datasets, or what `by_cell` raises.
    """
    groups = by_cell(records)
    subjects = {cell[:2] for cell in groups}
    if len(subjects) > 1:
        raise ParameterError(
            f"records of {sorted(subjects)}; those of one model on one dataset are needed"
        )
    return {cell.label: group for cell, group in groups.items()}


def differences(records: Iterable[Record]) -> list[Difference]:
    """SE - base, ME - base and ME - SE at each scale, in test AUC, of each model on each data set,
    where both have runs of the same settings and data.

    The intervals are each by itself, not corrected for being several; `contrast.holm` corrects
    p-values.

    Args:
        records: of any runs.

    Raises:
        ParameterError: records of one cell that differ in more than the seed.
    """
    groups = by_cell(records, ensembles=True)
    found = []
    for cell, group in groups.items():
        base, se = cell._replace(design="se", scale=1), cell._replace(design="se")
        for old in dict.fromkeys([base, se]):
            runs = groups.get(old)
            if runs and old != cell and not _differences(group[0], runs[0], (*ALIKE, "scale")):
                found.append(Difference(cell, old, _auc_change(group, runs)))
    return found


def still_rising(records: Sequence[Record]) -> str:
    """How many runs were best after the last epoch that was allowed, in a line; "" for none."""
    rising = [record for record in records if record.still_rising]
    if not rising:
        return ""
    *some, most = sorted({record.spec["epochs"] for record in rising})
    epochs = " or ".join([*map(str, some), count(most, "epoch")])
    return (
        f"still rising: in {len(rising)} of {count(len(records), 'run')} the last of {epochs} was "
        "the best; more might change the order"
    )


def summary(records: Iterable[Record]) -> pd.DataFrame:
    """One row per cell: test AUC (see `Record.test_auc`), log-loss and IA/K over fields (mean and
    standard deviation over seeds), ME's AUC minus SE's at the same scale, settings and data and its
    95% interval (see `contrast.contrast`), the parameter counts, and time and samples per second of
    training (medians; an ensemble has no time of its own)."""
    groups = by_cell(records, ensembles=True)
    if not groups:
        return pd.DataFrame()
    rows = {}
    for cell, group in groups.items():
        first, se = group[0], groups.get(cell._replace(design="se"))
        alike = se and cell.design == "me" and not _differences(first, se[0])
        change = format(_auc_change(group, se), "+.4f") if se and alike else ""
        change, _, interval = change.partition(" ")
        seconds = [sum(epoch["seconds"] for epoch in run.epochs) for run in group]
        rows[cell.dataset, cell.model, cell.label] = {
            "test AUC": spread([run.test_auc for run in group]),
            "test log-loss": spread([run.test["log_loss"] for run in group]),
            "mean IA/K": spread([run.relative_abundance.mean().item() for run in group]),
            "ME - SE, AUC": change,
            "its 95% interval": interval,
            "seeds": len(group),
            "parameters": f"{sum(first.parameters.values()):,}",
            "of these embedding": f"{first.parameters['embedding']:,}",
            "seconds": f"{median(seconds):.1f}" if first.epochs else "",
            "samples/s": f"{median(run.speed for run in group):,.0f}" if first.epochs else "",
        }
    frame = pd.DataFrame(rows.values(), index=pd.MultiIndex.from_tuples(rows))
    if not frame["ME - SE, AUC"].any():  # nothing to compare
        frame = frame.drop(columns=["ME - SE, AUC", "its 95% interval"])
    return without_constants(frame)


def without_constants(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame by data set, model and more, without the level of these two that all rows share."""
    constant: list[Hashable] = [
        level for level in (0, 1) if frame.index.get_level_values(level).nunique() == 1
    ]
    return frame.droplevel(constant)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds; with one seed the mean alone."""
    deviation = "" if len(values) < 2 else f" ± {np.std(values, ddof=1):.4f}"
    return f"{np.mean(values):.4f}{deviation}"


def _auc_change(new: Sequence[Record], old: Sequence[Record]) -> Effect:
    """Mean test AUC of one group of runs minus that of another on the same data."""
    return contrast(
        [
            Group(weight, [run.test_auc for run in runs], [run.score_summary for run in runs])
            for weight, runs in ((1, new), (-1, old))
        ]
    )
