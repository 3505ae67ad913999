"""The command line: `python -m embedding_collapse COMMAND`, `--help` lists the commands.

Each wing has its commands in a module `command`, imported when one of them runs: `inspect` works
where nothing but the instrument is installed.
"""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import NamedTuple

from .parameters import import_part, printable


class Command(NamedTuple):
    """A verb: the wing whose `command` has a function `add_VERB` of its options, and the extra of
    this package that the wing takes."""

    wing: str
    extra: str
    help: str


COMMANDS = {
    "run": Command("lab", "lab", "train and test one model, and record it"),
    "sweep": Command("lab", "lab", "run a grid of models, skip what is recorded, print the table"),
    "record": Command("book", "book", "run the paper's grid at full scale, as far as time allows, "
                      "and record the chapters"),
    "study": Command("lab", "lab", "make what is missing of a study's runs, or tell how far it has "
                     "come"),
    "data": Command("lab", "lab", "load a dataset into the cache, and print what is in it"),
    "inspect": Command("inspection", "", "has this checkpoint collapsed? a report"),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 1 after a failure that is told on stderr."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that its encoding lacks, as stderr has it
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _warnings_in_one_line():
            parsed = parser(given).parse_args(given)
            parsed.arguments = given
            return parsed.command(parsed)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
    except BrokenPipeError:  # whoever reads us, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush to
    except Exception as error:
        from .errors import message

        if (reason := message(error)) is None:
            raise
        print(f"error: {reason}", file=sys.stderr)
    return 1


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Warnings are for whoever reads them, and not for whoever looks for their place."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda text, *_, **__: f"warning: {printable(str(text))}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The commands, with the options of the one that the arguments name."""
    top = argparse.ArgumentParser(
        prog="embedding-collapse",
        description="Embedding collapse in recommendation models: measure it, and train models "
        "with one embedding set or several. COMMAND --help lists a command's options.",
    )
    release = f"%(prog)s {version('embedding-collapse')}"
    top.add_argument("--version", action="version", version=release)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    for verb, (wing, extra, about) in COMMANDS.items():
        command = commands.add_parser(verb, help=about)
        if verb == named:
            module = import_part(f"{verb!r}", f"{__package__}.{wing}.command", extra)
            getattr(module, f"add_{verb}")(command)
    return top
