"""`run`, `sweep`, `study` and `data` on the command line: their options and what they do."""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, get_args, get_origin, get_type_hints

from tqdm.auto import tqdm

from embedding_collapse.options import list_of, print_result
from embedding_collapse.parameters import ParameterError, printable

from . import groups, processes, records
from .data import DATASETS, DataSpec, describe, load_spec, summarise
from .device import choose_device, precision_of
from .experiment import Spec, output_folder, run
from .models import MODELS
from .studies import STUDIES, Outcome, progress, run_all, study, title, with_members
from .studies.sweep import grid

PLURAL = {"model": "models", "design": "designs", "scale": "scales", "seed": "seeds"}
HELP = {
    "dataset": ", ".join(DATASETS),
    "rows": "how many; all by default",
    "path": "file, folder or dataset on the Hub to read",
    "label": "of a table: its column of 0 and 1",
    "positive": "of a table: the label's values that are 1, where it doesn't hold 0 and 1",
    "threshold": "of a table: the least number in the label's column that is 1",
    "categorical": "of a table: columns whose values are features",
    "numeric": "of a table: columns of numbers to put into bins",
    "times": "of a table: columns of timestamps; each gives its hour and its weekday",
    "drop": "of a table: columns to leave out",
    "split_by": "of a table: the last rows by this column are held out",
    "min_count": "of what is read: the fewest rows with which a value has an id of its own",
    "vocabulary": "count values on all rows, or on those that train",
    "held_out": "of drawn data and US flights: rows that validate and that test; --rows then train",
    "split": "of US flights: hold out at random, or the last in time",
    "content": "hash that what is read must have, as a record tells it",
    "model": ", ".join(MODELS),
    "design": "se widens one embedding set, me adds sets",
    "scale": "how many times the base model's embedding size",
    "hidden": "units of the projections and of the head",
    "cross_layers": "of DCNv2 and its variants",
    "dropout": "of the head, the share of units",
    "epochs": "passes over the training rows at most",
    "batch_size": "rows per step",
    "learning_rate": "of Adam",
    "weight_decay": "of the weights, in each step",
    "patience": "epochs without a better validation AUC, after which training ends",
    "embedding_size": "K of the base model; the paper's by default",
    "seed": "of the weights, the shuffling and dropout",
    "precision": "of matrix products in training: float32, tf32, bf16 or auto, the "
    "fastest here (float32)",
    "members": "runs of an ensemble, whose predictions are averaged",
    "average": "of an ensemble: logits or probabilities",
}


def add_parameters(
    command: argparse.ArgumentParser,
    parameters: type[Spec] | type[DataSpec],
    several: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """An option for every parameter of a run or of its data; those in `several` take lists too."""
    hints = get_type_hints(parameters)
    for field in dataclasses.fields(parameters):
        if field.name in ("data", "name"):  # the data's name is the option --dataset
            continue
        kind, many = _kind(hints[field.name])
        shown = "" if field.default in (None, ()) else f" ({field.default})"
        text = HELP.get(field.name, field.name.replace("_", " "))
        names = [f"--{field.name.replace('_', '-')}"]
        if plural := several.get(field.name):
            names.append(f"--{plural}")
            many, shown = True, ""
        letter = field.name[0].upper()
        command.add_argument(*names, type=list_of(kind) if many else kind, dest=field.name,
                             metavar=f"{letter},{letter}" if many and not plural else letter,
                             help=(text + shown).replace("%", "%%"))  # fmt: skip


def _kind(hint: Any) -> tuple[type, bool]:
    """The type of an option's values, and whether it takes several."""
    inner = next((one for one in get_args(hint) if one not in (NoneType, ...)), hint)
    if get_origin(inner) is tuple or get_origin(hint) is tuple:
        return (get_args(inner) or (inner,))[0], True
    return (inner if inner in (int, float) else str), False


# --- run and sweep --------------------------------------------------------------------------------


def add_run(command: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    add_data_of_runs(command)
    add_parameters(command, Spec)
    add_output(command)
    command.set_defaults(command=run_command)


def add_sweep(command: argparse.ArgumentParser) -> None:
    """The options of `sweep`."""
    command.description = "Lists are separated by commas. Without lists it is the paper's grid."
    add_data_of_runs(command)
    add_parameters(command, Spec, PLURAL)
    add_output(command)
    command.add_argument(
        "--preset",
        choices=["paper"],
        help="the paper's grid: its six models, SE and ME at 1, 2, 3, 4 and 10, three seeds",
    )
    add_machines(command)
    command.set_defaults(command=sweep_command)


def add_output(command: argparse.ArgumentParser) -> None:
    """Where records go and where runs take place."""
    command.add_argument(
        "--output",
        default="runs",
        metavar="FOLDER",
        help="folder of records; what it holds is not run again",
    )
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    command.add_argument("--weights", action=argparse.BooleanOptionalAction, default=True,
                         help="keep the weights beside the records")  # fmt: skip


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


def told(parsed: argparse.Namespace) -> Callable[[str], None]:
    """What says how far runs have come, at once and apart from what a command prints of them."""

    def say(line: str) -> None:
        if parsed.progress:
            tqdm.write(line, file=sys.stderr)

    return say


def given(
    parsed: argparse.Namespace, parameters: type[Spec] | type[DataSpec] = Spec
) -> dict[str, Any]:
    """The parameters of a run beside its data, or of the data, that the command line names."""
    names = [field.name for field in dataclasses.fields(parameters)]
    values = {name: getattr(parsed, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def folder_of(name: str) -> Path:
    """The output folder; a command needs one."""
    folder = output_folder(name)
    if folder is None:
        raise ParameterError("output is ''; the name of a folder is needed")
    return folder


def settle_precision(parsed: argparse.Namespace) -> None:
    """Put the precision that a name stands for in its place, and say what "auto" took here."""
    if parsed.precision == "auto":  # else the device need not be here: runs may go elsewhere
        parsed.precision = precision_of("auto", choose_device(parsed.device))
        told(parsed)(f"precision: {parsed.precision or 'float32'}, the fastest here")
    elif parsed.precision == "float32":
        parsed.precision = None


def run_command(parsed: argparse.Namespace) -> int:
    """Do one run and print what came of it; on the processes that `torchrun` starts, one run."""
    with processes.joined(parsed.device):
        return _run(parsed)


def _run(parsed: argparse.Namespace) -> int:
    parsed.progress &= processes.rank() == 0
    folder = folder_of(parsed.output)
    settle_precision(parsed)
    choose_device(parsed.device)  # as all that cannot be, refused before data are read
    Spec(**given(parsed))
    spec = Spec(data=data_of(parsed), **given(parsed))
    record = run(
        spec,
        load_spec(spec.data, max_rejected=parsed.max_rejected, progress=parsed.progress),
        output=folder,
        device=parsed.device,
        progress=parsed.progress,
        weights=parsed.weights,
    )
    if processes.rank() == 0:
        summary = groups.summary([record]).T.to_string()
        content = as_json(record, folder)
        print_result(parsed, content, f"{summary}\nrecord: {content['record']}")
    return 0


def as_json(record: records.Record, folder: Path) -> dict[str, Any]:
    """A run, as --json prints it."""
    return {
        "record": str(records.path_of(folder, record.key)),
        "key": record.key,
        "label": record.label,
        "spec": record.spec,
        "parameters": record.parameters,
        "test": record.test,
    }


def outcome_as_json(done: Outcome, folder: Path) -> dict[str, Any]:
    """Many runs, as --json prints them."""
    return {
        "folder": str(folder),
        "trained": done.trained,
        "failures": [str(failure) for failure in done.failures],
        "runs": [as_json(record, folder) for record in done.records],
    }


def sweep_command(parsed: argparse.Namespace) -> int:
    """Do a grid of runs and print the table."""
    settle_precision(parsed)
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
        tell=told(parsed),
        max_rejected=parsed.max_rejected,
        bars=parsed.progress,
        **machines(parsed),
    )
    there = len(done.records) - done.trained
    counts = f"{len(specs)} runs: {there} were there, {done.trained} trained; records in {folder}/"
    table = f"{groups.summary(done.records).to_string()}\n" if done.records else ""
    print_result(parsed, outcome_as_json(done, folder), table + counts)
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
    done = Outcome([], 0, [])
    if not parsed.status:
        weights = chosen.unmade_members(folder_of(str(folder)))
        done = run_all(
            specs,
            folder,
            weights=weights,
            device=parsed.device,
            bars=parsed.progress,
            tell=told(parsed),
            **machines(parsed),
        )
    made = chosen.records(folder, missing_ok=True)
    progresses = {part.name: progress(part.specs, made) for part in parts}
    progresses["all of these"] = whole = progress(specs, made)
    lines = [chosen.question, *(f"{name:16}{come}" for name, come in progresses.items())]
    if whole.left and parsed.workers:
        end = datetime.now() + timedelta(seconds=whole.left / parsed.workers)
        lines.append(f"with {parsed.workers} at work all the time it ends about {end:%A %H:%M}")
    content = {
        "study": chosen.name,
        "question": chosen.question,
        "folder": str(folder),
        "failures": [str(failure) for failure in done.failures],
        "parts": {name: come._asdict() for name, come in progresses.items()},
    }
    print_result(parsed, content, "\n".join(lines))
    return exit_code(done)


# --- data -----------------------------------------------------------------------------------------


def add_data(command: argparse.ArgumentParser) -> None:
    """The options of `data`."""
    command.description = "\n".join(f"{name}: {about}" for name, about in DATASETS.items())
    command.add_argument("dataset", metavar="DATASET", help=", ".join(DATASETS))
    add_options_of_data(command)
    command.add_argument("--cache", metavar="FOLDER", help="where encoded data are kept")
    command.add_argument(
        "--workers", type=int, metavar="W", help="threads; one per core by default"
    )
    command.set_defaults(command=data_command)


def add_data_of_runs(command: argparse.ArgumentParser, default: str = DataSpec.name) -> None:
    """What to train on: a dataset by name, and the options that are parts of it."""
    command.add_argument("--dataset", "--datasets", default=default, metavar="D",
                         help=f"{', '.join(DATASETS)} ({default})")  # fmt: skip
    add_options_of_data(command)


def add_options_of_data(command: argparse.ArgumentParser) -> None:
    """An option for every parameter of `DataSpec` beside the name, and what reading takes."""
    add_parameters(command, DataSpec)
    command.add_argument("--max-rejected", type=float, default=0.01, metavar="SHARE",
                         help="of rows that may be unusable (0.01)")  # fmt: skip


def data_of(parsed: argparse.Namespace, name: str | None = None) -> DataSpec:
    """What those options describe; a file is read for its hash."""
    options = given(parsed, DataSpec)
    content = options.pop("content", None)
    spec = describe(name or parsed.dataset, progress=getattr(parsed, "progress", True), **options)
    if content not in (None, spec.content):
        raise ParameterError(
            f"content is {content!r}; what is read has the hash {spec.content!r}: other data"
        )
    return spec


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
    features, rare = fields["features"], fields["rare share"]
    lines = [
        f"{loaded.name}: {len(loaded):,} rows, {len(fields)} fields, {features.sum():,} features",
        f"label rate {loaded.labels.mean():.4f}, rare share {rare.mean():.4f}",
        *map(printable, loaded.notes),
    ]
    formats = {"features": "{:,}".format, "rare share": "{:.4f}".format}
    lines.append(fields.rename(index=printable).to_string(formatters=formats))
    assert loaded.spec is not None  # it was loaded by it
    content = {
        "name": loaded.name,
        "rows": len(loaded),
        "label_rate": float(loaded.labels.mean()),
        "notes": list(loaded.notes),
        "spec": loaded.spec.written(),
        "fields": [
            {"name": name, "features": int(count), "rare_share": float(share)}
            for name, count, share in zip(fields.index, features, rare, strict=True)
        ],
    }
    print_result(parsed, content, "\n".join(lines))
    return 0
