"""A checkpoint is resumed as it was written, or not at all."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from harm import each_harm, largest_file
from test_training import fit_tiny, tiny_dataset, tiny_model

from embedding_collapse.files import store_json
from embedding_collapse.lab import checkpoint, training
from embedding_collapse.lab.checkpoint import STATE, Fit, resume, save_tensors
from embedding_collapse.lab.models import Recommender
from embedding_collapse.parameters import ParameterError

DATA = tiny_dataset()


@pytest.fixture(scope="module")
def whole() -> tuple[Fit, Recommender]:
    """A run of three epochs that nothing disturbed."""
    model = tiny_model(DATA)
    return fit_tiny(model, DATA), model


def begin(folder: Path) -> Fit:
    """Its first two epochs."""
    return fit_tiny(tiny_model(DATA), DATA, epochs=2, checkpoints=folder)


def go_on(folder: Path, **changed) -> tuple[Fit, Recommender]:
    model = tiny_model(DATA)
    return fit_tiny(model, DATA, checkpoints=folder, **changed), model


def seconds(run: Fit) -> list[float]:
    return [epoch["seconds"] for epoch in run.epochs]


def same_bits(one: tuple[Fit, Recommender], other: tuple[Fit, Recommender]) -> bool:
    losses = [[epoch["train_loss"] for epoch in run.epochs] for run, _ in (one, other)]
    weights = zip(one[1].parameters(), other[1].parameters(), strict=True)
    return losses[0] == losses[1] and all(torch.equal(*pair) for pair in weights)


def test_a_whole_checkpoint_is_resumed_without_a_word(tmp_path, whole):
    begun = begin(tmp_path)
    resumed = go_on(tmp_path)
    assert seconds(resumed[0])[:2] == seconds(begun)
    assert same_bits(resumed, whole)


def test_a_run_resumed_after_its_best_epoch_ends_with_that_epochs_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "auc", lambda logits, labels: 0.5)  # so the first is the best
    best = tiny_model(DATA)
    fit_tiny(best, DATA, epochs=1)
    begin(tmp_path)
    run, resumed = go_on(tmp_path)
    assert run.best_epoch == 0
    for one, other in zip(best.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("part", [STATE, "epoch-1.safetensors"])
@each_harm
def test_a_damaged_checkpoint_is_set_aside_and_the_run_trained_anew(tmp_path, whole, part, harm):
    begun = begin(tmp_path)
    harm(tmp_path / part)
    with pytest.warns(UserWarning, match=f"set aside as {STATE}.damaged, .*{part}") as said:
        again = go_on(tmp_path)
    assert len(said) == 1
    assert not set(seconds(begun)) & set(seconds(again[0]))
    assert same_bits(again, whole)
    with warnings.catch_warnings(action="error"):  # what is there now is whole
        assert seconds(go_on(tmp_path)[0]) == seconds(again[0])


def test_a_checkpoint_whose_tensors_are_gone_is_set_aside(tmp_path, whole):
    begin(tmp_path)
    (tmp_path / "epoch-1.safetensors").unlink()
    with pytest.warns(UserWarning, match=r"epoch-1.safetensors: No such file"):
        assert same_bits(go_on(tmp_path), whole)


def test_a_checkpoint_of_other_code_is_set_aside(tmp_path, whole, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "VERSION", checkpoint.VERSION - 1)
        begin(tmp_path)
    with pytest.warns(UserWarning, match=rf"is of version {checkpoint.VERSION - 1} of the code"):
        assert same_bits(go_on(tmp_path), whole)
    assert {path.name for path in tmp_path.glob("*.damaged")} == {
        f"{STATE}.damaged",
        "epoch-1.safetensors.damaged",
    }


def test_a_checkpoint_that_an_earlier_version_wrote_is_set_aside(tmp_path, whole):
    begin(tmp_path)
    state = json.loads((tmp_path / STATE).read_text())
    del state["version"], state["settings"], state["checksum"], state["sum"]
    (tmp_path / STATE).write_text(json.dumps(state))
    with pytest.warns(UserWarning, match="an earlier version wrote it"):
        assert same_bits(go_on(tmp_path), whole)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"batch_size": 99},
        {"learning_rate": 0.02},
        {"weight_decay": 1e-3},
        {"precision": "bf16"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_checkpoint_of_another_run_is_refused_and_stays(tmp_path, changed):
    begun = begin(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ParameterError, match=f"the checkpoint in {tmp_path} is not of this run"):
        go_on(tmp_path, **changed)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert seconds(go_on(tmp_path)[0])[:2] == seconds(begun)


def test_the_checkpoint_of_another_model_is_refused(tmp_path):
    begin(tmp_path)
    with pytest.raises(ParameterError, match=f"the checkpoint in {tmp_path} is not of this run"):
        fit_tiny(tiny_model(DATA, sets=3), DATA, checkpoints=tmp_path)


def test_where_there_is_no_room_the_checkpoint_before_still_holds(tmp_path, whole):
    begun = begin(tmp_path)
    size = (tmp_path / "epoch-1.safetensors").stat().st_size
    before = {path.name for path in tmp_path.iterdir()}
    with largest_file(size // 2), pytest.raises(OSError, match=r"epoch-2\.safetensors"):
        go_on(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == before
    resumed = go_on(tmp_path)
    assert seconds(resumed[0])[:2] == seconds(begun)
    assert same_bits(resumed, whole)


def test_what_killed_processes_were_writing_goes_with_the_next_checkpoint(tmp_path):
    begin(tmp_path)
    for name in (".epoch-2.safetensors.123", ".tmpXYZ", "epoch-0.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "lock").touch()
    go_on(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {STATE, "epoch-2.safetensors", "lock"}


def test_what_cannot_be_removed_does_not_end_training(tmp_path, whole):
    """As on NFS, where a file that is open stays under another name."""
    begin(tmp_path)
    (tmp_path / ".nfs0001").mkdir()
    assert same_bits(go_on(tmp_path), whole)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells what is mapped")
def test_a_resumed_run_has_its_checkpoint_no_longer_open(tmp_path):
    begin(tmp_path)
    model = tiny_model(DATA)
    optimizer = torch.optim.Adam(model.parameters())
    settings = json.loads((tmp_path / STATE).read_text())["settings"]
    resumed = resume(tmp_path, model, optimizer, settings)
    assert resumed is not None and optimizer.state_dict()["state"]
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_tensors_have_a_checksum_that_follows_from_them_alone(tmp_path):
    tensors = {"one": torch.arange(6.0).reshape(2, 3).T, "two": torch.zeros(1)}
    sums = {
        save_tensors(tmp_path / "first", tensors),
        save_tensors(tmp_path / "second", dict(reversed(tensors.items()))),
    }
    assert len(sums) == 1
    assert save_tensors(tmp_path / "third", tensors | {"two": torch.ones(1)}) not in sums


def test_state_that_is_whole_and_of_no_checkpoint_is_set_aside(tmp_path, whole):
    begin(tmp_path)
    store_json(tmp_path / STATE, {"epochs": []})
    with pytest.warns(UserWarning, match="of version None of the code"):
        assert same_bits(go_on(tmp_path), whole)
