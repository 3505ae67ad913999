"""`run`, `sweep`, `study`, `data` and `score` on the command line: what they do."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from embedding_collapse.files import write_atomically
from embedding_collapse.options import list_of, print_result
from embedding_collapse.parameters import ParameterError, check_writable, printable

from . import groups, processes, records
from .arguments import (
    PLURAL,
    add_data_of_runs,
    add_machines,
    add_options_of_data,
    add_output,
    add_parameters,
    data_of,
    given,
    machines,
    output_of,
    settle_precision,
    teller,
)
from .contrast import POWER
from .data import DATASETS, Dataset, DataSpec, load_spec, summarise
from .device import choose_device
from .experiment import run
from .scoring import load_scorer
from .spec import Spec
from .studies import STUDIES, Outcome, progress, run_all, study, title, with_members
from .studies.sweep import grid

# of a sweep's table, which 100 columns hold
SHOWN = ["test AUC", "test log-loss", "mean IA/K", "seeds", "parameters", "samples/s"]

# --- run and sweep --------------------------------------------------------------------------------


def add_run(command: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    add_data_of_runs(command)
    add_parameters(command, Spec)
    add_output(command)
    command.set_defaults(command=run_command)


def add_sweep(command: argparse.ArgumentParser) -> None:
    """The options of `sweep`."""
    command.description = (
        "Lists are separated by commas. Without lists it is the paper's grid: its six models, SE "
        "and ME at 1, 2, 3, 4 and 10, three seeds. The same command goes on where it stopped."
    )
    add_data_of_runs(command)
    add_parameters(command, Spec, PLURAL)
    add_output(command)
    add_machines(command)
    command.set_defaults(command=sweep_command)


def run_command(parsed: argparse.Namespace) -> int:
    """Do one run and print what came of it; on the processes that `torchrun` starts, one run."""
    with processes.joined(parsed.device):
        return _run(parsed)


def _run(parsed: argparse.Namespace) -> int:
    parsed.progress &= processes.rank() == 0
    folder = output_of(parsed.output)
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
        lines = [groups.summary([record]).T.to_string(), groups.still_rising([record])]
        content = as_json(record, folder)
        lines.append(f"record: {content['record']}")
        print_result(parsed, content, "\n".join(filter(None, lines)))
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
        "still_rising": record.still_rising,
    }


def sweep_command(parsed: argparse.Namespace) -> int:
    """Do a grid of runs and print the table."""
    settle_precision(parsed)
    parameters = given(parsed)
    lists = {PLURAL[name]: parameters.pop(name) for name in PLURAL if name in parameters}
    folder = output_of(parsed.output)
    grid(datasets=[DataSpec()], **lists, **parameters)  # refused before data are read
    if not machines(parsed)["ray_address"]:  # else other machines have devices of their own
        choose_device(parsed.device)
    datasets = [data_of(parsed, name.strip()) for name in parsed.dataset.split(",")]
    specs = grid(datasets=datasets, **lists, **parameters)
    done = run_all(
        specs,
        folder,
        weights=specs if parsed.weights else (),
        device=parsed.device,
        tell=teller(parsed),
        max_rejected=parsed.max_rejected,
        bars=parsed.progress,
        **machines(parsed),
    )
    there = len(done.records) - done.trained
    counts = f"{len(specs)} runs: {there} were there, {done.trained} trained; records in {folder}/"
    ended = {record.key for record in done.records} | {fail.spec.key for fail in done.failures}
    if waiting := [spec for spec in specs if spec.key not in ended]:
        counts += f"\n{len(waiting)} wait, first {title(waiting[0])}; the same command goes on"
    differences = groups.differences(done.records)
    last = "\n".join(filter(None, [groups.still_rising(done.records), counts]))
    told = "\n\n".join(filter(None, [*_tables(done.records), _told(differences), last]))
    content = {
        "folder": str(folder),
        "trained": done.trained,
        "failures": [str(failure) for failure in done.failures],
        "runs": [as_json(record, folder) for record in done.records],
        "differences": [
            {
                "dataset": one.new.dataset,
                "model": one.new.model,
                "new": one.new.label,
                "old": one.old.label,
                **one.auc._asdict(),
            }
            for one in differences
        ],
        "waiting": len(waiting),
    }
    print_result(parsed, content, told)
    return exit_code(done)


def _tables(runs: Sequence[records.Record]) -> list[str]:
    """A table of the cells of each data set, below its name where there are several."""
    by_dataset: dict[str, list[records.Record]] = {}
    for record in runs:
        by_dataset.setdefault(record.spec["dataset"], []).append(record)
    return [
        (f"{name}:\n" if len(by_dataset) > 1 else "") + groups.summary(own)[SHOWN].to_string()
        for name, own in by_dataset.items()
    ]


def _told(differences: Sequence[groups.Difference]) -> str:
    """A table of the differences, and what its intervals are."""
    if not differences:
        return ""
    rows = {}
    for one in differences:
        value, _, interval = format(one.auc, "+.4f").partition(" ")
        rows[one.new.dataset, one.new.model, one.label] = {
            "test AUC": value,
            "its 95% interval": interval,
            "smallest to be seen": f"{one.auc.smallest:.4f}" if interval else "",
        }
    frame = pd.DataFrame(rows.values(), index=pd.MultiIndex.from_tuples(rows))
    told = f"smallest to be seen: told from zero in {POWER:.0%} of cases"
    intervals = int(frame["its 95% interval"].astype(bool).sum())
    if intervals > 1:
        told = f"{intervals} intervals, not corrected for being {intervals}; {told}"
    elif not intervals:
        frame, told = frame[["test AUC"]], "an interval needs two seeds of both"
    return f"{groups.without_constants(frame).to_string()}\n{told}"


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
    command.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="runs whose title holds it, as 'dnn ME 4x, seed 0'",
    )
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
        weights = chosen.unmade_members(output_of(str(folder)), set(specs))
        done = run_all(
            specs,
            folder,
            weights=weights,
            device=parsed.device,
            bars=parsed.progress,
            tell=teller(parsed),
            **machines(parsed),
        )
    recorded = chosen.records(folder, missing_ok=True)
    progresses = {part.name: progress(part.specs, recorded) for part in parts}
    progresses["all of these"] = whole = progress(specs, recorded)
    lines = [chosen.question, *(f"{name:16}{come}" for name, come in progresses.items())]
    if whole.left and (workers := machines(parsed)["workers"]):
        end = datetime.now() + timedelta(seconds=whole.left / workers)
        lines.append(f"with {workers} at work all the time it ends about {end:%A %H:%M}")
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


def data_command(parsed: argparse.Namespace) -> int:
    """Load a dataset and print what is in it."""
    with processes.without_notes():  # which are printed below
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
    assert loaded.spec is not None  # it was loaded by it
    if guess := _guess_as_options(loaded):
        lines.append(f"to correct the guess, edit {printable(guess)}")
    formats = {"features": "{:,}".format, "rare share": "{:.4f}".format}
    lines.append(fields.rename(index=printable).to_string(formatters=formats))
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


def _guess_as_options(data: Dataset) -> str:
    """The columns that a guess found, as a shell takes the options that correct it; "" where the
    spec names them, and where a name with a comma could not be given so."""
    spec, options = data.spec, []
    if spec is None or spec.name != "table" or spec.categorical or spec.numeric:
        return ""
    assert data.codebook is not None  # a table has one
    for kind in ("categorical", "numeric"):
        names = [entry.column for entry in data.codebook.entries if entry.kind == kind]
        if any("," in name for name in names):
            return ""
        options += [f"--{kind} {shlex.quote(','.join(names))}"] if names else []
    return " ".join(options)


# --- score ----------------------------------------------------------------------------------------


def add_score(command: argparse.ArgumentParser) -> None:
    """The options of `score`."""
    command.add_argument(
        "record", metavar="RECORD", help="<key>.json, with the weights and the codebook beside it"
    )
    command.add_argument(
        "rows", metavar="ROWS", help="Parquet or text with the columns that were fields in training"
    )
    command.add_argument(
        "--output",
        default="scores.parquet",
        metavar="FILE",
        help="Parquet, or CSV if its name ends so: a probability per row, in their order "
        "(scores.parquet)",
    )
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    command.set_defaults(command=score_command)


def score_command(parsed: argparse.Namespace) -> int:
    """Score rows and write their probabilities."""
    output = Path(parsed.output).expanduser()
    _check_output(output, parsed.rows)
    scorer = load_scorer(parsed.record, device=parsed.device)
    scores = scorer.score(parsed.rows, progress=parsed.progress)
    write = pa.csv.write_csv if output.suffix == ".csv" else pa.parquet.write_table
    table = pa.table({"probability": scores})
    write_atomically(output, lambda temporary: write(table, temporary))
    mean = float(scores.mean())
    text = f"{len(scores):,} rows, mean probability {mean:.4f}: {output}"
    print_result(parsed, {"output": str(output), "rows": len(scores), "mean": mean}, text)
    return 0


def _check_output(output: Path, rows: str) -> None:
    """Raise a `ParameterError`, before rows are read, where scores would take their place or cannot
    be written."""
    if output.resolve() == Path(rows).expanduser().resolve():
        raise ParameterError(
            f"output is {str(output)!r}, the rows to score; another file is needed"
        )
    if output.is_dir():
        raise ParameterError(f"output is {str(output)!r}, a folder; a file is accepted")
    if output.is_file() or not output.exists():  # a device or a pipe is written to as it is
        check_writable("output", output.parent)
