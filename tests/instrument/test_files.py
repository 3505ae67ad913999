import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from harm import SMALL, each_harm, largest_file, on_a_disk
from safetensors.torch import save_file

from embedding_collapse import files
from embedding_collapse.files import (
    DamagedError,
    add_sum,
    load_folder,
    load_json,
    naming,
    reserve,
    set_aside,
    store_json,
    write_atomically,
    write_json,
)


def write_half(path: Path) -> None:
    path.write_text("half")
    raise KeyboardInterrupt


def test_a_file_is_written_and_its_folders_made(tmp_path):
    path = tmp_path / "one" / "two" / "file.txt"
    write_atomically(path, lambda temporary: temporary.write_text("whole"))
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_not_there_before_it_is_whole(tmp_path):
    path = tmp_path / "file.txt"

    def write(temporary: Path) -> None:
        temporary.write_text("wh")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename within a folder is atomic
        assert not list(tmp_path.glob("*.txt"))  # whoever lists the folder does not see it
        temporary.write_text("whole")

    write_atomically(path, write)
    assert path.read_text() == "whole"


@pytest.mark.parametrize("old", [None, "old"])
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, old):
    path = tmp_path / "file.txt"
    if old is not None:
        path.write_text(old)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, write_half)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == (
        {} if old is None else {"file.txt": "old"}
    )


def test_a_writer_that_writes_nothing_is_an_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError):
        write_atomically(path, lambda temporary: None)
    assert path.read_text() == "old"


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_a_file_may_be_read_by_whom_the_umask_lets_whoever_writes_it(tmp_path, mask):
    tensors = {"table": torch.zeros(2, 2)}
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "text", lambda temporary: temporary.write_text("whole"))
        write_atomically(tmp_path / "tensors", lambda temporary: save_file(tensors, temporary))
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o666 & ~mask}


def test_a_file_that_gives_way_leaves_its_rights_to_the_new_one(tmp_path):
    (tmp_path / "file").touch(mode=0o600)
    write_atomically(tmp_path / "file", lambda temporary: temporary.write_text("whole"))
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_threads_that_write_one_file_do_no_harm(tmp_path):
    path = tmp_path / "file.json"
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda k: write_json(path, [k] * 2000), range(200)))
    assert len(set(json.loads(path.read_text()))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["file.json"]


def test_json_is_read_back_as_it_was(tmp_path):
    content = {"auc": 0.1 + 0.2, "names": ["Größe", "™"], "none": None, "whole": 2**60}
    write_json(tmp_path / "file.json", content)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert "Größe" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_json_refuses_numbers_that_are_not_finite_and_leaves_the_old_file(tmp_path, bad):
    path = tmp_path / "file.json"
    write_json(path, "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"auc": bad})
    assert [file.name for file in tmp_path.iterdir()] == ["file.json"]
    assert json.loads(path.read_text()) == "old"


def test_without_replacing_a_file_that_is_there_stays_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, "first", replace=False)
    write_json(path, "second", replace=False)
    assert json.loads(path.read_text()) == "first"
    write_json(path, "third")
    assert json.loads(path.read_text()) == "third"
    assert list(tmp_path.iterdir()) == [path]


def test_without_replacing_the_first_of_two_writers_wins_even_if_it_came_meanwhile(tmp_path):
    path = tmp_path / "file.txt"

    def write(temporary: Path) -> None:
        temporary.write_text("slow")
        path.write_text("quick")  # another process gets there first

    write_atomically(path, write, replace=False)
    assert path.read_text() == "quick"
    assert list(tmp_path.iterdir()) == [path]


def test_of_several_processes_that_write_one_file_without_replacing_one_wins_whole(tmp_path):
    script = (
        "import runpy, sys, pathlib\n"
        "write_json = runpy.run_path(sys.argv[1])['write_json']\n"
        "for file in range(100):\n"
        "    path = pathlib.Path(sys.argv[2], f'{file}.json')\n"
        "    write_json(path, [int(sys.argv[3])] * 1000, replace=False)\n"
        "    kept = path.read_text()\n"
        "    print(kept)\n"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, files.__file__, tmp_path, str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    seen = [writer.communicate()[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen[0] == seen[1]  # what either found after its write: the same, and so it stays
    assert len(list(tmp_path.iterdir())) == 100
    for file in tmp_path.iterdir():
        assert json.loads(file.read_text()) in ([0] * 1000, [1] * 1000)


def test_a_list_of_numbers_takes_one_line_and_is_read_back_as_it_was(tmp_path):
    numbers = [1, -2, 0.1 + 0.2, 1e-300, -1.5e20, 2**60]
    content = {"flat": numbers, "nested": [[numbers, [7]], []], "mixed": [1, None, "2"]}
    write_json(tmp_path / "file.json", content)
    text = (tmp_path / "file.json").read_text()
    assert json.loads(text) == content
    assert sum("1e-300" in line and "-1.5e+20" in line for line in text.splitlines()) == 2
    assert len(text.splitlines()) < 20


@pytest.mark.parametrize(
    "text", ["[\n 1,\n 2\n]", "[1,  2]", "[\n]", '"[\n1\n]"', "]\n[", "[\\n 1,  2]"]
)
def test_text_that_looks_like_a_list_of_numbers_stays_as_it_is(tmp_path, text):
    content = {"value": text, text: [text, 1], "list": [[text], [1, 2]]}
    write_json(tmp_path / "file.json", content)
    assert json.loads((tmp_path / "file.json").read_text()) == content


def test_json_is_utf8_whatever_the_locale(tmp_path):
    path = tmp_path / "file.json"
    script = (
        "import runpy, sys, pathlib\n"
        "write_json = runpy.run_path(sys.argv[1])['write_json']\n"
        "write_json(pathlib.Path(sys.argv[2]), 'Gr\\xf6\\xdfe \\u2122')\n"
    )
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run(
        [sys.executable, "-c", script, files.__file__, str(path)],
        env=os.environ | locale,
        check=True,
    )
    assert path.read_bytes().decode("utf-8") == '"Größe ™"\n'


# --- what is in the way, and no room --------------------------------------------------------------


def test_a_file_that_cannot_take_its_place_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to("nowhere")
    before = set(tmp_path.iterdir())
    for name in ("folder.json", "link.json"):
        with pytest.raises(OSError, match=name):
            write_json(tmp_path / name, {}, replace=False)
    with pytest.raises(OSError, match="folder"):
        write_json(tmp_path / "folder.json", {})
    assert set(tmp_path.iterdir()) == before


def write_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones(10_000))


WRITERS = {
    "bytes": lambda path: path.write_bytes(b"1" * 10_000),
    "tensors": lambda path: save_file({"one": torch.ones(10_000)}, path),
    "an array": write_array,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_where_there_is_no_room_the_error_names_the_file_and_the_old_one_stays(tmp_path, write):
    path = tmp_path / "file"
    path.write_text("old")
    with largest_file(4096), pytest.raises(OSError) as caught:
        write_atomically(path, write)
    assert caught.value.filename == str(path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"file": "old"}


def test_only_the_errors_asked_for_are_named(tmp_path):
    with pytest.raises(OSError) as caught, naming(tmp_path, *files.NO_ROOM):
        raise OSError(5, "of another file")
    assert caught.value.filename is None


@pytest.mark.parametrize("portably", [False, True])
def test_a_file_with_holes_takes_its_room_and_keeps_its_content(tmp_path, monkeypatch, portably):
    if portably:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    path, size = tmp_path / "file", 3 * files.BLOCK + 5
    with path.open("wb") as file:
        file.write(b"begin")
        file.seek(size - 3)
        file.write(b"end")
    assert path.stat().st_blocks * 512 < size
    reserve(path)
    assert path.stat().st_blocks * 512 >= size
    assert path.read_bytes() == b"begin" + bytes(size - 8) + b"end"


def test_room_that_is_not_there_is_an_error_that_names_the_file(tmp_path):
    script = (
        "import os, pathlib, runpy, sys\n"
        "path = pathlib.Path(sys.argv[1], 'file')\n"
        "path.touch()\n"
        "os.truncate(path, 1 << 22)  # twice the size of the disk\n"
        "try:\n"
        "    runpy.run_path(sys.argv[2])['reserve'](path)\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    told = on_a_disk(tmp_path, SMALL, script, files.__file__)
    assert told == f"[Errno 28] No space left on device: '{tmp_path / 'file'}'\n"


# --- left by a killed process ---------------------------------------------------------------------


def test_what_a_killed_writer_left_goes_with_the_next_write_of_the_file(tmp_path):
    killed = subprocess.Popen(["sleep", "60"])
    running = subprocess.Popen(["sleep", "60"])
    try:
        killed.kill()
        killed.wait()
        for name in (f".file[1].{killed.pid}", f".file[1].{running.pid}", f".other.{killed.pid}"):
            (tmp_path / name).touch()
        write_atomically(tmp_path / "file[1]", lambda path: path.touch())
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"file[1]", f".file[1].{running.pid}", f".other.{killed.pid}"}
    finally:
        running.kill()
        running.wait()


# --- what is stored -------------------------------------------------------------------------------

STORED = {"auc": 0.1 + 0.2, "rate": 1e-06, "names": ["Größe", "™"], "none": None, "all": [[1], []]}


def test_what_is_stored_is_read_as_it_was(tmp_path):
    store_json(tmp_path / "file.json", STORED)
    assert load_json(tmp_path / "file.json") == STORED
    assert json.loads((tmp_path / "file.json").read_text()).keys() == {*STORED, "sum"}


def test_what_is_not_there_is_not_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_json(tmp_path / "file.json")


@each_harm
def test_harm_to_a_stored_file_is_noticed_and_the_file_named(tmp_path, harm):
    path = tmp_path / "file.json"
    store_json(path, STORED)
    harm(path)
    with pytest.raises(DamagedError, match=str(path)):
        load_json(path)


def test_every_flipped_bit_of_a_stored_file_is_noticed(tmp_path):
    """Also where the number remains the same: of 1E-06, say, or in a digit beyond its precision."""
    path = tmp_path / "file.json"
    store_json(path, STORED)
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(DamagedError, match=str(path)):
            load_json(path)


def test_a_file_without_a_checksum_is_damaged_until_one_is_added(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, STORED)
    with pytest.raises(DamagedError, match=r"does not end with a checksum: .*files\.add_sum"):
        load_json(path)
    add_sum(path)
    assert load_json(path) == STORED


def test_a_checksum_that_is_wrong_stays_wrong(tmp_path):
    path = tmp_path / "file.json"
    store_json(path, STORED)
    path.write_text(path.read_text().replace("Größe", "Grosse"))
    add_sum(path)
    with pytest.raises(DamagedError, match="does not fit its checksum"):
        load_json(path)


def test_a_folder_is_read_but_for_what_is_damaged_in_it_which_is_told(tmp_path):
    for name in "abc":
        store_json(tmp_path / f"{name}.json", {"name": name})
    (tmp_path / "b.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"left out: .*b\.json does not end") as said:
        assert load_folder(tmp_path, load_json) == [{"name": "a"}, {"name": "c"}]
    assert len(said) == 1
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "none", "a.json"):  # the last is a file
        with pytest.warns(UserWarning, match=f"there are no records in .*{nothing}"):
            assert load_folder(tmp_path / nothing, load_json) == []


def test_what_is_set_aside_makes_room_and_keeps_what_was_set_aside_before(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    assert set_aside(path) == tmp_path / "file.damaged"
    path.mkdir()
    assert set_aside(path) == tmp_path / "file.damaged-2"
    path.symlink_to("nowhere")
    assert set_aside(path).is_symlink()
    assert not os.path.lexists(path)
    assert (tmp_path / "file.damaged").read_text() == "one"
