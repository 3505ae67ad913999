"""Datasets by name: integer ids, a label, and a split."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from embedding_collapse.parameters import ParameterError, check_number, check_whole

from .columns import Source
from .dataset import Dataset, Field
from .drawn import draw_dataset
from .encoding import encode
from .flights import load_flights
from .movielens import movielens
from .sources import avazu, criteo, own_table
from .spec import DATASETS, READ, US_FLIGHTS, DataSpec
from .summary import compare, summarise
from .us_flights import load_us_flights

__all__ = [
    "DATASETS",
    "DataSpec",
    "Dataset",
    "Field",
    "compare",
    "describe",
    "load",
    "load_spec",
    "summarise",
]


def load(
    name: str,
    rows: int | None = None,
    *,
    path: str | Path | None = None,
    label: str | None = None,
    categorical: str | Sequence[str] = (),
    numeric: str | Sequence[str] = (),
    vocabulary: str = "all",
    held_out: tuple[int, int] | None = None,
    split: str = "random",
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
        held_out, split: see `DataSpec`.
        max_rejected: the share of unusable rows up to which the rest is loaded, below 1.
        cache: folder where datasets are kept; by default the environment variable
            EMBEDDING_COLLAPSE_CACHE, else ~/.cache/embedding-collapse.
        workers: threads that draw or encode; by default one per available core.
        progress: show a bar where loading takes more than a few seconds.

    Returns:
        The dataset, whose `spec` says what it is; the same rows on every machine.

    Raises:
        ParameterError: an unknown name, a parameter that cannot be, or data that cannot be used;
            the message says what is accepted.

    Example:
        >>> import embedding_collapse
        >>> clicks = embedding_collapse.load_dataset("synthetic-mini", 2000, progress=False)
        >>> clicks.ids.shape, len(clicks.fields), clicks.labels.shape
        ((2000, 12), 12, (2000,))
    """
    spec, source = _identify(
        name,
        progress,
        rows=rows,
        path=path,
        label=label,
        categorical=categorical,
        numeric=numeric,
        vocabulary=vocabulary,
        held_out=held_out,
        split=split,
    )
    return _load(spec, source, max_rejected, cache, workers, progress)


def describe(name: str, *, progress: bool = True, **options: Any) -> DataSpec:
    """What `load` with these arguments would load, without loading it; a file is read for its hash.

    Args:
        name: one of `DATASETS`.
        progress: show a bar where that takes more than a few seconds.
        options: `rows`, `path`, `label`, `categorical`, `numeric`, `vocabulary`, `held_out`,
            `split`, as `load` takes them.

    Raises:
        ParameterError: as `load`.
    """
    return _identify(name, progress, **options)[0]


def load_spec(
    spec: DataSpec,
    *,
    max_rejected: float = 0.01,
    cache: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Dataset:
    """Load what a spec says; see `load` for the arguments.

    Raises:
        ParameterError: as `load`; or the file at `spec.path` is not the one that the spec was made
            of.
    """
    options = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    del options["content"]
    here, source = _identify(progress=progress, **options)
    if here != spec:
        raise ParameterError(
            f"path is {spec.path!r}, which holds other data than when this run was named (hash "
            f"{here.content}, then {spec.content}); give the file back or name the run anew"
        )
    return _load(spec, source, max_rejected, cache, workers, progress)


def _identify(
    name: str,
    progress: bool,
    *,
    path: str | Path | None = None,
    label: str | None = None,
    categorical: str | Sequence[str] = (),
    numeric: str | Sequence[str] = (),
    **options: Any,
) -> tuple[DataSpec, Source | None]:
    """The spec of some data, and where they are read, if they are."""
    path, label = str(path or "") or None, label or None
    categorical, numeric = _names(categorical), _names(numeric)
    spec_of = partial(
        DataSpec, name, path=path, label=label, categorical=categorical, numeric=numeric, **options
    )
    if name not in READ:
        return spec_of(), None
    # with a stand-in for the hash, so that what cannot be is refused before a file is read
    spec = spec_of(content="unread")
    if name == "table":
        source = own_table(path, label, categorical, numeric)
    else:
        source = {"criteo": criteo, "avazu": avazu, "movielens": movielens}[name](path)
    return dataclasses.replace(spec, content=source.table.content(progress)), source


def _load(
    spec: DataSpec,
    source: Source | None,
    max_rejected: float,
    cache: str | Path | None,
    workers: int | None,
    progress: bool,
) -> Dataset:
    check_number("max_rejected", max_rejected, 0, 1)
    if workers is not None:
        check_whole("workers", workers, least=1)
    if source is not None:
        return encode(
            source, spec, max_rejected=max_rejected, cache=cache, workers=workers, progress=progress
        )
    if spec.name in US_FLIGHTS:
        return load_us_flights(spec)
    if spec.name == "flights":
        return load_flights(spec)
    return draw_dataset(spec, cache=cache, workers=workers, progress=progress)


def _names(columns: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(columns, str):
        columns = columns.split(",")
    return tuple(name for column in columns if (name := column.strip()))
