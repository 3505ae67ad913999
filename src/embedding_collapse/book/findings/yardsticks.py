"""One table, many yardsticks: do the measures agree on which model is more collapsed?

A measure of a spectrum can be read as it is, over K, or against that of a random table of the same
shape. The last two allow tables of different width to stand side by side; see chapter 2.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from embedding_collapse.lab.groups import by_label
from embedding_collapse.lab.metrics import Difference, welch
from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import check_choice
from embedding_collapse.spectrum import (
    effective_rank,
    information_abundance,
    random_abundance,
    random_spectrum,
    singular_values,
    stable_rank,
)

MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "information abundance": information_abundance,
    "effective rank": effective_rank,
    "stable rank": stable_rank,
}
READINGS = ("as it is", "over K", "against random")


@lru_cache(maxsize=4096)
def _of_random(name: str, rows: int, width: int) -> float:
    return MEASURES[name](random_spectrum(rows, width)).item()


def readings(record: Record) -> pd.Series:
    """Every measure of a run's tables in every reading: means over fields and sets.

    Returns:
        A number per pair of measure and reading, 9 in all.
    """
    spectra = torch.tensor(record.spectra, dtype=torch.float64)  # [N, M, K]
    width = spectra.shape[-1]
    found = {}
    for name, measure in MEASURES.items():
        values = measure(spectra).mean(1)
        random = [_of_random(name, rows, width) for rows in record.dataset["cardinalities"]]
        found[name, "as it is"] = values.mean().item()
        found[name, "over K"] = values.mean().item() / width
        found[name, "against random"] = (values / torch.tensor(random)).mean().item()
    return pd.Series(found)


class Reading(NamedTuple):
    """What one measure in one reading says of two groups of runs."""

    measure: str
    reading: str
    old: np.ndarray  # a number per seed
    new: np.ndarray
    change: Difference


def chosen(records: Sequence[Record], model: str, scale: int, dataset: str) -> list[Record]:
    """The runs of the base model and of SE at one scale, on all datasets.

    Raises:
        ParameterError: a model, a scale or a dataset that has no such runs.
    """
    found = [run for run in records if run.spec["design"] == "se" or run.spec["scale"] == 1]
    check_choice("model", model, sorted({run.spec["model"] for run in found}))
    found = [run for run in found if run.spec["model"] == model]
    check_choice("scale", scale, sorted({run.spec["scale"] for run in found} - {1}))
    found = [run for run in found if run.spec["scale"] in (1, scale)]
    check_choice("dataset", dataset, sorted({run.spec["dataset"] for run in found}))
    return found


def compare(records: Sequence[Record], label: str) -> list[Reading]:
    """Every measure in every reading, the runs of that label against the base model.

    Raises:
        ValueError: records of several models or datasets, or without one of the two.
    """
    groups = by_label(records)
    if missing := {"base", label} - set(groups):
        raise ValueError(f"no runs of {', '.join(sorted(missing))}; there are {', '.join(groups)}")
    old, new = (pd.DataFrame(map(readings, groups[name])) for name in ("base", label))
    return [
        Reading(*key, old[key].to_numpy(), new[key].to_numpy(), welch(new[key], old[key]))
        for key in old
    ]


def side_by_side(compared: Sequence[Reading], label: str) -> pd.DataFrame:
    """A row per measure and reading: both means with their standard deviation over seeds, and the
    difference with its 95% interval."""
    rows = {
        (each.measure.replace("information abundance", "IA"), each.reading): {
            "base": _spread(each.old),
            label: _spread(each.new),
            f"{label} - base": "{:+.2f} [{:+.2f}, {:+.2f}]".format(*each.change),
        }
        for each in compared
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["measure", "reading"])


def _spread(values: np.ndarray) -> str:
    deviation = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{deviation}"


def agreement(compared: Sequence[Reading], label: str) -> str:
    """Do the measures agree that the wider model is more collapsed? A Markdown line per reading.

    A measure says so where the 95% interval of its difference lies below zero.
    """
    words = {"lower": "more collapsed", "higher": "less collapsed",
             "not told apart": "inside the noise"}  # fmt: skip
    lines = []
    for reading in READINGS:
        of_it = [each for each in compared if each.reading == reading]
        verdicts = {words[each.change.verdict] for each in of_it}
        changes = [f"{each.measure} {each.new.mean() / each.old.mean() - 1:+.0%}" for each in of_it]
        if len(verdicts) == 1:
            said = f"{label} is *{verdicts.pop()}* than base by all three measures"
            said = said.replace("*inside the noise* than", "*inside the noise* of")
        else:
            said = f"the measures differ on {label} against base"
            changes = [
                f"{change} ({words[each.change.verdict]})"
                for change, each in zip(changes, of_it, strict=True)
            ]
        lines.append(f"- **Read {reading}**, {said}: {', '.join(changes)}.")
    return "\n".join(lines)


def in_short(compared: Mapping[str, Sequence[Reading]], label: str) -> str:
    """How many of the readings that are shares say that the wider model is more collapsed, dataset
    by dataset: a Markdown sentence.

    Args:
        compared: from `compare`, by dataset.
        label: of the wider model.
    """
    said = []
    for dataset, of in compared.items():
        shares = [each for each in of if each.reading != "as it is"]
        more = sum(each.change.verdict == "lower" for each in shares)
        (over_k,) = (
            each for each in shares
            if (each.measure, each.reading) == ("information abundance", "over K")
        )  # fmt: skip
        said.append(
            f"{more} of {len(shares)} on {dataset} (IA/K {over_k.old.mean():.2f} in base, "
            f"{over_k.new.mean():.2f} in {label})"
        )
    return (
        f"**In our runs,** readings as a share say that {label} is more collapsed than base: "
        f"{'; '.join(said)}."
    )


def in_blocks(table: Tensor, cardinalities: Sequence[int], width: int) -> float:
    """IA against random of a table's columns, cut into blocks of that width, turned at random
    first: wide and narrow tables at one width. The mean over fields and blocks.

    Args:
        table: `[D, 1, K]`.
        cardinalities: features per field.
        width: of a block; it divides K.
    """
    generator = torch.Generator().manual_seed(0)
    wide = table.shape[-1]
    rotation = torch.linalg.qr(torch.randn(wide, wide, generator=generator)).Q
    turned = (table @ rotation).reshape(len(table), wide // width, width)
    shares = [
        information_abundance(singular_values(field.transpose(0, 1))).mean().item()
        / random_abundance(len(field), width)
        for field in turned.split(list(cardinalities))
    ]
    return float(np.mean(shares))
