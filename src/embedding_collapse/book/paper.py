"""The paper's own numbers, alone and beside ours."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from embedding_collapse.book.analysis import measures
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.records import Record, design_label

RUNS = 3  # behind every number of the paper's table


def published() -> pd.DataFrame:
    """The paper's table: dataset, model, design, scale, test_auc and its standard deviation over
    `RUNS` runs (std; NaN where the paper prints none)."""
    return pd.read_csv(Path(__file__).with_name("paper_table.csv"), comment="#")


def aucs(records: Iterable[Record], model: str) -> pd.DataFrame:
    """Test AUC of one model, means over seeds: a row per design and scale, a column per data set,
    the paper's and then ours; NaN where there is none."""
    columns: dict[str, dict[tuple[int, str], float]] = {}
    table = published().query("model == @model")
    fields = ("dataset", "scale", "design", "test_auc")
    for name, scale, design, auc in zip(*(table[field] for field in fields), strict=True):
        columns.setdefault(f"{name.capitalize()}, the paper", {})[scale, design] = auc
    for cell, group in by_cell(records).items():
        if cell.model == model:
            column = columns.setdefault(f"{group[0].dataset['name']}, here", {})
            column[cell.scale, cell.design] = measures.AUC.mean(group)
    order = sorted(
        {size for column in columns.values() for size in column},
        key=lambda size: (size[0], size[1] == "me"),
    )
    rows = [[column.get(size, np.nan) for column in columns.values()] for size in order]
    labels = [design_label(design, scale) for scale, design in order]
    return pd.DataFrame(rows, index=labels, columns=list(columns))
