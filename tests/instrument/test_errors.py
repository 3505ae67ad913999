"""Which errors a user is told in one line, with which words; all others keep their traceback."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from embedding_collapse.errors import DivergedError, message
from embedding_collapse.files import DamagedError
from embedding_collapse.parameters import ParameterError


def error_of(call: Callable) -> Exception:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


def a_file(folder: Path) -> Path:
    (folder / "file").write_text("content")
    return folder / "file"


def a_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


@pytest.mark.parametrize(
    ("path", "call", "number"),
    [
        (lambda folder: folder / "none", Path.read_text, errno.ENOENT),
        (lambda folder: folder, Path.read_text, errno.EISDIR),
        (lambda folder: a_file(folder) / "in it", Path.read_text, errno.ENOTDIR),
        (lambda folder: a_file(folder), Path.mkdir, errno.EEXIST),
        (lambda folder: a_loop(folder), Path.read_text, errno.ELOOP),
        (lambda folder: folder / ("n" * 300), Path.read_text, errno.ENAMETOOLONG),
    ],
)
def test_what_the_system_refuses_is_told_with_the_path_and_its_reason(tmp_path, path, call, number):
    path = path(tmp_path)
    assert message(error_of(lambda: call(path))) == f"{path}: {os.strerror(number)}"


def test_of_two_paths_both_are_told(tmp_path):
    here, there = a_file(tmp_path), tmp_path / "no" / "folder"
    assert message(error_of(lambda: here.rename(there))).startswith(f"{here} to {there}: No such")


def test_an_error_without_a_path_is_told_by_its_words():
    assert message(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert message(OSError("12 requested and 3 written")) == "12 requested and 3 written"
    assert message(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: torch.empty(2**55), "can't allocate memory: you tried to allocate 1441151880"),
        (lambda: torch.empty(2**40, 2**40), "Storage size calculation overflowed"),
        (lambda: torch.empty(2**70), "Overflow when unpacking long"),
        (lambda: np.empty(2**55), "Unable to allocate 256. PiB"),
        (lambda: bytearray(2**62), "no more can be had"),
    ],
)
def test_memory_that_does_not_suffice_is_told_in_one_line(call, reason):
    told = message(error_of(call))
    assert told.startswith(f"the memory here does not suffice ({reason}")
    assert told.endswith("; a smaller model, fewer rows or smaller batches take less")
    assert "\n" not in told and "frame #" not in told


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.zeros(2) @ torch.zeros(3),
        lambda: np.zeros(2) + np.zeros(3),
        lambda: {}["a"],
        lambda: int("one"),
        lambda: len(3),
        lambda: 1 / 0,
    ],
)
def test_a_fault_of_the_program_is_not_told(call):
    assert message(error_of(call)) is None


def test_a_line_is_one_line_whatever_a_name_in_it_holds():
    name = "red\x1b[31m\nline\r\x9b2J\u202e"
    escaped = r"red\x1b[31m\nline\r\x9b2J\u202e"
    assert str(ParameterError(f"no column {name}")) == f"no column {escaped}"
    assert message(ParameterError(f"no column {name}")) == f"no column {escaped}"
    for error in (DivergedError, DamagedError):
        assert message(error(f"in {name}")) == f"in {escaped}"
    assert message(FileNotFoundError(2, "No such file", name)) == f"{escaped}: No such file"
