"""Chapters 4 and 6, which are drawn from records: what they hold, and what they refuse."""

import re

import nbformat
import pytest
from chapters import NOTEBOOKS, papermill

CHAPTERS = ["04_suppressing_interaction", "06_how_it_works"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_figures_equations_a_summary_and_exercises_with_answers(chapter):
    cells = nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    figures = [
        output
        for cell in cells
        for output in cell.get("outputs", [])
        if "application/vnd.plotly.v1+json" in output.get("data", {})
    ]
    assert len(figures) >= 4
    assert len(re.findall(r"^\$\$ \(eq:[\w-]+\)$", prose, re.M)) >= 3
    _, _, exercises = prose.partition("\n## Summary\n")[2].partition("\n## Exercises\n")
    questions = len(re.findall(r"^\d\. ", exercises, re.M))
    assert questions == exercises.count("```{dropdown}") >= 3


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_cell_is_so_long_that_it_belongs_in_the_library(chapter):
    cells = nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", as_version=4).cells
    assert max(len(c.source.splitlines()) for c in cells if c.cell_type == "code") <= 15


@pytest.mark.parametrize(
    ("chapter", "name", "value", "message"),
    [
        (CHAPTERS[0], "scale", "3", "ParameterError: scale 3 is unknown; known: 4, 10"),
        (CHAPTERS[0], "folder", "nowhere", "ParameterError: there is no folder 'nowhere'"),
        (CHAPTERS[1], "beyond", "nowhere", "ParameterError: there is no folder 'nowhere'"),
    ],
)
def test_a_parameter_that_cannot_be_stops_the_chapter(tmp_path, chapter, name, value, message):
    done = papermill(tmp_path, name, value, chapter=chapter)
    assert done.returncode != 0
    assert any(line.startswith(message) for line in done.stderr.splitlines())
