"""The table of training's speed has what it promises, and says what it lacks."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "training.py"


@pytest.mark.slow
def test_cells_stand_beside_their_floor_and_a_loop_and_what_failed_is_told(tmp_path):
    once = ["--device", "cpu", "--models", "dnn", "--steps", "1", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *once, "--official", tmp_path], capture_output=True, text=True
    )
    heads, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("|")
    )
    table = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert list(table) == ["dnn base", "dnn SE 4x", "dnn ME 4x", "dnn SE 10x", "dnn ME 10x"]
    assert all(row["over floor"].endswith("x") for row in table.values())
    assert [row["against the loop"].endswith("x") for row in table.values()] == [0, 0, 1, 0, 1]
    assert (done.stdout + done.stderr).count("official failed: ModuleNotFoundError") == 5
    assert done.returncode == 1 and "5 of 12 were not measured in all rounds" in done.stderr
