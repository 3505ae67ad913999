"""A dataset is built once, whole or not at all, and is what was built."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from embedding_collapse.data import Dataset, encoding, load
from embedding_collapse.data.cache import stored

CRITEO = Path(__file__).parent / "data" / "criteo_format.txt.gz"
PARTS = ["ids.npy", "labels.npy", "vocabulary.arrow", "about.json", "checksums.json"]

BUILDER = """
import sys, time
from pathlib import Path
import numpy as np
from embedding_collapse.data.cache import stored

def build(folder):
    with Path(sys.argv[1], "built").open("a") as log:
        log.write("once\\n")
    np.save(folder / "ids.npy", np.zeros((10, 1), np.int32))
    time.sleep(float(sys.argv[2]))
    np.save(folder / "labels.npy", np.zeros(10, np.uint8))
    return {"fields": 1}

stored("mine", "truth", build, sys.argv[1])
"""


def load_criteo(cache: Path) -> Dataset:
    return load("criteo", path=CRITEO, cache=cache, progress=False)


def finished(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.name != "locks"]


def start_builder(cache: Path, seconds: float) -> subprocess.Popen:
    """A process of its own that builds for so long."""
    return subprocess.Popen([sys.executable, "-c", BUILDER, str(cache), str(seconds)])


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_second_load_reads_no_table(tmp_path, monkeypatch):
    first = load_criteo(tmp_path)
    monkeypatch.setattr(encoding, "_read", None)  # reading again would fail
    second = load_criteo(tmp_path)
    assert np.array_equal(first.ids, second.ids)
    assert isinstance(second.ids, np.memmap)
    assert (second.fingerprint, second.notes) == (first.fingerprint, first.notes)
    assert second.fields[14].decode(2) == first.fields[14].decode(2)


def test_the_key_is_the_content_not_the_path(tmp_path):
    copy = tmp_path / "copy.txt.gz"
    copy.write_bytes(CRITEO.read_bytes())
    before = load_criteo(tmp_path / "cache")
    assert load("criteo", path=copy, cache=tmp_path / "cache").fingerprint == before.fingerprint
    changed = bytearray(copy.read_bytes())
    changed[4] ^= 1  # the time in the header of the .gz
    copy.write_bytes(changed)
    assert load("criteo", path=copy, cache=tmp_path / "cache").fingerprint != before.fingerprint


def test_parameters_are_part_of_the_key(tmp_path):
    options = ({}, {"vocabulary": "train"}, {"rows": 1000})
    every = [load("criteo", path=CRITEO, cache=tmp_path, **option) for option in options]
    assert len({data.fingerprint for data in every}) == 3
    assert len(finished(tmp_path)) == 3


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", ["gone", "empty", "cut", "altered"])
def test_what_is_not_as_it_was_built_is_built_anew_and_said_to_be(tmp_path, part, change):
    before = load_criteo(tmp_path)
    (folder,) = finished(tmp_path)
    path = folder / part
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    altered = {"empty": b"", "cut": content[:-1], "altered": content}
    path.unlink()
    if change != "gone":
        path.write_bytes(altered[change])
    with pytest.warns(UserWarning, match=r"is damaged \(.*\); building it anew"):
        again = load_criteo(tmp_path)
    assert np.array_equal(before.ids, again.ids)
    assert finished(tmp_path) == [folder]


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path, caplog):
    first = start_builder(tmp_path, 1)
    wait_for(tmp_path / "built")
    found = stored("mine", "truth", lambda folder: pytest.fail("built twice"), tmp_path)
    assert first.wait() == 0
    assert (tmp_path / "built").read_text() == "once\n"
    assert found.about == {"fields": 1}
    assert "another process is at work on" in caplog.text


def test_a_killed_build_is_not_mistaken_for_a_whole_one(tmp_path):
    killed = start_builder(tmp_path, 60)
    wait_for(tmp_path / "built")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert [path.name[:10] for path in finished(tmp_path) if path.is_dir()] == ["unfinished"]
    assert start_builder(tmp_path, 0).wait() == 0
    assert (tmp_path / "built").read_text() == "once\nonce\n"
    assert [path.name[:5] for path in finished(tmp_path) if path.is_dir()] == ["mine-"]


def test_what_a_killed_build_left_goes_with_the_next_build_of_anything(tmp_path):
    killed = start_builder(tmp_path, 60)
    wait_for(tmp_path / "built")
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    load_criteo(tmp_path)
    assert not list(tmp_path.glob("unfinished-*"))


def test_what_another_process_is_building_stays(tmp_path):
    other = start_builder(tmp_path, 60)
    wait_for(tmp_path / "built")
    load_criteo(tmp_path)
    assert len(list(tmp_path.glob("unfinished-*"))) == 1
    other.kill()
    other.wait()
