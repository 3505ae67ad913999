"""What the commands have in common: options from a file, lists, and how a result is printed."""

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

from .parameters import ParameterError, at_home, listed


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
        help="YAML or JSON with a key per option, or a record; what is given here comes first "
        "(options that may be repeated add up)",
    )


def list_of(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A type for argparse: values separated by commas."""

    def values(text: str) -> list[Any]:
        parts = text.split(",")  # one alone may begin with a blank, as UCI Adult's " >50K" does
        return [kind(part.strip() if len(parts) > 1 else part) for part in parts]

    values.__name__ = f"list of {kind.__name__}"  # for argparse's messages
    values.kind = kind  # type: ignore[attr-defined]
    return values


def defaults_from(command: argparse.ArgumentParser, path: str) -> None:
    """Take a file's values as defaults of a command: a mapping by its options' names, with `_` or
    `-`. What is null is not given. Of a record, or of what `run --json` prints, it is the `spec`.

    Raises:
        ParameterError: no such file, no mapping, a key that is no option, or a value that is none
            of its option.
    """
    import yaml  # reads JSON too

    try:
        content = yaml.safe_load(at_home(path).read_text("utf-8"))
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
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise ParameterError(
                f"config is {path!r}, where {str(key)!r} is no option of {command.prog}; its "
                f"options are {listed(sorted(known), 100)}"
            )
        if value is not None:
            action = known[name]
            action.default, action.required = _default(name, action, value), False
            if not action.option_strings and action.nargs is None:
                action.nargs = "?"


def _default(name: str, action: argparse.Action, value: Any) -> Any:
    """A value as argparse takes it: it converts a text that is a default, and nothing else."""
    if action.option_strings and action.nargs == 0:
        if not isinstance(value, bool):
            raise ParameterError(f"{name} is {value!r} in the config; true or false is accepted")
        if isinstance(action, argparse.BooleanOptionalAction):
            return value != name.startswith("no_")
        return value == action.const
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, dict | list) for one in values):
        raise ParameterError(f"{name} is {value!r} in the config; a value or a list is accepted")
    texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
    if action.choices and (wrong := [one for one in texts if one not in action.choices]):
        raise ParameterError(
            f"{name} is {wrong[0]!r} in the config; {', '.join(action.choices)} are accepted"
        )
    if isinstance(action, argparse._AppendAction) or action.nargs == "*":
        return texts
    if not isinstance(value, list):
        return texts[0]
    if action.type is None:  # a text, of which commas may part several, such as data sets
        return ",".join(texts)
    kind = getattr(action.type, "kind", None)  # of a list of them; a comma in a text stays there
    if kind is None:
        raise ParameterError(f"{name} is {value!r} in the config; one value is accepted")
    try:
        return [kind(text) for text in texts]
    except ValueError:
        raise ParameterError(
            f"{name} is {value!r} in the config; a list of {kind.__name__} is accepted"
        ) from None


def print_result(parsed: argparse.Namespace, content: Mapping[str, Any], text: str) -> None:
    """The result of a command on standard output: with --json as one line of JSON, else in text."""
    if parsed.json:
        written = json.dumps({"command": parsed.verb, **content})
        # numbers that JSON lacks, such as NaN, are null
        text = json.dumps(json.loads(written, parse_constant=lambda _: None))
    print(text)
