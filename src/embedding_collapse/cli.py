"""The command line: `python -m embedding_collapse COMMAND`, `--help` lists the commands."""

import argparse
import dataclasses
import io
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import errors
from .book import recording
from .inspection import command as report_command
from .lab import groups, records
from .lab.data import DATASETS, DataSpec, describe, load_spec, summarise
from .lab.device import choose_device
from .lab.engine.loop import PRECISIONS
from .lab.experiment import Spec, output_folder, run
from .lab.models import MODELS
from .lab.studies import STUDIES, progress, run_study, with_members
from .lab.studies.sweep import grid, sweep, title
from .parameters import ParameterError, check_number, check_whole, check_writable, printable

PLURAL = {"model": "models", "design": "designs", "scale": "scales",
          "seed": "seeds"}  # fmt: skip
TYPES = dict.fromkeys(("model", "design", "precision", "average"), str) | dict.fromkeys(
    ("dropout", "learning_rate", "weight_decay"), float
)  # the others are whole numbers
HELP = {
    "model": ", ".join(MODELS),
    "design": "se widens one embedding set, me adds sets",
    "scale": "by how much",
    "embedding_size": "K of the base model; the paper's by default",
    "seed": "of the weights, the shuffling and dropout",
    "precision": "of matrix products in training: tf32 or bf16; float32 by default",
    "members": "runs of an ensemble, whose predictions are averaged",
    "average": "of an ensemble: logits or probabilities",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 1 after a failure that is told on stderr."""
    parsed = parser().parse_args(arguments)
    parsed.arguments = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that its encoding lacks, as stderr has it
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _warnings_in_one_line():
            return parsed.command(parsed)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
    except BrokenPipeError:  # whoever reads us, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush to
    except Exception as error:
        if (told := errors.message(error)) is None:
            raise
        print(f"error: {told}", file=sys.stderr)
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


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="embedding-collapse", description=__doc__)
    release = f"%(prog)s {version('embedding-collapse')}"
    top.add_argument("--version", action="version", version=release)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("run", help="train and test one model, and record it")
    add_data(one)
    add_spec(one)
    add_output(one)
    one.set_defaults(command=run_command)

    many = commands.add_parser(
        "sweep",
        help="run a grid of models, skip what is recorded, print the table",
        description="Lists are separated by commas. Without lists it is the paper's grid.",
    )
    add_data(many)
    add_spec(many, several=PLURAL)
    add_output(many)
    many.add_argument("--preset", choices=["paper"], help="the paper's grid: its six models, SE and"
                      " ME at 1, 2, 3, 4 and 10, three seeds")  # fmt: skip
    many.add_argument("--ray", type=int, nargs="?", const=0, metavar="N",
                      help="run on Ray here, N runs at a time (one per core)")  # fmt: skip
    many.add_argument("--ray-address", metavar="ADDRESS", help="run on this Ray cluster")
    many.add_argument("--gpu-share", type=float, default=1, metavar="SHARE",
                      help="with Ray, the share of a GPU that a run asks for (1)")  # fmt: skip
    many.set_defaults(command=sweep_command)

    full = commands.add_parser(
        "record",
        help="run the paper's grid at full scale, as far as time allows, and record the chapters",
        description="Models, sizes and seeds come in an order of which any beginning is useful. "
        "The same command goes on where it stopped.",
    )
    add_record(full)
    full.set_defaults(command=record_command)

    study = commands.add_parser(
        "study",
        help="make what is missing of a study's runs, or tell how far it has come",
        description="\n".join(f"{one.name}: {one.question}" for one in STUDIES.values()),
    )
    add_study(study)
    study.set_defaults(command=study_command)

    data = commands.add_parser(
        "data",
        help="load a dataset into the cache, and print what is in it",
        description="\n".join(f"{name}: {about}" for name, about in DATASETS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data.add_argument("dataset", metavar="DATASET", help=", ".join(DATASETS))
    add_options_of_data(data)
    data.add_argument("--max-rejected", type=float, default=0.01, metavar="SHARE",
                      help="of rows that may be unusable (0.01)")  # fmt: skip
    data.add_argument("--cache", metavar="FOLDER", help="where encoded data are kept")
    data.add_argument("--workers", type=int, metavar="W", help="threads; one per core by default")
    data.add_argument("--quiet", dest="progress", action="store_false", help="no progress bars")
    data.set_defaults(command=data_command)

    look = commands.add_parser("inspect", help="has this checkpoint collapsed? a report")
    report_command.add_options(look)
    look.set_defaults(command=report_command.run)
    return top


def add_spec(command: argparse.ArgumentParser, several: dict[str, str] | None = None) -> None:
    """An option for every parameter of `experiment.Spec` beside its data; those in `several` take
    lists too."""
    for field in dataclasses.fields(Spec):
        if field.name == "data":
            continue
        kind, default = TYPES.get(field.name, int), field.default
        text = HELP.get(field.name, field.name.replace("_", " "))
        names = [f"--{field.name.replace('_', '-')}"]
        shown = "" if default is None else f" ({default})"
        if several and field.name in several:
            names.append(f"--{several[field.name]}")
            kind, shown = list_of(kind), ""
        command.add_argument(*names, type=kind, dest=field.name, metavar=field.name[0].upper(),
                             help=(text + shown).replace("%", "%%"))  # fmt: skip


def list_of(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A type for argparse: values separated by commas."""

    def values(text: str) -> list[Any]:
        return [kind(part.strip()) for part in text.split(",")]

    values.__name__ = f"list of {kind.__name__}"  # for argparse's messages
    return values


def add_output(command: argparse.ArgumentParser) -> None:
    """Where records go and where runs take place."""
    command.add_argument("--output", default="runs", metavar="FOLDER",
                         help="folder of records; what it holds is not run again")  # fmt: skip
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    command.add_argument("--no-weights", dest="weights", action="store_false",
                         help="keep records alone")  # fmt: skip
    command.add_argument("--quiet", dest="progress", action="store_false", help="no progress bars")


def given(parsed: argparse.Namespace) -> dict[str, Any]:
    """The parameters of a spec beside its data that the command line names."""
    names = [field.name for field in dataclasses.fields(Spec) if field.name != "data"]
    values = {name: getattr(parsed, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def folder_of(name: str) -> Path:
    """The output folder; a command needs one."""
    folder = output_folder(name)
    if folder is None:
        raise ParameterError("output is ''; the name of a folder is needed")
    return folder


def run_command(parsed: argparse.Namespace) -> int:
    """Do one run and print what came of it."""
    folder = folder_of(parsed.output)
    choose_device(parsed.device)  # as all that cannot be, refused before data are read
    Spec(**given(parsed))
    spec = Spec(data=data_of(parsed), **given(parsed))
    record = run(
        spec,
        load_spec(spec.data, progress=parsed.progress),
        output=folder,
        device=parsed.device,
        progress=parsed.progress,
        weights=parsed.weights,
    )
    print(groups.summary([record]).T.to_string())
    print(f"record: {records.path_of(folder, record.key)}")
    return 0


def sweep_command(parsed: argparse.Namespace) -> int:
    """Do a grid of runs and print the table."""
    parameters = given(parsed)
    lists = {PLURAL[name]: parameters.pop(name) for name in PLURAL if name in parameters}
    if parsed.preset and lists:
        raise ParameterError(
            f"--preset {parsed.preset} sets {', '.join(lists)} itself; give either"
        )
    folder = folder_of(parsed.output)
    grid(datasets=[DataSpec()], **lists, **parameters)  # refused before data are read
    datasets = [data_of(parsed, name.strip()) for name in parsed.dataset.split(",")]
    specs = grid(datasets=datasets, **lists, **parameters)
    done = sweep(
        specs,
        folder,
        device=parsed.device,
        weights=parsed.weights,
        progress=parsed.progress,
        ray_address=parsed.ray_address or ("local" if parsed.ray is not None else None),
        workers=parsed.ray or None,
        gpu_share=parsed.gpu_share,
    )
    if done.records:
        print(groups.summary(done.records).to_string())
    there = len(specs) - done.trained - len(done.failures)
    print(f"{len(specs)} runs: {there} were there, {done.trained} trained; records in {folder}/")
    for failure in done.failures:
        print(f"failed: {title(failure.spec)}: {failure.reason}", file=sys.stderr)
    return 1 if done.failures else 0


def add_study(command: argparse.ArgumentParser) -> None:
    """Which runs of a study, for how long, and where."""
    command.add_argument("name", metavar="STUDY", choices=[*STUDIES], help=", ".join(STUDIES))
    command.add_argument("--status", action="store_true", help="tell what is done, and make no run")
    command.add_argument("--parts", type=list_of(str), metavar="P,P", help="of the study (all)")
    command.add_argument("--only", default="", metavar="TEXT",
                         help="runs whose title holds it, as 'dnn ME 4x, seed 0'")  # fmt: skip
    command.add_argument("--minutes", type=float, metavar="M",
                         help="no run is begun once they have passed (no end)")  # fmt: skip
    command.add_argument("--workers", type=int, default=1, metavar="W",
                         help="runs at a time, of one thread each (1)")  # fmt: skip
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    command.add_argument("--output", metavar="FOLDER", help="of records (results/STUDY)")


def study_command(parsed: argparse.Namespace) -> int:
    """Make the runs of a study, or tell how far they are; an exit code of 1 where one failed."""
    study = STUDIES[parsed.name]
    if parsed.minutes is not None:
        check_number("minutes", parsed.minutes, 0)
    check_whole("workers", parsed.workers, least=1)
    choose_device(parsed.device)
    parts = [study.part(name) for name in parsed.parts or [part.name for part in study.parts]]
    specs = [spec for spec in with_members(parts) if parsed.only in title(spec)]
    if not specs:
        raise ParameterError(f"no run of {study.name} has {parsed.only!r} in its title")
    folder = Path(parsed.output) if parsed.output else study.folder
    print(study.question)
    failures = []
    if not parsed.status:
        tell = partial(print, flush=True)
        _, failures = run_study(
            specs, folder_of(str(folder)), minutes=parsed.minutes, workers=parsed.workers,
            device=parsed.device, tell=tell,
        )  # fmt: skip
    made = study.records(folder=folder)
    rows = {part.name: progress(part.specs, made) for part in parts} | {
        "all of these": progress(specs, made)
    }
    for name, (done, runs, spent, left) in rows.items():
        ahead = "" if left is None else f", about {left:.1f} left"
        print(f"{name:15}{done:4} of{runs:4} runs; {spent:5.1f} core-hours{ahead}")
    left = rows["all of these"].left
    if left:
        end = datetime.now() + timedelta(hours=left / parsed.workers)
        print(f"with {parsed.workers} at work all the time it ends about {end:%A %H:%M}")
    return 1 if failures else 0


def add_record(command: argparse.ArgumentParser) -> None:
    """What is recorded, for how long, and where it goes."""
    command.add_argument("--minutes", type=float, default=60, metavar="M",
                         help="no run is begun once they have passed (60)")  # fmt: skip
    add_data(command, default="synthetic")
    for name in ("epochs", "batch_size", "hidden", "embedding_size"):
        command.add_argument(f"--{name.replace('_', '-')}", type=int, metavar=name[0].upper(),
                             help="by default as at full scale")  # fmt: skip
    command.add_argument("--precision", choices=["float32", *PRECISIONS],
                         help=f"of matrix products ({recording.FULL['precision']})")  # fmt: skip
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    command.add_argument("--output", metavar="FOLDER",
                         help=f"of records (results/<dataset>{recording.SUFFIX})")  # fmt: skip
    command.add_argument("--recorded", default="book/recorded", metavar="FOLDER",
                         help="where executed chapters go; '' executes none")  # fmt: skip


def record_command(parsed: argparse.Namespace) -> int:
    """Record what time allows; an exit code of 1 where a run failed."""
    check_number("minutes", parsed.minutes, 0)
    names = ("epochs", "batch_size", "hidden", "embedding_size", "precision")
    named = {name: getattr(parsed, name) for name in names}
    parameters = {name: value for name, value in named.items() if value is not None}
    if parameters.get("precision") == "float32":
        parameters["precision"] = None
    recording.cells(DataSpec(), **parameters)  # refused before data are read, as is what follows
    choose_device(parsed.device)
    if parsed.recorded:
        try:
            recording.check_chapters()
        except ParameterError as error:
            raise ParameterError(f"{error}; --recorded '' records without chapters") from None
        check_writable("recorded", Path(parsed.recorded))
    folder = folder_of(parsed.output or f"results/{parsed.dataset}{recording.SUFFIX}")
    specs = recording.cells(data := data_of(parsed), **parameters)
    told = partial(print, flush=True)
    done = recording.record(specs, folder, 60 * parsed.minutes, device=parsed.device, told=told)
    for failure in done.failures:
        print(f"failed: {title(failure.spec)}: {failure.reason}", file=sys.stderr)
    if parsed.recorded and done.records:
        command = "python -m embedding_collapse " + shlex.join(parsed.arguments)
        for path in recording.execute_chapters(
            done.records, folder, Path(parsed.recorded), command, data, parsed.device
        ):
            print(f"executed {path}")
    print(f"{len(done.records)} of {len(specs)} runs are recorded in {folder}/")
    if done.waiting:
        first = title(done.waiting[0])
        print(f"{len(done.waiting)} wait, first {first}; the same command goes on")
    return 1 if done.failures else 0


def add_data(command: argparse.ArgumentParser, default: str = DataSpec.name) -> None:
    """What to train on: a dataset by name, and the options that are parts of it."""
    command.add_argument("--dataset", "--datasets", default=default, metavar="D",
                         help=f"{', '.join(DATASETS)} ({default})")  # fmt: skip
    add_options_of_data(command)


def add_options_of_data(command: argparse.ArgumentParser) -> None:
    """An option for every parameter of `data.describe` beside the name."""
    command.add_argument("--rows", type=int, metavar="R", help="how many; all by default")
    command.add_argument("--held-out", type=list_of(int), metavar="V,T",
                         help="of drawn data: rows that validate and that test; --rows are then"
                         " those that train")  # fmt: skip
    command.add_argument(
        "--split",
        default="random",
        metavar="S",
        help="of US flights: hold out at random, or the last in time (random)",
    )
    command.add_argument("--path", metavar="P", help="file, folder or dataset on the Hub to read")
    command.add_argument("--label", metavar="COLUMN", help="of a table: its column of 0 and 1")
    command.add_argument("--categorical", default="", metavar="C,C",
                         help="of a table: columns whose values are features")  # fmt: skip
    command.add_argument("--numeric", default="", metavar="C,C",
                         help="of a table: columns of numbers to put into bins")  # fmt: skip
    command.add_argument("--vocabulary", default="all", metavar="V",
                         help="count values on all rows, or on those that train (all)")  # fmt: skip


def data_of(parsed: argparse.Namespace, name: str | None = None) -> DataSpec:
    """What those options describe; a file is read for its hash."""
    options = ("rows", "held_out", "split", "path", "label", "categorical", "numeric", "vocabulary")
    return describe(
        name or parsed.dataset,
        progress=getattr(parsed, "progress", True),
        **{option: getattr(parsed, option) for option in options},
    )


@contextmanager
def without_notes() -> Iterator[None]:
    """The library logs errors alone."""
    log = logging.getLogger(__package__)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def data_command(parsed: argparse.Namespace) -> int:
    """Load a dataset and print what is in it."""
    with without_notes():  # which are printed below
        loaded = load_spec(
            data_of(parsed),
            max_rejected=parsed.max_rejected,
            cache=parsed.cache,
            workers=parsed.workers,
            progress=parsed.progress,
        )
    fields = summarise(loaded)
    print(
        f"{loaded.name}: {len(loaded):,} rows, {len(fields)} fields, "
        f"{fields['features'].sum():,} features"
    )
    print(f"label rate {loaded.labels.mean():.4f}, rare share {fields['rare share'].mean():.4f}")
    for note in loaded.notes:
        print(printable(note))
    formats = {"features": "{:,}".format, "rare share": "{:.4f}".format}
    print(fields.rename(index=printable).to_string(formatters=formats))
    return 0
