"""Datasets on the Hugging Face Hub, through the `datasets` library and its cache."""

import hashlib
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
from huggingface_hub import constants

from embedding_collapse.files import checksum
from embedding_collapse.parameters import ParameterError

from .parts import three
from .reading import Table
from .typed import BATCH_ROWS, typed_table

PATIENCE = 2  # seconds in which the Hub has to answer
FILES = (".csv", ".tsv", ".txt", ".parquet", ".gz", ".zip")


def is_name(path: str) -> bool:
    """Whether a path is the name of a dataset, "owner/name" or "owner/name:split", and no file."""
    named = re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.]+)?", path)
    return bool(named) and not path.endswith(FILES) and not Path(path).exists()


def open_dataset(name: str, text: Sequence[str] = (), given: bool = False) -> list[Table]:
    """All splits of a dataset as one table, or the one after a colon.

    The first call fetches the dataset into the cache of `datasets`.

    Args:
        name: "owner/name" or "owner/name:split".
        text: columns to read as text, where a guess would take tokens of digits for numbers.
        given: three tables in place of one, of the splits that train, validate and test.

    Raises:
        ParameterError: a dataset that is not there or cannot be fetched.
    """
    address, _, split = name.partition(":")
    online = Path(address).exists() or _answers()
    import datasets  # slow to import, and needed for nothing else

    features = datasets.Features({c: datasets.Value("string") for c in text}) if text else None
    try:
        with nullcontext() if online else _offline():
            loaded = datasets.load_dataset(
                address, split=split or None, features=features, keep_in_memory=False
            )  # in memory they would have no file to tell them from others by
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        said = "gave no such dataset" if online else "does not answer"
        raise ParameterError(
            f"path is {name!r}; there is no such file, and the Hugging Face Hub {said} "
            f"({' '.join(str(error).split())})"
        ) from None
    splits = loaded if isinstance(loaded, datasets.DatasetDict) else {split: loaded}
    if given:
        return [_table(f"{address}:{part}", [splits[part]]) for part in three(splits, name)]
    return [_table(name, list(splits.values()))]


def _table(path: str, splits: list[Any]) -> Table:
    def batches(wanted: Sequence[str]) -> Iterator[pa.Table]:
        for part in splits:
            yield from part.select_columns(list(wanted)).with_format("arrow").iter(BATCH_ROWS)

    def content(progress: bool) -> str:
        files = [Path(file["filename"]) for part in splits for file in part.cache_files]
        sums = [checksum(file, progress) for file in files]
        return hashlib.sha256("".join(sums).encode()).hexdigest()

    return typed_table(path, splits[0].column_names, content, batches, sum(map(len, splits)))


def _answers() -> bool:
    """Whether the Hub does, within `PATIENCE`; where nobody answers `datasets` would try again for
    half a minute."""
    answered = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError:  # an answer too
            pass
        except OSError:
            return
        answered.set()

    if constants.HF_HUB_OFFLINE:
        return False
    asking = threading.Thread(target=ask, daemon=True)  # looking up an address knows no time limit
    asking.start()
    asking.join(PATIENCE)
    return answered.is_set()


@contextmanager
def _offline() -> Iterator[None]:
    """What is in the cache of `datasets`, and nothing else."""
    import datasets

    places: list[Any] = [datasets.config, constants]
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value
