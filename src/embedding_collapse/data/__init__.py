"""Datasets by name: integer ids, a label, and a split."""

from numbers import Integral
from pathlib import Path

from embedding_collapse.data.cache import draw_dataset
from embedding_collapse.data.dataset import Dataset, Field
from embedding_collapse.data.flights import load_flights

__all__ = ["DATASETS", "Dataset", "Field", "load"]

DATASETS: dict[str, str] = {
    "synthetic": "39 fields with the cardinalities of Criteo, from a known law; 45,840,617 rows",
    "synthetic-mini": "12 fields from the same law, sized for two cores; 200,000 rows",
    "flights": "26 fields of New York flights of 2013, late or not (real, CC0); 327,346 rows",
}
ROWS = {"synthetic": 45_840_617, "synthetic-mini": 200_000, "flights": None}  # None: all


def load(
    name: str,
    rows: int | None = None,
    *,
    cache: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Dataset:
    """Load a dataset by name.

    Args:
        name: one of `DATASETS`.
        rows: how many, at least 10; by default the number that `DATASETS` tells.
        cache: folder where drawn datasets are kept; by default the environment variable
            EMBEDDING_COLLAPSE_CACHE, else ~/.cache/embedding-collapse.
        workers: threads that draw; by default one per available core.
        progress: show a bar where loading takes more than a few seconds.

    Returns:
        The dataset; the same rows on every machine.

    Raises:
        ValueError: an unknown name, or a number of rows or workers that cannot be.

    Example:
        >>> data = load("flights")
        >>> data.ids.shape
        (327346, 26)
    """
    if name not in DATASETS:
        raise ValueError(f"dataset {name!r} is unknown; known are {', '.join(DATASETS)}")
    _check("rows", rows, 10)
    _check("workers", workers, 1)
    rows = ROWS[name] if rows is None else int(rows)
    if name == "flights":
        return load_flights(rows)
    return draw_dataset(name, rows, cache=cache, workers=workers, progress=progress)


def _check(what: str, value: object, least: int) -> None:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if value is not None and not (whole and value >= least):
        raise ValueError(f"{what} is {value!r}; an integer of at least {least} is needed")
