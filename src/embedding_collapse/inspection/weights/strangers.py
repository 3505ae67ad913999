"""What stands in a pickle for objects that nothing here knows: their state, and none of their code.

A pickle names classes and functions, has them called, and gives what was made its state. Of what is
no tensor nothing is called: a stand-in of that name takes the state, in which tensors may lie, as
those of a whole model do. Where a function of Python's own or of torch's is to be called, the file
is refused: that is how pickles run code, and hardly what a checkpoint needs.
"""

import argparse
import math
import pickle
import re
import sys
import types
from typing import Any, ClassVar, Literal

import numpy as np

NUMBER = re.compile(r"[biufc](1|2|4|8|16)")  # a type of numpy's, in a pickle
NOT_CALLED = {*sys.stdlib_module_names, "torch", "pandas"}  # whose blocks lie on their side
NAMESPACES = (argparse.Namespace, types.SimpleNamespace)
MOST_DIMENSIONS = 64  # of an array, as numpy has it
PARTS = ("_parameters", "_buffers", "_modules")  # of a module's state, as torch.nn.Module has it
JOBLIB = "joblib.numpy_pickle.NumpyArrayWrapper"  # what stands where it writes an array
PATHLIB = ("pathlib", "pathlib._local")  # the latter is where Python 3.13 says its classes are
PATHS = {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"}


class Stranger:
    """Stands for an object of a class that is not known; `stand_in` makes one such class a name.

    Attributes:
        full_name: of the class or function that it stands for, with its module.
        called: whether a pickle may have it called, for nothing, as it may have an object made.
        made: whether there is any such object.
        state: what the pickle gave it, by name or by place.
    """

    full_name: ClassVar[str] = ""
    called: ClassVar[bool] = True
    made: ClassVar[bool] = False
    state: dict[Any, Any]

    def __new__(cls, *given: Any, **named: Any) -> "Stranger":
        cls.made = True
        stranger = object.__new__(cls)
        stranger.state = dict(enumerate(given)) | named
        return stranger

    def __init__(self, *_: Any, **__: Any) -> None:
        """Only what is called gets here; objects are made without."""
        if not self.called:
            raise pickle.UnpicklingError(f"GLOBAL {self.full_name}")

    def __call__(self, *_: Any, **__: Any) -> None:
        raise pickle.UnpicklingError(f"GLOBAL {self.full_name}")

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        if not all(isinstance(part, dict | None) for part in parts):
            parts = ({"state": state},)
        for part in parts:  # attributes, and slots where there are any
            self.state |= part or {}

    def __setitem__(self, key: Any, value: Any) -> None:
        self.state[key] = value

    def append(self, value: Any) -> None:
        self.state[len(self.state)] = value

    add = append

    def held(self) -> dict[Any, Any]:
        """Its state; of a module what its state dict has."""
        if not all(isinstance(self.state.get(part), dict) for part in PARTS):
            return self.state
        passing = self.state.get("_non_persistent_buffers_set", ())
        return {
            name: value
            for part in PARTS
            for name, value in self.state[part].items()
            if part != "_buffers" or name not in passing
        }


def stand_in(full_name: str, *, called: bool | None = None) -> type[Stranger]:
    """A class that stands for that one, or for that function; by default `NOT_CALLED` says
    whether it may be called."""
    if called is None:
        called = full_name.partition(".")[0] not in NOT_CALLED
    return type("Stranger", (Stranger,), {"full_name": full_name, "called": called})


# --- numpy's arrays -------------------------------------------------------------------------------


class NumberType:
    """Stands for `numpy.dtype` in a pickle, which believes what that says of memory."""

    code = ""
    order: Literal["<", ">", "="] = "="

    def __new__(cls, code: str = "", *_: Any) -> "NumberType":
        made = super().__new__(cls)
        made.code = code
        return made

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]

    @property
    def size(self) -> int:
        """Bytes that a number takes."""
        return np.dtype(self.code).itemsize

    def of(self, content: Any, count: int) -> np.ndarray | None:
        """So many numbers, which lie in bytes; None if they are no numbers."""
        if not isinstance(self.code, str) or not NUMBER.fullmatch(self.code):
            return None
        dtype = np.dtype(self.code).newbyteorder(self.order)
        if len(content) != count * dtype.itemsize:
            raise ValueError(f"{count:,} numbers of {dtype} should lie in {len(content):,} bytes")
        return np.frombuffer(content, dtype)


class Array:
    """Stands for a `numpy.ndarray`: the array itself, or the objects in it."""

    content: np.ndarray | list | None = None

    def __new__(cls, *_: Any) -> "Array":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, in_columns, content = state
        if isinstance(content, list):
            self.content = content
        else:
            self.content = _shaped(dtype, content, shape, "F" if in_columns else "C")


def _shaped(dtype: NumberType, content: Any, shape: Any, order: Any) -> np.ndarray | None:
    numbers = dtype.of(content, extent(shape))
    return None if numbers is None else numbers.reshape(shape, order=order)


def extent(shape: Any) -> int:
    """How many entries an array of that shape has; a `ValueError` if there is none such."""
    whole = type(shape) is tuple and len(shape) <= MOST_DIMENSIONS
    if not whole or not all(type(n) is int and 0 <= n < 1 << 63 for n in shape):
        raise ValueError("no array has such a shape")
    return math.prod(shape)


def _array_of(content: Any, dtype: NumberType, shape: Any, order: Any, axes: Any = None) -> Array:
    made = Array()
    numbers = _shaped(dtype, content, shape, "C" if order == "K" else order)
    made.content = numbers if numbers is None or order != "K" else numbers.transpose(axes)
    return made


def _scalar(dtype: NumberType, content: Any = b"") -> Any:
    """A scalar of numpy's in a pickle: of numbers the number, of all else the bytes."""
    numbers = dtype.of(content, 1)
    return content if numbers is None else numbers.item()


# --- what a pickle may name -----------------------------------------------------------------------


# What trainers keep beside the weights too; of what is harmless nothing is told.
KNOWN: dict[str, Any] = {
    "numpy.dtype": NumberType,
    "numpy.ndarray": Array,
    "collections.defaultdict": lambda *_: {},
    "collections.deque": lambda items=(), *_: list(items),
    "builtins.bytes": lambda *_: b"",  # protocol 2's; one with a number would make as many
}
for core in ("numpy.core", "numpy._core"):  # since numpy 2
    KNOWN |= {
        f"{core}.multiarray.scalar": _scalar,
        f"{core}.multiarray._reconstruct": lambda *_: Array(),
        f"{core}.numeric._frombuffer": _array_of,
    }
HARMLESS = (
    "functools.partial",
    *(f"builtins.{name}" for name in ("getattr", "range", "xrange", "slice")),
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(f"{module}.{name}" for module in PATHLIB for name in PATHS),
    *("decimal.Decimal", "uuid.UUID", "logging.getLogger", "re._compile"),
    JOBLIB,
)
KNOWN |= {name: stand_in(name, called=True) for name in HARMLESS}
KNOWN |= {f"{kind.__module__}.{kind.__qualname__}": kind for kind in NAMESPACES}
