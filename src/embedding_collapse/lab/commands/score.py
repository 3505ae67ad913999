"""`score`: new rows, scored by the model of a record."""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from embedding_collapse.files import write_atomically
from embedding_collapse.options import print_result
from embedding_collapse.parameters import ParameterError, at_home, check_writable

from ..scoring import load_scorer

SCORES = "scores.parquet"


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of `score`."""
    command.add_argument(
        "record", metavar="RECORD", help="<key>.json, with the weights and the codebook beside it"
    )
    command.add_argument(
        "rows", metavar="ROWS", help="Parquet or text with the columns that were fields in training"
    )
    command.add_argument(
        "--output",
        metavar="FILE",
        help="Parquet, or CSV if its name ends so: a probability per row, in their order "
        f"({SCORES}, if there is none)",
    )
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")


def execute(parsed: argparse.Namespace) -> int:
    """Score rows and write their probabilities."""
    output = at_home(parsed.output or SCORES)
    if parsed.output is None and output.exists():
        raise ParameterError(f"{SCORES} is there already; --output names the file to write")
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
    if output.resolve() == at_home(rows).resolve():
        raise ParameterError(
            f"output is {str(output)!r}, the rows to score; another file is needed"
        )
    if output.is_dir():
        raise ParameterError(f"output is {str(output)!r}, a folder; a file is accepted")
    if output.is_file() or not output.exists():  # a device or a pipe is written to as it is
        check_writable("output", output.parent)
