"""Options of the commands that read data and train, and what they stand for: a spec, its data, a
folder, machines."""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from tqdm.auto import tqdm

from embedding_collapse.options import list_of
from embedding_collapse.parameters import ParameterError, check_choice, check_number

from ..data import DATASETS, DataSpec, describe
from ..device import choose_device, precision_of
from ..engine.products import NAMED
from ..experiment import output_folder
from ..models import MODELS
from ..spec import Spec

PLURAL = {"model": "models", "design": "designs", "scale": "scales", "seed": "seeds"}
HELP = {
    "rows": "how many, of what is read the first; all by default",
    "path": "file, folder or dataset on the Hub to read",
    "label": "of a table: its column of 0 and 1",
    "positive": "of a table: the label's values that are 1, where it doesn't hold 0 and 1; others, "
    "none and NA too, are 0, and a blank or NaN is no label",
    "threshold": "of a table: the least number in the label's column that is 1",
    "categorical": "of a table: columns whose values are features; those not named here or by "
    "--numeric are then left out",
    "numeric": "of a table: columns of numbers to put into bins; likewise",
    "times": "of a table: columns of timestamps; each gives its hour and its weekday, of UTC where "
    "it tells its zone",
    "drop": "of a table: columns to leave out",
    "split_by": "of a table: the last tenth of the rows by this column tests, the tenth before "
    "validates; by default both are drawn at random",
    "min_count": "of what is read: the fewest rows with which a value has an id of its own",
    "vocabulary": "count values on all rows, or on those that train (all; of a table split by a "
    "column or as given train)",
    "held_out": "of drawn data and US flights: rows that validate and that test; --rows then train",
    "split": "how rows are held out: random; of US flights also time, the last; of a table, Criteo "
    "and Avazu also given: by a Hub dataset's splits, or of a table by three files in a folder",
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
    lists: bool = False,
) -> None:
    """An option for every parameter of a run or of its data; with `lists` some take lists too."""
    hints = get_type_hints(parameters)
    for field in dataclasses.fields(parameters):
        if field.name in ("data", "name"):  # the data's name is the option --dataset
            continue
        kind, many = _kind(hints[field.name])
        shown = "" if field.default in (None, ()) else f" ({field.default})"
        text = HELP[field.name]
        names = [f"--{field.name.replace('_', '-')}"]
        if plural := lists and PLURAL.get(field.name):
            names.append(f"--{plural}")
            many, shown = True, ""
        letter = field.name[0].upper()
        command.add_argument(
            *names,
            type=list_of(kind) if many else kind,
            dest=field.name,
            metavar=f"{letter},{letter}" if many and not plural else letter,
            help=(text + shown).replace("%", "%%"),
        )


def _kind(hint: Any) -> tuple[type, bool]:
    """The type of an option's values, and whether it takes several."""
    inner = next((one for one in get_args(hint) if one not in (NoneType, ...)), hint)
    if get_origin(inner) is tuple or get_origin(hint) is tuple:
        return (get_args(inner) or (inner,))[0], True
    return (inner if inner in (int, float) else str), False


def add_data_of_runs(command: argparse.ArgumentParser) -> None:
    """What to train on: a dataset by name, and the options that are parts of it."""
    command.add_argument(
        "--dataset",
        "--datasets",
        default=DataSpec.name,
        metavar="D",
        help=f"{', '.join(DATASETS)} ({DataSpec.name})",
    )
    add_options_of_data(command)


def add_options_of_data(command: argparse.ArgumentParser) -> None:
    """An option for every parameter of `DataSpec` beside the name, and what reading takes."""
    add_parameters(command, DataSpec)
    command.add_argument(
        "--max-rejected",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="of the rows of each file that may be unusable (0.01)",
    )


def data_of(parsed: argparse.Namespace, name: str | None = None) -> DataSpec:
    """What those options describe; a file is read for its hash."""
    check_number("max_rejected", parsed.max_rejected, 0, 1)
    options = given(parsed, DataSpec)
    content = options.pop("content", None)
    spec = describe(name or parsed.dataset, progress=parsed.progress, **options)
    if content not in (None, spec.content):
        raise ParameterError(
            f"content is {content!r}; what is read has the hash {spec.content!r}: other data"
        )
    return spec


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
        "--weights",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the weights beside the records",
    )


def add_machines(command: argparse.ArgumentParser, workers: int | None = None) -> None:
    """How many runs at a time, and on which machines."""
    where = command.add_mutually_exclusive_group()
    default = "one, with all threads" if workers is None else workers
    where.add_argument(
        "--workers",
        type=int,
        default=workers,
        metavar="N",
        help=f"processes of one thread each ({default})",
    )
    where.add_argument(
        "--ray",
        type=int,
        nargs="?",
        const=0,
        metavar="N",
        help="run on Ray here, N runs at a time (one per core)",
    )
    where.add_argument("--ray-address", metavar="ADDRESS", help="run on this Ray cluster")
    command.add_argument(
        "--gpu-share",
        type=float,
        default=1,
        metavar="SHARE",
        help="with Ray, the share of a GPU that a run asks for (1)",
    )
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


def teller(parsed: argparse.Namespace) -> Callable[[str], None]:
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


def output_of(name: str) -> Path:
    """The output folder; a command needs one."""
    folder = output_folder(name)
    if folder is None:
        raise ParameterError("output is ''; the name of a folder is needed")
    return folder


def settle_precision(parsed: argparse.Namespace) -> None:
    """Put the precision that a name stands for in its place, and say what "auto" took here."""
    if parsed.precision:
        check_choice("precision", parsed.precision, NAMED)
    if parsed.precision == "auto":  # else the device need not be here: runs may go elsewhere
        parsed.precision = precision_of("auto", choose_device(parsed.device))
        teller(parsed)(f"precision: {parsed.precision or 'float32'}, the fastest here")
    elif parsed.precision == "float32":
        parsed.precision = None
