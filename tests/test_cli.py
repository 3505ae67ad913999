"""The command line: what it prints, what it refuses, and with which exit code."""

import dataclasses
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import embedding_collapse.inspection.command
from embedding_collapse.cli import main
from embedding_collapse.lab import experiment, records
from embedding_collapse.lab.commands import sweep
from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies import Outcome

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


@pytest.fixture
def asked(monkeypatch, tmp_path) -> list[tuple[list[Spec], dict]]:
    """The specs and options of sweeps, of which none takes place."""
    calls = []

    def nothing(specs, folder, **options) -> Outcome:
        del options["tell"]
        calls.append((specs, options | {"folder": folder}))
        return Outcome([], 0, [])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "run_all", nothing)
    return calls


def never_trained(monkeypatch) -> None:
    monkeypatch.setattr(experiment, "fit", lambda *_, **__: pytest.fail("trained"))


# --- run ------------------------------------------------------------------------------------------


def test_run_is_a_command_that_does_one_run_and_prints_its_table_and_record(tmp_path, capsys):
    command = ["run", *TINY, "--model=dnn", "--design=me", "--scale=2", "--seed=3"]
    assert main([*command, f"--output={tmp_path}"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    (record,) = records.load_all(tmp_path)
    assert Spec.read(record.spec) == Spec(
        DataSpec("synthetic-mini", 1500),
        model="dnn",
        design="me",
        scale=2,
        seed=3,
        embedding_size=2,
        hidden=8,
        epochs=1,
        batch_size=400,
    )
    lines = said.out.splitlines()
    assert lines[0].split() == ["ME", "2x"]
    assert lines[1].split() == ["test", "AUC", f"{record.test['auc']:.4f}"]
    assert lines[-2].startswith("still rising: in 1 of 1 run the last of 1 epoch was the best")
    assert lines[-1] == f"record: {tmp_path / record.key}.json"
    assert (tmp_path / f"{record.key}.safetensors").exists()


def test_a_run_that_is_recorded_is_printed_and_not_trained_again(tmp_path, monkeypatch, capsys):
    command = ["run", *TINY, "--model=dnn", "--no-weights", f"--output={tmp_path}"]
    assert main(command) == 0
    first = capsys.readouterr().out
    never_trained(monkeypatch)
    assert main(command) == 0
    assert capsys.readouterr().out == first
    assert len(list(tmp_path.iterdir())) == 1  # no weights


def test_records_go_to_runs_in_the_folder_that_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *TINY, "--model=dnn", "--no-weights"]) == 0
    assert len(records.load_all(tmp_path / "runs")) == 1


def test_what_is_damaged_is_told_in_one_line_and_made_again(tmp_path):
    command = ["run", *TINY, "--model=dnn", "--no-weights", f"--output={tmp_path}"]
    assert main(command) == 0
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace('"auc": 0.', '"auc": 1.'))
    done = subprocess.run(
        [sys.executable, "-m", "embedding_collapse", *command], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == (
        f"warning: set aside as {path.name}.damaged: {path} is damaged: its content does not fit "
        "its checksum\n"
    )
    assert "1." not in done.stdout.splitlines()[1]  # the test AUC


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", "--model=foo"], f"model 'foo' is unknown; known: {', '.join(MODELS)}"),
        (["sweep", "--models=dnn,foo"], f"model 'foo' is unknown; known: {', '.join(MODELS)}"),
        (["run", "--dropout=1"], "dropout is 1.0; numbers from 0 to below 1 are accepted"),
        (["run", "--dataset=foo"], "dataset 'foo' is unknown; known: synthetic, synthetic-mini"),
        (
            ["sweep", "--datasets=synthetic-mini,foo"],
            "dataset 'foo' is unknown; known: synthetic, ",
        ),
        (["sweep", "--rows=3"], "rows is 3; whole numbers from 10 to 1099511627776 are accepted"),
        (["sweep", "--scales=0"], "scale is 0; whole numbers from 1 to 2147483647 are"),
        (["run", *TINY, "--device=abacus"], "device 'abacus' cannot be used here"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_with_what_is_accepted(
    tmp_path, monkeypatch, capsys, command, message
):
    never_trained(monkeypatch)
    assert main([*command, f"--output={tmp_path}"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {message}")
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["walk"], "invalid choice: 'walk'"),
        (["run", "--epochs=many"], "argument --epochs: invalid int value: 'many'"),
        (["run", "--seeds=0,1"], "unrecognized arguments: --seeds=0,1; did you mean --seed?"),
        (["run", "--lable=y", "--xyz"], "arguments: --lable=y --xyz; did you mean --label?"),
        (["data", "table", "--zzzz"], "unrecognized arguments: --zzzz\n"),
        (["sweep", "--scales=1,x"], "argument --scale/--scales: invalid list of int value: '1,x'"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_answered_with_its_usage(capsys, command, message):
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: embedding-collapse")
    assert message in said


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_an_output_without_a_name_is_refused_before_anything_is_trained(
    monkeypatch, capsys, command
):
    never_trained(monkeypatch)
    assert main([command, *TINY, "--model=dnn", "--output="]) == 1
    assert capsys.readouterr().err.startswith("error: output is ''")


def test_a_run_that_diverges_is_told_in_one_line(tmp_path, capsys):
    command = ["run", *TINY, "--model=dnn", "--learning-rate=1e38", f"--output={tmp_path}"]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the training loss is not finite at step ")
    assert said.count("\n") == 1


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_who_interrupts_is_told_that_nothing_is_lost(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiment, "fit", interrupted)
    for verb in ("run", "sweep"):
        assert main([verb, *TINY, "--model=dnn", f"--output={tmp_path}"]) == 1
        assert capsys.readouterr().err == "interrupted; the same command goes on from here\n"


def test_where_nothing_is_kept_who_interrupts_is_not_told_that_it_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(embedding_collapse.inspection.command, "inspect", interrupted)
    monkeypatch.setattr(embedding_collapse.inspection.weights, "check", lambda path: None)
    assert main(["inspect", "model.pt", "--json"]) == 1
    assert capsys.readouterr().err == "interrupted\n"


# --- help -----------------------------------------------------------------------------------------


def test_who_closes_the_pipe_sees_no_traceback(tmp_path):
    """`python -m embedding_collapse data ... | head -1`, with more to print than a pipe holds."""
    columns = [f"column_{i}_{'x' * 200}" for i in range(500)]
    table = tmp_path / "wide.csv"
    rows = [",".join([str(i % 2), *(["a"] * len(columns))]) for i in range(20)]
    table.write_text("\n".join([",".join(["y", *columns]), *rows]))
    command = [sys.executable, "-m", "embedding_collapse", "data", "table", "--quiet"]
    options = ["--path", str(table), "--label", "y", "--cache", str(tmp_path / "cache")]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout.readline().startswith("table: 20 rows, 500 fields")
        running.stdout.close()
        assert running.stderr.read() == ""


@pytest.fixture(autouse=True)
def wide(monkeypatch) -> None:
    """Lines as long as they like: argparse breaks names at their hyphens."""
    monkeypatch.setenv("COLUMNS", "500")


def help_of(capsys, *command: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"embedding-collapse {version('embedding-collapse')}\n"


def test_help_lists_the_commands(capsys):
    text = help_of(capsys)
    assert re.search(r"^ +run +train and test one model", text, re.M)
    assert re.search(r"^ +sweep +run a grid of models", text, re.M)


def test_help_says_which_rows_are_read_held_out_and_weighed(capsys):
    text = help_of(capsys, "data")
    assert "of what is read the first; all by default" in text
    assert "the last tenth of the rows by this column tests" in text
    assert "of UTC where it tells its zone" in text
    assert "counts.npz, by their names" in help_of(capsys, "inspect")


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_help_of_a_command_lists_every_parameter_of_a_spec_and_every_model(capsys, command):
    text = help_of(capsys, command)
    listed = set(re.findall(r"^  (--[\w-]+)", text, re.M))
    parameters = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Spec)}
    parameters |= {
        "--dataset",
        "--rows",
        "--held-out",
        "--split",
        "--path",
        "--label",
        "--vocabulary",
    }
    parameters -= {"--data"}
    assert parameters | {"--output", "--device", "--weights", "--quiet", "--json"} <= listed
    for model in MODELS:
        assert model in text
    assert "(2048)" in text  # the default batch size


def test_help_of_sweep_lists_what_only_a_sweep_has(capsys):
    only = set(re.findall(r"--[\w-]+", help_of(capsys, "sweep")))
    only -= set(re.findall(r"--[\w-]+", help_of(capsys, "run")))
    assert only == {
        "--models",
        "--designs",
        "--scales",
        "--seeds",
        "--workers",
        "--ray",
        "--ray-address",
        "--gpu-share",
        "--minutes",
    }


# --- sweep ----------------------------------------------------------------------------------------


def test_a_second_sweep_trains_nothing_and_prints_the_same_table(tmp_path, monkeypatch, capsys):
    command = [
        "sweep",
        *TINY,
        "--models=dnn",
        "--scales=1,2",
        "--seeds=0, 1",
        "--no-weights",
        f"--output={tmp_path}",
    ]
    assert main(command) == 0
    *table, last = capsys.readouterr().out.splitlines()
    assert last == f"6 runs: 0 were there, 6 trained; records in {tmp_path}/"
    starts = [line.partition("  ")[0] for line in table if line[:1].isalpha()]
    differences = ["SE 2x - base", "ME 2x - base", "ME 2x - SE 2x"]
    assert starts[:6] == ["base", "SE 2x", "ME 2x", *differences]
    (intervals,) = (line for line in table if "interval" in line and "not corrected" in line)
    assert intervals.startswith("3 intervals, not corrected for being 3; smallest to be seen: ")
    assert starts[-1].startswith("still rising: in 6 of 6 runs the last of 1 epoch was the best; ")
    assert max(map(len, table)) <= 100
    never_trained(monkeypatch)
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        *table,
        f"6 runs: 6 were there, 0 trained; records in {tmp_path}/",
    ]
    assert len(list(tmp_path.iterdir())) == 6


def test_a_sweep_with_a_failure_tells_of_it_after_the_table_and_exits_with_1(
    tmp_path, monkeypatch, capsys
):
    fit = experiment.fit

    def fail_at_seed_1(model, dataset, training, **options):
        if training.seed == 1:
            raise RuntimeError("no luck")
        return fit(model, dataset, training, **options)

    monkeypatch.setattr(experiment, "fit", fail_at_seed_1)
    command = [
        "sweep",
        *TINY,
        "--models=dnn",
        "--scales=1",
        "--seeds=0,1,2",
        f"--output={tmp_path}",
    ]
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.err == "failed: synthetic-mini, dnn base, seed 1: RuntimeError: no luck\n"
    assert said.out.splitlines()[-1] == (f"3 runs: 0 were there, 2 trained; records in {tmp_path}/")
    assert len(records.load_all(tmp_path)) == 2


def test_a_sweeps_table_has_a_row_per_model_and_size(tmp_path, capsys):
    command = ["sweep", *TINY, "--models=dnn,ipnn", "--scales=1,2", "--designs=me", "--seeds=0"]
    assert main([*command, f"--output={tmp_path}"]) == 0
    table = capsys.readouterr().out
    found = records.load_all(tmp_path)
    assert len(found) == 4
    for record in found:
        assert f"{record.test['auc']:.4f}" in table
        assert record.spec["model"] in table
    assert "±" not in table  # one seed each: no two runs are of one model and size
    assert "interval needs two seeds of both" in table


def test_a_quiet_sweep_tells_of_a_failure_once(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("no luck")

    monkeypatch.setattr(experiment, "fit", fail)
    command = ["sweep", *TINY, "--models=dnn", "--scales=1", "--seeds=0", f"--output={tmp_path}"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert (said.out + said.err).count("no luck") == 1


def test_a_sweep_without_lists_is_the_papers_grid(asked):
    assert main(["sweep"]) == 0
    ((specs, options),) = asked
    assert len(specs) == 6 * (5 + 4) * 3
    assert {spec.data.name for spec in specs} == {"synthetic-mini"}
    assert options["folder"] == Path("runs")
    assert options["ray_address"] is None


def test_the_papers_grid_is_made_for_other_data_and_sizes_too(asked):
    sizes = ["--datasets=synthetic-mini,synthetic", "--embedding-size=5", "--epochs=4"]
    assert main(["sweep", *sizes]) == 0
    ((specs, _),) = asked
    assert len(specs) == 2 * 162
    assert {spec.data.name for spec in specs} == {"synthetic-mini", "synthetic"}
    assert {(spec.model == "nfwfm", spec.embedding_size) for spec in specs} == {
        (True, 25),
        (False, 5),
    }
    assert {spec.epochs for spec in specs} == {4}


def test_a_sweeps_lists_may_be_named_in_the_singular_too(asked):
    for ending in ("", "s"):
        assert (
            main(
                [
                    "sweep",
                    *(
                        f"--{name}{ending}={values}"
                        for name, values in (
                            ("model", "dnn, ipnn"),
                            ("design", "me"),
                            ("scale", "1,3"),
                            ("seed", "0"),
                        )
                    ),
                ]
            )
            == 0
        )
    (one, _), (other, _) = asked
    assert [(spec.model, spec.label) for spec in one] == [
        ("dnn", "base"),
        ("dnn", "ME 3x"),
        ("ipnn", "base"),
        ("ipnn", "ME 3x"),
    ]
    assert one == other


@pytest.mark.parametrize(
    ("given", "address", "workers"),
    [
        (["--ray"], "local", None),
        (["--ray", "3"], "local", 3),
        (["--ray-address", "10.0.0.1:6379"], "10.0.0.1:6379", None),
    ],
)
def test_a_sweep_runs_on_ray_where_it_is_told_to(asked, given, address, workers):
    assert main(["sweep", *given, "--gpu-share=0.5", "--no-weights", "--device=cuda"]) == 0
    ((_, options),) = asked
    assert (options["ray_address"], options["workers"]) == (address, workers)
    assert options["gpu_share"] == 0.5
    assert (options["weights"], options["device"]) == ((), "cuda")


def test_a_sweep_takes_a_table_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EMBEDDING_COLLAPSE_CACHE", str(tmp_path / "cache"))
    lines = [f"{i % 7},{i % 5},{(i * i) % 3 == 1:d}" for i in range(400)]
    (tmp_path / "mine.csv").write_text("\n".join(["shop,day,bought", *lines]))
    command = [
        "sweep",
        "--dataset=table",
        f"--path={tmp_path}/mine.csv",
        "--label=bought",
        "--models=dnn",
        "--scales=1,2",
        "--seeds=0",
        "--epochs=1",
        "--embedding-size=2",
        "--hidden=4",
        "--batch-size=64",
        "--quiet",
        f"--output={tmp_path}",
    ]
    assert main(command) == 0
    (fields,) = {tuple(record.dataset["fields"]) for record in records.load_all(tmp_path)}
    assert fields == ("shop", "day")
    assert "3 trained" in capsys.readouterr().out
    options = ["--drop=day", "--scales=1", f"--output={tmp_path / 'grown'}"]
    for seeds, told in (("0", "0 were there, 1 trained"), ("0,1", "1 were there, 1 trained")):
        assert main([*command, *options, f"--seeds={seeds}"]) == 0  # those read and those made
        assert told in capsys.readouterr().out


def test_a_sweep_on_a_table_that_is_not_there_says_so_of_every_run(tmp_path, capsys):
    command = [
        "sweep",
        "--dataset=table",
        "--path=nowhere.csv",
        "--label=y",
        "--models=dnn",
        "--scales=1",
        "--seeds=0",
        "--quiet",
        f"--output={tmp_path}",
    ]
    assert main(command) == 1
    assert "there is no such file" in capsys.readouterr().err
