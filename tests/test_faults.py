"""The quick form of `benchmarks/faults.py`: what goes wrong is noticed, mended or survived."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parents[1] / "benchmarks" / "faults.py"
PARTS = [
    "killed-runs",
    "killed-sweeps",
    "stored-files",
    "csv",
    "tsv",
    "criteo",
    "avazu",
    "parquet",
    "safetensors",
    "pt",
    "npz",
    "npy",
    "hdf5",
    "onnx",
    "exported",
    "shards",
    "distributed",
    "full-disk",
    "read-only",
    "side-by-side",
    "mixed-up",
    "names",
    "trainings",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the harness asks Linux's /proc"),
]


@pytest.fixture(scope="module")
def outcome() -> tuple[dict[str, list[str]], str]:
    """The cells of each part's row, and what was said of what fell."""
    # without the tests' own folder of kernels, which would count as written elsewhere, as would
    # what Python compiles
    own = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    own["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, FAULTS, "all", "--quick", "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=own)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    return {row[0]: row[1:] for row in rows}, done.stderr


@pytest.mark.parametrize("part", PARTS)
def test_nothing_falls(part, outcome):
    rows, said = outcome
    assert part in rows, said
    tried, passed, told = rows[part][:3]
    if told.startswith("not tried"):
        pytest.skip(told)
    assert int(tried) > 0
    assert passed == tried, [line for line in said.splitlines() if line.startswith(f"{part} ")]
