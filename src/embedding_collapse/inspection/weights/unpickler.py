"""Reads pickles as data: tensors, arrays and plain containers are made, and nothing is run."""

import mmap
import pickle
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from operator import index
from types import MappingProxyType
from typing import IO, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .mapping import shape_alone
from .strangers import JOBLIB, KNOWN, NAMESPACES, Array, NumberType, Stranger, extent, stand_in

BASE: dict[int, Any] = dict(pickle._Unpickler.dispatch)  # what is done, by opcode
MOST_COPIES, FREE = 20, 1_000_000  # parts that may be copied for each byte of a pickle, and in any
MOST_STRANGERS = 10_000
SIZED = (str, bytes, list, tuple, dict, set, frozenset)
STATEFUL = (Stranger, Array, NumberType)  # whose state a pickle may set


class Storage(NamedTuple):
    """The entries of tensors: bytes, and what numbers they are."""

    content: torch.UntypedStorage
    dtype: torch.dtype


class DataUnpickler(pickle._Unpickler):
    """In Python, where what a pickle asks for can be looked at before it is done."""

    stack: list[Any]
    read: Callable[[int], bytes]

    def load_build(self) -> None:
        """Give an object its state; that of a class or a function would be everyone's."""
        if callable(self.stack[-2]):
            raise pickle.UnpicklingError("a state for what all share")
        BASE[pickle.BUILD[0]](self)

    # An array of bytes would be made before any are read, as many as the number says.
    dispatch: ClassVar[dict[int, Any]] = BASE | {
        pickle.BYTEARRAY8[0]: BASE[pickle.BINBYTES8[0]],
        pickle.BUILD[0]: load_build,
    }


class Unpickler(DataUnpickler):
    """Knows tensors, arrays and plain containers, and has strangers for all else.

    A pickle can say the same thing again in a byte. So what is copied is counted, keys are flat,
    since a tuple's hash is that of its parts each time, and only containers are filled.

    Args:
        content: open where the pickle begins.
        size: bytes of the pickle, at most.
        storages: gives the entries of a tensor by what a file of torch's names them with, all that
            follows the word "storage"; without it they are an error.
        more: what else is known, by name.

    Attributes:
        strangers: the classes that stood for others, by their names.
    """

    def __init__(
        self,
        content: IO[bytes] | mmap.mmap,
        size: int,
        storages: Callable[..., Storage] | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__(content)
        self.strangers: dict[str, type[Stranger]] = {}
        self._content, self._size, self._storages = content, size, storages
        self._known = KNOWN | OF_TENSORS | dict(more)
        self._left = MOST_COPIES * size + FREE

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return _type_of(name)
        if full_name in self._known:
            return self._known[full_name]
        if full_name not in self.strangers:
            if len(self.strangers) >= MOST_STRANGERS:
                raise pickle.UnpicklingError("more classes than any program has")
            self.strangers[full_name] = stand_in(full_name)
        return self.strangers[full_name]

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and pid[0] == "module":  # its class, and that one's source
            return pid[1]
        if not isinstance(pid, tuple) or pid[0] != "storage" or self._storages is None:
            raise pickle.UnpicklingError("a persistent name")
        return self._storages(*pid[1:])

    def load_reduce(self) -> None:
        self._count(self.stack[-1])
        BASE[pickle.REDUCE[0]](self)

    def load_build(self) -> None:
        """Give an object its state; what is no stranger has none that could be needed."""
        state, made = self.stack.pop(), self.stack[-1]
        self._count(state)
        if isinstance(made, STATEFUL):
            made.__setstate__(state)
        elif type(made) in NAMESPACES and isinstance(state, dict):
            vars(made).update(state)
        elif not isinstance(made, OrderedDict):
            raise pickle.UnpicklingError(f"the state of {type(made).__name__}")
        if isinstance(made, Stranger) and made.full_name == JOBLIB:
            self.stack[-1] = self._behind(**made.state)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._set(self.stack[-1], items[::2], items[1::2])

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set(self.stack[-1], [key], [value])

    def load_appends(self) -> None:
        self._add(self.pop_mark(), list, "append")

    def load_append(self) -> None:
        self._add([self.stack.pop()], list, "append")

    def load_additems(self) -> None:
        self._add(_flat(self.pop_mark()), set, "add")

    def load_frozenset(self) -> None:
        keys = _flat(self.pop_mark())
        self.append(frozenset(keys))

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set(self.stack[-1], items[::2], items[1::2])

    def pop_mark(self) -> list[Any]:
        items: list[Any] = super().pop_mark()  # type: ignore[misc]
        return items

    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Any]] = DataUnpickler.dispatch | {
        pickle.REDUCE[0]: load_reduce,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.DICT[0]: load_dict,
    }

    def _set(self, made: Any, keys: list[Any], values: list[Any]) -> None:
        if type(made) not in (dict, OrderedDict, Counter) and not isinstance(made, Stranger):
            raise pickle.UnpicklingError(f"items of {type(made).__name__}")
        for key, value in zip(_flat(keys), values, strict=True):
            made[key] = value

    def _add(self, values: list[Any], kind: type, name: str) -> None:
        made = self.stack[-1]
        if type(made) is not kind and not isinstance(made, Stranger):
            raise pickle.UnpicklingError(f"parts of {type(made).__name__}")
        for value in values:
            getattr(made, name)(value)

    def _count(self, given: Any) -> None:
        """Count what is copied where that is given: its parts, and theirs."""
        parts = given.values() if isinstance(given, dict) else given
        self._left -= len(given) if isinstance(given, SIZED) else 0
        if isinstance(given, SIZED) and not isinstance(given, str | bytes):
            self._left -= sum(len(part) for part in parts if isinstance(part, SIZED))
        if self._left < 0:
            raise pickle.UnpicklingError("the same again and again")

    def _behind(self, dtype: NumberType, shape: tuple, order: str, **more: Any) -> Any:
        """An array as joblib writes it: its numbers lie behind the pickle that tells of them."""
        if dtype.code.startswith("O"):
            inner = Unpickler(self._content, self._size, self._storages, self._known)
            inner.strangers = self.strangers
            return inner.load()
        if more.get("numpy_array_alignment_bytes") is not None:
            self.read(self.read(1)[0])
        made = Array()
        numbers = self.read(dtype.size * extent(shape))
        made.__setstate__((1, shape, dtype, order == "F", numbers))
        return made


def _flat(keys: list[Any]) -> list[Any]:
    """Keys whose hash takes no more than a look at them."""
    for key in keys:
        parts = key if type(key) is tuple else (key,)
        if any(type(part) in (tuple, frozenset) for part in parts):
            raise pickle.UnpicklingError("a key of keys")
    return keys


def _set_of(kind: type) -> Callable[..., Any]:
    return lambda keys=(), *_: kind(_flat(list(keys)))


def _ordered(items: Any = (), *_: Any) -> OrderedDict:
    pairs = list(items)
    return OrderedDict(
        zip(_flat([key for key, _ in pairs]), [one for _, one in pairs], strict=True)
    )


def _counter(counts: Any = (), *_: Any) -> Counter:
    made: Counter[Any] = Counter()
    made.update(counts if isinstance(counts, dict) else _flat(list(counts)))
    return made


def _type_of(name: str) -> torch.dtype:
    """The numbers in a storage of that name, of which torch has a class for each type."""
    if name == "UntypedStorage":
        return torch.uint8
    return torch.serialization.StorageType(name).dtype


def _tensor(storage: Storage, offset: int, size: Any, stride: Any, *more: Any) -> Tensor:
    """A tensor of these entries, all of which must lie in the storage."""
    numbers, steps = (tuple(map(index, given)) for given in (size, stride))
    last = offset + sum((n - 1) * step for n, step in zip(numbers, steps, strict=True))
    held = storage.content.nbytes() // storage.dtype.itemsize
    if 0 not in numbers and not (min(*numbers, *steps, offset, 0) == 0 and last < held):
        raise ValueError(f"a tensor of shape {numbers} lies in {held:,} numbers")
    made = torch.empty((0,), dtype=storage.dtype, device="cpu")
    made = made.set_(storage.content, offset, numbers, steps)
    bits = more[2] if len(more) > 2 and isinstance(more[2], dict) else {}
    made = torch._neg_view(made) if bits.get("neg") else made
    return made.conj() if bits.get("conj") else made


def _tensor_of_type(storage: Storage, *facts: Any) -> Tensor:
    """One of a type that has no storage of its own."""
    offset, size, stride, _grad, _hooks, dtype = facts[:6]
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


OF_TENSORS: dict[str, Any] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": lambda _, size, *__: shape_alone(size),
    "torch._utils._rebuild_wrapper_subclass": stand_in("torch.Tensor", called=True),
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _by_type,
    "torch.serialization._get_layout": _first,
    "torch.Size": torch.Size,
    "torch.device": _first,
    "collections.OrderedDict": _ordered,
    "collections.Counter": _counter,
    "_codecs.encode": _bytes,
    "builtins.set": _set_of(set),
    "builtins.frozenset": _set_of(frozenset),
    "builtins.complex": complex,
}
OF_TENSORS |= {
    str(one): one
    for one in vars(torch).values()
    if isinstance(one, torch.dtype | torch.qscheme | torch.layout)
}
