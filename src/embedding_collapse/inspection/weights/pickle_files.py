"""Pickles that torch did not write, and the tensors and arrays in them."""

import io
import mmap
from pathlib import Path
from typing import IO

from .given import Tensors, tensors_in
from .mapping import map_path
from .torch_files import load
from .unpickler import Storage, Unpickler


def read_pickle(path: Path) -> Tensors:
    """The tensors and arrays of a file, by dotted names; in memory."""
    return unpickled(map_path(path), path)


def unpickled(content: IO[bytes] | mmap.mmap, path: Path, name: str = "") -> Tensors:
    """Those of the pickle that begins where the content of a file stands.

    Args:
        content: it, open.
        path: of the file.
        name: of the part of it that this is, with which the names then begin.
    """
    begin = content.tell()
    content.seek(0, io.SEEK_END)
    size = content.tell() - begin
    content.seek(begin)
    unpickler = Unpickler(content, size, more={"torch.storage._load_from_bytes": _storage})
    held = unpickler.load()
    found = {name: held} if name else held
    return tensors_in(found, str(path), path.stem, unpickler.strangers.values())


def _storage(content: bytes) -> Storage:
    """The entries of a tensor, which a file of torch's own in the pickle holds."""
    held, _ = load(io.BytesIO(content), bytearray(content), "a tensor")
    if not isinstance(held, Storage):
        raise ValueError("it holds something else than the entries of a tensor")
    return held
