"""Embeddings in Parquet and Arrow files, as vector databases export them."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from embedding_collapse.parameters import short

from .given import free
from .mapping import check_room, map_array, map_file

ROWS = 16_384  # that are read at a time


def read_parquet(path: Path) -> dict[str, Tensor]:
    """The columns of vectors, and all columns of single numbers together as one table.

    They are unpacked to the disk and mapped.
    """
    from pyarrow import parquet

    file = parquet.ParquetFile(path, memory_map=True)
    return _unpacked(file.schema_arrow, file.iter_batches(ROWS), file.metadata.num_rows, path.stem)


def read_arrow(path: Path) -> dict[str, Tensor]:
    """As `read_parquet` does, of an Arrow file."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        file = pyarrow.ipc.open_file(source)
        batches = [file.get_batch(n) for n in range(file.num_record_batches)]
        for batch in batches:
            batch.validate(full=True)  # or offsets that lie would be followed out of the file
        rows = sum(len(batch) for batch in batches)
        return _unpacked(file.schema, iter(batches), rows, path.stem)


def _unpacked(schema: Any, batches: Iterator[Any], rows: int, name: str) -> dict[str, Tensor]:
    from pyarrow import types

    def vectors(kind: Any) -> bool:
        lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        return lists and types.is_floating(kind.value_type)

    columns = {c.name: [c.name] for c in schema if vectors(c.type)}
    single = [c.name for c in schema if types.is_floating(c.type)]
    if len(single) > 1:
        columns[free(name, columns)] = single
    if len({c.name for c in schema}) != len(schema):
        raise ValueError("two of its columns have one name")
    if not columns or not rows:
        raise ValueError("it has no rows of vectors, nor of several columns of floating numbers")
    written: dict[str, tuple[Any, int]] = {}
    with contextlib.ExitStack() as stack:
        rooms = {key: stack.enter_context(tempfile.TemporaryFile()) for key in columns}
        for batch in filter(len, batches):
            for key, members in columns.items():
                part = _matrix(batch, members)
                facts = written.setdefault(key, (part.dtype, part.shape[1]))
                if facts != (part.dtype, part.shape[1]):
                    raise ValueError(f"the vectors of {short(key)} differ in length or type")
                check_room(part.nbytes)
                rooms[key].write(part.tobytes())
        tensors = {}
        for key, room in rooms.items():
            room.flush()
            dtype, width = written[key]
            tensors[key] = map_array(map_file(room), 0, dtype, (rows, width))
    return tensors


def _matrix(batch: Any, members: list[str]) -> np.ndarray:
    """The vectors of a batch, `[rows, width]`."""
    for member in members:
        if batch.column(member).null_count:
            raise ValueError(f"{short(member)} has rows without a value")
    if len(members) > 1:
        return np.stack([batch.column(one).to_numpy(zero_copy_only=False) for one in members], 1)
    column = batch.column(members[0])
    values = column.flatten().to_numpy(zero_copy_only=False)
    lengths = column.value_lengths().unique().to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise ValueError(f"the vectors of {short(members[0])} differ in length")
    return values.reshape(len(batch), lengths[0])
