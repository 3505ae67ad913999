"""Checkpoints of any kind: the tensors in a file, and the embedding tables among them.

What a file is, its first bytes say, not its name. Nothing in a file is ever run: pickles are read
by torch's `weights_only` loader, which knows tensors and plain containers and refuses the rest.
Tables stay on disk: they are mapped, and given back block by block as they are read.
"""

import json
import mmap
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from .parameters import ParameterError, check_installed

ACCEPTED = "safetensors, .npy, .npz, torch's .pt and .pth, and HDF5 (Keras) are read"
SAFETENSORS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


class Mapped(Tensor):
    """A tensor in a mapped file that gives the pages of a slice back when the next one is taken.

    They would else stay resident until the system wants them, and a table of 3 GB look like 3 GB.
    Nothing that is computed from it is mapped; `view` makes a view that still is.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl
    file: mmap.mmap
    start: int  # the address of the file's first byte
    last: Tensor | None

    @staticmethod
    def over(view: Tensor, file: mmap.mmap, start: int) -> "Mapped":
        """A view of the file's bytes as a mapped tensor."""
        mapped = view.as_subclass(Mapped)
        mapped.file, mapped.start, mapped.last = file, start, None
        return mapped

    def __getitem__(self, index: Any) -> Tensor:
        if self.last is not None:
            self._give_back(self.last)
        self.last = super().__getitem__(index)
        return self.last

    def _give_back(self, part: Tensor) -> None:
        if not hasattr(mmap, "MADV_DONTNEED") or part.numel() == 0:
            return
        last = sum((n - 1) * step for n, step in zip(part.shape, part.stride(), strict=True))
        first = part.data_ptr() - self.start
        begin = first - first % mmap.PAGESIZE
        end = first + (last + 1) * part.element_size()
        self.file.madvise(mmap.MADV_DONTNEED, begin, end - begin)


def view(table: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A view of a table, which stays mapped where the table is."""
    changed = change(table.as_subclass(Tensor))
    return Mapped.over(changed, table.file, table.start) if isinstance(table, Mapped) else changed


def read(path: str | Path) -> dict[str, Tensor]:
    """Every tensor in a checkpoint, by name; those of nested containers have dotted names.

    Args:
        path: of a safetensors, `.npy`, `.npz`, torch or HDF5 file. All but compressed members are
            mapped, not loaded; HDF5 needs h5py.

    Raises:
        ParameterError: no file, a truncated or damaged one, one that is no checkpoint, or a pickle
            that holds more than tensors and plain containers.
    """
    path = Path(path)
    with _telling(path):
        return _reader(path)(path)


def check(path: str | Path) -> None:
    """Raise the `ParameterError` that `read` would, as far as the first bytes of a file tell."""
    path = Path(path)
    with _telling(path):
        _reader(path)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Whatever is wrong with the content of a checkpoint as a `ParameterError`."""
    try:
        yield
    except ParameterError:
        raise
    except IsADirectoryError:
        raise ParameterError(f"{path} is a folder; name the file in it") from None
    except FileNotFoundError:
        raise ParameterError(f"there is no file {str(path)!r}") from None
    except pickle.UnpicklingError as error:
        raise ParameterError(_refusal(path, str(error))) from None
    except Exception as error:  # readers raise all sorts where bytes are missing or wrong
        if isinstance(error, MemoryError) or getattr(error, "filename", None):
            raise  # the system's word, not the content's
        if "pickle protocol" in str(error):  # no torch file; a pickle of something
            raise ParameterError(_refusal(path, "")) from None
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise ParameterError(f"{path} is damaged or cut short ({reason})") from None


def _reader(path: Path) -> Callable[[Path], dict[str, Tensor]]:
    """How to read a file, by its first bytes; HDF5 takes h5py."""
    with path.open("rb") as file:
        head = file.read(16)
    if head == b"":
        raise ParameterError(f"{path} is empty; {ACCEPTED}")
    if head.startswith(b"\x93NUMPY"):
        return _read_npy
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        check_installed(f"{path}, which is HDF5,", ("h5py",), "hdf5")
        return _read_hdf5
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("data.pkl") for name in names):
            return _read_torch
        if any(name.endswith(".npy") for name in names):
            return _read_npz
        if "model.weights.h5" in names:
            check_installed(f"{path}, which holds HDF5,", ("h5py",), "hdf5")
            return _read_keras
    if head[8:9] == b"{":
        return _read_safetensors
    if head.startswith(b"\x80"):  # a pickle, as torch wrote before 1.6
        return _read_torch
    raise ParameterError(f"{path} is no checkpoint that can be read; {ACCEPTED}")


def _refusal(path: Path, error: str) -> str:
    asks = re.search(r"(?:GLOBAL|class) (\S+)", error)
    what = f" (it asks for {asks[1]})" if asks else ""
    return (
        f"{path} is a pickle that holds more than tensors{what}; loading it could run any code, so "
        "it is not read. Save model.state_dict() alone, or use safetensors"
    )


# --- the formats ----------------------------------------------------------------------------------


def _map(path: Path) -> tuple[mmap.mmap, int]:
    """A file as memory, and its address; writes would go to a private copy, and none happen."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return mapped, torch.frombuffer(mapped, dtype=torch.uint8, count=1).data_ptr()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    file, start = _map(path)
    (length,) = struct.unpack("<Q", file[:8])
    if length > len(file) - 8:
        raise ValueError(f"its header should take {length:,} bytes of {len(file):,}")
    header = json.loads(file[8 : 8 + length])
    header.pop("__metadata__", None)
    found = {}
    for name, facts in header.items():
        begin, end = facts["data_offsets"]
        dtype, shape = SAFETENSORS.get(facts["dtype"]), facts["shape"]
        if dtype is None:  # a type without a meaning here, such as packed 4-bit numbers
            continue
        if begin < 0 or end + 8 + length > len(file):
            raise ValueError(f"{name!r} lies outside the file, bytes {begin:,} to {end:,}")
        count = int(np.prod(shape))
        if end - begin != count * dtype.itemsize or min(shape, default=0) < 0:
            raise ValueError(f"{name!r} has {end - begin:,} bytes, its shape is {shape}")
        if count == 0:
            found[name] = torch.empty(shape, dtype=dtype)
            continue
        flat = torch.frombuffer(file, dtype=dtype, count=count, offset=8 + length + begin)
        found[name] = Mapped.over(flat.view(shape), file, start)
    return found


def _map_array(
    file: mmap.mmap, start: int, offset: int, dtype: np.dtype, shape: tuple, order: str
) -> Tensor | None:
    """An array that lies in a file; None where its type is no number that torch knows."""
    count = int(np.prod(shape))
    if offset + count * dtype.itemsize > len(file):
        raise ValueError(f"{count * dtype.itemsize:,} bytes should follow byte {offset:,} of "
                         f"{len(file):,}")  # fmt: skip
    if dtype.hasobject:
        raise pickle.UnpicklingError("class object")
    array = np.frombuffer(file, dtype, count, offset).reshape(shape, order=order)
    tensor = _tensor(array)
    shared = tensor is not None and count > 0 and dtype.isnative
    return Mapped.over(tensor, file, start) if shared else tensor


def _tensor(array: np.ndarray) -> Tensor | None:
    """A tensor of an array, without a copy where its bytes are in this machine's order."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    try:
        return torch.from_numpy(array)
    except TypeError:
        return None


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], str, np.dtype]:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0}
    shape, fortran, dtype = readers.get(version, np.lib.format.read_array_header_2_0)(file)
    return shape, "F" if fortran else "C", dtype


def _read_npy(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        shape, order, dtype = _npy_header(file)
        offset = file.tell()
    tensor = _map_array(*_map(path), offset, dtype, shape, order)
    return {} if tensor is None else {path.stem: tensor}


def _read_npz(path: Path) -> dict[str, Tensor]:
    found, (mapped, start) = {}, _map(path)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with archive.open(member) as file:
                shape, order, dtype = _npy_header(file)
                if member.compress_type == zipfile.ZIP_STORED:  # its bytes lie in the file as such
                    names = struct.unpack_from("<HH", mapped, member.header_offset + 26)
                    offset = member.header_offset + 30 + sum(names) + file.tell()
                    tensor = _map_array(mapped, start, offset, dtype, shape, order)
                elif dtype.hasobject:
                    raise pickle.UnpicklingError("class object")
                else:
                    data = bytearray(file.read())
                    tensor = _tensor(np.frombuffer(data, dtype).reshape(shape, order=order))
            if tensor is not None:
                found[member.filename.removesuffix(".npy")] = tensor
    return found


def _read_torch(path: Path) -> dict[str, Tensor]:
    whole = zipfile.is_zipfile(path)  # older files are no archives and cannot be mapped
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=whole or None)
    return dict(_tensors_in(content, path.stem))


def _tensors_in(content: Any, name: str, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested dictionaries and lists, with dotted names."""
    if isinstance(content, Tensor):
        yield prefix.removesuffix(".") or name, content.detach()
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _tensors_in(value, name, f"{prefix}{key}.")
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from _tensors_in(value, name, f"{prefix}{index}.")


def _read_hdf5(path: Path, file: BinaryIO | None = None) -> dict[str, Tensor]:
    import h5py

    found = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
            return
        offset = item.id.get_offset()  # None where it is in chunks
        if file is None and offset is not None and item.size:
            found[name] = _map_array(*_map(path), offset, item.dtype, item.shape, "C")
        else:
            found[name] = _tensor(item[()])

    with h5py.File(file or path, "r") as content:
        content.visititems(visit)
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _read_keras(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
        return _read_hdf5(path, file)
