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
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch import Tensor

from embedding_collapse.parameters import ParameterError

from .mapping import map_path, shape_alone

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
CODECS = {"hex", "base64", "uu", "quopri", "bz2", "zlib", "punycode", "idna"}  # that grow or drag


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
    tensors: dict[str, Tensor] = {}
    names: Counter[str] = Counter()
    for name, tensor in _tensors_in(content, path.stem, "", set()):
        if tensor.is_nested:
            raise ParameterError(f"{path} holds a nested tensor, {name}, which has no one shape")
        names[name] += 1
        tensors[name if names[name] == 1 else f"{name} ({names[name]})"] = _readable(tensor)
    return tensors


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


def _tensors_in(
    content: Any, name: str, prefix: str, seen: set[int]
) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested dictionaries, lists and namespaces, with dotted names.

    A container that is met again, perhaps in itself, has had its turn.
    """
    if isinstance(content, argparse.Namespace | types.SimpleNamespace):
        content = vars(content)
    if isinstance(content, Tensor):
        yield prefix.removesuffix(".") or name, content.detach()
    elif isinstance(content, dict | list | tuple) and id(content) not in seen:
        seen.add(id(content))
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from _tensors_in(value, name, f"{prefix}{key}.", seen)


def _readable(tensor: Tensor) -> Tensor:
    """The tensor, or its shape alone where its entries do not lie in the file one by one."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        return shape_alone(tensor.shape)
    expanded = tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    return shape_alone(tensor.shape) if expanded else tensor
