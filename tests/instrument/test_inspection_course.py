"""The course over a run's checkpoints, in the order of the numbers in their names."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from embedding_collapse.cli import main
from embedding_collapse.inspection.course import bars, checkpoints_in


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
    paths, note = checkpoints_in(run_folder)
    assert [path.stem for path in paths] == ["step_2", "step_10", "step_30", "step_100"]
    assert note == "left out, without a number: last.pt"


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


def test_bars_grow_from_0_to_1():
    assert bars([0, 0.5, 1, 1.3, None]) == "▁▅██ "
