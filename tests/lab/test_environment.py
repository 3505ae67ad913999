"""Kernels that were compiled for one instruction set never meet another."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from embedding_collapse.lab import environment

SHOW = "from embedding_collapse.lab import environment; print(environment.keep_kernels_apart())"


def processor_of(folder: Path, monkeypatch, flags: str, capability: str) -> None:
    """As on a machine with that processor, under that setting of torch."""
    monkeypatch.setattr(environment, "linux_says", lambda _, key: {"flags": flags}.get(key))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))


def test_every_instruction_set_has_a_folder_of_its_own_inside_the_one_that_was_given(
    tmp_path, monkeypatch
):
    machines = [
        ("sse4_2 avx2", "AVX2"),
        ("sse4_2 avx2", "DEFAULT"),
        ("sse4_2 avx2 avx512f", "AVX2"),
        ("sse4_2 avx2 avx512f", "AVX512"),
    ]
    folders = []
    for flags, capability in machines:
        processor_of(tmp_path, monkeypatch, flags, capability)
        folders.append(environment.keep_kernels_apart())
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folders[-1])
        assert environment.keep_kernels_apart() == folders[-1]  # and not one folder deeper
    assert len(set(folders)) == len(machines)
    assert {folder.parent for folder in folders} == {tmp_path}
    assert [folder.name.partition("-")[0] for folder in folders] == [
        "avx2",
        "default",
        "avx2",
        "avx512",
    ]


def test_without_a_folder_given_it_is_inside_torchs_own(monkeypatch):
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    assert environment.keep_kernels_apart().parent == Path(default_cache_dir())


def test_who_has_a_number_and_no_name_has_one_too(monkeypatch):
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setattr(environment.getpass, "getuser", nameless)
    assert environment.keep_kernels_apart().parent.name == f"torchinductor_uid_{os.getuid()}"


def test_a_process_under_another_setting_of_torch_takes_another_folder(tmp_path):
    kept = {k: v for k, v in os.environ.items() if k != "ATEN_CPU_CAPABILITY"}
    kept["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path)
    folders = {}
    for setting in ({}, {"ATEN_CPU_CAPABILITY": "default"}):
        done = subprocess.run(
            [sys.executable, "-c", SHOW],
            env=kept | setting,
            capture_output=True,
            text=True,
            check=True,
        )
        folders[len(setting)] = Path(done.stdout.strip())
    assert {folder.parent for folder in folders.values()} == {tmp_path}
    assert folders[1].name.startswith("default-")
    if folders[0].name.startswith("default-"):
        pytest.skip("torch knows no other instructions for this processor")
    assert folders[0] != folders[1]
