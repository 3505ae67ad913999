"""Checks of what a caller asked for; each failure is one line that says what is accepted."""

import contextlib
import tempfile
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any


class ParameterError(ValueError):
    """A parameter that cannot be: the message names it, its value and what is accepted.

    The message is one line, `printable` whatever the names in it are made of.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: this one line, instead of the call stack."""
        return [f"{type(self).__name__}: {self}"]


class NotInstalledError(ParameterError, ModuleNotFoundError):
    """What is asked for needs what is not installed; the message names the extra."""


def at_home(path: str | Path) -> Path:
    """The path, in the home folder where it begins with "~"; where "~lock.pt" is nobody's home, it
    is a name."""
    path = Path(path)
    with contextlib.suppress(RuntimeError):
        return path.expanduser()
    return path


def printable(text: str) -> str:
    """A text as one line: what would move a terminal's cursor or colour it is written out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(name: str, most: int = 120) -> str:
    """A name that came with somebody's data: one line, with "..." for the middle of a long one."""
    half = most // 2
    return printable(name if len(name) <= most else f"{name[:half]}...{name[-half:]}")


def listed(names: Iterable[str], most: int = 30) -> str:
    """Names that came with somebody's data, separated by commas; beyond `most` their number."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(short, names[:most])) + more


def first_line(error: BaseException) -> str:
    """Of what an error says; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def count(number: int, noun: str, many: str = "") -> str:
    """A number and its noun: "1 table", "2 tables"; `many` where an s does not make the plural."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def check_installed(what: str, module: str, extra: str) -> None:
    """Raise a `NotInstalledError` unless the module that something needs can be imported.

    Args:
        what: needs it.
        module: by the name it is imported by.
        extra: of this package, which brings it.
    """
    if find_spec(module) is None:
        raise NotInstalledError(f"{what} needs {module}, not installed here; {brought_by(extra)}")


def brought_by(extra: str) -> str:
    """How to install an extra of this package, for messages."""
    return f'pip install "embedding-collapse[{extra}]" brings it'


def import_part(what: str, module: str, extra: str) -> ModuleType:
    """Import a module of this package.

    Args:
        what: needs it.
        module: by its full name.
        extra: of this package, which brings what the module imports.

    Raises:
        NotInstalledError: something that it imports is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        name = str(error.name)
        if name.partition(".")[0] == __package__:  # a fault of ours
            raise
        lack = NotInstalledError(f"{what} needs {name}, not installed here; {brought_by(extra)}")
        lack.name = name
        raise lack from None


def check_writable(name: str, folder: Path) -> None:
    """Raise a `ParameterError` unless files can be made in a folder, itself made if missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ParameterError(
            f"{name} is {str(folder)!r}; a folder that can be written to is needed "
            f"({error.strerror})"
        ) from None


def check_flag(name: str, value: Any) -> None:
    """Raise a `ParameterError` unless the value is true or false; a text is neither."""
    if not isinstance(value, bool):
        raise ParameterError(f"{name} is {value!r}; true or false is accepted")


def check_choice(name: str, value: Any, known: Iterable[Any]) -> None:
    """Raise a `ParameterError` unless the value is one of the known ones."""
    known = list(known)
    if value not in known:
        raise ParameterError(f"{name} {value!r} is unknown; known: {', '.join(map(str, known))}")


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise a `ParameterError` unless the value is a whole number, `least <= value <= most`."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        end = "up" if most is None else f"to {most}"
        raise ParameterError(f"{name} is {value!r}; whole numbers from {least} {end} are accepted")


def check_number(name: str, value: Any, low: float, high: float = float("inf")) -> None:
    """Raise a `ParameterError` unless the value is a number with `low <= value < high`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value < high:
        end = "up" if high == float("inf") else f"to below {high:g}"
        raise ParameterError(f"{name} is {value!r}; numbers from {low:g} {end} are accepted")


def whole_numbers(name: str, text: Any, least: int) -> list[int]:
    """The whole numbers of a text like "2,3,5"; a `ParameterError` unless all are `>= least`."""
    try:
        numbers = [int(part) for part in str(text).split(",")]
    except ValueError:
        raise ParameterError(
            f"{name} is {text!r}; whole numbers separated by commas are accepted"
        ) from None
    for number in numbers:
        check_whole(name, number, least)
    return numbers


def numbers_between(name: str, text: Any, low: float, high: float) -> list[float]:
    """The numbers in a text that separates them by commas, from small to large.

    A number by itself will do: from a shell, papermill makes one of a text that looks like it.

    Raises:
        ParameterError: one that is no number with `low < number < high`, or none at all.
    """
    try:
        numbers = sorted({float(part) for part in str(text).split(",")})
    except ValueError:
        numbers = []
    if not numbers or not all(low < number < high for number in numbers):
        raise ParameterError(
            f"{name} is {text!r}; numbers above {low:g} and below {high:g}, "
            "separated by commas, are accepted"
        )
    return numbers
