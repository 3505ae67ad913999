"""Pickles that torch did not write: arrays and tensors in them, and nothing that is run."""

import io
import mmap
import pickle
from collections import Counter, OrderedDict
from pathlib import Path
from typing import IO, Any, ClassVar

import torch

from .given import Tensors, tensors_in
from .mapping import map_path
from .strangers import KNOWN, Stranger, stand_in


class DataUnpickler(pickle._Unpickler):
    """In Python, where a number in the pickle makes no memory of that size."""

    # An array of bytes would be made before any are read, as many as the number says.
    dispatch: ClassVar = pickle._Unpickler.dispatch | {
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]]
    }


class _Unpickler(DataUnpickler):
    """Knows tensors, arrays and plain containers, and has strangers for all else."""

    def __init__(self, content: IO[bytes] | mmap.mmap) -> None:
        super().__init__(content)
        self.strangers: dict[str, type[Stranger]] = {}

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if full_name in OF_TENSORS:
            return OF_TENSORS[full_name]
        if full_name in KNOWN:
            return KNOWN[full_name]
        return self.strangers.setdefault(full_name, stand_in(full_name))


def _storage(content: bytes) -> Any:
    """The entries of a tensor, which a file of torch's own in the pickle holds."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _bytes(text: str, codec: str) -> bytes:
    """Bytes, which protocol 2 has as text of as many letters."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"GLOBAL _codecs.encode:{codec}")
    return text.encode(codec)


OF_TENSORS: dict[str, Any] = {
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
    "torch.storage._load_from_bytes": _storage,
    "torch.Size": torch.Size,
    "torch.device": torch.device,
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "_codecs.encode": _bytes,
    "builtins.set": set,
    "builtins.complex": complex,
}
OF_TENSORS |= {str(one): one for one in vars(torch).values() if isinstance(one, torch.dtype)}


def read_pickle(path: Path) -> Tensors:
    """The tensors and arrays of a file, by dotted names; in memory."""
    return unpickled(map_path(path).content, path)


def unpickled(content: IO[bytes] | mmap.mmap, path: Path, name: str = "") -> Tensors:
    """Those of the pickle that begins where the content of a file stands.

    Args:
        content: it, open.
        path: of the file.
        name: of the part of it that this is, with which the names then begin.
    """
    unpickler = _Unpickler(content)
    held = unpickler.load()
    found = {name: held} if name else held
    return tensors_in(found, str(path), path.stem, unpickler.strangers.values())
