"""Folders of `torch.distributed.checkpoint`, read in one process and without a process group.

Their index, `.metadata`, is a pickle, and torch loads it as such. Here only the classes that it is
made of are let by, all of them plain records.
"""

import io
import math
import pickle
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embedding_collapse.parameters import short

from .mapping import check_room, map_file, map_path, shape_alone
from .shards import beside
from .strangers import PATHLIB, PATHS
from .torch_files import read_torch_bytes
from .unpickler import DataUnpickler

METADATA = ".metadata"
PLACES = {
    "torch.distributed.checkpoint.metadata": {
        "Metadata",
        "TensorStorageMetadata",
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "TensorProperties",
        "MetadataIndex",
        "StorageMeta",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo", "_StoragePrefix"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size", *(name for name, one in vars(torch).items() if isinstance(one, torch.dtype))},
    "collections": {"OrderedDict"},
    **dict.fromkeys(PATHLIB, PATHS),
}


def read_distributed(folder: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, put together from their chunks on the disk and mapped.

    Those of other than two or three dimensions have their shape alone.
    """
    metadata = _Unpickler(io.BytesIO((folder / METADATA).read_bytes())).load()
    shapes = {
        name: (tuple(map(int, facts.size)), facts)
        for name, facts in metadata.state_dict_metadata.items()
        if hasattr(facts, "chunks")
    }
    tensors: dict[str, Tensor] = {name: shape_alone(shape) for name, (shape, _) in shapes.items()}
    whole = {name: one for name, one in shapes.items() if len(one[0]) in (2, 3) and 0 not in one[0]}
    places, end = {}, 64  # an empty file cannot be mapped
    for name, (shape, facts) in whole.items():
        size = math.prod(shape) * facts.properties.dtype.itemsize
        places[name], end = end, end + -(-size // 64) * 64
    check_room(end)
    with tempfile.TemporaryFile() as room:
        room.truncate(end)
        for name, (shape, facts) in whole.items():
            _gather(folder, name, shape, facts, metadata.storage_data, room, places[name])
        file = map_file(room)
    for name, (shape, facts) in whole.items():
        flat = torch.frombuffer(
            file, dtype=facts.properties.dtype, count=math.prod(shape), offset=places[name]
        )
        tensors[name] = flat.view(shape)
    return tensors


def _gather(
    folder: Path,
    name: str,
    shape: tuple[int, ...],
    facts: Any,
    stored: Mapping,
    room: Any,
    start: int,
) -> None:
    """Write the chunks of a tensor to their places in a file."""
    dtype = facts.properties.dtype
    bits = np.memmap(room, f"V{dtype.itemsize}", "r+", start, shape)
    chunks = {tuple(chunk.offsets): tuple(chunk.sizes) for chunk in facts.chunks}
    filled = 0
    for index, info in stored.items():
        if index.fqn != name:
            continue
        if getattr(info, "transform_descriptors", None):
            raise ValueError(f"{short(name)} is packed ({info.transform_descriptors})")
        offsets = tuple(index.offset or (0,) * len(shape))
        content = map_path(beside(folder, info.relative_path))
        part = read_torch_bytes(content[info.offset : info.offset + info.length])
        if tuple(part.shape) != chunks.get(offsets) or part.dtype is not dtype:
            raise ValueError(f"a chunk of {short(name)} has {list(part.shape)}, {part.dtype}")
        inside = tuple(slice(o, o + n) for o, n in zip(offsets, part.shape, strict=True))
        bits[inside] = part.contiguous().view(torch.uint8).numpy().view(bits.dtype)
        filled += part.numel()
    if filled != math.prod(shape):
        raise ValueError(f"{short(name)} has {filled:,} of its {math.prod(shape):,} entries")
    bits.flush()


class _Unpickler(DataUnpickler):
    """Knows the classes that the index is made of."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in PLACES.get(module, ()):
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")
        if name in PATHS:  # of which a system makes its own alone, but for the pure ones
            module, name = "pathlib", f"Pure{name.removeprefix('Pure')}"
        return getattr(import_module(module), name)
