"""What `torch.save` writes: a pickle, and beside it the entries of the tensors."""

import argparse
import codecs
import contextlib
import datetime
import io
import mmap
import pickle
import pickletools
import re
import types
import warnings
import zipfile
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embedding_collapse.parameters import ParameterError

from .given import tensors_in
from .mapping import map_path

# `weights_only` lets these pass. They run nothing, but make as many bytes as they are asked for.
BYTEARRAY = re.compile(rb"c(?:__builtin__|builtins)\nbytearray\n")
ENCODE = re.compile(rb"c_codecs\nencode\n")
# What trainers keep beside the weights. To make one sets attributes and runs nothing else.
PLAIN: list[Any] = [
    argparse.Namespace,
    types.SimpleNamespace,
    datetime.datetime,
    datetime.date,
    datetime.timedelta,
    PosixPath,
    PurePosixPath,
    PureWindowsPath,
]
NUMBER = re.compile(r"[biufc](1|2|4|8|16)")  # a type of numpy's, in a pickle
CODECS = {"hex", "base64", "uu", "quopri", "bz2", "zlib", "punycode", "idna"}  # that grow or drag


class _NumberType:
    """Stands for `numpy.dtype` in a pickle, which believes what that says of memory."""

    code = ""

    def __new__(cls, code: str = "", *_: Any) -> "_NumberType":
        made = super().__new__(cls)
        made.code = code
        return made

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like, of which nothing is needed."""


def _scalar(kind: _NumberType, content: bytes = b"") -> Any:
    """A scalar of numpy's in a pickle: of numbers the number, of all else the bytes."""
    plain = NUMBER.fullmatch(kind.code) and len(content) == np.dtype(kind.code).itemsize
    return np.frombuffer(content, kind.code).item() if plain else content


PLAIN += [
    (_NumberType, "numpy.dtype"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),  # since numpy 2
]


def read_torch(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by dotted names; mapped, unless torch before 1.6 wrote it."""
    pickled: bytes | mmap.mmap = map_path(path).content
    mapped = None
    if zipfile.is_zipfile(path):
        pickled, mapped = _pickle_of(path)
    _check_pickle(pickled)
    with warnings.catch_warnings(), torch.serialization.safe_globals(PLAIN):
        warnings.simplefilter("ignore")  # about the protocols and storages of other versions
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    return tensors_in(content, str(path), path.stem)


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
    for text in _texts(content[:]):
        try:
            codec = codecs.lookup(text).name
        except (LookupError, ValueError):
            continue
        if codec in CODECS:
            raise pickle.UnpicklingError(f"GLOBAL _codecs.encode:{codec}")


def _texts(content: bytes) -> set[str]:
    """Every text in the pickles that a file begins with; there were several before torch 1.6."""
    texts, stream = set(), io.BytesIO(content)
    with contextlib.suppress(ValueError):  # what follows the last is no pickle
        while True:
            texts |= {text for _, text, _ in pickletools.genops(stream) if isinstance(text, str)}
    return texts
