"""What waits for a GPU is one command, whose parts run here at a tiny size on a CPU."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.sh"
PARTS = [
    "machine",
    "tests",
    "run-bf16",
    "run-compiled",
    "training",
    "kernels",
    "cost",
    "record",
    "engines",
]


@pytest.mark.slow
def test_every_part_runs_whatever_became_of_the_others_and_leaves_its_results(tmp_path):
    python = tmp_path / "python"  # which fails in the first part
    python.write_text(
        f"""#!/bin/sh
case "$*" in *torch.version.cuda*) echo "no machine"; exit 3 ;; esac
exec {shlex.quote(sys.executable)} "$@"
"""
    )
    python.chmod(0o755)
    folder = tmp_path / "results of a day"
    done = subprocess.run(
        ["sh", SCRIPT, "--tiny", "--device", "cpu", "--official", tmp_path, folder],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
    )
    told = {path.stem: path.read_text() for path in folder.glob("*.txt")}
    rows = told["summary"].splitlines()
    assert [row.split()[0] for row in rows] == PARTS
    codes = {row.split()[0]: int(row.split()[-1]) for row in rows}
    assert codes == dict.fromkeys(PARTS, 0) | {"machine": 3, "training": 1}, told
    assert done.returncode == 1
    assert told["summary"] in done.stdout and "no machine" in done.stdout
    assert told["machine"] == "no machine\n"
    assert "1 passed" in told["tests"]
    check_table(told["training"])
    assert told["engines"].splitlines()[-1].endswith("samples/s: steps loop")
    left = {"runs/*.json": 2, "record/*.json": 1, "cpu.json": 1, "optimizer.json": 1}
    assert {pattern: len(list(folder.glob(pattern))) for pattern in left} == left


def check_table(told: str) -> None:
    """Of training's speed: its cells beside their floor and a loop, and what failed is told."""
    heads, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in told.splitlines()
        if line.startswith("|")
    )
    table = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert list(table) == ["dnn base", "dnn SE 10x", "dnn ME 10x"]
    assert all(row["over floor (fastest round)"].endswith("x)") for row in table.values())
    assert [row["against the loop"].endswith("x") for row in table.values()] == [0, 0, 1]
    assert told.count("official failed: ModuleNotFoundError") == 3  # the folder holds no such code
    assert "3 of 7 were not measured in all rounds" in told


@pytest.mark.parametrize(
    "options, why",
    [
        (["--fast"], "unknown option --fast"),
        (["--minutes", "1.5"], "--minutes is '1.5'; a whole number is accepted"),
    ],
)
def test_what_it_does_not_take_is_refused(options, why, tmp_path):
    done = subprocess.run(["sh", SCRIPT, *options], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"gpu.sh: {why}\n")
