"""`run`: one model, trained and tested."""

import argparse
from pathlib import Path
from typing import Any

from embedding_collapse.options import print_result

from .. import groups, processes, records
from ..data import load_spec
from ..device import choose_device
from ..experiment import run
from ..spec import Spec
from .arguments import (
    add_data_of_runs,
    add_output,
    add_parameters,
    data_of,
    given,
    output_of,
    settle_precision,
)


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    add_data_of_runs(command)
    add_parameters(command, Spec)
    add_output(command)


def execute(parsed: argparse.Namespace) -> int:
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
