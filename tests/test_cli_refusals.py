"""What the command line cannot do is said in one line, before work starts and with nothing lost;
a fault of the program keeps its traceback; what data name never reaches a terminal raw."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from embedding_collapse.cli import main
from embedding_collapse.inspection import report as inspection
from embedding_collapse.lab import experiment, records, spec
from embedding_collapse.lab.commands import arguments

TINY = [
    "--dataset=synthetic-mini",
    "--rows=1500",
    "--embedding-size=2",
    "--hidden=8",
    "--epochs=1",
    "--batch-size=400",
    "--device=cpu",
    "--quiet",
]
NAME = "red\x1b[31m\x9b2J\u202e"  # colours what follows, clears the screen, turns the writing round
ESCAPED = r"red\x1b[31m\x9b2J\u202e"

# Root may read and write whatever it likes, until it gives up these two capabilities.
WITHOUT_PRIVILEGES = """
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
MANY = """
import json, sys
from embedding_collapse.cli import main
for command in json.loads(sys.argv[1]):
    print(main(command), file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """A folder to be in, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBEDDING_COLLAPSE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def refused(capsys, *command: str) -> str:
    """What a command says that ends with 1: one line on stderr, and nothing else."""
    assert main(list(command)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and said.err.endswith("\n")
    return said.err.removeprefix("error: ").removesuffix("\n")


def table(name: str = "shop", rows: int = 400) -> list[str]:
    """Options that read a table whose second column has that name."""
    lines = [f"{i % 2},{i % 7},{i / 7}" for i in range(rows)]
    Path("table.csv").write_text("\n".join([f"y,{name},other", *lines]), encoding="utf-8")
    return ["--path=table.csv", "--label=y"]


def never(monkeypatch, module, name: str) -> None:
    monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail(f"{name} was called"))


# --- sizes, devices, training ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--hidden=99999999",
            "dnn base with embedding_size 2, hidden 99999999 and cross_layers 4 has 10,000,00",
        ),
        ("--scale=99999999", "dnn SE 99999999x with embedding_size 2, hidden 8 and"),
        ("--hidden=99999999999999999999", "hidden is 99999999999999999999; whole numbers from 1"),
        ("--embedding-size=2147483648", "embedding_size is 2147483648; whole numbers from 1 to"),
        ("--device=meta", "device 'meta' cannot be used here (it is neither a CPU nor a CUDA GPU)"),
    ],
)
def test_a_run_that_is_too_large_or_on_no_device_is_refused(capsys, option, message):
    assert refused(capsys, "run", *TINY, "--model=dnn", option).startswith(message)


def test_what_a_model_would_take_is_found_out_without_taking_it(capsys, monkeypatch):
    """A first layer that fits would fill most of the memory before the second does not."""
    never(monkeypatch, spec, "build")
    monkeypatch.setattr(spec, "parameter_counts", lambda *_: {"head": 10**16})
    told = refused(capsys, "run", *TINY, "--model=dnn")
    assert "has 10,000,000,000,000,000 parameters, which take 160,000,000 GB to train; cpu" in told


def test_more_rows_than_there_can_be_are_refused(capsys):
    told = refused(capsys, "data", "synthetic-mini", "--rows=99999999999999999999", "--quiet")
    assert told.startswith("rows is 99999999999999999999; whole numbers from 10 to")


def test_scores_that_are_not_finite_are_told_as_a_run_that_diverges(capsys):
    """The loss of the one step of an epoch is finite, what it leaves of the weights is not."""
    command = ["run", *TINY, "--model=dnn", "--learning-rate=1e38", "--batch-size=2000"]
    told = refused(capsys, *command)
    assert told == (
        "150 of 150 scores of the validation rows after epoch 0 are not finite. "
        "Try a smaller learning rate (now 1e+38) or a smaller model."
    )


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_device_is_looked_for_before_data_are_read(capsys, monkeypatch, command):
    never(monkeypatch, arguments, "describe")
    told = refused(capsys, command, "--dataset=table", "--path=large.csv", "--device=abacus")
    assert told.startswith("device 'abacus' cannot be used here")


# --- files and folders ----------------------------------------------------------------------------


def test_files_and_folders_that_are_not_ones_own_are_told_by_name(here):
    options = table()
    tensors = {"emb.weight": torch.randn(50, 4)}
    save_file(tensors, "model.safetensors")
    save_file(tensors, "locked.safetensors")
    for path, mode in (("table.csv", 0), ("locked.safetensors", 0), ("kept", 0o555)):
        Path(path).mkdir(exist_ok=True) if path == "kept" else None
        Path(path).chmod(mode)
    commands = {
        ("data", "table", *options): "table.csv: Permission denied",
        ("data", "table", "--path=kept/no.csv", "--label=y"): "path is 'kept/no.csv'; there is no",
        ("data", "synthetic-mini", "--rows=200", "--cache=kept"): "kept/locks: Permission denied",
        ("inspect", "locked.safetensors"): "locked.safetensors: Permission denied",
        ("inspect", "model.safetensors", "--output=kept/report.html"): "the report's folder is '",
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PRIVILEGES, "-c", MANY, json.dumps(list(commands))],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[1::2] == ["1"] * len(commands)
    for line, message in zip(lines[::2], commands.values(), strict=True):
        assert line.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["data", "synthetic-mini", "--rows=200", "--cache=a file"],
            "a file/locks: Not a director",
        ),
        (
            ["data", "table", "--label=y", "--path=a file/x.csv"],
            "path is 'a file/x.csv'; there is no",
        ),
        (
            ["data", "table", "--label=y", f"--path={'n' * 300}.csv"],
            f"{'n' * 300}.csv: File name too",
        ),
        (["data", "table", "--label=y", "--path=loop"], "path is 'loop'; there is no such file"),
        (["inspect", "a file/model.pt"], "a file/model.pt: Not a directory"),
        (["inspect", "loop"], "loop: Too many levels of symbolic links"),
        (["run", *TINY, "--output=a file"], "output is 'a file'; the name of a folder that can be"),
    ],
)
def test_what_is_no_file_or_no_folder_is_told_by_name(capsys, command, message):
    Path("a file").touch()
    Path("loop").symlink_to("loop")
    assert refused(capsys, *command).startswith(message)


# --- what has to be installed, and where ----------------------------------------------------------


def test_a_zero_is_refused_and_not_taken_for_the_default(capsys):
    told = refused(capsys, "sweep", "--dataset=synthetic-mini", "--minutes=0", "--epochs=0")
    assert told == "epochs is 0; whole numbers from 1 up are accepted"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--ray"],
            'running on Ray needs ray, not installed here; pip install "embedding-collapse[',
        ),
        (["--ray-address=10.0.0.1:6379"], "running on Ray needs ray, not installed here; pip"),
    ],
)
def test_ray_is_asked_for_before_a_sweep_begins(capsys, monkeypatch, options, message):
    never(monkeypatch, experiment, "fit")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refused(capsys, "sweep", *TINY, *options).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ray=-3"], "workers is -3; whole numbers from 1 up are accepted"),
        (["--ray", "--gpu-share=nan"], "gpu_share is nan; numbers from 0 to 1 are accepted"),
        (["--ray", "--gpu-share=1.5"], "gpu_share is 1.5; numbers from 0 to 1 are accepted"),
        (["--ray-address=nowhere"], "ray_address is 'nowhere'; Ray says: Invalid address format"),
    ],
)
def test_what_ray_cannot_give_is_refused(capsys, options, message):
    pytest.importorskip("ray")
    assert refused(capsys, "sweep", *TINY, *options).startswith(message)


@pytest.mark.parametrize("option", ["", "--rows-weight="])
def test_all_files_are_looked_at_before_a_table_is_measured(capsys, monkeypatch, option):
    never(monkeypatch, inspection, "inspect_table")
    monkeypatch.setitem(sys.modules, "h5py", None)
    save_file({"emb.weight": torch.randn(50, 4)}, "model.safetensors")
    keras = Path(__file__).parent / "data" / "checkpoints" / "keras.weights.h5"
    told = refused(capsys, "inspect", "model.safetensors", f"{option}{keras}")
    assert told == (
        f"{keras}, which is HDF5, needs h5py, not installed here; "
        'pip install "embedding-collapse[hdf5]" brings it'
    )


# --- faults of the program ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, RuntimeError, TypeError, KeyError])
def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch, error):
    def fail(*_, **__):
        raise error("operands could not be broadcast")

    monkeypatch.setattr(experiment, "fit", fail)
    with pytest.raises(error, match="operands could not be broadcast"):
        main(["run", *TINY, "--model=dnn"])


def test_in_a_sweep_too_while_the_other_runs_go_on(monkeypatch, capsys, caplog):
    fit = experiment.fit

    def fail_at_seed_1(model, dataset, training, **options):
        if training.seed == 1:
            raise ValueError("operands could not be broadcast")
        return fit(model, dataset, training, **options)

    monkeypatch.setattr(experiment, "fit", fail_at_seed_1)
    command = ["sweep", *TINY, "--models=dnn", "--scales=1", "--seeds=0,1,2"]
    assert main(command) == 1
    assert capsys.readouterr().err == (
        "failed: synthetic-mini, dnn base, seed 1: ValueError: operands could not be broadcast\n"
    )
    (logged,) = caplog.records
    assert (logged.levelno, logged.getMessage()) == (
        logging.ERROR,
        "synthetic-mini, dnn base, seed 1",
    )
    assert "in fail_at_seed_1" in caplog.text
    assert len(records.load_all(Path("runs"))) == 2


# --- names ----------------------------------------------------------------------------------------


def test_names_of_columns_are_printed_with_control_characters_written_out(capsys):
    command = ["data", "table", *table(NAME), "--quiet"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.err == "" and all(c.isprintable() or c == "\n" for c in said.out)
    assert f"guessed categorical: {ESCAPED}; numeric: other\n" in said.out
    assert any(line.startswith(f"{ESCAPED} ") for line in said.out.splitlines())


def test_so_are_they_in_errors_and_in_what_a_run_says_of_its_data(capsys, caplog):
    options = table(NAME)
    sizes = ["--embedding-size=2", "--hidden=4", "--epochs=1", "--batch-size=64", "--quiet"]
    assert main(["run", "--dataset=table", *options, *sizes, "--model=dnn"]) == 0
    assert f"guessed categorical: {ESCAPED}; numeric: other" in caplog.text
    said = capsys.readouterr()
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)
    told = refused(capsys, "data", "table", *options, "--numeric=none")
    assert told.endswith(f"it has no column 'none'; its columns are 'y', '{ESCAPED}', 'other'")


def test_a_name_with_braces_is_a_name(capsys):
    lines = [f"{i % 2},{'few' if i == 7 else i / 7}" for i in range(400)]
    Path("table.csv").write_text("\n".join(["y,{a}{", *lines]))
    command = ["data", "table", "--path=table.csv", "--label=y", "--numeric={a}{", "--quiet"]
    assert main(command) == 0
    assert "1 row rejected: line 9: {a}{ is 'few', not a number\n" in capsys.readouterr().out


def test_a_name_that_the_terminal_cannot_write_is_written_out(here):
    done = subprocess.run(
        [sys.executable, "-m", "embedding_collapse", "data", "table", *table("größe"), "--quiet"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"guessed categorical: gr\\xf6\\xdfe; numeric: other" in done.stdout
