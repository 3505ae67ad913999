"""The course over a run's checkpoints, in the order of the numbers in their names."""

import json
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from embedding_collapse.cli import main
from embedding_collapse.inspection.course import bars, checkpoints_in, course
from embedding_collapse.inspection.report import inspect
from embedding_collapse.parameters import ParameterError


def collapsing(share: float) -> Tensor:
    """A table that keeps so much of all its directions but two."""
    torch.manual_seed(0)
    return torch.randn(300, 2) @ torch.randn(2, 16) + share * torch.randn(300, 16)


@pytest.fixture
def run_folder(tmp_path, monkeypatch) -> Path:
    """What a training loop leaves, with what is no checkpoint of a step."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    for step, share in ((2, 100), (10, 1), (100, 0.01)):
        torch.save({"item.emb": collapsing(share)}, folder / f"step_{step}.pt")
    torch.save({"item.emb": collapsing(1), "new.emb": torch.randn(200, 8)}, folder / "step_30.pt")
    torch.save({"item.emb": collapsing(1)}, folder / "last.pt")
    (folder / "log_3.txt").write_text("loss 0.3")
    return folder


def test_checkpoints_come_by_their_numbers_and_what_has_none_is_told(run_folder):
    paths, notes = checkpoints_in(run_folder)
    assert [path.stem for path in paths] == ["step_2", "step_10", "step_30", "step_100"]
    assert notes == ["left out, without a number: last.pt"]


def test_what_the_system_refuses_to_read_is_passed_over(run_folder, monkeypatch):
    (run_folder / "lost+found").symlink_to("lost+found")  # to itself: no user can open it
    (run_folder / "~$notes.xlsx").write_text("as Office leaves it")
    monkeypatch.chdir(run_folder)
    paths, _ = checkpoints_in(".")
    assert [path.stem for path in paths] == ["step_2", "step_10", "step_30", "step_100"]


def test_checkpoints_come_by_all_their_numbers(tmp_path):
    names = ["epoch-1-step-200", "epoch-1-step-1000", "epoch-2-step-900"]
    for name in names:
        torch.save({"item.emb": collapsing(1)}, tmp_path / f"{name}.pt")
    assert [path.stem for path in checkpoints_in(tmp_path)[0]] == names


def test_a_table_that_a_checkpoint_holds_and_that_cannot_be_measured_has_no_value_there():
    broken = collapsing(1)
    broken[3, 2] = torch.nan
    tables = (collapsing(1), broken, collapsing(0.5))
    (item,) = course([inspect({"item.emb": table}) for table in tables])
    assert [value is None for value in item.values] == [False, True, False]


def test_folders_of_checkpoints_are_followed_too(tmp_path):
    for step in (500, 1000):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        torch.save({"item.emb": collapsing(1)}, folder / "pytorch_model.bin")
    paths, _ = checkpoints_in(tmp_path)
    assert [path.name for path in paths] == ["checkpoint-500", "checkpoint-1000"]


def test_follow_draws_the_course_and_judges_the_last(run_folder, capsys):
    outputs = [f"--output=report.{kind}" for kind in ("html", "md", "json")]
    assert main(["inspect", f"--follow={run_folder}", *outputs, "--fail-if=collapsed"]) == 3
    printed = capsys.readouterr().out
    title, first, other = printed.splitlines()[:3]
    assert title.split()[:5] == ["table", "first,", "step_2.pt", "last,", "step_100.pt"]
    assert first.startswith("item.emb") and first.endswith("collapsed")
    assert other.split()[0] == "new.emb" and other.endswith("-")
    assert "note: left out, without a number: last.pt" in printed
    content = json.loads(Path("report.json").read_text())
    item, new = content["course"]["tables"]
    assert (
        content["course"]["checkpoints"][0] == "step_2.pt" and content["checkpoint"][5:8] == "100"
    )
    assert item["values"] == sorted(item["values"], reverse=True)
    assert [value is None for value in new["values"]] == [True, True, False, True]
    page = Path("report.html").read_text()
    course = page.partition("The course of the run")[2].partition("<h2>")[0]
    assert course.count("<svg") == 2 and course.count("<circle") == 4 + 1
    assert "## The course of the run" in Path("report.md").read_text()


def test_what_lies_beside_the_checkpoints_and_has_no_table_is_skipped_and_told(run_folder, capsys):
    table = torch.nn.Parameter(torch.ones(300, 16))
    for number, kind in ((200, torch.optim.Adam), (201, partial(torch.optim.SGD, momentum=0.9))):
        optimizer = kind([table], lr=0.1)
        table.sum().backward()
        optimizer.step()
        torch.save(optimizer.state_dict(), run_folder / f"optimizer_{number}.pt")
    np.save(run_folder / "losses_3.npy", np.ones(50))
    assert main(["inspect", f"--follow={run_folder}", "--output=r.html"]) == 0
    printed = capsys.readouterr().out
    assert printed.split()[:5] == ["table", "first,", "step_2.pt", "last,", "step_100.pt"]
    assert "left out, losses_3.npy: nothing here looks like an embedding table; 1 tensor" in printed
    for number in (200, 201):
        assert f"left out, optimizer_{number}.pt: nothing here looks like an embedding" in printed


def cut(path: Path, share: float) -> None:
    """As a kill leaves what is being written."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_a_damaged_checkpoint_is_named_and_none_stands_in_for_the_last(
    tmp_path, capsys, kind, share
):
    save = {"pt": torch.save, "safetensors": save_file}[kind]
    for step in (1, 2, 3, 4):
        save({"item.emb": collapsing(1)}, tmp_path / f"step_{step}.{kind}")
    np.save(tmp_path / "losses_9.npy", np.ones(50))
    command = ["inspect", f"--follow={tmp_path}", "--fail-if=collapsed"]
    cut(tmp_path / f"step_2.{kind}", share)
    assert main([*command, f"--output={tmp_path / 'r.html'}"]) == 0
    (note,) = (one for one in capsys.readouterr().out.splitlines() if f"step_2.{kind} is" in one)
    assert note.startswith("note: left out, ")
    assert f"step_2.{kind} is" in (tmp_path / "r.html").read_text()
    assert main([*command, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["course"]["checkpoints"] == [f"step_{step}.{kind}" for step in (1, 3, 4)]
    assert any(f"step_2.{kind} is" in note for note in content["notes"])
    cut(tmp_path / f"step_4.{kind}", share)
    assert main(command) == 1
    said = capsys.readouterr()
    assert f"{tmp_path}', whose last checkpoint cannot be judged: {tmp_path}/step_4." in said.err
    assert said.out == ""


def test_what_is_named_otherwise_than_the_checkpoints_is_none_though_it_cannot_be_read(run_folder):
    (run_folder / "log_200.pt").write_text("")
    (run_folder / "version_300").mkdir()
    assert [path.stem for path in checkpoints_in(run_folder)[0]][-1] == "step_100"
    for step in (2, 10, 30):
        cut(run_folder / f"step_{step}.pt", 0)
    told = r"it has step_100.pt \(step_10.pt, step_2.pt, step_30.pt cannot be read\)"
    with pytest.raises(ParameterError, match=told):
        checkpoints_in(run_folder)


def test_where_no_checkpoint_has_a_table_the_last_is_named(tmp_path, capsys):
    for step in (1, 2):
        np.save(tmp_path / f"losses_{step}.npy", np.ones(50))
    assert main(["inspect", f"--follow={tmp_path}"]) == 1
    assert capsys.readouterr().err.startswith("error: losses_2.npy: nothing here looks like an emb")
    torch.save({"item.emb": collapsing(1)}, tmp_path / "step_3.pt")  # a course of one
    assert main(["inspect", f"--follow={tmp_path}", f"--output={tmp_path / 'r.html'}"]) == 0


def test_what_is_missing_to_read_checkpoints_is_told(tmp_path, monkeypatch):
    keras = Path(__file__).parents[1] / "data" / "checkpoints" / "keras.weights.h5"
    for step in (1, 2):
        shutil.copy(keras, tmp_path / f"epoch_{step}.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    told = r"it has none; .*epoch_1.h5, which is HDF5, needs h5py, .*brings it; 1 more file like it"
    with pytest.raises(ParameterError, match=told):
        checkpoints_in(tmp_path)
    for step in (3, 4):
        torch.save({"item.emb": collapsing(1)}, tmp_path / f"step_{step}.pt")
    paths, notes = checkpoints_in(tmp_path)
    assert len(paths) == 2 and "epoch_1.h5, which is HDF5, needs h5py" in notes[0]


def test_a_folder_of_checkpoints_says_how_it_is_followed(run_folder, capsys):
    assert main(["inspect", str(run_folder)]) == 1
    assert "follow a run's checkpoints with inspect --follow FOLDER" in capsys.readouterr().err


def test_bars_grow_from_0_to_1():
    assert bars([0, 0.5, 1, 1.3, None]) == "▁▅██ "
