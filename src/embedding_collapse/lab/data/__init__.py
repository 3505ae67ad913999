"""Datasets by name: integer ids, a label, and a split."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from embedding_collapse.parameters import ParameterError, check_choice, check_number, check_whole

from .columns import Source
from .dataset import Dataset, Field
from .drawn import draw_dataset
from .encoding import encode
from .movielens import movielens
from .sources import avazu, criteo, own_table
from .spec import DATASETS, READ, US_FLIGHTS, DataSpec
from .summary import compare, summarise
from .us_flights import load_us_flights

__all__ = [
    "DATASETS",
    "READ",
    "DataSpec",
    "Dataset",
    "Field",
    "compare",
    "describe",
    "load",
    "load_spec",
    "summarise",
]

OPTIONS = {  # of `load`, and their defaults
    field.name: field.default
    for field in dataclasses.fields(DataSpec)
    if field.name not in ("name", "content")
}


def load(
    name: str,
    rows: int | None = None,
    *,
    frame: Any = None,
    max_rejected: float = 0.01,
    cache: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
    **options: Any,
) -> Dataset:
    """Load a dataset by name.

    Args:
        name: one of `DATASETS`.
        rows: how many; see `DataSpec`.
        frame: in place of a path, the table itself: a DataFrame of pandas or polars, a dataset of
            `datasets`, or whatever else gives Arrow's columns; where the split is given, a dict of
            three, such as a `DatasetDict`.
        max_rejected: the share of unusable rows up to which the rest is loaded, below 1; where the
            split is given, of each of the three.
        cache: folder where datasets are kept; by default the environment variable
            EMBEDDING_COLLAPSE_CACHE, else ~/.cache/embedding-collapse.
        workers: threads that draw or encode; by default one per available core.
        progress: show a bar where loading takes more than a few seconds.
        options: the other parameters of `DataSpec`, but for `content`, which is found out. `path`
            may be a file or the name of a dataset on the Hugging Face Hub ("owner/name"), of
            movielens a folder or .zip, and where the split is given a folder of three files, such
            as train.csv, valid.csv and test.csv. Several names or values may also be one text with
            commas; "" is the default.

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
    _check(max_rejected, workers)
    spec, source = _identify(name, progress, frame, rows=rows, **options)
    return _load(spec, source, max_rejected, cache, workers, progress)


def describe(name: str, *, frame: Any = None, progress: bool = True, **options: Any) -> DataSpec:
    """What `load` with these arguments would load, without loading it; a file is read for its hash.

    Args:
        name: one of `DATASETS`.
        frame: see `load`.
        progress: show a bar where that takes more than a few seconds.
        options: `rows` and the others, as `load` takes them.

    Raises:
        ParameterError: as `load`.
    """
    return _identify(name, progress, frame, **options)[0]


def load_spec(
    spec: DataSpec,
    *,
    frame: Any = None,
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
    _check(max_rejected, workers)
    options = {name: getattr(spec, name) for name in OPTIONS}
    here, source = _identify(spec.name, progress, frame, **options)
    if here != spec:
        what = f"path is {spec.path!r}" if frame is None else "a frame is given"
        raise ParameterError(
            f"{what}, which holds other data than when this run was named (hash "
            f"{here.content}, then {spec.content}); give the file back or name the run anew"
        )
    return _load(spec, source, max_rejected, cache, workers, progress)


def _identify(
    name: str, progress: bool, frame: Any = None, **options: Any
) -> tuple[DataSpec, Source | None]:
    """The spec of some data, and where they are read, if they are."""
    for option in options:
        check_choice("the parameter", option, OPTIONS)
    given: dict[str, Any] = {
        option: _names(value) if OPTIONS[option] == () else value
        for option, value in options.items()
        if value is not None and str(value) != ""
    }
    for option in {"path", "label", "split_by"} & given.keys():
        given[option] = str(given[option])  # a frame may name its columns by numbers
    if frame is not None and (name != "table" or "path" in given):
        raise ParameterError(
            f"frame is given, with dataset {name!r} and path {given.get('path')!r}; a frame is "
            "for the dataset 'table', in place of a path"
        )
    if name not in READ:
        return DataSpec(name, **given), None
    # with a stand-in for the hash, so that what cannot be is refused before a file is read
    spec = DataSpec(name, **given, content="unread")
    if name == "table":
        source = own_table(spec, frame)
    elif name == "movielens":
        source = movielens(spec.path)
    else:
        source = {"criteo": criteo, "avazu": avazu}[name](spec.path, spec.split == "given")
    if spec.min_count is not None:
        source = source._replace(minimum_count=spec.min_count)
    return dataclasses.replace(spec, content=source.content(progress)), source


def _check(max_rejected: float, workers: int | None) -> None:
    """Before a file is read."""
    check_number("max_rejected", max_rejected, 0, 1)
    if workers is not None:
        check_whole("workers", workers, least=1)


def _load(
    spec: DataSpec,
    source: Source | None,
    max_rejected: float,
    cache: str | Path | None,
    workers: int | None,
    progress: bool,
) -> Dataset:
    if source is not None:
        return encode(
            source, spec, max_rejected=max_rejected, cache=cache, workers=workers, progress=progress
        )
    if spec.name in US_FLIGHTS:
        return load_us_flights(spec)
    return draw_dataset(spec, cache=cache, workers=workers, progress=progress)


def _names(values: Any) -> tuple[str, ...]:
    """Names or values, of a list as they are or of one text with commas, with blanks beside these
    taken off; a number by itself will do, and True is "true", as tables have it."""
    if isinstance(values, str):
        values = [part.strip() for part in values.split(",")] if "," in values else [values]
    elif not isinstance(values, Iterable):
        values = [values]
    texts = (str(v).lower() if isinstance(v, bool | np.bool_) else str(v) for v in values)
    return tuple(filter(None, texts))
