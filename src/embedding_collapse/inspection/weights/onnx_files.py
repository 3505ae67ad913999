"""ONNX: the initialisers of a graph, read from its protocol buffer as it lies in the file."""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from embedding_collapse.parameters import short

from .mapping import map_array, map_path, shape_alone, size_of
from .shards import beside

GRAPH, INITIALIZER = 7, 5  # fields of a model and of a graph
DIMS, TYPE, FLOATS, NAME, RAW, EXTERNAL = 1, 2, 4, 8, 9, 13  # of a tensor
BFLOAT16 = 16
DTYPES = {
    1: "<f4",
    2: "u1",
    3: "i1",
    4: "<u2",
    5: "<i2",
    6: "<i4",
    7: "<i8",
    10: "<f2",
    11: "<f8",
    12: "<u4",
    13: "<u8",
    BFLOAT16: "<i2",  # its bits
}
NEXT = b"\x12\x1a\x22\x28\x32\x3a\x42"  # how the fields behind a model's version begin


class Field(NamedTuple):
    """A field of a message: its number, and its value or where it lies."""

    number: int
    value: int
    begin: int
    end: int


def is_onnx(head: bytes) -> bool:
    """Whether a file begins as a model does: with a version, and then another of its fields."""
    return len(head) > 2 and head[0] == 8 and head[1] < 64 and head[2] in NEXT


def read_onnx(path: Path) -> dict[str, Tensor]:
    """The initialisers, mapped; those whose entries lie elsewhere from the files that they name."""
    file = map_path(path)
    tensors: dict[str, Tensor] = {}
    for graph in _fields(file, 0, len(file)):
        if graph.number != GRAPH:
            continue
        for field in _fields(file, graph.begin, graph.end):
            if field.number == INITIALIZER:
                name, tensor = _tensor(file, field, path.parent)
                if name in tensors:
                    raise ValueError(f"two of its initialisers are named {short(name)}")
                if tensor is not None:
                    tensors[name] = tensor
    return tensors


def _tensor(file: mmap.mmap, field: Field, folder: Path) -> tuple[str, Tensor | None]:
    shape: list[int] = []
    name, kind, raw, floats, external = "", 0, None, None, {}
    for part in _fields(file, field.begin, field.end):
        if part.number == DIMS:
            packed = part.end > part.begin
            shape += _varints(file, part.begin, part.end) if packed else [part.value]
        elif part.number == TYPE:
            kind = part.value
        elif part.number == NAME:
            name = file[part.begin : part.end].decode()
        elif part.number == RAW:
            raw = part
        elif part.number == FLOATS and part.end > part.begin:
            floats = part
        elif part.number == EXTERNAL:
            entry = {
                f.number: file[f.begin : f.end].decode()
                for f in _fields(file, part.begin, part.end)
            }
            external[entry.get(1, "")] = entry.get(2, "")
    begin, end = 0, 0
    if external:
        file = map_path(beside(folder, external.get("location", "")))
        begin = int(external.get("offset", 0))
        end = begin + int(external.get("length", len(file) - begin))
    elif (data := raw or floats) is not None:
        begin, end = data.begin, data.end
    if kind not in DTYPES or end == begin:
        return name, shape_alone(shape) if 0 not in shape else None
    dtype = np.dtype(DTYPES[kind])
    tensor = map_array(file, begin, dtype, tuple(shape))
    if size_of(dtype, tuple(shape)) != end - begin:
        raise ValueError(f"{short(name)} of {shape} has {end - begin:,} bytes")
    return name, tensor.view(torch.bfloat16) if kind == BFLOAT16 else tensor


def _fields(file: mmap.mmap, begin: int, end: int) -> Iterator[Field]:
    """The fields of a message that lies between two bytes."""
    while begin < end:
        key, begin = _varint(file, begin, end)
        number, wire, value = key >> 3, key & 7, 0
        if wire == 0:
            value, begin = _varint(file, begin, end)
            last = begin
        elif wire == 2:
            length, begin = _varint(file, begin, end)
            last = begin + length
        elif wire in (1, 5):
            begin += 8 if wire == 1 else 4
            last = begin
        else:
            raise ValueError(f"a field of kind {wire} at byte {begin:,}")
        if last > end:
            raise ValueError(f"a field reaches beyond its message, to byte {last:,} of {end:,}")
        yield Field(number, value, begin, last)
        begin = last


def _varints(file: mmap.mmap, begin: int, end: int) -> list[int]:
    numbers = []
    while begin < end:
        number, begin = _varint(file, begin, end)
        numbers.append(number)
    return numbers


def _varint(file: mmap.mmap, begin: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if begin >= end:
            break
        byte = file[begin]
        number, begin = number | (byte & 127) << shift, begin + 1
        if byte < 128:
            return number, begin
    raise ValueError(f"a number without end at byte {begin:,}")
