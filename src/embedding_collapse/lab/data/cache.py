"""Datasets on disk: each is built once, then mapped."""

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from embedding_collapse.files import NO_ROOM, checksum, naming
from embedding_collapse.parameters import at_home

LOG = logging.getLogger(__name__)
SUMS = "checksums.json"
SOON = 2.0  # seconds of waiting for another process before a word is said


class Stored(NamedTuple):
    """A dataset in the cache.

    Attributes:
        ids, labels: copy-on-write maps of `ids.npy` and `labels.npy`, as torch wants them: writing
            to them does not reach the disk.
        about: what the builder returned.
        fingerprint: hash of what determined the content.
        folder: where it is.
    """

    ids: np.memmap
    labels: np.memmap
    about: dict[str, Any]
    fingerprint: str
    folder: Path


def stored(
    name: str,
    truth: Any,
    build: Callable[[Path], dict[str, Any]],
    cache: str | Path | None,
    progress: bool = False,
    needed: Sequence[str] = (),
) -> Stored:
    """The dataset that `build` makes, built only if it is not there.

    Whole or not there at all: it is built under another name and renamed. Of several processes
    that ask at once one builds, and the others wait for it. Where the folder cannot be written to,
    what is there and whole serves.

    Args:
        name: first part of the folder's name.
        truth: all that determines the content, as JSON takes it.
        build: fills the folder it is given with `ids.npy`, `labels.npy` and whatever else, and
            returns what to keep beside them, as JSON takes it.
        cache: folder of all datasets; by default the environment variable
            EMBEDDING_COLLAPSE_CACHE, else ~/.cache/embedding-collapse.
        progress: show a bar where checking what is there takes more than a few seconds.
        needed: what the builder returns and an earlier version did not, so that what it built is
            built anew.

    Raises:
        OSError: it has to be built and cannot be written; the message names a path, and nothing is
            left behind.

    Warns:
        UserWarning: what was there is not what was built (a file is gone, cut or changed); it is
            built anew.
    """
    fingerprint = hashlib.sha256(json.dumps(truth, sort_keys=True).encode()).hexdigest()
    root = cache or os.environ.get("EMBEDDING_COLLAPSE_CACHE") or "~/.cache/embedding-collapse"
    root = at_home(root)
    folder = root / f"{name}-{fingerprint[:16]}"
    with _locked(folder):
        if os.path.lexists(folder) and (damage := _damage(folder, progress, needed)):
            warnings.warn(f"{folder} is damaged ({damage}); building it anew", stacklevel=3)
            _remove(folder)
        if not folder.exists():
            _build(folder, build, progress)
    about = json.loads((folder / "about.json").read_text())
    ids, labels = (np.load(folder / f"{part}.npy", mmap_mode="c") for part in ("ids", "labels"))
    return Stored(ids, labels, about, fingerprint, folder)


def _build(folder: Path, build: Callable[[Path], dict[str, Any]], progress: bool) -> None:
    for left in folder.parent.glob("unfinished-*"):  # by a process that was killed, if nobody
        finished = left.with_name(left.name.removeprefix("unfinished-"))  # holds its lock
        with suppress(Timeout), _lock(finished).acquire(timeout=0):
            shutil.rmtree(left, ignore_errors=True)
    unfinished = folder.with_name(f"unfinished-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        with naming(unfinished, *NO_ROOM):
            (unfinished / "about.json").write_text(json.dumps(build(unfinished)))
            sums = {path.name: checksum(path, progress) for path in sorted(unfinished.iterdir())}
            (unfinished / SUMS).write_text(json.dumps(sums))
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _damage(folder: Path, progress: bool, needed: Sequence[str]) -> str | None:
    """What is wrong with a finished folder, or lacks in it."""
    try:
        sums = json.loads((folder / SUMS).read_text())
        if lacking := {"about.json", "ids.npy", "labels.npy"} - {*sums}:
            return f"{SUMS} lacks {', '.join(sorted(lacking))}"
        changed = [name for name in sums if checksum(folder / name, progress) != sums[name]]
        if changed:
            return f"{', '.join(changed)} changed"
        lacking = {*needed} - {*json.loads((folder / "about.json").read_text())}
    except (OSError, ValueError, TypeError) as error:
        return str(error)
    return f"built without {', '.join(sorted(lacking))}" if lacking else None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _locked(folder: Path) -> AbstractContextManager:
    """The folder to oneself; the system takes back what a killed process held."""
    try:
        (folder.parent / "locks").mkdir(parents=True, exist_ok=True)
        return _lock(folder).acquire(timeout=SOON)
    except Timeout:
        LOG.warning("another process is at work on %s; waiting for it", folder)
        return _lock(folder).acquire()
    except OSError:
        if not folder.is_dir():
            raise
        return nullcontext()  # there is something that may serve, and nobody can change it


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.parent / "locks" / f"{folder.name}.lock")
