"""Tables as batches of columns whose values are told apart.

A batch is some rows, read as one dictionary per column: the values that occur, and for each row the
number of its value. Whatever has to be asked of a value (is it UTF-8, is it a whole number, which
bin is it in) is then asked once per value and not once per row.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_collapse.parameters import ParameterError, listed

SHOWN = 5  # rejected rows of which it is told what is wrong with them


class Batch(NamedTuple):
    """Some rows of a table.

    Attributes:
        columns: of dictionary type, by name; the values are text, not yet known to be UTF-8.
        skipped: int64, ascending, the rows left out because their columns were too few or too
            many, by their numbers in the batch, from 0 up.
        counts: how many columns the first `SHOWN` of these had.
        quoted: line ends in the text between quotes that holds the most, and the number of its row;
            0 where these are not many.
    """

    columns: dict[str, pa.DictionaryArray]
    skipped: np.ndarray = np.empty(0, np.int64)
    counts: Sequence[int] = ()
    quoted: tuple[int, int] = (0, 0)

    @property
    def rows(self) -> int:
        """How many there are, without those left out."""
        return len(next(iter(self.columns.values())))

    @property
    def numbers(self) -> np.ndarray:
        """int64 `[rows]`: the number of each row in the batch."""
        return np.delete(np.arange(self.rows + len(self.skipped)), self.skipped)


Stamp = tuple[int, int] | None  # size in bytes and time of the last change in ns of a file
Batches = Generator[Callable[[], Batch], None, None]  # tasks that each read one


class Table(NamedTuple):
    """A table that can be read, as often as need be.

    Attributes:
        path: where it is, as messages tell it.
        names: of its columns.
        content: computes a hash of it; told whether to show a bar.
        read: gives tasks that each read a batch; told which columns, and whether to show a bar.
        unit: what its rows are counted in: "line" or "row".
        first: number of the first row. A line end inside quotes begins no line.
        opened: the files that it lies in, as they were when it was opened.
    """

    path: str
    names: list[str]
    content: Callable[[bool], str]
    read: Callable[[Sequence[str], bool], Batches]
    unit: str = "line"
    first: int = 1
    opened: Mapping[Path, Stamp] = MappingProxyType({})


def stamps(files: Iterable[Path]) -> dict[Path, Stamp]:
    """The files as they are now; None for one that is not there."""
    stats = {file: file.stat() if file.exists() else None for file in files}
    return {file: stat and (stat.st_size, stat.st_mtime_ns) for file, stat in stats.items()}


def check_unchanged(table: Table) -> None:
    """Raise a `ParameterError` if a file has changed since the table was opened: what was read of
    it then need not be what its hash was made of."""
    now = stamps(table.opened)
    if changed := [str(file) for file, stamp in table.opened.items() if stamp != now[file]]:
        raise ParameterError(
            f"path is {table.path!r}; {listed(changed)} changed while it was read; a file that "
            "nothing writes to is needed"
        )


def check_file(path: Path) -> None:
    """Raise a `ParameterError` unless the path is a file that holds something."""
    if not path.exists():
        raise ParameterError(f"path is {str(path)!r}; there is no such file")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise ParameterError(f"path is {str(path)!r}, {kind}; a file is accepted")
    if path.stat().st_size == 0:
        raise ParameterError(f"path is {str(path)!r}, an empty file; rows are needed")


def whole(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array, without a copy where it is in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def matching(texts: pa.StringArray, pattern: str) -> np.ndarray:
    """Which of the texts a regular expression finds itself in, bool."""
    return pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)


def is_utf8(text: bytes | memoryview) -> bool:
    """Whether bytes are UTF-8."""
    try:
        str(text, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
