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
    if environment.instruction_set().startswith("default-"):
        pytest.skip("torch takes no other instructions here")
    setting = {"ATEN_CPU_CAPABILITY": "default", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=os.environ | setting,
        capture_output=True,
        text=True,
        check=True,
    )
    folder = Path(done.stdout.strip())
    assert folder.parent == tmp_path and folder.name.startswith("default-")
