"""`record` on the command line: its options and what it does."""

import argparse
import shlex
from pathlib import Path

from embedding_collapse.lab.arguments import add_data_of_runs, data_of, output_of, teller
from embedding_collapse.lab.command import exit_code, outcome_as_json
from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.device import choose_device, precision_of
from embedding_collapse.lab.engine.products import NAMED
from embedding_collapse.lab.studies import run_all, title
from embedding_collapse.options import print_result
from embedding_collapse.parameters import ParameterError, check_number, check_writable

from . import recording


def add_record(command: argparse.ArgumentParser) -> None:
    """The options of `record`: what is recorded, for how long, and where it goes."""
    command.description = (
        "Models, sizes and seeds come in an order of which any beginning is useful. "
        "The same command goes on where it stopped."
    )
    command.add_argument(
        "--minutes",
        type=float,
        default=60,
        metavar="M",
        help="no run is begun once they have passed (60)",
    )
    add_data_of_runs(command, default="synthetic")
    for name in ("epochs", "batch_size", "hidden", "embedding_size"):
        command.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            metavar=name[0].upper(),
            help="by default as at full scale",
        )
    command.add_argument(
        "--precision",
        choices=NAMED,
        help=f"of matrix products; auto is the fastest here ({recording.FULL['precision']})",
    )
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    command.add_argument(
        "--output", metavar="FOLDER", help=f"of records (results/<dataset>{recording.SUFFIX})"
    )
    command.add_argument(
        "--recorded",
        default="book/recorded",
        metavar="FOLDER",
        help="where executed chapters go; '' executes none",
    )
    command.set_defaults(command=record_command)


def record_command(parsed: argparse.Namespace) -> int:
    """Record what time allows; an exit code of 1 where a run failed."""
    check_number("minutes", parsed.minutes, 0)  # before data are read
    names = ("epochs", "batch_size", "hidden", "embedding_size", "precision")
    named = {name: getattr(parsed, name) for name in names}
    parameters = {name: value for name, value in named.items() if value is not None}
    device = choose_device(parsed.device)
    if parsed.precision:
        parameters["precision"] = precision_of(parsed.precision, device)
    recording.cells(DataSpec(), **parameters)  # refused before data are read, as is what follows
    if parsed.recorded:
        try:
            recording.check_chapters()
        except ParameterError as error:
            raise ParameterError(f"{error}; --recorded '' records without chapters") from None
        check_writable("recorded", Path(parsed.recorded))
    folder = output_of(parsed.output or f"results/{parsed.dataset}{recording.SUFFIX}")
    specs = recording.cells(data := data_of(parsed), **parameters)
    done = run_all(
        specs,
        folder,
        minutes=parsed.minutes,
        device=parsed.device,
        max_rejected=parsed.max_rejected,
        bars=parsed.progress,
        tell=teller(parsed),
    )
    executed: list[Path] = []
    if parsed.recorded and done.records:
        command = "python -m embedding_collapse " + shlex.join(parsed.arguments)
        for path in recording.execute_chapters(
            done.records,
            folder,
            Path(parsed.recorded),
            command,
            data,
            parsed.device,
            parsed.max_rejected,
        ):
            teller(parsed)(f"executed {path}")
            executed.append(path)
        for chapter in recording.CHAPTERS:
            if not any(path.name.startswith(chapter) for path in executed):
                teller(parsed)(f"{chapter} is not executed: its runs are not all among these")
    lines = [f"{len(done.records)} of {len(specs)} runs are recorded in {folder}/"]
    ended = {record.key for record in done.records} | {fail.spec.key for fail in done.failures}
    if waiting := [spec for spec in specs if spec.key not in ended]:
        lines.append(f"{len(waiting)} wait, first {title(waiting[0])}; the same command goes on")
    content = {"executed": list(map(str, executed)), "waiting": len(waiting)}
    print_result(parsed, outcome_as_json(done, folder) | content, "\n".join(lines))
    return exit_code(done)
