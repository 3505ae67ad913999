"""The command line: `python -m embedding_collapse COMMAND`, `--help` lists the commands.

A command's module is imported when it runs: `inspect` works where nothing but the instrument is
installed.
"""

import argparse
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any, NamedTuple, NoReturn

from .options import add_common, defaults_from
from .parameters import NotInstalledError, check_installed, import_part, printable


class Command(NamedTuple):
    """A command: the module with its `add_options` and `execute`, what its help begins with, and
    whether it goes on where it was interrupted."""

    module: str
    help: str
    example: str
    resumes: bool = True


COMMANDS = {
    "run": Command(
        "lab.commands.run",
        "train and test one model, and record it",
        "run --dataset us-flights --model dnn --design me --scale 4",
    ),
    "sweep": Command(
        "lab.commands.sweep",
        "run a grid of models, skip what is recorded, print the table",
        "sweep --dataset table --path X.parquet --label y --scales 1,4",
    ),
    "study": Command(
        "lab.commands.study",
        "make what is missing of a study's runs, or tell how far it has come",
        "study decide --status",
    ),
    "data": Command(
        "lab.commands.data",
        "load a dataset into the cache, and print what is in it",
        "data table --path ratings.csv --label stars --threshold 4 --split-by ts",
        resumes=False,
    ),
    "score": Command(
        "lab.commands.score",
        "score new rows with the model of a record",
        "score runs/0123456789ab.json rows.parquet --output scores.parquet",
        resumes=False,
    ),
    "inspect": Command(
        "inspection.command",
        "tell which tables of a checkpoint have collapsed",
        "inspect my_model.pt --fail-if collapsed",
        resumes=False,
    ),
}
PROGRAM = "embedding-collapse"
EXIT_CODES = """exit codes:
  0  done
  1  something could not be done, or a run failed; standard error says what
  2  options that cannot be read
  3  inspect: a table has a verdict that --fail-if names"""


class Parser(argparse.ArgumentParser):
    """Help begins with an example and ends with the exit codes."""

    def __init__(self, example: str = "", **options: Any) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        # an option cut short would be taken here, and be no --config to `parse`
        super().__init__(formatter_class=raw, epilog=EXIT_CODES, allow_abbrev=False, **options)
        self.example = example
        self.commands: dict[str, Parser] = {}

    def format_help(self) -> str:
        return f"{PROGRAM} {self.example}\n\n{super().format_help()}"

    def error(self, message: str) -> NoReturn:
        """With the options that a misspelt one may have meant."""
        known = [name for one in self.commands.values() for name in one._option_string_actions]
        misspelt = re.findall(r"--[\w-]+", message) if "unrecognized" in message else []
        meant = [close[0] for one in misspelt if (close := get_close_matches(one, known, 1))]
        super().error(f"{message}; did you mean {', '.join(meant)}?" if meant else message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 1 after a failure that is told on stderr."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that its encoding lacks, as stderr has it
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _warnings_in_one_line():
            parsed = parse(given)
            return parsed.execute(parsed)
    except KeyboardInterrupt:
        command = COMMANDS.get(_verb(given) or "")
        goes_on = "; the same command goes on from here" if command and command.resumes else ""
        print(f"interrupted{goes_on}", file=sys.stderr)
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


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options that the arguments name, and those of the file that --config names."""
    top = parser(arguments)
    config = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    config.add_argument("--config", nargs="?")  # without a name, the command says so
    path, verb = config.parse_known_args(arguments)[0].config, _verb(arguments)
    if path is not None and verb in COMMANDS:
        defaults_from(top.commands[verb], path)
    options = top.parse_args(arguments)
    options.arguments = arguments
    return options


def _verb(arguments: Sequence[str]) -> str | None:
    return next((argument for argument in arguments if not argument.startswith("-")), None)


class _Completion(argparse.Action):
    """Prints a shell's completion of all commands that are installed here."""

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        check_installed("--completion", "shtab", "completion")
        import shtab

        print(shtab.complete(parser, given[1], preamble=""))
        parser.exit()


def parser(arguments: Sequence[str]) -> Parser:
    """The commands, with the options of the one that the arguments name."""
    top = Parser(
        COMMANDS["inspect"].example,
        prog=PROGRAM,
        usage="%(prog)s COMMAND [OPTION ...]",
        description="Embedding collapse in recommendation models: measure it, and train models\n"
        "with one embedding set or several. COMMAND --help lists a command's options.",
    )
    release = f"%(prog)s {version('embedding-collapse')}"
    top.add_argument("--version", action="version", version=release)
    top.add_argument(
        "--completion",
        action=_Completion,
        choices=["bash", "zsh", "tcsh"],
        help="print what completes the commands in a shell, for its startup file",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND", dest="verb")
    complete = any(argument.startswith("--completion") for argument in arguments)
    for verb, (module, about, example, _) in COMMANDS.items():
        command = commands.add_parser(
            verb,
            example=example,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            prog=f"{PROGRAM} {verb}",
        )
        top.commands[verb] = command
        if verb == _verb(arguments) or complete:
            wing = module.partition(".")[0]
            extra = "" if wing == "inspection" else wing  # of this package, which the wing takes
            try:
                part = import_part(f"{verb!r}", f"{__package__}.{module}", extra)
            except NotInstalledError:
                if complete:
                    continue
                raise
            part.add_options(command)
            command.set_defaults(execute=part.execute)
            add_common(command)
            names = [str(one.metavar) for one in command._actions if not one.option_strings]
            command.usage = " ".join(["%(prog)s", *names, "[OPTION ...]"])
    return top
