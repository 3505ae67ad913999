"""The book's chapters are run side by side, and come in the book's order."""

import threading
from pathlib import Path

import build
import pytest

CHAPTERS = [Path(f"notebooks/{name}.ipynb") for name in ("first", "second", "third")]


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


def test_the_chapters_that_take_longest_are_begun_first(monkeypatch):
    begun = []
    took = {"first": {"seconds": 3.0}, "second": {"seconds": 60.0}}
    monkeypatch.setattr(build.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(build.execution, "load", lambda results: took)
    monkeypatch.setattr(build, "execute", lambda chapter, target: begun.append(chapter.stem))
    assert list(build.execute_all(CHAPTERS)) == CHAPTERS
    assert begun == ["second", "first", "third"]
