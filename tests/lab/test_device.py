"""The device and the precision that a name asks for, and what "auto" takes on which processor."""

import json

import pytest
import torch

from embedding_collapse.cli import main
from embedding_collapse.lab import device
from embedding_collapse.lab.device import choose_device, precision_of
from embedding_collapse.lab.environment import BF16
from embedding_collapse.parameters import ParameterError

CPU = torch.device("cpu")


def test_a_device_that_nothing_was_made_for_is_refused():
    with pytest.raises(ParameterError, match=r"'mps' cannot be used here \(it is neither a CPU"):
        choose_device("mps")


def test_where_the_system_does_not_tell_it_there_is_no_peak_memory(monkeypatch, tmp_path):
    (tmp_path / "status").write_text("VmSize: 7 kB\n")
    monkeypatch.setattr(device, "STATUS", tmp_path / "status")
    assert device.peak_memory(CPU) is None


@pytest.mark.parametrize(
    ("name", "precision"),
    [("", None), (None, None), ("float32", None), ("bf16", "bf16"), ("tf32", "tf32")],
)
def test_a_precision_is_what_it_is_called(name, precision):
    assert precision_of(name, CPU) == precision


@pytest.mark.parametrize("has", [(), BF16[:1], BF16[1:]])
def test_auto_is_bf16_where_the_processor_has_instructions_for_it(monkeypatch, has):
    for name in BF16:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name in has, raising=False)
    assert precision_of("auto", CPU) == ("bf16" if has else None)


def test_a_torch_that_cannot_tell_gives_float32(monkeypatch):
    for name in BF16:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert precision_of("auto", CPU) is None


def test_what_auto_took_is_said_and_stands_in_the_record(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cpu, BF16[0], lambda: True, raising=False)
    small = ["--dataset=synthetic-mini", "--rows=500", "--epochs=1", "--hidden=8", "--device=cpu"]
    assert main(["run", *small, "--precision=auto", "--json", f"--output={tmp_path}"]) == 0
    told = capsys.readouterr()
    assert "precision: bf16, the fastest here" in told.err
    assert json.loads(told.out)["spec"]["precision"] == "bf16"


def test_a_name_that_is_no_precision_is_told_with_all_there_are(tmp_path, capsys):
    command = ["run", "--dataset=synthetic-mini", "--precision=bf15", f"--output={tmp_path}"]
    assert main(command) == 1
    known = "precision 'bf15' is unknown; known: auto, float32, tf32, bf16"
    assert known in capsys.readouterr().err
