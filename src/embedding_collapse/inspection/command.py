"""`python -m embedding_collapse inspect`: its options and what it does."""

import argparse
import os
from pathlib import Path

from embedding_collapse.files import write_atomically, write_json
from embedding_collapse.parameters import ParameterError, check_writable

from . import weights
from .page import html
from .report import aligned, comparison, inspect
from .tables import read_field_dims


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
        "--output", default="report.html", metavar="FILE", help="the HTML report (report.html)"
    )
    command.add_argument("--json", metavar="FILE", help="the same as JSON")
    command.set_defaults(command=inspect_command)


def inspect_command(parsed: argparse.Namespace) -> int:
    """Inspect one checkpoint or two, print the table, write the report."""
    paths = [parsed.checkpoint] + ([parsed.compare] if parsed.compare else [])
    taken = {os.path.realpath(path): "the checkpoint" for path in paths}
    for path in filter(None, (parsed.rows_weight, parsed.field_dims)):
        taken.setdefault(os.path.realpath(path), "read as well")
    for written in filter(None, (parsed.output, parsed.json)):
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
    page = html(*inspections)
    content = inspections[0].to_json()
    if len(inspections) > 1:
        content["compared_with"] = inspections[1].to_json()
    try:  # files first: whoever reads what is printed may stop reading
        write_atomically(Path(parsed.output), lambda path: path.write_text(page, encoding="utf-8"))
        if parsed.json:
            write_json(Path(parsed.json), content)
    except OSError as error:
        raise ParameterError(f"the report cannot be written ({error})") from None
    for label, one in zip("AB", inspections, strict=False):
        if len(inspections) > 1:
            print(f"{label}: {one.name}")
        print(f"{one}\n")
    if len(inspections) > 1:
        print(aligned(comparison(*inspections)) + "\n")
    print(f"report: {parsed.output}")
    if parsed.json:
        print(f"json: {parsed.json}")
    return 0
