"""Files that are whole or not there at all, and that are not believed when they have changed."""

import contextlib
import errno
import glob
import json
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

NUMBERS = re.compile(r"\[\n[-+.,\deE\s]*\]")  # no JSON string holds a line break
SYSTEM = re.compile(r"\(os error (\d+)\)$")  # how safetensors tells an error of the system
CUT = re.compile(r"\d+ requested and \d+ written")  # how numpy tells that there is no room
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, the size of one file
END = b"\n}\n"  # of a JSON object
SUMMED = re.compile(rb'(.*),\n "sum": "([0-9a-f]{32})"\n}\n', re.DOTALL)
BLOCK = 1 << 20
UNCHECKED = "xxhash is not installed, so its checksum is not compared"  # it comes with the lab

T = TypeVar("T")


class DamagedError(ValueError):
    """A stored file that is not as it was written; the message names it."""


# --- writing --------------------------------------------------------------------------------------


def write_atomically(
    path: Path, write: Callable[[Path], Any], *, replace: bool = True, scratch: Path | None = None
) -> None:
    """Let `write` make the file under a temporary name, then rename: whole or not at all.

    Args:
        path: the file. A link stays one, to the new file; a device or a pipe is written to.
        write: is given the temporary name. What a killed process left under such a name goes with
            the next write of the same file.
        replace: whether a file that is there gives way; where not, it stays, also one that another
            process wrote meanwhile.
        scratch: folder for the temporary file, on the same disk; by default the file's own.

    Raises:
        OSError: it cannot be written; the message names a path, and nothing is left behind.
    """
    if replace:
        if path.exists() and not path.is_file() and not path.is_dir():
            write(path)  # by the name given: that of /dev/stdout's pipe leads nowhere
            return
        path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{threading.get_ident()}.{os.getpid()}"
    temporary = (scratch or path.parent) / f".{path.name}.{writer}"
    clear(temporary.with_name(path.name))
    try:
        with naming(path):
            write(temporary)
            rights = _rights(path, temporary)
            if stat.S_IMODE(temporary.stat().st_mode) != rights:  # some disks refuse to change any
                temporary.chmod(rights)
            if replace:
                temporary.replace(path)
            else:
                _add(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _rights(path: Path, temporary: Path) -> int:
    """Those of the file that gives way, or of any new file, as the umask has them: safetensors lets
    nobody else read. A file of its own tells these; to ask the umask is to set it, for all threads.
    """
    with contextlib.suppress(FileNotFoundError):
        return stat.S_IMODE(path.stat().st_mode)
    empty = temporary.with_name(f"{temporary.stem}.rights{temporary.suffix}")
    opened = os.open(empty, os.O_CREAT, 0o666)
    rights = os.fstat(opened).st_mode
    os.close(opened)
    empty.unlink(missing_ok=True)
    return stat.S_IMODE(rights)


def _add(temporary: Path, path: Path) -> None:
    """Give the file its name, unless there is one already."""
    try:
        os.link(temporary, path)
    except OSError:
        if not os.path.lexists(path):  # a file system without hard links, where this is next best
            temporary.replace(path)
        elif not path.is_file():  # a folder, or a link to nothing: the file would not be kept
            raise


def clear(path: Path) -> None:
    """Remove temporary files of that file's whose writer is gone."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        writer = left.name.rpartition(".")[2]
        if os.name == "posix" and writer.isdigit() and not _runs(int(writer)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # no signal; it only asks
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


@contextlib.contextmanager
def naming(path: Path, *only: int) -> Iterator[None]:
    """Have an error of the system that names no file (the disk is full, say) name this one.

    Args:
        path: what is written or read.
        only: the numbers of the errors to name, as in `errno`; by default all.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = _number(error)
        if getattr(error, "filename", None) is not None or (only and number not in only):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _number(error: OSError | SafetensorError) -> int:
    if match := SYSTEM.search(str(error)):
        return int(match[1])
    if CUT.fullmatch(str(error)):
        return errno.ENOSPC
    return getattr(error, "errno", None) or errno.EIO


def reserve(path: Path) -> None:
    """Take the disk space of all of a file that has holes.

    A full disk is then an error here. Else it is met by whoever writes to a map of the file, and
    there it is a signal that ends the process.

    Raises:
        OSError: there is not so much space.
    """
    with naming(path), path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        for start in range(0, size, BLOCK):  # macOS
            block = os.pread(file.fileno(), BLOCK, start)
            os.pwrite(file.fileno(), block, start)


# --- JSON -----------------------------------------------------------------------------------------


def write_json(path: Path, content: Any, **options: Any) -> None:
    """Write JSON, whole or not at all; a list of numbers takes one line.

    Args:
        path: the file.
        content: numbers that are not finite are an error.
        options: of `write_atomically`.
    """
    _write(path, _json(content), **options)


def store_json(path: Path, content: Mapping[str, Any], **options: Any) -> None:
    """Write an object that is read again, as `write_json` does, with a checksum at its end."""
    text = _json(content)
    total = f',\n "sum": "{_sum(text)}"'.encode()
    _write(path, text.removesuffix(END) + total + END, **options)


def load_json(path: Path) -> dict[str, Any]:
    """Read what `store_json` wrote, without the checksum.

    Raises:
        FileNotFoundError: there is nothing of that name.
        DamagedError: it is not, byte for byte, as it was written.
        OSError: it cannot be read.

    Warns:
        UserWarning: its checksum cannot be compared here.
    """
    return json.loads(checked_text(path))


def is_stored(path: Path) -> bool:
    """Whether it is a file that `store_json` wrote, whole or not."""
    with contextlib.suppress(OSError):
        return path.is_file() and SUMMED.fullmatch(path.read_bytes()) is not None
    return False


def checked_text(path: Path) -> bytes:
    """As `load_json`, the text: of a large file it is far sooner there than what it says."""
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise DamagedError(f"{path} is {kind}; a file is needed")
    try:
        with naming(path):
            content = path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise DamagedError(f"{path} is a link to a file that is not there") from None
        raise
    parts = SUMMED.fullmatch(content)
    if parts is None:
        raise DamagedError(
            f"{path} does not end with a checksum: it has changed, or an earlier version wrote it; "
            "to a file that you trust, files.add_sum adds one"
        )
    text = parts[1] + END
    if not _has_xxhash():
        warnings.warn(f"{path}: {UNCHECKED}", stacklevel=4)
    elif _sum(text) != parts[2].decode():
        raise DamagedError(f"{path} is damaged: its content does not fit its checksum")
    return text


def add_sum(path: str | Path) -> None:
    """Add the checksum that `load_json` asks for to a JSON object that has none."""
    path = Path(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    if "sum" not in content:
        store_json(path, content)


def _json(content: Any) -> bytes:
    """UTF-8; half of a surrogate pair, which a name may hold, is escaped as JSON has it."""
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    text = NUMBERS.sub(lambda match: " ".join(match[0].split()), text)
    return text.encode(errors="backslashreplace")


def _write(path: Path, content: bytes, **options: Any) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(content), **options)


def _has_xxhash() -> bool:
    return find_spec("xxhash") is not None


def _sum(content: bytes) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(content)


def load_folder(folder: Path, read: Callable[[Path], T]) -> list[T]:
    """Read the stored JSON files of a folder, in the order of their names.

    Args:
        folder: of files that `store_json` wrote.
        read: reads one; it raises what `load_json` does.

    Warns:
        UserWarning: a damaged file, which is left out, or a folder without files.
    """
    contents = []
    paths = sorted(folder.glob("*.json"))
    if not paths:
        warnings.warn(f"there are no records in {folder}", stacklevel=3)
    for path in paths:
        try:
            contents.append(read(path))
        except DamagedError as error:
            warnings.warn(f"left out: {error}", stacklevel=3)
    return contents


# --- what has changed -----------------------------------------------------------------------------


def checksum(path: Path, progress: bool = False) -> str:
    """Hash of a file's bytes, at several GB/s; against accidents, not against an adversary."""
    import xxhash
    from tqdm.auto import tqdm

    digest, title, hidden = xxhash.xxh3_128(), f"checking {path.name}", not progress
    with naming(path), path.open("rb", buffering=0) as file:
        size = path.stat().st_size
        with tqdm(None, title, size, disable=hidden, unit="B", unit_scale=True, delay=3) as bar:
            while part := file.read(BLOCK):
                digest.update(part)
                bar.update(len(part))
    return digest.hexdigest()


def damage(path: Path, expected: str) -> str | None:
    """What is wrong with a file of that checksum, in words that name it; None where all is well.

    Warns:
        UserWarning: the checksum cannot be compared here.
    """
    if not _has_xxhash():
        warnings.warn(f"{path}: {UNCHECKED}", stacklevel=3)
        return None
    try:
        whole = checksum(path) == expected
    except (FileNotFoundError, IsADirectoryError) as error:
        return f"{path}: {error.strerror}"
    return None if whole else f"{path} is damaged: its content does not fit its checksum"


def set_aside(path: Path) -> Path:
    """Rename what is damaged, to make room for another; what was set aside before stays.

    Returns:
        The new name: with `.damaged` at its end, or `.damaged-2` and so on.
    """
    aside, number = path.with_name(f"{path.name}.damaged"), 1
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
    return path.rename(aside)
