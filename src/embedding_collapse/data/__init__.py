"""Datasets by name: integer ids, a label, and a split."""

from pathlib import Path

from ..parameters import check_choice, check_whole
from .cache import draw_dataset
from .dataset import Dataset, Field
from .flights import load_flights

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
        ParameterError: an unknown name, or a number of rows or workers that cannot be.

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
    rows = ROWS[name] if rows is None else rows
    if name == "flights":
        return load_flights(rows)
    return draw_dataset(name, rows, cache=cache, workers=workers, progress=progress)
