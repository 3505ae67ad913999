"""Datasets on the Hugging Face Hub, through the `datasets` library and its cache."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from embedding_collapse.files import checksum
from embedding_collapse.parameters import ParameterError

from .reading import Table
from .typed import ROWS, typed_table

FILES = (".csv", ".tsv", ".txt", ".parquet", ".gz", ".zip")


def is_name(path: str) -> bool:
    """Whether a path is the name of a dataset, "owner/name" or "owner/name:split", and no file."""
    named = re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.]+)?", path)
    return bool(named) and not path.endswith(FILES) and not Path(path).exists()


def open_dataset(name: str, text: Sequence[str] = ()) -> Table:
    """All splits of a dataset, one after the other, or the one after a colon.

    The first call fetches the dataset into the cache of `datasets`.

    Args:
        name: "owner/name" or "owner/name:split".
        text: columns to read as text, where a guess would take tokens of digits for numbers.

    Raises:
        ParameterError: a dataset that is not there or cannot be fetched.
    """
    import datasets  # slow to import, and needed for nothing else

    address, _, split = name.partition(":")
    features = datasets.Features({c: datasets.Value("string") for c in text}) if text else None
    try:
        loaded = datasets.load_dataset(address, split=split or None, features=features)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise ParameterError(
            f"path is {name!r}; there is no such file, and the Hugging Face Hub gave no such "
            f"dataset ({' '.join(str(error).split())})"
        ) from None
    splits = list(loaded.values()) if isinstance(loaded, datasets.DatasetDict) else [loaded]

    def batches(wanted: Sequence[str]) -> Iterator[pa.Table]:
        for part in splits:
            yield from part.select_columns(list(wanted)).with_format("arrow").iter(ROWS)

    def content(progress: bool) -> str:
        files = [Path(file["filename"]) for part in splits for file in part.cache_files]
        sums = [checksum(file, progress) for file in files]
        return hashlib.sha256("".join(sums).encode()).hexdigest()

    return typed_table(name, splits[0].column_names, content, batches, sum(map(len, splits)))
