"""numpy's `.npy`, and `.npz`, a .zip of them."""

import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from .given import Tensors, free
from .mapping import (
    Order,
    check_packing,
    check_room,
    holds_numbers,
    map_array,
    map_file,
    map_path,
    size_of,
    start_of,
)
from .pickle_files import unpickled


def read_npy(path: Path) -> Tensors:
    """The array of a file, mapped, under the file's name; or what an array of objects holds."""
    file = map_path(path)
    with path.open("rb") as opened:
        dtype, shape, order = _header(opened, len(file))
        offset = opened.tell()
        if dtype.hasobject:
            return unpickled(opened, path)
    if not holds_numbers(dtype):
        return Tensors()
    return Tensors({path.stem: map_array(file, offset, dtype, shape, order)})


def read_npz(path: Path) -> Tensors:
    """The arrays of a file, mapped; those that are packed are unpacked to the disk first.

    Those of objects are unpickled, and what they hold comes first.
    """
    file, objects = map_path(path), Tensors()
    places: dict[str, tuple[bool, int, np.dtype, tuple[int, ...], Order]] = {}
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryFile() as room:
        members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
        check_room(sum(one.file_size for one in members if one.compress_type))
        room.write(bytes(64))  # an empty file cannot be mapped
        for member in members:
            if member.filename in places:
                raise ValueError(f"two of its members are named {member.filename!r}")
            with archive.open(member) as array:
                facts = _header(array, member.file_size)
                if facts[0].hasobject:
                    check_packing(member)
                    content = io.BytesIO(array.read())
                    held = unpickled(content, path, member.filename.removesuffix(".npy"))
                    objects.update({free(name, objects): one for name, one in held.items()})
                    objects.strangers += held.strangers
                    continue
                if member.compress_type:
                    offset = room.tell()
                    shutil.copyfileobj(array, room, 1 << 20)
                else:  # its bytes lie in the file as they are
                    offset = start_of(file, member) + array.tell()
                    while array.read(1 << 20):  # to the end, where zipfile compares the checksum
                        pass
            places[member.filename] = (bool(member.compress_type), offset, *facts)
        room.flush()
        unpacked = map_file(room)
    for name, (packed, offset, dtype, shape, order) in places.items():
        if holds_numbers(dtype):
            source = unpacked if packed else file
            tensor = map_array(source, offset, dtype, shape, order)
            objects[free(name.removesuffix(".npy"), objects)] = tensor
    return objects


def _header(file: IO[bytes], size: int) -> tuple[np.dtype, tuple[int, ...], Order]:
    """Type, shape and order of an array, and the check that as many bytes follow."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0}
    try:
        shape, fortran, dtype = readers.get(version, np.lib.format.read_array_header_2_0)(file)
    except MemoryError:  # as Python's parser says it
        raise ValueError("its header is nested too deeply") from None
    follow, needed = size - file.tell(), size_of(dtype, shape)
    if follow != needed and not dtype.hasobject:
        raise ValueError(f"an array of shape {shape} takes {needed:,} bytes, and {follow:,} follow")
    return dtype, shape, "F" if fortran else "C"
