"""What the commands have in common: options from a file, lists, and how a result is printed."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .parameters import ParameterError, listed


def add_common(command: argparse.ArgumentParser) -> None:
    """The options of every command."""
    command.add_argument(
        "--json",
        action="store_true",
        help="print the result as JSON, as embedding_collapse/output_schema.json has it",
    )
    command.add_argument(
        "--quiet", dest="progress", action="store_false", help="no progress on standard error"
    )
    command.add_argument(
        "--config",
        metavar="FILE",
        help="YAML or JSON with a key per option, or a record; what is given here comes first, and "
        "lists add up",
    )


def list_of(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A type for argparse: values separated by commas."""

    def values(text: str) -> list[Any]:
        return [kind(part.strip()) for part in text.split(",")]

    values.__name__ = f"list of {kind.__name__}"  # for argparse's messages
    return values


def from_file(command: argparse.ArgumentParser, path: str) -> list[str]:
    """The arguments that a file stands for: a mapping by the options' names, with `_` or `-`.

    A list is an option that is repeated or takes commas, as that option does; what is null is not
    given. Of a record, or of what `run --json` prints, the `spec` is taken.

    Raises:
        ParameterError: no such file, no mapping, or a key that is no option.
    """
    import yaml  # reads JSON too

    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"config is {path!r}, which cannot be read ({reason})") from None
    if isinstance(content, dict) and isinstance(content.get("spec"), dict):
        content = content["spec"]
    if not isinstance(content, dict):
        raise ParameterError(f"config is {path!r}, which holds no keys; one per option is needed")
    known: dict[str, argparse.Action] = {}
    for action in command._actions:
        for option in action.option_strings or [action.dest]:
            if option.startswith("--") or not action.option_strings:
                known[option.removeprefix("--").replace("-", "_")] = action
    for name in ("help", "config"):
        known.pop(name, None)
    arguments = []
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise ParameterError(
                f"config is {path!r}, where {str(key)!r} is no option of {command.prog}; its "
                f"options are {listed(sorted(known), 100)}"
            )
        if value is not None:
            arguments += _arguments(name, known[name], value)
    return arguments


def _arguments(name: str, action: argparse.Action, value: Any) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if action.option_strings and action.nargs == 0:
        if not isinstance(value, bool):
            raise ParameterError(f"{name} is {value!r} in the config; true or false is accepted")
        if isinstance(action, argparse.BooleanOptionalAction):
            return [option if value else f"--no-{option[2:]}"]
        return [option] if value else []
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, dict | list) for one in values):
        raise ParameterError(f"{name} is {value!r} in the config; a value or a list is accepted")
    texts = [str(one) for one in values]
    if not action.option_strings:
        return texts
    if not isinstance(action, argparse._AppendAction):
        texts = [",".join(texts)]
    return [f"{option}={text}" for text in texts]


def print_result(parsed: argparse.Namespace, content: Mapping[str, Any], text: str) -> None:
    """The result of a command on standard output: with --json as one line of JSON, else in text."""
    if parsed.json:
        written = json.dumps({"command": parsed.verb, **content})
        # numbers that JSON lacks, such as NaN, are null
        text = json.dumps(json.loads(written, parse_constant=lambda _: None))
    print(text)
