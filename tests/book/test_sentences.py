"""What pages say by hand is what their records say: a changed number is found and named."""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from chapters import NOTEBOOKS

from embedding_collapse.book.sentences import (
    NUMBER,
    SentenceError,
    asserted,
    holds,
    mistakes,
    says,
    speaks_of,
    unchecked,
)

CHECKED = [
    "01_jl_sizing",
    "02_information_abundance",
    "03_interaction_collapse",
    "04_suppressing_interaction",
    "05_multi_embedding",
    "06_how_it_works",
    "07_results",
    "08_your_embeddings",
    "opening",
    "cost",
    "data",
    "robustness",
]
ROOT = NOTEBOOKS.parent


@pytest.fixture(params=CHECKED)
def page(request):
    return nbformat.read(NOTEBOOKS / f"{request.param}.ipynb", as_version=4)


def found_true(lines: str) -> nbformat.NotebookNode:
    """A hidden cell that has printed them."""
    output = nbformat.v4.new_output("stream", text=lines)
    return nbformat.v4.new_code_cell("", metadata={"tags": ["sentences"]}, outputs=[output])


def changed(page: nbformat.NotebookNode, sentence: str) -> list[nbformat.NotebookNode]:
    """The page's cells with the last digit of the sentence's last number raised by one, wherever
    the page holds the sentence."""
    *_, number = NUMBER.finditer(sentence)
    end = number.end()
    other = sentence[: end - 1] + str((int(sentence[end - 1]) + 1) % 10) + sentence[end:]
    cells = []
    for cell in page.cells:
        if cell.cell_type == "markdown":
            plain = " ".join(cell.source.replace("−", "-").replace("*", "").split())
            cell = nbformat.NotebookNode(cell | {"source": plain.replace(sentence, other)})
        cells.append(cell)
    return cells


def test_the_pages_say_what_their_records_say(page):
    assert len(asserted(page)) >= 10
    assert mistakes(page) == []


def test_every_decimal_in_a_page_is_accounted_for(page):
    assert unchecked(page) == []


def test_a_number_changed_by_hand_is_found_and_its_sentence_named(page):
    for sentence in {line for line in asserted(page) if NUMBER.search(line)}:
        prose = [cell for cell in changed(page, sentence) if cell.cell_type == "markdown"]
        (told,) = mistakes({"cells": [*prose, found_true(sentence)]})
        assert told.startswith(f"the records say “{sentence}”; the page says “")


def test_a_number_that_no_check_accounts_for_is_found(page):
    page.cells[0].source += "\n\nThe gain is 0.123 or 45.6%."
    assert unchecked(page) == ["0.123", "45.6%"]


def test_the_build_fails_and_names_the_sentence(tmp_path):
    """The real build, over a copy of the repository's book in which one number is another."""
    for name in ("_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("book", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = tmp_path / "notebooks" / f"{CHECKED[0]}.ipynb"
    page = nbformat.read(path, as_version=4)
    sentence = next(line for line in asserted(page) if re.search(r"\d\.\d", line))
    page.cells = changed(page, sentence)
    nbformat.write(page, path)
    done = subprocess.run(
        [sys.executable, tmp_path / "book" / "build.py", "--stored"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"{CHECKED[0]}: the records say “{sentence}”; the page says “" in done.stderr


def test_a_warning_in_a_hidden_cell_is_no_sentence():
    cell = found_true("all is well")
    cell.outputs += [nbformat.v4.new_output("stream", name="stderr", text="UserWarning: 1.5")]
    assert asserted({"cells": [cell]}) == ["all is well"]


def test_a_claim_that_does_not_hold_stops_the_page():
    with pytest.raises(SentenceError, match="the page says “all lie above”, and the records"):
        holds("all lie above", False)


def test_what_holds_is_told_with_the_records_numbers(capsys):
    holds("all lie above", True)
    says("a gain of {:+.3f}", 0.01249)
    assert capsys.readouterr().out.splitlines() == ["all lie above", "a gain of +0.012"]


def test_a_page_of_other_runs_says_that_its_text_is_not_about_them(capsys):
    assert speaks_of(["a"], ["a"])
    assert capsys.readouterr().out == ""
    assert not speaks_of(["a"], ["b"])
    assert "The text speaks of the stored study" in capsys.readouterr().out


@pytest.mark.parametrize("sentence", ["It is 0.12", "It is 0", "12 of them", "79 of them"])
def test_a_part_of_a_longer_number_is_not_the_number(sentence):
    prose = nbformat.v4.new_markdown_cell("It is 0.1279 of them, 112 of them, 3,012 of them.")
    page = {"cells": [prose, found_true(f"{sentence}\n")]}
    assert len(mistakes(page)) == 1
    assert "0.1279" in unchecked(page)


@pytest.mark.parametrize(
    ("prose", "found"),
    [
        ("It is **0.42**\nof them.", 0),
        ("It is 0.42 of them, by −0.100.", 0),
        ("It is 0.43 of them.", 1),
        ("It is a part of them.", 1),
    ],
)
def test_breaks_stars_and_signs_of_typography_do_not_count(prose, found):
    lines = "It is 0.42 of them\n" + ("by -0.100\n" if "by" in prose else "")
    page = {"cells": [nbformat.v4.new_markdown_cell(prose), found_true(lines)]}
    assert len(mistakes(page)) == found
