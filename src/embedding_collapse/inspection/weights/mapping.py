"""Tensors that stay in the files they came in."""

import math
import mmap
import shutil
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Literal

import numpy as np
import torch
from torch import Tensor

from embedding_collapse.parameters import ParameterError

MOST_UNPACKED = 100_000_000  # bytes of a pickle, whatever it took to pack them
NO_RESERVE = 0x4000  # MAP_NORESERVE, which Python's mmap does not name in every version
Order = Literal["C", "F"]  # of an array's entries, as numpy names it


def map_file(file: IO[bytes]) -> mmap.mmap:
    """Map an open file, which may be closed then.

    What is read of it counts as resident until the system takes it back, which it does when it
    needs the memory. Writes would go to a private copy, and none happen.
    """
    if sys.platform == "linux":  # without a claim on memory for a copy of all of it
        rights = mmap.PROT_READ | mmap.PROT_WRITE
        return mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE | NO_RESERVE, rights)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def map_path(path: Path) -> mmap.mmap:
    """Map the file of that name."""
    with path.open("rb") as file:
        return map_file(file)


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


def holds_numbers(dtype: np.dtype) -> bool:
    """Whether the entries of an array may be numbers: raw bytes may, as numpy writes numbers that
    it has no type for, such as bfloat16 and floats of 8 bits."""
    return dtype.kind in "biufc" or (dtype.kind == "V" and dtype.names is None)


def map_array(
    file: mmap.mmap, offset: int, dtype: np.dtype, shape: tuple[int, ...], order: Order = "C"
) -> Tensor:
    """An array of numbers that lies in a file, or its shape alone where torch lacks these.

    Raises:
        ValueError: the file ends before the array does, or no array has that shape.
    """
    size, count = size_of(dtype, shape), math.prod(shape)
    if offset + size > len(file):
        raise ValueError(f"{size:,} bytes should follow byte {offset:,} of {len(file):,}")
    array = np.frombuffer(file, dtype, count, offset).reshape(shape, order=order)
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    try:
        return torch.from_numpy(array)
    except TypeError:  # numbers that torch lacks, such as 80 bits, or raw bytes
        return shape_alone(shape)


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
