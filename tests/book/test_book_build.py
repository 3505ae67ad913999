"""The book's chapters are run side by side, and come in the book's order; a book is replaced whole,
by one build at a time."""

import threading
from pathlib import Path

import build
import pytest
from filelock import FileLock

CHAPTERS = [Path(f"notebooks/{name}.ipynb") for name in ("first", "second", "third")]


@pytest.fixture(autouse=True)
def _no_chapter_keeps_records(monkeypatch):
    monkeypatch.setattr(build.outputs, "keeps_records", lambda path: False)


def test_chapters_run_side_by_side_and_come_in_the_books_order(monkeypatch):
    both = threading.Barrier(2, timeout=60)
    monkeypatch.setattr(build.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(build, "execute", lambda chapter, target: both.wait())
    assert list(build.execute_all(CHAPTERS[:2])) == CHAPTERS[:2]


def test_a_chapter_that_fails_ends_the_build_and_those_that_wait_are_not_begun(monkeypatch):
    begun = []

    def execute(chapter, target):
        begun.append(chapter)
        raise SystemExit(f"{chapter}: a cell failed")

    monkeypatch.setattr(build.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(build, "execute", execute)
    with pytest.raises(SystemExit, match="a cell failed"):
        list(build.execute_all(CHAPTERS))
    assert begun[0] == CHAPTERS[0]


def test_chapters_that_train_and_then_those_that_take_longest_are_begun_first(monkeypatch):
    begun = []
    monkeypatch.setattr(build.outputs, "keeps_records", lambda path: path.stem == "third")
    took = {"first": {"seconds": 3.0}, "second": {"seconds": 60.0}}
    monkeypatch.setattr(build.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(build.execution, "load", lambda results: took)
    monkeypatch.setattr(build, "execute", lambda chapter, target: begun.append(chapter.stem))
    assert list(build.execute_all(CHAPTERS)) == CHAPTERS
    assert begun == ["third", "second", "first"]


@pytest.fixture
def staged(tmp_path, monkeypatch) -> Path:
    """A book that is ready but for its records, beside one that was there before."""
    monkeypatch.setattr(build, "STAGING", tmp_path / "staging")
    monkeypatch.setattr(build, "HTML", tmp_path / "html")
    monkeypatch.setattr(build, "jupyter_book", lambda *options: 0)
    made = tmp_path / "staging" / "_build" / "html"
    for folder, text in ((made, "new"), (tmp_path / "html", "old")):
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(text)
    return tmp_path


def test_a_book_replaces_the_last_with_its_records_in_it(staged, monkeypatch):
    monkeypatch.setattr(build.outputs, "copy_records", lambda pages, of, target: target.mkdir())
    build.render()
    assert (staged / "html" / "index.html").read_text() == "new"
    assert (staged / "html" / "records").is_dir()
    assert {path.name for path in staged.iterdir()} == {"html", "staging"}


def test_a_book_whose_records_are_not_there_leaves_the_last_in_place(staged, monkeypatch):
    def copy_records(*_):
        raise SystemExit("pages cite runs whose records are not in results")

    monkeypatch.setattr(build.outputs, "copy_records", copy_records)
    with pytest.raises(SystemExit, match="pages cite runs"):
        build.render()
    assert (staged / "html" / "index.html").read_text() == "old"


def test_a_second_build_is_refused_and_leaves_the_first_its_staging_folder(staged, monkeypatch):
    monkeypatch.setattr(build.sys, "argv", ["build.py", "--stored"])
    with FileLock(staged / ".lock"), pytest.raises(SystemExit, match="wait until it ends"):
        build.main()
    assert (staged / "staging" / "_build" / "html").is_dir()
