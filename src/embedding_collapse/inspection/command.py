"""`python -m embedding_collapse inspect`: its options and what it does."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedding_collapse.collapse import (
    COLLAPSED_IS,
    OFFSET_IS,
    PARTLY_IS,
    UNMEASURED_IS,
    UNTRAINED_IS,
)
from embedding_collapse.files import write_atomically, write_json
from embedding_collapse.parameters import ParameterError, check_writable

from . import weights
from .markdown import markdown
from .page import html
from .report import Inspection, aligned, comparison, inspect
from .tables import read_field_dims

FOUND = 3  # the exit code where a table has a verdict that --fail-if names
FAIL_IF = {
    "collapsed": COLLAPSED_IS,
    "untrained": UNTRAINED_IS,
    "partly": PARTLY_IS,
    "offset": OFFSET_IS,
    "unmeasured": UNMEASURED_IS,
}


def add_inspect(command: argparse.ArgumentParser) -> None:
    """The options of `inspect`."""
    command.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="safetensors, .npz, .npy, .pt, .pth or HDF5 file"
    )
    command.add_argument(
        "--tables",
        "--include",
        dest="include",
        action="append",
        default=[],
        metavar="PATTERN",
        help="measure the tensors of these names and no others, such as '*.user.*'; may be "
        "repeated. By default those that look like embedding tables",
    )
    command.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="names to leave out; may be repeated",
    )
    command.add_argument(
        "--field-dims",
        metavar="D,D",
        help="features per field, or a JSON file of them, to cut a joint table into fields",
    )
    command.add_argument(
        "--sets", type=int, metavar="M", help="embedding sets that a table holds side by side"
    )
    command.add_argument(
        "--rows-weight",
        metavar="FILE",
        help="counts.npy: how often each row is looked up, to measure with rows weighted too",
    )
    command.add_argument("--compare", metavar="OTHER", help="a second checkpoint, side by side")
    command.add_argument(
        "--output",
        action="append",
        metavar="FILE",
        help="the report: .md for Markdown, .json for JSON, else HTML; may be repeated "
        "(report.html)",
    )
    command.add_argument(
        "--json", action="store_true", help="print the report as JSON, and write none by default"
    )
    command.add_argument(
        "--fail-if",
        action="append",
        default=[],
        choices=FAIL_IF,
        metavar="VERDICT",
        help=f"exit with {FOUND} if a table of CHECKPOINT has this verdict, "
        f"{', '.join(FAIL_IF)}; may be repeated",
    )
    command.set_defaults(command=inspect_command)


def inspect_command(parsed: argparse.Namespace) -> int:
    """Inspect one checkpoint or two, print the table, write the report."""
    paths = [parsed.checkpoint] + ([parsed.compare] if parsed.compare else [])
    outputs = parsed.output or ([] if parsed.json else ["report.html"])
    taken = {os.path.realpath(path): "the checkpoint" for path in paths}
    for path in filter(None, (parsed.rows_weight, parsed.field_dims)):
        taken.setdefault(os.path.realpath(path), "read as well")
    for written in outputs:
        if use := taken.get(os.path.realpath(written)):
            raise ParameterError(f"{written} is {use}; the report needs another name")
        if Path(written).is_dir():
            raise ParameterError(f"{written} is a folder; the report needs the name of a file")
        if Path(written).is_file() or not Path(written).exists():  # else a device or a pipe
            taken[os.path.realpath(written)] = "the report"
            check_writable("the report's folder", Path(os.path.realpath(written)).parent)
    for path in [*paths, *filter(None, [parsed.rows_weight])]:
        weights.check(path)
    options = {
        "include": parsed.include,
        "exclude": parsed.exclude,
        "field_dims": None if parsed.field_dims is None else read_field_dims(parsed.field_dims),
        "sets": parsed.sets,
        "row_weights": parsed.rows_weight,
    }
    inspections = [inspect(path, **options) for path in paths]
    content = inspections[0].to_json()
    if len(inspections) > 1:
        content["compared_with"] = inspections[1].to_json()
    try:  # files first: whoever reads what is printed may stop reading
        for written in outputs:
            _write(Path(written), inspections, content)
    except OSError as error:
        raise ParameterError(f"the report cannot be written ({error})") from None
    if parsed.json:
        print(json.dumps(content, allow_nan=False))
    else:
        _print(inspections, outputs)
    verdicts = {table.verdict for table in inspections[0].tables}
    return FOUND if any(FAIL_IF[name] in verdicts for name in parsed.fail_if) else 0


def _write(path: Path, inspections: Sequence[Inspection], content: dict[str, Any]) -> None:
    """The report, in the format that the file's name asks for."""
    if path.suffix == ".json":
        write_json(path, content)
        return
    page = markdown(*inspections) if path.suffix == ".md" else html(*inspections)
    write_atomically(path, lambda part: part.write_text(page, "utf-8", "backslashreplace"))


def _print(inspections: Sequence[Inspection], outputs: Sequence[str]) -> None:
    for label, one in zip("AB", inspections, strict=False):
        if len(inspections) > 1:
            print(f"{label}: {one.name}")
        print(f"{one}\n")
    if len(inspections) > 1:
        print(aligned(comparison(*inspections)) + "\n")
    for written in outputs:
        print(f"report: {written}")
