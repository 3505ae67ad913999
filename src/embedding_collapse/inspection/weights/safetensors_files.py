"""Safetensors: a header in JSON, and the tensors one after the other."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embedding_collapse.parameters import short

from .mapping import map_path, shape_alone

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
LONGEST_HEADER = 100_000_000  # bytes; the format's own limit


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, mapped.

    As the format asks, they must lie in the file without a gap or an overlap.
    """
    file = map_path(path)
    size = len(file)
    (length,) = struct.unpack("<Q", file[:8])
    if length > min(size - 8, LONGEST_HEADER):
        raise ValueError(f"its header should take {length:,} bytes of {size:,}")
    header = json.loads(str(file[8 : 8 + length], "utf-8"), object_pairs_hook=_named_once)
    header.pop("__metadata__", None)
    tensors, expected = {}, 0
    for name, facts in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = facts["data_offsets"]
        start = 8 + length + begin
        if begin != expected or start + end - begin > size:
            raise ValueError(
                f"{short(name)} lies outside the file, or not behind the tensor "
                f"before it, bytes {begin:,} to {end:,}"
            )
        expected = end
        dtype, shape = DTYPES.get(facts["dtype"]), facts["shape"]
        whole = all(type(extent) is int and extent >= 0 for extent in shape)
        count = math.prod(shape) if whole else 0  # of other things a product may be endless
        if not whole or (dtype and end - begin != count * dtype.itemsize):
            raise ValueError(
                f"{short(name)} has {end - begin:,} bytes, its shape is {shape}, of {dtype}"
            )
        if dtype is None:  # such as packed 4-bit numbers
            tensors[name] = shape_alone(shape)
            continue
        if count == 0:
            tensors[name] = torch.empty(shape, dtype=dtype, device="cpu")
            continue
        flat = torch.frombuffer(file, dtype=dtype, count=count, offset=start)
        tensors[name] = flat.view(shape)
    if 8 + length + expected != size:
        raise ValueError(f"{size - 8 - length - expected:,} bytes follow its last tensor")
    return {name: tensors[name] for name in header}


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("its header names a tensor twice")
    return content
