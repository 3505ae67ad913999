"""Checkpoints of any kind: the tensors in a file or a folder.

What a file is, its first bytes say, not its name. Nothing in a file is ever run: of a pickle,
tensors, arrays and plain containers are known, and `strangers` stand for all other objects.
Tables stay on disk: they are mapped, and the system takes their pages back when it needs them.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from embedding_collapse.parameters import (
    NotInstalledError,
    ParameterError,
    at_home,
    check_installed,
    first_line,
)

from .distributed_files import METADATA, read_distributed
from .given import Tensors, known_in, tensors_in
from .hdf5_files import IN_KERAS, read_hdf5, read_keras
from .numpy_files import read_npy, read_npz
from .onnx_files import is_onnx, read_onnx
from .parquet_files import read_arrow, read_parquet
from .pickle_files import read_pickle
from .refusal import refusal
from .safetensors_files import read_safetensors
from .shards import INDEX, read_shards
from .torch_files import BEFORE_1_6, read_torch

__all__ = [
    "NoFormatError",
    "UnreadableError",
    "check",
    "known_in",
    "named",
    "read",
    "tensors_in",
]

ACCEPTED = (
    "safetensors, .npy, .npz, torch's .pt and .pth, other pickles, HDF5 (Keras), ONNX, Parquet and "
    "Arrow are read, and folders of Hugging Face and of torch.distributed.checkpoint"
)


SINGLE = ("model.safetensors", "pytorch_model.bin")  # the one file of a small model's folder
BUNDLE = re.compile(r"(.+)\.(?:index|data-\d+-of-\d+)")  # TensorFlow's own, in two files or more


class UnreadableError(ParameterError):
    """What is to be a checkpoint cannot be read; the message names it."""


class NoFormatError(UnreadableError):
    """It is empty, or in no format that is known; the message names those."""


def read(path: str | Path) -> Tensors:
    """Every tensor in a checkpoint, by name; those of nested containers have dotted names.

    Args:
        path: of a safetensors, `.npy`, `.npz`, torch, other pickle, HDF5, ONNX, Parquet or Arrow
            file, of a folder of shards with Hugging Face's index, or of
            `torch.distributed.checkpoint`. All are mapped, not loaded, but those of torch before
            1.6 and pickles that torch did not write; HDF5 needs h5py, Parquet and Arrow need
            pyarrow.

    Returns:
        Tensors in the file's order. One without entries to be read, such as a sparse one, has its
        shape alone (it is on torch's device "meta").

    Raises:
        UnreadableError: no file, a truncated or damaged one, or a pickle that asks for functions to
            be called; as a `NoFormatError` one that is no checkpoint.
        NotInstalledError: its format takes what is not installed.
    """
    path = named(path)
    with _telling(path):
        tensors = _reader(path)(path)
        return tensors if isinstance(tensors, Tensors) else Tensors(tensors)


def check(path: str | Path) -> None:
    """Raise the error that `read` would, as far as the first bytes of a file tell."""
    path = named(path)
    with _telling(path):
        _reader(path)


def named(path: str | Path) -> Path:
    """The path, from the home folder where it begins with "~"; absolute where it has no name of its
    own, as "." has none."""
    return path if (path := at_home(path)).name else path.absolute()


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Whatever is wrong with the content of a checkpoint as an `UnreadableError`."""
    try:
        yield
    except (NotInstalledError, NoFormatError):
        raise
    except ParameterError as error:
        raise UnreadableError(str(error)) from None
    except pickle.UnpicklingError as error:
        raise UnreadableError(refusal(path, str(error))) from None
    except Exception as error:  # readers raise all sorts where bytes are missing or wrong
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.filename):
            raise  # the system's word, not the content's
        raise UnreadableError(f"{path} is damaged or cut short ({first_line(error)})") from None


def _reader(path: Path) -> Callable[[Path], dict[str, Tensor]]:
    """How to read a file, by its first bytes; HDF5 takes h5py."""
    if bundle := _bundle(path):
        raise ParameterError(
            f"{path} is a checkpoint of TensorFlow's own format, which it alone reads. Where it is "
            f"at hand, two lines make an .npz of it: r = tensorflow.train.load_checkpoint("
            f"{str(bundle)!r}) and numpy.savez({bundle.name + '.npz'!r}, **{{name: "
            "r.get_tensor(name) for name in r.get_variable_to_shape_map()})"
        )
    if path.is_dir():
        return _folder_reader(path)
    try:
        path.stat()  # what else the system refuses is its own word
    except FileNotFoundError:
        raise ParameterError(f"there is no file {str(path)!r}") from None
    if not path.is_file():  # reading it might never end
        raise ParameterError(f"{path} is a device or a pipe; a file is needed")
    with path.open("rb") as file:
        head = file.read(16)
    if head == b"":
        raise NoFormatError(f"{path} is empty; {ACCEPTED}")
    if head.startswith(b"\x93NUMPY"):
        return read_npy
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        check_installed(f"{path}, which is HDF5,", "h5py", "hdf5")
        return read_hdf5
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            return read_torch
        if any(name.endswith(".npy") for name in names):
            return read_npz
        if IN_KERAS in names:
            check_installed(f"{path}, which holds HDF5,", "h5py", "hdf5")
            return read_keras
        if any(name.endswith("/archive_format") for name in names):
            raise ParameterError(
                f"{path} is a program of torch.export; where you trust it, torch.save("
                f"torch.export.load({str(path)!r}).state_dict, {f'{path.stem}-state.pt'!r}) saves "
                "what is needed"
            )
    if head[8:9] == b"{":
        return read_safetensors
    if head.startswith((b"PAR1", b"ARROW1")):
        check_installed(f"{path}, which is Parquet or Arrow,", "pyarrow", "parquet")
        return read_parquet if head.startswith(b"PAR1") else read_arrow
    if is_onnx(head):
        return read_onnx
    if head.startswith(b"version https://"):  # git-lfs.github.com
        raise ParameterError(
            f"{path} is a pointer of Git LFS; git lfs pull fetches what it stands for"
        )
    if path.name.endswith(INDEX[1:]):
        return lambda index: read_shards(index, read)
    if head.startswith(b"\x80"):
        return read_torch if head.startswith(BEFORE_1_6) else read_pickle
    raise NoFormatError(f"{path} is no checkpoint that can be read; {ACCEPTED}")


def _bundle(path: Path) -> Path | None:
    """What TensorFlow calls a checkpoint, if a path is one: the start of its files' names."""
    if path.is_dir():
        path /= "variables/variables"  # of a SavedModel
    named = BUNDLE.fullmatch(path.name)
    start = path.with_name(named[1]) if named else path
    return start if start.with_name(f"{start.name}.index").is_file() else None


def _folder_reader(path: Path) -> Callable[[Path], dict[str, Tensor]]:
    if (path / METADATA).is_file():
        return read_distributed
    indices = sorted(path.glob(INDEX))
    single = [one for name in SINGLE if (one := path / name).is_file()]
    if len(indices) == 1 or (indices and not single):
        return lambda folder: read_shards(indices[0], read)
    if single:  # of both, as many a model on the Hub has them, the first: the same numbers
        return lambda folder: read(single[0])
    raise NoFormatError(
        f"{path} is a folder without an index of shards ({INDEX}) or {METADATA}; name the file in "
        "it, or follow a run's checkpoints with inspect --follow FOLDER"
    )
