"""Mutated files handed to a reader: an answer or a refusal, in bounded time and memory."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np

from .child import HANGS, elsewhere, isolated
from .runs import Case

FLOOR = 8 << 20  # bytes; of a smaller file the reader's own buffers are most of what it takes
TIMES = 4  # a file's honest size, or what the intact file takes, is the most that one may take

# random numbers, and whether to do harm; gives the bytes, their honest size unpacked, and a suffix
Make = Callable[[np.random.Generator, bool], tuple[bytes, int, str]]


class Reader(NamedTuple):
    """A format and what reads it."""

    make: Make
    suffix: str
    read: Callable[[Path], Any]


def mutated(reader: Reader, count: int) -> Iterator[Case]:
    """So many mutated files for one reader."""
    attempt = partial(_attempt, reader)
    return (Case("mutated", attempt) for _ in range(count))


@lru_cache
def _intact(reader: Reader) -> int:
    """The bytes of memory that the intact file takes."""
    content, _, suffix = reader.make(np.random.default_rng(0), False)
    path = Path(mkdtemp()) / f"intact{reader.suffix}{suffix}"
    path.write_bytes(content)
    found = isolated(partial(reader.read, path))
    assert found.kind == "value" and not found.acts, found
    return found.growth


def _attempt(reader: Reader, folder: Path, random: np.random.Generator) -> str | None:
    usual = _intact(reader)
    content, size, suffix = reader.make(random, True)
    path = folder / f"mutated{reader.suffix}{suffix}"
    path.write_bytes(content)
    most = TIMES * max(len(content), size, usual, FLOOR)
    found = isolated(partial(reader.read, path), most)
    if wrong := elsewhere(found):
        return wrong
    if found.kind == "hung":
        return f"hangs past {HANGS:g} s: {len(content):,} bytes"
    if found.kind in ("error", "killed"):
        told = found.text.splitlines()[0] if found.text else ""
        return f"{found.kind} {told.partition(':')[0]}: {told[:300]}"
    if found.kind == "too large" or found.growth > most:
        taken = f"{found.growth >> 20} MiB" if found.growth else "too many to wait for"
        return f"too much memory: {taken} for {len(content):,} bytes, {most >> 20} MiB allowed"
    return None
