"""`run`, `sweep`, `study` and `data` on the command line: their options and what they do."""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from embedding_collapse.parameters import ParameterError, printable

from . import groups, processes, records
from .data import DATASETS, DataSpec, describe, load_spec, summarise
from .device import choose_device
from .experiment import Spec, output_folder, run
from .models import MODELS
from .studies import STUDIES, Outcome, progress, run_all, study, title, with_members
from .studies.sweep import grid

PLURAL = {"model": "models", "design": "designs", "scale": "scales", "seed": "seeds"}
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


# --- run and sweep --------------------------------------------------------------------------------


def add_run(command: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    add_data_of_runs(command)
    add_spec(command)
    add_output(command)
    command.set_defaults(command=run_command)


def add_sweep(command: argparse.ArgumentParser) -> None:
    """The options of `sweep`."""
    command.description = "Lists are separated by commas. Without lists it is the paper's grid."
    add_data_of_runs(command)
    add_spec(command, several=PLURAL)
    add_output(command)
    command.add_argument(
        "--preset",
        choices=["paper"],
        help="the paper's grid: its six models, SE and ME at 1, 2, 3, 4 and 10, three seeds",
    )
    add_machines(command)
    command.set_defaults(command=sweep_command)


def add_spec(command: argparse.ArgumentParser, several: dict[str, str] | None = None) -> None:
    """An option for every parameter of `experiment.Spec` beside its data; those in `several` take
    lists too."""
    for field in dataclasses.fields(Spec):
        if field.name == "data":
            continue
        kind: Callable[[str], Any] = TYPES.get(field.name, int)
        default = field.default
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
    command.add_argument(
        "--output",
        default="runs",
        metavar="FOLDER",
        help="folder of records; what it holds is not run again",
    )
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    command.add_argument(
        "--no-weights", dest="weights", action="store_false", help="keep records alone"
    )
    command.add_argument("--quiet", dest="progress", action="store_false", help="no progress bars")


def add_machines(command: argparse.ArgumentParser, workers: int | None = None) -> None:
    """How many runs at a time, and on which machines."""
    where = command.add_mutually_exclusive_group()
    default = "one, with all threads" if workers is None else workers
    where.add_argument("--workers", type=int, default=workers, metavar="N",
                       help=f"processes of one thread each ({default})")  # fmt: skip
    where.add_argument("--ray", type=int, nargs="?", const=0, metavar="N",
                       help="run on Ray here, N runs at a time (one per core)")  # fmt: skip
    where.add_argument("--ray-address", metavar="ADDRESS", help="run on this Ray cluster")
    command.add_argument("--gpu-share", type=float, default=1, metavar="SHARE",
                         help="with Ray, the share of a GPU that a run asks for (1)")  # fmt: skip
    command.add_argument(
        "--minutes", type=float, metavar="M", help="no run is begun once they have passed (no end)"
    )


def machines(parsed: argparse.Namespace) -> dict[str, Any]:
    """What `add_machines` was given, as options of `run_all`."""
    on_ray = parsed.ray_address or ("local" if parsed.ray is not None else None)
    return {
        "workers": (parsed.ray or None) if on_ray else parsed.workers,
        "ray_address": on_ray,
        "gpu_share": parsed.gpu_share,
        "minutes": parsed.minutes,
    }


def say(line: str) -> None:
    """How far runs have come, at once and apart from what a command prints of them."""
    print(line, file=sys.stderr, flush=True)


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
    """Do one run and print what came of it; on the processes that `torchrun` starts, one run."""
    with processes.joined(parsed.device):
        return _run(parsed)


def _run(parsed: argparse.Namespace) -> int:
    parsed.progress &= processes.rank() == 0
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
    if processes.rank() == 0:
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
    done = run_all(
        specs,
        folder,
        weights=specs if parsed.weights else (),
        device=parsed.device,
        tell=say if parsed.progress else lambda line: None,
        **machines(parsed),
    )
    if done.records:
        print(groups.summary(done.records).to_string())
    there = len(done.records) - done.trained
    print(f"{len(specs)} runs: {there} were there, {done.trained} trained; records in {folder}/")
    return exit_code(done)


def exit_code(done: Outcome) -> int:
    """1 where a run failed, all of which are told of at the end, where they are seen."""
    for failure in done.failures:
        print(failure, file=sys.stderr)
    return 1 if done.failures else 0


# --- study ----------------------------------------------------------------------------------------


def add_study(command: argparse.ArgumentParser) -> None:
    """The options of `study`: which runs, for how long, and where."""
    command.description = "\n".join(f"{one.name}: {one.question}" for one in STUDIES.values())
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument("name", metavar="STUDY", choices=[*STUDIES], help=", ".join(STUDIES))
    command.add_argument("--status", action="store_true", help="tell what is done, and make no run")
    command.add_argument("--parts", type=list_of(str), metavar="P,P", help="of the study (all)")
    command.add_argument("--only", default="", metavar="TEXT",
                         help="runs whose title holds it, as 'dnn ME 4x, seed 0'")  # fmt: skip
    add_machines(command, workers=1)
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    command.add_argument("--output", metavar="FOLDER", help="of records (results/STUDY)")
    command.set_defaults(command=study_command)


def study_command(parsed: argparse.Namespace) -> int:
    """Make the runs of a study, or tell how far they are; an exit code of 1 where one failed."""
    chosen = study(parsed.name)
    choose_device(parsed.device)
    parts = [chosen.part(name) for name in parsed.parts or [part.name for part in chosen.parts]]
    specs = [spec for spec in with_members(parts) if parsed.only in title(spec)]
    if not specs:
        raise ParameterError(f"no run of {chosen.name} has {parsed.only!r} in its title")
    folder = Path(parsed.output) if parsed.output else chosen.folder
    print(chosen.question)
    code = 0
    if not parsed.status:
        weights = chosen.unmade_members(folder_of(str(folder)))
        code = exit_code(
            run_all(
                specs, folder, weights=weights, device=parsed.device, tell=say, **machines(parsed)
            )
        )
    made = chosen.records(folder, missing_ok=True)
    for part in parts:
        print(f"{part.name:16}{progress(part.specs, made)}")
    whole = progress(specs, made)
    print(f"{'all of these':16}{whole}")
    if whole.left and parsed.workers:
        end = datetime.now() + timedelta(seconds=whole.left / parsed.workers)
        print(f"with {parsed.workers} at work all the time it ends about {end:%A %H:%M}")
    return code


# --- data -----------------------------------------------------------------------------------------


def add_data(command: argparse.ArgumentParser) -> None:
    """The options of `data`."""
    command.description = "\n".join(f"{name}: {about}" for name, about in DATASETS.items())
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument("dataset", metavar="DATASET", help=", ".join(DATASETS))
    add_options_of_data(command)
    command.add_argument("--max-rejected", type=float, default=0.01, metavar="SHARE",
                         help="of rows that may be unusable (0.01)")  # fmt: skip
    command.add_argument("--cache", metavar="FOLDER", help="where encoded data are kept")
    command.add_argument(
        "--workers", type=int, metavar="W", help="threads; one per core by default"
    )
    command.add_argument("--quiet", dest="progress", action="store_false", help="no progress bars")
    command.set_defaults(command=data_command)


def add_data_of_runs(command: argparse.ArgumentParser, default: str = DataSpec.name) -> None:
    """What to train on: a dataset by name, and the options that are parts of it."""
    command.add_argument("--dataset", "--datasets", default=default, metavar="D",
                         help=f"{', '.join(DATASETS)} ({default})")  # fmt: skip
    add_options_of_data(command)


def add_options_of_data(command: argparse.ArgumentParser) -> None:
    """An option for every parameter of `data.describe` beside the name."""
    command.add_argument("--rows", type=int, metavar="R", help="how many; all by default")
    command.add_argument(
        "--held-out",
        type=list_of(int),
        metavar="V,T",
        help="of drawn data: rows that validate and that test; --rows are then those that train",
    )
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
    log = logging.getLogger("embedding_collapse")
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
