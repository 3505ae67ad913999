"""`sweep`: a grid of models, and the table of what came of them."""

import argparse
import sys
from collections.abc import Sequence

import pandas as pd

from embedding_collapse.options import print_result

from .. import groups, records
from ..contrast import POWER
from ..data import DataSpec
from ..device import choose_device
from ..spec import Spec
from ..studies import Outcome, run_all, title
from ..studies.sweep import grid
from .arguments import (
    PLURAL,
    add_data_of_runs,
    add_machines,
    add_output,
    add_parameters,
    data_of,
    given,
    machines,
    output_of,
    settle_precision,
    teller,
)
from .run import as_json

# of its table, which 100 columns hold
SHOWN = ["test AUC", "test log-loss", "mean IA/K", "seeds", "parameters", "samples/s"]


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of `sweep`."""
    command.description = (
        "Lists are separated by commas. Without lists it is the paper's grid: its six models, SE "
        "and ME at 1, 2, 3, 4 and 10, three seeds. The same command goes on where it stopped."
    )
    add_data_of_runs(command)
    add_parameters(command, Spec, lists=True)
    add_output(command)
    add_machines(command)


def execute(parsed: argparse.Namespace) -> int:
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
