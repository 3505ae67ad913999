"""Checkpoints of any kind: the tensors in a file, and the embedding tables among them.

What a file is, its first bytes say, not its name. Nothing in a file is ever run: pickles are read
by torch's `weights_only` loader, which knows tensors and plain containers and refuses the rest.
Tables stay on disk: they are mapped, and given back block by block as they are read.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from embedding_collapse.parameters import ParameterError, check_installed

from .hdf5_files import IN_KERAS, read_hdf5, read_keras
from .mapping import Mapped, shape_alone, view
from .numpy_files import read_npy, read_npz
from .safetensors_files import read_safetensors
from .torch_files import read_torch

__all__ = ["Mapped", "check", "read", "shape_alone", "view"]

ACCEPTED = "safetensors, .npy, .npz, torch's .pt and .pth, and HDF5 (Keras) are read"


def read(path: str | Path) -> dict[str, Tensor]:
    """Every tensor in a checkpoint, by name; those of nested containers have dotted names.

    Args:
        path: of a safetensors, `.npy`, `.npz`, torch or HDF5 file. All are mapped, not loaded, but
            those of torch before 1.6; HDF5 needs h5py.

    Returns:
        Tensors in the file's order. One without entries to be read, such as a sparse one, has its
        shape alone (it is on torch's device "meta").

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
    except pickle.UnpicklingError as error:
        raise ParameterError(_refusal(path, str(error))) from None
    except Exception as error:  # readers raise all sorts where bytes are missing or wrong
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.filename):
            raise  # the system's word, not the content's
        if "pickle protocol" in str(error):  # no torch file; a pickle of something
            raise ParameterError(_refusal(path, "")) from None
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise ParameterError(f"{path} is damaged or cut short ({reason})") from None


def _reader(path: Path) -> Callable[[Path], dict[str, Tensor]]:
    """How to read a file, by its first bytes; HDF5 takes h5py."""
    if path.is_dir():
        raise ParameterError(f"{path} is a folder; name the file in it")
    try:
        path.stat()  # what else the system refuses is its own word
    except FileNotFoundError:
        raise ParameterError(f"there is no file {str(path)!r}") from None
    if not path.is_file():  # reading it might never end
        raise ParameterError(f"{path} is a device or a pipe; a file is needed")
    with path.open("rb") as file:
        head = file.read(16)
    if head == b"":
        raise ParameterError(f"{path} is empty; {ACCEPTED}")
    if head.startswith(b"\x93NUMPY"):
        return read_npy
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        check_installed(f"{path}, which is HDF5,", ("h5py",), "hdf5")
        return read_hdf5
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            return read_torch
        if any(name.endswith(".npy") for name in names):
            return read_npz
        if IN_KERAS in names:
            check_installed(f"{path}, which holds HDF5,", ("h5py",), "hdf5")
            return read_keras
    if head[8:9] == b"{":
        return read_safetensors
    if head.startswith(b"\x80"):  # a pickle, as torch wrote before 1.6
        return read_torch
    raise ParameterError(f"{path} is no checkpoint that can be read; {ACCEPTED}")


def _refusal(path: Path, error: str) -> str:
    asks = re.search(r"GLOBAL (\S+)", error)
    holds = (
        f"holds more than tensors (it asks for {asks[1]})"
        if asks
        else ("is damaged or holds more than tensors")
    )
    return (
        f"{path} is a pickle that {holds}; loading it could run any code, so it is not read. Save "
        "model.state_dict() alone, or use safetensors"
    )
