import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedding_collapse import files
from embedding_collapse.files import write_atomically, write_json


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
            stdout=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
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
