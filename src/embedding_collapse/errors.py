"""Errors that a user is told in one line. Any other is a fault of the program: it keeps its
traceback."""

import os
import re

from .files import DamagedError
from .parameters import ParameterError, printable

# as torch's allocators and CUDA's libraries say it, and torch of sizes beyond 64 bits
NO_MEMORY = re.compile(
    r"(can't|Cannot) allocate memory|not enough memory|out of memory|ALLOC_FAILED"
    r"|Storage size calculation overflowed|Overflow when unpacking long"
)


class DivergedError(RuntimeError):
    """The training loss, or a score, is no longer finite."""


def message(error: BaseException) -> str | None:
    """The line that a user is told of an error; None of a fault of the program.

    Told are parameters that cannot be, what is not installed, training that diverges, stored files
    that have changed, what the system refuses (with the path), and memory that does not suffice.
    """
    if isinstance(error, ParameterError | DivergedError | DamagedError):
        return printable(str(error))
    if isinstance(error, OSError):
        return printable(_of_system(error))
    import torch  # slow, and seldom needed here

    lack = NO_MEMORY.search(str(error)) if isinstance(error, RuntimeError | TypeError) else None
    if lack or isinstance(error, MemoryError | torch.OutOfMemoryError):
        reason = str(error)[lack.start() if lack else 0 :].partition("\n")[0]
        return printable(
            f"the memory here does not suffice ({reason or 'no more can be had'}); a smaller "
            "model, fewer rows or smaller batches take less"
        )
    return None


def _of_system(error: OSError) -> str:
    named = (error.filename, error.filename2)
    paths = [os.fsdecode(path) for path in named if isinstance(path, str | bytes)]
    reason = error.strerror or str(error) or type(error).__name__
    return f"{' to '.join(paths)}: {reason}" if paths else reason
