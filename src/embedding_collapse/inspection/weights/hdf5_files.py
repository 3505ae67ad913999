"""HDF5, and Keras' `.keras`, a .zip with HDF5 in it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from embedding_collapse.parameters import ParameterError

from ..recognition import CONVENTIONS, Reading
from .given import Tensors
from .mapping import check_room, map_array, map_path, shape_alone

PROCESS = Path(__file__).with_name("hdf5_process.py")
NO_ROOM = 2  # as that process has it, which imports what only it may
IN_KERAS = "model.weights.h5"
IN_LAYER = re.compile(r"(^|.*/)[^/]+(/vars/0)$")


def read_hdf5(path: Path) -> Tensors:
    """The datasets of numbers in a file, mapped; those that are packed are unpacked to the disk.

    A process of its own finds them, see `hdf5_process`. An embedding of Keras 3 lies under its
    class, `layers/embedding_1/vars/0`, and is named after its layer here.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        room = Path(folder, "unpacked")
        done = subprocess.run(
            [sys.executable, "-P", str(PROCESS), str(path), str(room)],
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "HDF5_PLUGIN_PRELOAD": "::",
                "OPENBLAS_NUM_THREADS": "1",
            },
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode == NO_ROOM:
            raise ParameterError(f"there is no room for {path} in {folder} ({_reason(done)})")
        if done.returncode:
            raise ValueError(_reason(done))
        file, unpacked = map_path(path), map_path(room)
    tensors = Tensors()
    for line in done.stdout.splitlines():
        facts = json.loads(line)
        name, shape = facts["name"], tuple(facts["shape"])
        place = IN_LAYER.fullmatch(name) if CONVENTIONS["keras"].fullmatch(name) else None
        if place and facts["layer"]:
            named = f"{place[1]}{facts['layer']}{place[2]}"
            name = f"{named} ({name})" if named in tensors else named
            tensors.known[name] = Reading(True, "keras")
        if "offset" not in facts:
            tensors[name] = shape_alone(shape)
            continue
        source = unpacked if facts["packed"] else file
        tensors[name] = map_array(source, facts["offset"], np.dtype(facts["dtype"]), shape)
    return tensors


def _reason(done: subprocess.CompletedProcess) -> str:
    """Why the process failed."""
    if done.returncode > 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "h5py failed"
    if hasattr(signal, "SIGPROF") and done.returncode == -signal.SIGPROF:
        return "h5py makes no headway in it"
    return f"h5py crashes on it, {signal.Signals(-done.returncode).name}"


def read_keras(path: Path) -> Tensors:
    """The datasets of the weights in a Keras model."""
    with (
        zipfile.ZipFile(path) as archive,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    ):
        check_room(archive.getinfo(IN_KERAS).file_size)
        with archive.open(IN_KERAS) as packed, Path(folder, IN_KERAS).open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        return read_hdf5(Path(folder, IN_KERAS))
