"""What every numbered chapter has: summary, exercises, figures, links, numbered equations."""

import re
from pathlib import Path

import nbformat
import pytest

from embedding_collapse.book import plots

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHAPTERS = sorted(NOTEBOOKS.glob("0[1-9]_*.ipynb"))
NUMBERS = {int(path.name[:2]): path for path in CHAPTERS}
ARGUMENT = range(1, 7)  # chapters that define and derive
A_FIGURE = re.compile(r"\bplots\.show\(|\bexplorers?\.\w+\(|```\{figure\}")

every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def cells(path: Path) -> list[nbformat.NotebookNode]:
    return nbformat.read(path, as_version=4).cells


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells(path) if cell.cell_type == "markdown")


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level, up to the next."""
    found = re.split(rf"^## {title}.*$", text, maxsplit=1, flags=re.M)
    assert len(found) == 2, f"no section {title}"
    return re.split(r"^## ", found[1], maxsplit=1, flags=re.M)[0]


def test_there_are_chapters():
    assert len(CHAPTERS) >= 4


@every_chapter
def test_the_title_has_the_files_number(path):
    first = cells(path)[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {int(path.name[:2])}. ")


@every_chapter
def test_there_is_a_summary_of_several_points(path):
    points = re.findall(r"^- \S", section(prose(path), "Summary"), flags=re.M)
    assert len(points) >= 2


@every_chapter
def test_every_exercise_has_an_answer_that_is_hidden_at_first(path):
    exercises = section(prose(path), "Exercises")
    questions = re.findall(r"^\d+\. \S", exercises, flags=re.M)
    answers = re.findall(r"^ *(?:```|:::)\{dropdown\}", exercises, flags=re.M)
    assert len(questions) == len(answers) >= 2


@every_chapter
def test_two_figures_at_least_are_shown(path):
    shown = [A_FIGURE.findall(cell.source) for cell in cells(path)]
    assert sum(map(len, shown)) >= 2
    stored = [
        output
        for cell in cells(path)
        for output in cell.get("outputs", [])
        if "ec-figure" in output.get("data", {}).get("text/html", "")
    ]
    assert len(stored) >= 1, "no figure among the stored outputs"


@every_chapter
def test_every_figure_is_told_in_words(path):
    for cell in cells(path):
        if cell.cell_type == "code":
            for call in re.split(r"plots\.show\(", cell.source)[1:]:
                assert re.search(r'"[^"]{20,}', call), f"no words for {call[:60]}"


@every_chapter
def test_the_chapter_before_and_the_one_after_are_linked(path):
    text = prose(path)
    for number in (int(path.name[:2]) - 1, int(path.name[:2]) + 1):
        if number in NUMBERS:
            assert f"({NUMBERS[number].name}" in text, f"no link to {NUMBERS[number].name}"


@every_chapter
def test_the_paper_is_cited(path):
    assert "guo2024embedding" in prose(path)


@pytest.mark.parametrize(
    "path", [NUMBERS[n] for n in ARGUMENT if n in NUMBERS], ids=lambda path: path.stem
)
def test_a_chapter_of_the_argument_numbers_its_equations_and_refers_to_them(path):
    labels = re.findall(r"^\$\$ \((eq:[\w-]+)\)", prose(path), flags=re.M)
    assert labels
    assert len(set(labels)) == len(labels)


def test_no_two_chapters_give_an_equation_the_same_name():
    labels = [
        label
        for path in CHAPTERS
        for label in re.findall(r"^\$\$ \((eq:[\w-]+)\)", prose(path), flags=re.M)
    ]
    assert len(set(labels)) == len(labels)


@every_chapter
def test_parameters_are_annotated_and_explained(path):
    tagged = [cell for cell in cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for line in tagged[0].source.splitlines():
        assert re.fullmatch(r"\w+: (str|int|float|bool) = .+  # .+", line), line


def test_the_figures_that_chapters_show_exist():
    for path in CHAPTERS:
        for cell in cells(path):
            if cell.cell_type == "code":
                for name in re.findall(r"\bplots\.(\w+)", cell.source):
                    assert hasattr(plots, name), f"{path.name}: plots.{name}"


@pytest.mark.parametrize("path", [NUMBERS[4], NUMBERS[6]], ids=lambda path: path.stem)
def test_chapters_drawn_from_records_have_many_figures_and_equations(path):
    outputs = [output for cell in cells(path) for output in cell.get("outputs", [])]
    figures = [o for o in outputs if "application/vnd.plotly.v1+json" in o.get("data", {})]
    assert len(figures) >= 4
    assert len(re.findall(r"^\$\$ \(eq:[\w-]+\)$", prose(path), re.M)) >= 3


@pytest.mark.parametrize("path", [NUMBERS[4], NUMBERS[6]], ids=lambda path: path.stem)
def test_no_cell_is_so_long_that_it_belongs_in_the_library(path):
    code = [
        cell.source
        for cell in cells(path)
        if cell.cell_type == "code" and "sentences" not in cell.metadata.get("tags", [])
    ]
    assert max(len(source.splitlines()) for source in code) <= 15
