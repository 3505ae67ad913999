"""Tensors that stay in the files they came in."""

import math
import mmap
import pickle
import shutil
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from embedding_collapse.parameters import ParameterError

MOST_UNPACKED = 100_000_000  # bytes of a pickle, whatever it took to pack them
NO_RESERVE = 0x4000  # MAP_NORESERVE, which Python's mmap does not name in every version
Order = Literal["C", "F"]  # of an array's entries, as numpy names it


class MappedFile(NamedTuple):
    """A file as memory, and the address of its first byte.

    Writes would go to a private copy, and none happen.
    """

    content: mmap.mmap
    address: int


class Mapped(Tensor):
    """A tensor in a mapped file that gives the pages of a slice back when the next one is taken.

    They would else stay resident until the system wants them, and a table of 3 GB look like 3 GB.
    Nothing that is computed from it is mapped; `view` makes a view that still is.
    """

    # torch's own way to have subclasses do nothing; its annotations have a method here
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    file: MappedFile
    last: Tensor | None

    def __getitem__(self, index: Any) -> Tensor:
        if self.last is not None:
            self._give_back(self.last)
        self.last = super().__getitem__(index)
        return self.last

    def _give_back(self, part: Tensor) -> None:
        if not hasattr(mmap, "MADV_DONTNEED") or part.numel() == 0:
            return
        last = sum((n - 1) * step for n, step in zip(part.shape, part.stride(), strict=True))
        first = part.data_ptr() - self.file.address
        begin = first - first % mmap.PAGESIZE
        end = first + (last + 1) * part.element_size()
        self.file.content.madvise(mmap.MADV_DONTNEED, begin, end - begin)


def map_file(file: IO[bytes]) -> MappedFile:
    """Map an open file, which may be closed then."""
    if sys.platform == "linux":  # without a claim on memory for a copy of all of it
        rights = mmap.PROT_READ | mmap.PROT_WRITE
        content = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE | NO_RESERVE, rights)
    else:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return MappedFile(content, torch.frombuffer(content, dtype=torch.uint8, count=1).data_ptr())


def map_path(path: Path) -> MappedFile:
    """Map the file of that name."""
    with path.open("rb") as file:
        return map_file(file)


def lying_in(file: MappedFile, tensor: Tensor) -> Tensor:
    """The tensor as a mapped one, if its entries lie in the file and are no copies."""
    if not 0 <= tensor.data_ptr() - file.address < len(file.content):
        return tensor
    mapped = tensor.as_subclass(Mapped)
    mapped.file, mapped.last = file, None
    return mapped


def view(table: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A view of a table, which stays mapped where the table is."""
    changed = change(table.as_subclass(Tensor))
    return lying_in(table.file, changed) if isinstance(table, Mapped) else changed


def shape_alone(shape: Iterable[int]) -> Tensor:
    """A tensor on torch's device "meta" for what has a shape and no entries to be read."""
    return torch.empty(tuple(shape), device="meta")


def size_of(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    """Bytes that an array takes; a `ValueError` if none has that shape."""
    if min(shape, default=0) < 0:
        raise ValueError(f"no array has the shape {shape}")
    return math.prod(shape) * dtype.itemsize


def start_of(content: bytes | bytearray | mmap.mmap, member: zipfile.ZipInfo) -> int:
    """Where a member of an archive begins whose bytes lie in it as they are."""
    names = struct.unpack_from("<HH", content, member.header_offset + 26)
    return member.header_offset + 30 + sum(names)


def check_packing(member: zipfile.ZipInfo) -> None:
    """Raise a `ValueError` of a member that few bytes make a huge one."""
    if member.file_size > max(MOST_UNPACKED, 20 * member.compress_size):
        raise ValueError(f"{member.compress_size:,} bytes make {member.file_size:,} of a pickle")


def map_array(
    file: MappedFile, offset: int, dtype: np.dtype, shape: tuple[int, ...], order: Order = "C"
) -> Tensor | None:
    """An array that lies in a file; None where it holds no numbers.

    Raises:
        ValueError: the file ends before the array does, or no array has that shape.
        pickle.UnpicklingError: its entries are pickled.
    """
    if dtype.hasobject:
        raise pickle.UnpicklingError("GLOBAL object")
    size, count = size_of(dtype, shape), math.prod(shape)
    if offset + size > len(file.content):
        raise ValueError(f"{size:,} bytes should follow byte {offset:,} of {len(file.content):,}")
    if dtype.kind not in "biufc":
        return None
    array = np.frombuffer(file.content, dtype, count, offset).reshape(shape, order=order)
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    try:
        tensor = torch.from_numpy(array)
    except TypeError:  # numbers that torch lacks, such as 80 bits
        return shape_alone(shape)
    return lying_in(file, tensor) if count else tensor


def check_room(needed: int) -> None:
    """Raise a `ParameterError` if the disk has no room to unpack so many bytes.

    What is packed is unpacked to the disk and mapped: in memory it could not be given back.
    """
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ParameterError(
            f"unpacked it takes {needed:,} bytes, and {folder} has {free:,}; the environment "
            "variable TMPDIR names another folder"
        )
