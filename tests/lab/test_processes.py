"""One run on several processes is that of one, but for rounding."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from data.run_together import NAMES, trained
from rounding import assert_rounding_alone, unit

from embedding_collapse.cli import main
from embedding_collapse.lab import processes, records
from embedding_collapse.parameters import ParameterError

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "data" / "run_together.py"
RUN = [
    *("-m", "embedding_collapse", "run", "--dataset=synthetic-mini", "--rows=1500", "--model=dnn"),
    *("--design=me", "--scale=2", "--embedding-size=2", "--hidden=8", "--epochs=2", "--quiet"),
    *("--batch-size=400", "--members=2", "--average=logits", "--device=cpu"),
]


def on_two_processes(*command: str) -> subprocess.CompletedProcess:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *command]
    told = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(launch, capture_output=True, text=True, timeout=600, env=told)


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> dict:
    """What two processes made of each model, in float64."""
    path = tmp_path_factory.mktemp("together") / "results.pt"
    done = on_two_processes(str(SCRIPT), str(path))
    assert done.returncode == 0, done.stderr
    return torch.load(path)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_a_model_as_one_does(together, name):
    """Dropout, batch norm's statistics, penalties and all; in float64, as Adam makes whole steps of
    gradients that are rounding alone."""
    found, test = together[name]
    (expected, alone), (coarse, _) = (
        trained(name, dtype) for dtype in (torch.float64, torch.float32)
    )
    assert_rounding_alone(found, expected, coarse)
    assert test["log_loss"] == pytest.approx(alone["log_loss"], rel=unit(torch.float32))


def test_two_processes_go_on_from_their_checkpoint(together):
    (whole, _), (resumed, _) = together["dnn"], together["resumed"]
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))


def test_more_processes_than_a_batch_has_rows_are_refused(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 95)
    message = "95 processes cannot share batches of 94 rows; a row for each is needed"
    with pytest.raises(ParameterError, match=message):
        trained("dnn", torch.float32)


def test_torchrun_makes_one_record_of_a_run_says_it_once_and_finds_it_again(tmp_path):
    """Of an ensemble, whose members are runs too."""
    folders = two, one = tmp_path / "two", tmp_path / "one"
    done = on_two_processes(*RUN, f"--output={two}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("record: ") == 1
    written = {path: path.stat().st_mtime_ns for path in two.glob("*.json")}
    assert on_two_processes(*RUN, f"--output={two}").stdout == done.stdout
    assert {path: path.stat().st_mtime_ns for path in two.iterdir() if path in written} == written
    assert main([*RUN[2:], f"--output={one}"]) == 0
    made = [{record.key: record for record in records.load_all(folder)} for folder in folders]
    assert len(made[0]) == 3
    assert made[0].keys() == made[1].keys()
    for key, record in made[0].items():
        alone = made[1][key]
        assert records.threads_of(record.environment) == "2 processes of 1 thread"
        assert alone.environment["processes"] == 1
        # the same run, and no other; how equal they are is for the models above to say
        assert record.test["log_loss"] == pytest.approx(alone.test["log_loss"], rel=1e-3)


@pytest.mark.parametrize(("rank", "told"), [("0", ["heard"]), ("1", [])])
def test_the_notes_on_a_table_are_told_by_the_first_process_alone(monkeypatch, caplog, rank, told):
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    with processes.joined("cpu"):
        logging.getLogger("embedding_collapse.lab.data").warning("heard")
    assert caplog.messages == told


def test_what_all_processes_refuse_is_told_once():
    done = on_two_processes(*RUN, "--batch-size=1")
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told == ["error: batch_size is 1; whole numbers from 2 up are accepted"]
