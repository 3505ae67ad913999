"""Datasets by name: integer ids, a label, and a split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..parameters import ParameterError, check_choice, check_number, check_whole
from .dataset import Dataset, Field
from .drawing import draw_dataset
from .encoding import encode
from .flights import load_flights
from .movielens import movielens
from .sources import avazu, criteo, own_table
from .summary import compare, summarise

__all__ = ["DATASETS", "Dataset", "Field", "compare", "load", "summarise"]

DATASETS: dict[str, str] = {
    "synthetic": "39 fields with the cardinalities of Criteo, from a known law; 45,840,617 rows",
    "synthetic-mini": "12 fields from the same law, sized for two cores; 200,000 rows",
    "flights": "26 fields of New York flights of 2013, late or not (real, CC0); 327,346 rows",
    "criteo": "Kaggle's train.txt at `path`, else the Hub's reczoo/Criteo_x4; 45,840,617 rows",
    "avazu": "Kaggle's train.csv at `path`, else the Hub's reczoo/Avazu_x4; 40.4 million rows",
    "movielens": "GroupLens' ml-100k or ml-1m at `path`, rated 4 or better or not",
    "table": "the text, Parquet or Hub table at `path`, with the label in column `label`",
}
ROWS = {"synthetic": 45_840_617, "synthetic-mini": 200_000}


def load(
    name: str,
    rows: int | None = None,
    *,
    path: str | Path | None = None,
    label: str | None = None,
    categorical: str | Sequence[str] = (),
    numeric: str | Sequence[str] = (),
    vocabulary: Literal["all", "train"] = "all",
    max_rejected: float = 0.01,
    cache: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Dataset:
    """Load a dataset by name.

    Args:
        name: one of `DATASETS`.
        rows: how many, at least 10; by default all, or the number that `DATASETS` tells. Of a
            table these are its first rows.
        path: of criteo, avazu, movielens and table: a file, or the name of a dataset on the
            Hugging Face Hub ("owner/name"); of movielens a folder or .zip. "" is none.
        label: of table, the column that holds 0 or 1. "" is none.
        categorical, numeric: of table, the columns to take as fields, also as one string with
            commas. By default all: those with fractions in the first rows as numeric, in bins of
            about equal size, the others as categorical.
        vocabulary: of what is read from `path`, the rows that a value is counted on: "all", as in
            the paper, or "train", the training rows alone.
        max_rejected: the share of unusable rows up to which the rest is loaded, below 1.
        cache: folder where datasets are kept; by default the environment variable
            EMBEDDING_COLLAPSE_CACHE, else ~/.cache/embedding-collapse.
        workers: threads that draw or encode; by default one per available core.
        progress: show a bar where loading takes more than a few seconds.

    Returns:
        The dataset; the same rows on every machine.

    Raises:
        ParameterError: an unknown name, a parameter that cannot be, or data that cannot be used;
            the message says what is accepted.

    Example:
        >>> data = load("flights")
        >>> data.ids.shape
        (327346, 26)
    """
    check_choice("dataset", name, DATASETS)
    if rows is not None:
        check_whole("rows", rows, least=10)
    if workers is not None:
        check_whole("workers", workers, least=1)
    check_choice("vocabulary", vocabulary, ("all", "train"))
    check_number("max_rejected", max_rejected, 0, 1)
    path, categorical, numeric = str(path or ""), _names(categorical), _names(numeric)
    if name != "table" and (label or categorical or numeric):
        raise ParameterError(f"label, categorical and numeric are for 'table'; {name!r} knows its")
    if name in ("synthetic", "synthetic-mini", "flights"):
        if path or vocabulary != "all":
            raise ParameterError(
                f"path is {path!r} and vocabulary {vocabulary!r}; they are for what is read from "
                f"a file, and {name!r} is not"
            )
        if name == "flights":
            return load_flights(rows)
        rows = rows or ROWS[name]
        return draw_dataset(name, rows, cache=cache, workers=workers, progress=progress)
    if name == "table":
        source = own_table(path, label, categorical, numeric)
    else:
        source = {"criteo": criteo, "avazu": avazu, "movielens": movielens}[name](path)
    return encode(
        source,
        rows=rows,
        vocabulary=vocabulary,
        max_rejected=max_rejected,
        cache=cache,
        workers=workers,
        progress=progress,
    )


def _names(columns: str | Sequence[str]) -> list[str]:
    if isinstance(columns, str):
        columns = columns.split(",")
    return [name for column in columns if (name := column.strip())]
