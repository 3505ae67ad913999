"""What `torch.save` writes: a pickle, and beside it the entries of the tensors."""

import codecs
import contextlib
import io
import mmap
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embedding_collapse.parameters import ParameterError

from .given import Tensors, tensors_in
from .mapping import map_path
from .strangers import KNOWN, stand_in

# the first pickle of a file that torch wrote before 1.6
BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# `weights_only` lets these pass. They run nothing, but make as many bytes as they are asked for.
BYTEARRAY = re.compile(rb"c(?:__builtin__|builtins)\nbytearray\n")
ENCODE = re.compile(rb"c_codecs\nencode\n")
CODECS = {"hex", "base64", "uu", "quopri", "bz2", "zlib", "punycode", "idna"}  # that grow or drag


def read_torch(path: Path) -> Tensors:
    """The tensors of a file, by dotted names; mapped, unless torch before 1.6 wrote it."""
    pickled: bytes | mmap.mmap = map_path(path).content
    mapped = None
    if zipfile.is_zipfile(path):
        pickled, mapped = _pickle_of(path)
    _check_pickle(pickled)
    strangers = {name: stand_in(name) for name in _globals(pickled) if name not in KNOWN}
    let_by: list[Any] = [(one, name) for name, one in (KNOWN | strangers).items()]
    with warnings.catch_warnings(), torch.serialization.safe_globals(let_by):
        warnings.simplefilter("ignore")  # about the protocols and storages of other versions
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    return tensors_in(content, str(path), path.stem, strangers.values())


def read_torch_bytes(content: bytes) -> Tensor:
    """A tensor that `torch.save` made bytes of."""
    _check_pickle(content)
    tensor = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
        raise ValueError("it holds something else than a tensor")
    return tensor.detach()


def _pickle_of(path: Path) -> tuple[bytes, bool | None]:
    """The pickle in an archive, whose checksums are compared where it has any.

    Returns:
        It, and True if the entries lie in the file as they are; None if they are packed, which
        torch would not notice in what is mapped.
    """
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise ParameterError(
                f"{path} is a TorchScript program, which would have to be run; save its "
                "state_dict() instead"
            )
        (member,) = (one for one in archive.infolist() if one.filename.endswith("/data.pkl"))
        if member.CRC == 0:  # torch was asked to leave them out
            member.CRC = None  # type: ignore[assignment]  # zipfile then compares none
        elif damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged!r} differs")
        stored = all(one.compress_type == zipfile.ZIP_STORED for one in archive.infolist())
        return archive.read(member), stored or None


def _check_pickle(content: bytes | mmap.mmap) -> None:
    """Refuse what is no tensor and could take any memory or time: bytes made, not given."""
    if BYTEARRAY.search(content):
        raise pickle.UnpicklingError("GLOBAL bytearray")
    if not ENCODE.search(content):
        return
    for text in _texts(content):
        try:
            codec = codecs.lookup(text).name
        except (LookupError, ValueError):
            continue
        if codec in CODECS:
            raise pickle.UnpicklingError(f"GLOBAL _codecs.encode:{codec}")


def _texts(content: bytes | mmap.mmap) -> set[str]:
    return {argument for _, argument in _operations(content) if isinstance(argument, str)}


def _globals(content: bytes | mmap.mmap) -> set[str]:
    """What a file names; torch takes what it knows for itself, and refuses what is not found."""
    named = (argument for name, argument in _operations(content) if name == "GLOBAL")
    return {re.sub("^__builtin__ ", "builtins ", text).replace(" ", ".", 1) for text in named}


def _operations(content: bytes | mmap.mmap) -> Iterator[tuple[str, Any]]:
    """Those of the pickles that a file begins with; there were several before torch 1.6."""
    stream: Any = io.BytesIO(content) if isinstance(content, bytes) else content
    stream.seek(0)
    with contextlib.suppress(ValueError):  # what follows the last is no pickle
        while True:
            yield from ((code.name, argument) for code, argument, _ in pickletools.genops(stream))
