"""Options that all commands have: --json, --quiet, --config; one list of parameters for all."""

import dataclasses
import inspect
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import nbformat
import pandas as pd
import pytest
import torch
import yaml

from embedding_collapse import cli
from embedding_collapse.cli import COMMANDS, main
from embedding_collapse.lab.data import OPTIONS, DataSpec
from embedding_collapse.lab.scoring import load_scorer
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies import study

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads(Path(inspect.getfile(cli)).with_name("output_schema.json").read_text())
TINY = {
    "dataset": "table",
    "path": "visits.csv",
    "label": "stars",
    "threshold": 4,
    "drop": "ts",
    "min_count": 1,
    "embedding_size": 2,
    "hidden": 4,
    "epochs": 1,
    "batch_size": 64,
    "device": "cpu",
    "quiet": True,
    "model": "dnn",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """A folder to be in, with a table of ratings and an unread row, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBEDDING_COLLAPSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "500")
    lines = [f"{i % 7},2024-01-{1 + i % 28:02},{1 + i * i % 5}" for i in range(400)]
    lines += ["1,2024-01-01,none"] * 20
    (tmp_path / "visits.csv").write_text("\n".join(["shop,ts,stars", *lines]))
    return tmp_path


def config(options: dict, name: str = "run.yaml") -> str:
    Path(name).write_text(yaml.safe_dump(options))
    return f"--config={name}"


def printed(capsys, *command: str) -> dict:
    """What a command prints with --json, and that it is as documented."""
    assert main([*command, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and said.out.count("\n") == 1
    content = json.loads(said.out)
    jsonschema.validate(content, SCHEMA)
    assert content["command"] == command[0]
    return content


def help_of(capsys, *command: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("cut", ["--conf=run.yaml", "--epoch=1"])
def test_an_option_cut_short_is_none(cut, capsys):
    config({"seed": 5})
    with pytest.raises(SystemExit) as ended:
        main(["run", "--dataset=synthetic-mini", cut])
    assert ended.value.code == 2
    assert f"unrecognized arguments: {cut}" in capsys.readouterr().err


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_begins_with_an_example_that_can_be_read_and_ends_with_exit_codes(capsys, verb):
    lines = help_of(capsys, verb).splitlines()
    program, *example = lines[0].split()
    assert program == "embedding-collapse" and example[0] == verb
    assert cli.parse(example).verb == verb
    assert lines[-5] == "exit codes:"
    assert [line.split()[0] for line in lines[-4:]] == ["0", "1", "2", "3"]
    for option in ("--json", "--quiet", "--config"):
        assert sum(line.lstrip().startswith(option) for line in lines) == 1


def test_every_parameter_is_an_option_and_a_parameter_of_the_chapter(capsys):
    data = {f"--{name.replace('_', '-')}" for name in OPTIONS} | {"--max-rejected"}
    own = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Spec)} - {"--data"}
    for verb in ("run", "sweep", "data"):
        words = set(help_of(capsys, verb).replace(",", " ").split())
        assert data | (own if verb in ("run", "sweep") else set()) <= words
    page = nbformat.read(ROOT / "notebooks" / "05_multi_embedding.ipynb", as_version=4)
    (cell,) = (c.source for c in page.cells if "parameters" in c.metadata.get("tags", []))
    named = {line.partition(":")[0] for line in cell.splitlines()}
    assert set(OPTIONS) - {"held_out"} | {"max_rejected"} <= named


def test_a_shell_is_told_what_completes_the_commands(capsys):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as caught:
        main(["--completion", "bash"])
    assert caught.value.code == 0
    script = capsys.readouterr().out
    assert "--split-by" in script and "--follow" in script
    if bash := shutil.which("bash"):
        assert subprocess.run([bash, "-n"], input=script, text=True).returncode == 0


def test_completion_asks_for_what_it_needs(monkeypatch, capsys):
    monkeypatch.setattr("embedding_collapse.parameters.find_spec", lambda name: None)
    assert main(["--completion=zsh"]) == 1
    assert "--completion needs shtab, not installed here; pip install" in capsys.readouterr().err


# --- --json and --config --------------------------------------------------------------------------


def test_data_prints_what_it_read_and_takes_it_back(capsys):
    given = ["--path=visits.csv", "--max-rejected=0.1", "--quiet"]
    content = printed(
        capsys, "data", "table", *given, "--label=stars", "--threshold=4", "--split-by=ts"
    )
    assert content["rows"] == 400 and content["fields"][0]["name"] == "shop"
    Path("data.json").write_text(json.dumps(content))
    assert printed(capsys, "data", "--config=data.json", *given) == content


def test_a_guess_is_printed_as_the_options_that_correct_it(capsys):
    rows = [f"{i % 7},{i % 4},{i / 8},{i % 2}" for i in range(200)]
    Path("own.csv").write_text("\n".join(["shop,day's count,price,y", *rows]))
    command = ["data", "table", "--path=own.csv", "--label=y", "--quiet"]
    assert main(command) == 0
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if line.startswith("to correct the guess, edit "))
    options = shlex.split(line.removeprefix("to correct the guess, edit "))
    assert options == ["--categorical", "shop,day's count", "--numeric", "price"]
    assert main([*command, *options]) == 0
    named = capsys.readouterr().out
    assert named.splitlines()[-4:] == said.splitlines()[-4:]  # the fields
    assert "to correct" not in named


def test_a_guess_of_names_with_commas_is_not_printed_as_options(capsys):
    rows = [f"{i % 7},{i % 2}" for i in range(200)]
    Path("own.csv").write_text("\n".join(['"shop, town",y', *rows]))
    assert main(["data", "table", "--path=own.csv", "--label=y", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "guessed categorical: shop, town" in said and "to correct" not in said


def test_a_run_is_given_by_a_file_and_by_what_it_prints_itself(capsys, here):
    options = [config(TINY | {"max_rejected": 0.1, "output": "runs"})]
    content = printed(capsys, "run", *options)
    assert content["spec"]["threshold"] == 4 and content["spec"]["min_count"] == 1
    Path("printed.json").write_text(json.dumps(content))
    where = ["--path=visits.csv", "--max-rejected=0.1", "--quiet", "--device=cpu"]
    for written in ("printed.json", content["record"]):
        assert printed(capsys, "run", f"--config={written}", *where) == content
    Path("visits.csv").write_text(Path("visits.csv").read_text() + "\n3,2024-01-01,5")
    assert main(["run", "--config=printed.json", *where]) == 1
    assert "error: content is '" in capsys.readouterr().err


def test_score_writes_a_probability_per_row_of_a_file(capsys):
    made = printed(capsys, "run", config(TINY | {"max_rejected": 0.1}))
    rows = pd.DataFrame({"shop": [3, 999, None], "more": "x"})
    rows.to_csv("rows.csv", index=False)
    options = ["--device=cpu", "--quiet"]
    content = printed(capsys, "score", made["record"], "rows.csv", *options)
    scores = pd.read_parquet(content["output"])["probability"]
    codebook = load_scorer(made["record"]).codebook
    ids = codebook.number("rows.csv")[:, 0].tolist()
    assert "3.0" in Path("rows.csv").read_text()  # of what training read as 3
    assert codebook.entries[0].values[ids[0] - 1].as_py() == "3" and ids[1:] == [0, 0]
    assert scores[0] != scores[1] == scores[2]
    assert scores.between(0, 1).all() and content["rows"] == len(scores) == 3
    assert content["mean"] == pytest.approx(scores.mean())
    printed(capsys, "score", made["record"], "rows.csv", "--output=scores.csv", *options)
    assert pd.read_csv("scores.csv")["probability"].tolist() == scores.tolist()
    before = Path("scores.parquet").read_bytes()
    assert main(["score", made["record"], "rows.csv", *options]) == 1
    assert "scores.parquet is there already; --output names the file" in capsys.readouterr().err
    assert Path("scores.parquet").read_bytes() == before
    rows.drop(columns="shop").to_csv("rows.csv", index=False)
    assert main(["score", made["record"], "rows.csv", "--output=scores.csv", *options]) == 1
    assert "it has no column 'shop'; its columns are 'more'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("./rows.csv", "output is 'rows.csv', the rows to score; another file is needed"),
        ("folder", "output is 'folder', a folder; a file is accepted"),
        ("rows.csv/scores", "output is 'rows.csv'; a folder that can be written to is needed"),
    ],
)
def test_an_output_that_scores_cannot_be_written_to_is_told_before_any_is_read(capsys, output, why):
    Path("rows.csv").write_text("shop\n3\n")
    Path("folder").mkdir()
    assert main(["score", "no.json", "rows.csv", f"--output={output}"]) == 1
    assert why in capsys.readouterr().err
    assert Path("rows.csv").read_text() == "shop\n3\n"


def test_a_sweep_takes_lists_and_tells_of_its_runs(capsys):
    grid = TINY | {"scale": [1, 2], "designs": ["me"], "seeds": [0], "max_rejected": 0.1}
    content = printed(capsys, "sweep", config(grid), "--no-weights")
    assert [run["label"] for run in content["runs"]] == ["base", "ME 2x"]
    assert content["trained"] == 2 and content["failures"] == []
    assert [run["still_rising"] for run in content["runs"]] == [True, True]
    (one,) = content["differences"]
    assert (one["model"], one["new"], one["old"]) == ("dnn", "ME 2x", "base")
    base, me = (run["test"]["auc"] for run in content["runs"])
    assert one["value"] == pytest.approx(me - base)
    assert one["low"] is one["high"] is one["smallest"] is None  # one seed leaves that open
    assert not list(Path("runs").glob("*.safetensors"))


def test_too_many_unusable_rows_are_refused_wherever_data_are_read(capsys):
    for verb in ("run", "sweep", "data"):
        options = TINY if verb != "data" else {k: TINY[k] for k in ("dataset", "label", "path")}
        given = [config(options), "--threshold=4"]
        grid = ["--scales=1", "--seeds=0"] if verb == "sweep" else []
        assert main([verb, *given, *grid]) == 1
        assert "20 of 420 rows cannot be used" in capsys.readouterr().err


def test_a_study_tells_how_far_it_is_in_json(capsys):
    content = printed(capsys, "study", "decide", "--status", "--output=nothing")
    assert content["parts"]["all of these"]["done"] == 0


def test_it_tells_when_it_will_end_by_how_many_are_at_work(capsys):
    """By the one run that is there."""
    decide = study("decide")
    Path("some").mkdir()
    shutil.copy(decide.folder / f"{decide.specs[0].key}.json", "some")
    status = ["study", "decide", "--status", "--only=dnn", "--output=some"]
    for machines, told in (("--workers=3", "with 3 at work"), ("--ray=8", "with 8 at work")):
        assert main([*status, machines]) == 0
        assert told in capsys.readouterr().out
    assert main([*status, "--ray-address=ray://head:10001"]) == 0  # who knows how many
    assert "at work" not in capsys.readouterr().out


def test_a_sweep_tells_what_waits_for_want_of_time(capsys):
    assert printed(capsys, "sweep", "--minutes=0", "--output=nothing")["waiting"] == 162
    assert main(["sweep", "--minutes=0", "--output=nothing"]) == 0
    told = capsys.readouterr().out
    assert "162 wait, first synthetic-mini, dnn base, seed 0; the same command goes on" in told


def test_inspect_prints_json_of_one_of_two_and_of_a_course(capsys):
    for step in (1, 2):
        torch.save({"item.emb": torch.randn(100, 8)}, f"step_{step}.pt")
    printed(capsys, "inspect", "step_1.pt")
    assert "compared_with" in printed(capsys, "inspect", "step_1.pt", "step_2.pt")
    assert "course" in printed(capsys, "inspect", "--follow=.")
    options = config({"checkpoint": ["step_1.pt"], "tables": ["a*", "*emb"], "output": ["a.md"]})
    printed(capsys, "inspect", options)
    assert Path("a.md").exists()


def test_what_is_given_on_the_command_line_comes_before_the_file(capsys):
    options = cli.parse(["run", config({"epochs": 3, "rows": 500, "weights": False}), "--rows=70"])
    assert (options.epochs, options.rows, options.weights) == (3, 70, False)
    assert options.learning_rate is None
    assert cli.parse(["run", config({"learning_rate": "1e-3"})]).learning_rate == 0.001
    parsed = cli.parse(["inspect", config({"checkpoint": "a.pt", "tables": "x*"}), "b.pt"])
    assert (parsed.checkpoint, parsed.include) == (["b.pt"], ["x*"])
    side_by_side = cli.parse(["sweep", config({"workers": 2}), "--ray", "3"])
    assert (side_by_side.workers, side_by_side.ray) == (2, 3)


def test_a_file_of_options_may_lie_in_the_home_folder(capsys, here, monkeypatch):
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "home").mkdir()
    config({"path": "visits.csv", "label": "stars", "threshold": 4}, "home/data.yaml")
    assert main(["data", "table", "--config=~/data.yaml", "--max-rejected=0.1", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"weights": True}, 1),
        ({"weights": False}, 0),
        ({"no-weights": True}, 0),
        ({"no_weights": False}, 1),
    ],
)
def test_a_file_says_yes_and_no_to_weights_by_either_name(capsys, given, kept):
    printed(capsys, "run", config(TINY | {"max_rejected": 0.1, "output": "runs"} | given))
    assert len(list(Path("runs").glob("*.safetensors"))) == kept


def test_a_comma_in_a_text_of_a_list_is_part_of_it():
    options = cli.parse(["run", config({"positive": ["yes, sure", 4], "drop": "a, b"})])
    assert (options.positive, options.drop) == (["yes, sure", "4"], ["a", "b"])
    assert cli.parse(["sweep", config({"datasets": ["a", "b"]})]).dataset == "a,b"


def test_a_truth_and_a_text_alone_with_its_blanks_are_values_as_tables_have_them():
    assert cli.parse(["run", config({"positive": True})]).positive == ["true"]
    assert cli.parse(["run", "--positive", " >50K"]).positive == [" >50K"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epoch: 3", "config is 'c.yaml', where 'epoch' is no option of embedding-collapse run; "),
        ("[1, 2]", "config is 'c.yaml', which holds no keys; one per option is needed"),
        ("a: [", "config is 'c.yaml', which cannot be read ("),
        ("quiet: 3", "quiet is 3 in the config; true or false is accepted"),
        ("rows: {a: 1}", "rows is {'a': 1} in the config; a value or a list is accepted"),
        ("config: d.yaml", "config is 'c.yaml', where 'config' is no option"),
        ("rows: [1, 2]", "rows is [1, 2] in the config; one value is accepted"),
    ],
)
def test_a_file_of_options_that_cannot_be_is_refused(capsys, content, message):
    Path("c.yaml").write_text(content)
    assert main(["run", "--config", "c.yaml"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert main(["run", "--config=nowhere.yaml"]) == 1
    assert "config is 'nowhere.yaml', which cannot be read" in capsys.readouterr().err


def test_a_value_in_a_file_is_held_to_what_the_option_takes(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", config({"epochs": "many"})])
    assert caught.value.code == 2
    assert "argument --epochs: invalid int value: 'many'" in capsys.readouterr().err


def test_lists_and_choices_in_a_file_are_held_to_them_too(capsys):
    assert main(["sweep", config({"seeds": [0, "one"]})]) == 1
    assert "seeds is [0, 'one'] in the config; a list of int is accepted" in capsys.readouterr().err
    assert main(["inspect", config({"checkpoint": "a.pt", "fail_if": ["bad"]})]) == 1
    assert "fail_if is 'bad' in the config; collapsed" in capsys.readouterr().err


def test_the_data_of_a_run_are_one_list_of_parameters():
    named = {field.name for field in dataclasses.fields(DataSpec)}
    assert set(OPTIONS) == named - {"name", "content"}


def test_the_command_works_as_a_process_too():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "embedding_collapse",
            "run",
            config(TINY),
            "--max-rejected=0.1",
            "--json",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "20 rows rejected" in done.stderr
    jsonschema.validate(json.loads(done.stdout), SCHEMA)
