"""Reads pickles as data: tensors, arrays and plain containers are made, and nothing is run."""

import argparse
import math
import mmap
import pickle
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import IO, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .mapping import shape_alone
from .strangers import JOBLIB, KNOWN, Array, NumberType, Stranger, stand_in

STATEFUL = (Stranger, Array, NumberType)  # whose state a pickle may set


class Storage(NamedTuple):
    """The entries of tensors: bytes, and what numbers they are."""

    content: torch.UntypedStorage
    dtype: torch.dtype


class DataUnpickler(pickle._Unpickler):
    """In Python, where a number in the pickle makes no memory of that size."""

    # An array of bytes would be made before any are read, as many as the number says.
    dispatch: ClassVar[dict[int, Any]] = pickle._Unpickler.dispatch | {
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]]
    }


class Unpickler(DataUnpickler):
    """Knows tensors, arrays and plain containers, and has strangers for all else.

    Args:
        content: open where the pickle begins.
        storages: gives the entries of a tensor by what a file of torch's names them with, all that
            follows the word "storage"; without it they are an error.
        more: what else is known, by name.

    Attributes:
        strangers: the classes that stood for others, by their names.
    """

    def __init__(
        self,
        content: IO[bytes] | mmap.mmap,
        storages: Callable[..., Storage] | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__(content)
        self.strangers: dict[str, type[Stranger]] = {}
        self._content, self._storages = content, storages
        self._known = KNOWN | OF_TENSORS | dict(more)

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return _type_of(name)
        if full_name in self._known:
            return self._known[full_name]
        return self.strangers.setdefault(full_name, stand_in(full_name))

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and pid[0] == "module":  # its class, and that one's source
            return pid[1]
        if not isinstance(pid, tuple) or pid[0] != "storage" or self._storages is None:
            raise pickle.UnpicklingError("a persistent name")
        return self._storages(*pid[1:])

    def load_build(self) -> None:
        """Give an object its state; what is no stranger has none that could be needed."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        state, made = stack.pop(), stack[-1]
        if isinstance(made, STATEFUL):
            made.__setstate__(state)
        elif type(made) in NAMESPACES and isinstance(state, dict):
            vars(made).update(state)
        elif not isinstance(made, OrderedDict):
            raise pickle.UnpicklingError(f"the state of {type(made).__name__}")
        if isinstance(made, Stranger) and made.full_name == JOBLIB:
            stack[-1] = self._behind(**made.state)

    dispatch: ClassVar[dict[int, Any]] = DataUnpickler.dispatch | {pickle.BUILD[0]: load_build}

    def _behind(self, dtype: NumberType, shape: tuple, order: str, **more: Any) -> Array:
        """An array as joblib writes it: its numbers lie behind the pickle that tells of them."""
        if dtype.code.startswith("O"):
            inner = Unpickler(self._content, self._storages, self._known)
            inner.strangers = self.strangers
            return inner.load()
        if more.get("numpy_array_alignment_bytes") is not None:
            self.read(self.read(1)[0])  # type: ignore[attr-defined]
        numbers = self.read(dtype.size * math.prod(shape))  # type: ignore[attr-defined]
        made = Array()
        made.__setstate__((1, shape, dtype, order == "F", numbers))
        return made


def _type_of(name: str) -> torch.dtype:
    """The numbers in a storage of that name, of which torch has a class for each type."""
    if name == "UntypedStorage":
        return torch.uint8
    return torch.serialization.StorageType(name).dtype


def _tensor(storage: Storage, offset: int, size: Any, stride: Any, *more: Any) -> Tensor:
    """A tensor of these entries; torch checks that they lie in the storage."""
    made = torch.empty((0,), dtype=storage.dtype)
    made = made.set_(storage.content, offset, tuple(size), tuple(stride))
    bits = more[2] if len(more) > 2 and isinstance(more[2], dict) else {}
    made = torch._neg_view(made) if bits.get("neg") else made
    return made.conj() if bits.get("conj") else made


def _tensor_of_type(
    storage: Storage,
    offset: int,
    size: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    *_: Any,
) -> Tensor:
    """One of a type that has no storage of its own."""
    return _tensor(Storage(storage.content, dtype), offset, size, stride)


def _quantised(storage: Storage, *facts: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch will not do so for ever
        wrapped = torch.storage.TypedStorage(
            wrap_storage=storage.content, dtype=storage.dtype, _internal=True
        )
        return torch._utils._rebuild_qtensor(wrapped, *facts)


def _sparse(_: Any, facts: tuple) -> Tensor:
    return shape_alone(next(one for one in facts if isinstance(one, torch.Size)))


def _on_no_device(_: Any, size: Any, *__: Any) -> Tensor:
    return shape_alone(size)


def _first(content: Any, *_: Any) -> Any:
    """What a parameter, say, is made of."""
    return content


def _by_type(rebuild: Any, _: Any, given: tuple, state: Any) -> Any:
    """A tensor of a class of its own: an ordinary one, or what holds the tensors in it."""
    made = rebuild(*given)
    if isinstance(made, Stranger):
        made.__setstate__(state)
    return made


def _bytes(text: str, codec: str) -> bytes:
    """Bytes, which protocol 2 has as text of as many letters."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"GLOBAL _codecs.encode:{codec}")
    return text.encode(codec)


NAMESPACES = (argparse.Namespace, SimpleNamespace)
OF_TENSORS: dict[str, Any] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _on_no_device,
    "torch._utils._rebuild_wrapper_subclass": stand_in("torch.Tensor", called=True),
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _by_type,
    "torch.serialization._get_layout": _first,
    "torch.Size": torch.Size,
    "torch.device": _first,
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "_codecs.encode": _bytes,
    "builtins.set": set,
    "builtins.complex": complex,
}
OF_TENSORS |= {
    str(one): one
    for one in vars(torch).values()
    if isinstance(one, torch.dtype | torch.qscheme | torch.layout)
}
