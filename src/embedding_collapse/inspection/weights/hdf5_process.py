"""Reads HDF5 in a process of its own: `python hdf5_process.py FILE ROOM`.

HDF5's library is written in C. In a damaged file it may crash, go in circles or ask for any amount
of memory; here that ends this process and no other. For each dataset of numbers it prints a line of
JSON: its name, shape and layer, and where its entries lie, in the file itself or unpacked in ROOM.
It imports nothing of the package, whose other imports take longer than reading a file.
"""

import contextlib
import json
import math
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

SECONDS = 10  # of the processor's time without headway
NO_ROOM = 2  # the exit code where the disk has none to unpack what is packed
MEMORY = 4 << 30  # bytes of address space, of which the imports take some, beside 4 times the file
PACKED = 1100  # times as many entries as bytes no filter can pack: deflate ends at 1032
PART = 8 << 20  # bytes unpacked at a time


def main(path: Path, room: Path) -> None:
    """List the datasets of a file, and unpack those that are packed."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has such a limit
        import resource

        most = MEMORY + 4 * path.stat().st_size
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    def visit(name: str, item: Any) -> None:
        _go_on()
        if not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.names:
            return
        if item.dtype.kind in "fiuV":  # raw bytes, V, may be bfloat16, and are named alone
            facts = {"name": name, "shape": item.shape, "layer": _layer(item)}
            place = {} if item.dtype.kind == "V" else _place(name, item, unpacked)
            print(json.dumps(facts | place))

    _go_on()
    with h5py.File(path, "r") as content, room.open("wb") as unpacked:
        unpacked.write(bytes(64))  # an empty file cannot be mapped
        content.visititems(visit)


def _go_on() -> None:
    """Give the process some seconds more, after which the system ends it."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)


def _layer(item: h5py.Dataset) -> str | None:
    """What Keras 3 says that the layer is called whose variable this is: paths say its class."""
    called = item.parent.attrs.get("name")
    return called if isinstance(called, str) else None


def _place(name: str, item: h5py.Dataset, unpacked: BinaryIO) -> dict[str, Any]:
    """Where the entries of a dataset lie; nothing if there are none in the file."""
    properties = item.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise ValueError(f"{name!r} has its entries in another file")
    dtype, offset = item.dtype, item.id.get_offset()
    if offset is not None and h5py.h5t.py_create(dtype) == item.id.get_type():
        return {"packed": False, "offset": offset, "dtype": dtype.str}
    size = math.prod(item.shape) * dtype.itemsize
    if size > PACKED * item.id.get_storage_size():
        return {}
    begin, free = unpacked.tell(), shutil.disk_usage(Path(unpacked.name).parent).free
    if size > free:
        print(f"unpacked, {name!r} takes {size:,} bytes, and {free:,} are free", file=sys.stderr)
        sys.exit(NO_ROOM)
    for rows in _parts(item):
        _go_on()
        unpacked.write(np.ascontiguousarray(item[rows]).data)
    return {"packed": True, "offset": begin, "dtype": dtype.str}


def _parts(item: h5py.Dataset) -> list[Any]:
    """Indices of the whole dataset, some chunks of rows at a time."""
    if not item.shape or 0 in item.shape:
        return [()]
    rows, chunk = item.shape[0], item.chunks[0] if item.chunks else 1
    row = math.prod(item.shape[1:]) * item.dtype.itemsize
    step = chunk * max(1, PART // (chunk * row))
    return [slice(begin, begin + step) for begin in range(0, rows, step)]


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except Exception as error:
        sys.exit(f"{error}" or type(error).__name__)
