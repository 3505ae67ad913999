"""A dataset is built once, whole or not at all, and is what was built."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from harm import READ_ONLY, SMALL, each_harm, largest_file, on_a_disk

from embedding_collapse.files import checksum
from embedding_collapse.lab.data import Dataset, cache, encoding, load
from embedding_collapse.lab.data.cache import stored

pytestmark = pytest.mark.slow

CRITEO = Path(__file__).parents[1] / "data" / "criteo_format.txt.gz"
PARTS = ["ids.npy", "labels.npy", "vocabulary.arrow", "about.json", "checksums.json"]

BUILDER = """
import sys, time
from pathlib import Path
import numpy as np
from embedding_collapse.lab.data.cache import stored

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
    """Until the file is there and has been written."""
    until = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_second_load_reads_no_table(tmp_path, monkeypatch):
    first = load_criteo(tmp_path)
    monkeypatch.setattr(encoding, "read_rows", None)  # reading again would fail
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


@pytest.fixture(scope="module")
def criteo(tmp_path_factory) -> tuple[Dataset, Path]:
    """The table, and the folder that a cache holds it in."""
    cache = tmp_path_factory.mktemp("cache")
    data = load_criteo(cache)
    (folder,) = finished(cache)
    return data, folder


def test_what_an_earlier_version_built_is_built_anew_to_the_same_ids(tmp_path, criteo):
    """It kept neither bins nor which buckets are trained, without which nothing new is scored."""
    data, folder = criteo
    older = shutil.copytree(folder, tmp_path / folder.name)
    about, sums = ((older / name) for name in ("about.json", "checksums.json"))
    content = json.loads(about.read_text())
    del content["bins"], content["rare_share"]
    about.write_text(json.dumps(content))
    sums.write_text(json.dumps(json.loads(sums.read_text()) | {about.name: checksum(about)}))
    with pytest.warns(UserWarning, match=r"built without bins, rare_share\); building it anew"):
        again = load_criteo(tmp_path)
    assert again.fingerprint == data.fingerprint and np.array_equal(data.ids, again.ids)
    assert json.loads(about.read_text()).keys() == {*content, "bins", "rare_share"}


@pytest.mark.parametrize("part", PARTS)
@each_harm
def test_what_is_not_as_it_was_built_is_built_anew_and_said_to_be(tmp_path, criteo, part, harm):
    data, folder = criteo
    damaged = shutil.copytree(folder, tmp_path / folder.name)
    harm(damaged / part)
    with pytest.warns(UserWarning, match=rf"{damaged} is damaged \(.*\); building it anew"):
        again = load_criteo(tmp_path)
    assert np.array_equal(data.ids, again.ids)
    assert finished(tmp_path) == [damaged]


@pytest.mark.parametrize("part", PARTS)
def test_what_is_gone_is_built_anew(tmp_path, criteo, part):
    data, folder = criteo
    (shutil.copytree(folder, tmp_path / folder.name) / part).unlink()
    with pytest.warns(UserWarning, match=rf"{part}.*; building it anew"):
        assert np.array_equal(data.ids, load_criteo(tmp_path).ids)


def test_sums_that_leave_out_what_is_read_are_damage(tmp_path, criteo):
    data, folder = criteo
    (shutil.copytree(folder, tmp_path / folder.name) / "checksums.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"lacks about.json, ids.npy, labels.npy\); building it"):
        assert np.array_equal(data.ids, load_criteo(tmp_path).ids)


IN_ITS_PLACE = [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")]


@pytest.mark.parametrize("instead", IN_ITS_PLACE)
def test_what_is_in_the_place_of_a_dataset_is_replaced(tmp_path, criteo, instead):
    data, folder = criteo
    instead(tmp_path / folder.name)
    with pytest.warns(UserWarning, match=rf"{folder.name} is damaged \(.*\); building it anew"):
        assert np.array_equal(data.ids, load_criteo(tmp_path).ids)


def test_a_dataset_may_lie_elsewhere_behind_a_link(tmp_path, criteo, monkeypatch):
    data, folder = criteo
    monkeypatch.setattr(encoding, "read_rows", None)  # reading the table would fail
    (tmp_path / folder.name).symlink_to(folder)
    assert np.array_equal(data.ids, load_criteo(tmp_path).ids)


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(cache, "SOON", 0)
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


# --- disks that take no more ----------------------------------------------------------------------

FILL = """
import sys
from pathlib import Path
from embedding_collapse.lab.data import load

cache, table = sys.argv[1:]
for name, options in (("synthetic-mini", {}), ("table", {"path": table, "label": "y"})):
    try:
        print(load(name, cache=cache, progress=False, **options).ids.sum())
    except OSError as error:
        print(error)
print([path.name for path in Path(cache).iterdir() if path.name != "locks"])
"""


@pytest.fixture
def table(tmp_path) -> Path:
    """100,000 rows that are all different: 1.5 MB once read, and 0.4 MB while they are numbered."""
    path = tmp_path / "table.csv"
    path.write_text("y,c\n" + "".join(f"{i % 2},{i:06}\n" for i in range(100_000)))
    return path


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path, table):
    """Both are written through maps of files, where a lack of room is a signal."""
    cache = tmp_path / "cache"
    cache.mkdir()
    *told, left = on_a_disk(cache, SMALL.replace("2m", "1700k"), FILL, str(table)).splitlines()
    for name, line in zip(("synthetic-mini", "table"), told, strict=True):
        assert line.startswith("[Errno 28] No space left on device: ")
        assert f"'{cache}/unfinished-{name}" in line
    assert left == "[]"


def test_where_there_is_no_room_the_next_with_room_builds(tmp_path, criteo):
    with largest_file(100_000), pytest.raises(OSError, match=str(tmp_path / "unfinished-criteo")):
        load_criteo(tmp_path)
    assert finished(tmp_path) == []
    assert np.array_equal(load_criteo(tmp_path).ids, criteo[0].ids)


def test_a_cache_that_cannot_be_written_to_serves_what_it_holds(tmp_path, table):
    cache = tmp_path / "cache"
    load("table", path=table, label="y", cache=cache, progress=False)
    for _ in range(2):
        drawn, encoded, _ = on_a_disk(cache, READ_ONLY, FILL, str(table)).splitlines()
        assert drawn.startswith(f"[Errno 30] Read-only file system: '{cache}/")
        assert encoded == "0"  # no value is frequent enough for another id
        shutil.rmtree(cache / "locks", ignore_errors=True)  # as where it was copied to
