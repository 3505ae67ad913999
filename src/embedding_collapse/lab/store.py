"""A folder of runs: which are there and whole, who is at work on one, what makes room.

A run has its record, `<key>.json`, and its weights, `<key>.safetensors`, if they were kept; beside
these lies what the ids stand for, once for all runs of the same data, `<data>.codebook`, if they
were read from a table. While a run is trained, and until it has its record, it also has a folder
of its own, `<key>-<data>.checkpoint`, with its lock and all that is only half written.
"""

import contextlib
import os
import shutil
import warnings
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock

from embedding_collapse.files import DamagedError, checked_text, damage, set_aside, store_json
from embedding_collapse.parameters import ParameterError

from . import records
from .data.codebook import Codebook
from .records import Record


def weights_path(output: Path, key: str) -> Path:
    """Where the weights of that run lie, if they were kept."""
    return output / f"{key}.safetensors"


def codebook_path(output: Path, fingerprint: str) -> Path:
    """Where it lies what the ids of the data of that fingerprint stand for."""
    return output / f"{fingerprint[:12]}.codebook"


def keep_codebook(codebook: Codebook, output: Path, scratch: Path | None = None) -> None:
    """Write it down in a folder of runs, unless it lies there whole.

    Args:
        codebook: of the data of a run.
        output: folder of runs.
        scratch: see `files.write_atomically`.

    Raises:
        OSError: it cannot be written.

    Warns:
        UserWarning: what lies there is damaged, and set aside.
    """
    path = codebook_path(output, codebook.fingerprint)
    try:
        checked_text(path)
        return
    except FileNotFoundError:
        pass
    except DamagedError as error:
        with contextlib.suppress(FileNotFoundError):  # another process has just done so
            warnings.warn(f"set aside as {set_aside(path).name}: {error}", stacklevel=4)
    store_json(path, codebook.written(), scratch=scratch)


def check_data(output: Path, key: str, made_on: str, now: str) -> None:
    """Raise a `ParameterError` where a record in the folder was made on other data of the same
    description, as the two fingerprints tell: runs of both cannot be compared."""
    if made_on != now:
        raise ParameterError(
            f"{records.path_of(output, key)} was made on other data of the same description "
            f"(fingerprint {made_on[:12]}, now {now[:12]}); choose another output folder"
        )


def weights_lack(record: Record, output: Path) -> str | None:
    """Why the weights of a recorded run cannot be used; None where they can, or where there are
    none to be: an ensemble's are its members'."""
    if record.spec["members"]:
        return None
    if record.weights is None:
        return f"{records.path_of(output, record.key)} was made without weights"
    return damage(weights_path(output, record.key), record.weights)


def hold(folder: Path, wait: bool) -> AcquireReturnProxy:
    """Hold the lock in a run's folder, which whoever held it before clears away when done.

    Raises:
        filelock.Timeout: another process holds it, and `wait` is off.
        OSError: the folder cannot be made or written to.

    Warns:
        UserWarning: a file in the folder's place, which is set aside.
    """
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if os.path.lexists(folder) and not folder.is_dir():
                with contextlib.suppress(FileNotFoundError):  # another process has just done so
                    aside = set_aside(folder).name
                    warnings.warn(f"{folder} is no folder; set aside as {aside}", stacklevel=3)
            continue
        with contextlib.suppress(FileNotFoundError):  # the folder has just been cleared away
            return FileLock(folder / "lock", blocking=wait).acquire()


def make_room(key: str, output: Path, weights: bool) -> Record | None:
    """Set aside what is damaged of a run that is to be trained; whoever calls this holds its lock.

    Returns:
        The record, where it is the weights alone that are lacking.

    Warns:
        UserWarning: what is damaged or lacking.
    """
    path, beside = records.path_of(output, key), weights_path(output, key)
    record = None
    try:
        record = records.load(path)
        warnings.warn(f"{weights_lack(record, output)}; training the run again", stacklevel=4)
    except FileNotFoundError:
        pass
    except DamagedError as error:
        warnings.warn(f"set aside as {set_aside(path).name}: {error}", stacklevel=4)
    known = record is not None and record.weights is not None  # and so it is they that changed
    if weights and os.path.lexists(beside) and (known or not beside.is_file()):
        set_aside(beside)
    return record


def clear_away(key: str, output: Path) -> None:
    """Remove the folder of a run that has its record, which a killed process has left.

    It stays where another process is at it, or the output cannot be written to.
    """
    for folder in output.glob(f"{key}-*.checkpoint"):
        with contextlib.suppress(OSError), hold(folder, wait=False):
            shutil.rmtree(folder)
