"""`python -m embedding_collapse inspect`: its options and what it does."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from embedding_collapse.files import is_stored, write_atomically, write_json
from embedding_collapse.options import print_result
from embedding_collapse.parameters import ParameterError, at_home, check_writable
from embedding_collapse.verdict import (
    COLLAPSED_IS,
    OFFSET_IS,
    PARTLY_IS,
    UNMEASURED_IS,
    UNTRAINED_IS,
)

from . import weights
from .comparison import comparison, unmatched
from .course import as_json, checkpoints_in, course_table
from .field_dims import read_field_dims
from .markdown import markdown
from .page import MARK, html
from .report import Inspection, aligned, inspect
from .row_weights import read_counts
from .tables import NoTableError

SUFFIXES = (".html", ".htm", ".md", ".json")
FOUND = 3  # the exit code where a table has a verdict that --fail-if names
FAIL_IF = {
    "collapsed": COLLAPSED_IS,
    "untrained": UNTRAINED_IS,
    "partly": PARTLY_IS,
    "offset": OFFSET_IS,
    "unmeasured": UNMEASURED_IS,
}


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of `inspect`."""
    command.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        nargs="*",
        help="a file or a folder of one; two are compared table by table",
    )
    command.add_argument(
        "--follow",
        metavar="FOLDER",
        help="in place of CHECKPOINT: draw the course over a run's checkpoints, which lie here "
        "with a number in each name",
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
        help="features per field, or a JSON file of them, to cut a joint table into fields; in all "
        "as many as it has rows: of offsets numpy.diff([*offsets, rows]), a row for padding being "
        "a field of its own",
    )
    command.add_argument(
        "--sets", type=int, metavar="M", help="embedding sets that a table holds side by side"
    )
    command.add_argument(
        "--rows-weight",
        metavar="FILE",
        help="counts.npy: how often each row is looked up, to measure with rows weighted too; of "
        "several tables counts.npz, by their names",
    )
    command.add_argument(
        "--output",
        action="append",
        metavar="FILE",
        help="the report: .html, .md for Markdown or .json; may be repeated "
        "(report.html, and none with --json)",
    )
    command.add_argument(
        "--fail-if",
        action="append",
        default=[],
        choices=FAIL_IF,
        metavar="VERDICT",
        help=f"exit with {FOUND} if a table of the last CHECKPOINT has this verdict, "
        f"{', '.join(FAIL_IF)}; may be repeated",
    )


def execute(parsed: argparse.Namespace) -> int:
    """Inspect one checkpoint, two, or those of a run, print the table, write the report."""
    paths, left_out = [Path(path) for path in parsed.checkpoint], list[str]()
    if parsed.follow is not None and not paths:
        paths, left_out = checkpoints_in(parsed.follow)
    elif parsed.follow is not None or not 1 <= len(paths) <= 2:
        raise ParameterError(
            f"{len(paths)} checkpoints are given{' beside --follow' * (parsed.follow is not None)};"
            " one, two to compare, or --follow FOLDER alone is accepted"
        )
    unwritten = ""
    if parsed.output is None and not parsed.json:
        unwritten = _in_the_way(Path("report.html"))
    outputs = parsed.output or ([] if parsed.json or unwritten else ["report.html"])
    outputs = [str(at_home(written)) for written in outputs]
    taken = {os.path.realpath(at_home(path)): "the checkpoint" for path in paths}
    for path in filter(None, (parsed.rows_weight, parsed.field_dims)):
        taken.setdefault(os.path.realpath(at_home(path)), "read as well")
    for written in outputs:
        if use := taken.get(os.path.realpath(written)):
            raise ParameterError(f"{written} is {use}; the report needs another name")
        if Path(written).is_dir():
            raise ParameterError(f"{written} is a folder; the report needs the name of a file")
        if Path(written).is_file() or not Path(written).exists():  # else a device or a pipe
            taken[os.path.realpath(written)] = "the report"
            if Path(written).suffix not in SUFFIXES:
                raise ParameterError(
                    f"{written} is no name of a report; {', '.join(SUFFIXES)} are accepted endings"
                )
            if is_stored(Path(written)):  # such as the one beside the checkpoint
                raise ParameterError(
                    f"{written} is a record or a codebook; the report needs another name"
                )
            check_writable("the report's folder", Path(os.path.realpath(written)).parent)
    for path in parsed.checkpoint:
        weights.check(path)
    if parsed.rows_weight:  # whole, or each checkpoint would seem damaged where it is
        read_counts(parsed.rows_weight)
    options = {
        "include": parsed.include,
        "exclude": parsed.exclude,
        "field_dims": None if parsed.field_dims is None else read_field_dims(parsed.field_dims),
        "sets": parsed.sets,
        "row_weights": parsed.rows_weight,
    }
    many = parsed.follow is not None
    inspections: list[Inspection] = []
    damaged: Exception | None = None  # behind the last that could be read
    for path in tqdm(paths, "inspecting", disable=not (many and parsed.progress), delay=3):
        try:
            inspections.append(inspect(path, **options, progress=parsed.progress and not many))
            damaged = None
        except (weights.UnreadableError, OSError) as error:  # such as what a killed run was writing
            if not many:
                raise
            damaged = error
            left_out.append(f"left out, {error}")
        except NoTableError as error:  # what lies beside a run's checkpoints, such as an optimizer
            if not many or (path == paths[-1] and not inspections):
                raise
            left_out.append(f"left out, {error}")
    if damaged is not None:
        raise ParameterError(
            f"follow is {parsed.follow!r}, whose last checkpoint cannot be judged: {damaged}"
        )
    if many:  # the last one, and how it came there
        last = inspections[-1]
        inspections[-1] = replace(last, remarks=[*last.remarks, *left_out])
        content = inspections[-1].to_json() | {"course": as_json(inspections)}
    else:
        content = inspections[0].to_json()
        if len(inspections) > 1:
            content["compared_with"] = inspections[1].to_json()
    try:  # files first: whoever reads what is printed may stop reading
        for written in outputs:
            _write(Path(written), inspections, content, many)
    except OSError as error:
        raise ParameterError(f"the report cannot be written ({error})") from None
    print_result(parsed, content, _text(inspections, outputs, many, unwritten))
    verdicts = {table.verdict for table in inspections[-1].tables}
    return FOUND if any(FAIL_IF[name] in verdicts for name in parsed.fail_if) else 0


def _in_the_way(report: Path) -> str:
    """Why a report that nobody asked for is not written, if it is not."""
    try:
        check_writable("the folder", report.absolute().parent)
        ours = report.is_file() and MARK in report.read_text("utf-8", "replace")[:1000]
        if report.exists() and not ours:  # a pipe is not waited for
            return f"no report: {report} is there already, and another's; --output names another"
    except (OSError, ParameterError) as error:
        return f"no report: {error}; --output names another place"
    return ""


def _write(
    path: Path, inspections: Sequence[Inspection], content: dict[str, Any], many: bool
) -> None:
    """The report, in the format that the file's name asks for."""
    if path.suffix == ".json":
        write_json(path, content)
        return
    form = markdown if path.suffix == ".md" else html
    page = form(inspections[-1], course=inspections) if many else form(*inspections)
    write_atomically(path, lambda part: part.write_text(page, "utf-8", "backslashreplace"))


def _text(
    inspections: Sequence[Inspection],
    outputs: Sequence[str],
    many: bool,
    unwritten: str,
) -> str:
    """What is printed."""
    if many:
        parts = [aligned(course_table(inspections)), str(inspections[-1])]
    elif len(inspections) > 1:
        parts = [
            f"{label}: {one.name}\n{one}" for label, one in zip("AB", inspections, strict=True)
        ]
        parts.append(aligned(comparison(*inspections)))
        parts += [f"note: {note}"] if (note := unmatched(*inspections)) else []
    else:
        parts = [str(inspections[0])]
    if outputs:
        parts.append("\n".join(f"report: {written}" for written in outputs))
    parts += [f"note: {unwritten}"] if unwritten else []
    return "\n\n".join(parts)
