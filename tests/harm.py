"""Harm done to stored files, and disks that take no more."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

PLACES = {"the first byte": 0.0, "a quarter": 0.25, "half": 0.5, "most": 0.9, "the last byte": 1.0}


def cut(path: Path, share: float) -> None:
    """Leave that share of the file, but for the last bytes: a line end alone is no loss."""
    content = path.read_bytes()
    path.write_bytes(content[: max(1, round((len(content) - 2) * share))])


def flip(path: Path, share: float) -> None:
    """Flip a bit of one byte; not the one that makes of a letter the same letter's capital."""
    content = bytearray(path.read_bytes())
    content[round((len(content) - 2) * share)] ^= 2
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


HARM: dict[str, Callable[[Path], None]] = {
    **{f"cut at {name}": partial(cut, share=share) for name, share in PLACES.items()},
    **{f"a bit flipped at {name}": partial(flip, share=share) for name, share in PLACES.items()},
    "emptied": empty,
    "a folder in its place": put_a_folder,
    "a link to nothing in its place": put_a_link,
}

each_harm = pytest.mark.parametrize("harm", HARM.values(), ids=HARM)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, which to its writer is as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def on_a_disk(folder: Path, mount: str, script: str, *arguments: str) -> str:
    """Run a script of Python in a process that sees `folder` through a mount of its own.

    Args:
        folder: where to mount; the script's first argument.
        mount: commands of the shell, in which `$0` is the folder.
        script: of Python.
        arguments: of the script.

    Returns:
        What it printed.
    """
    alone = ["unshare", "--mount", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"]).returncode:
        pytest.skip("this system lets this user mount nothing")
    command = [sys.executable, "-c", script, str(folder), *arguments]
    done = subprocess.run(
        [*alone, "sh", "-c", f'{mount} && exec "$@"', str(folder), *command],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
    return done.stdout


SMALL = 'mount -t tmpfs -o size=2m none "$0"'
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
