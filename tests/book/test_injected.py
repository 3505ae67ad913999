"""A parameter that a chapter doesn't have ends it before its work begins."""

import chapters
import pytest

from embedding_collapse.book.injected import check
from embedding_collapse.parameters import ParameterError

PARAMETERS = 'rows: int = 3  # of the data\nlabel: str = ""\nolder = 7'


@pytest.mark.parametrize(
    ("cell", "wrong"),
    [
        ("# Parameters\nrows = 4\nolder = 5\n", None),
        ("# Parameters\nrosw = 4\n", "rosw is no parameter of this chapter; its parameters are ro"),
        ("rosw = 4\n", None),  # a reader's own cell
        ("# Parameters of another kind\nrosw = 4\n", None),
    ],
)
def test_what_papermill_injects_is_held_against_the_cell_before_it(cell, wrong):
    if wrong is None:
        check(PARAMETERS, cell)
    else:
        with pytest.raises(ParameterError, match=wrong):
            check(PARAMETERS, cell)


@pytest.mark.parametrize("chapter", ["04_suppressing_interaction", "08_your_embeddings"])
def test_a_misspelt_parameter_ends_a_chapter_whether_it_imports_the_book_before_or_after(
    kernel, tmp_path, chapter
):
    page = kernel.run(tmp_path, chapter, rosw=4000)
    told = chapters.error(page)
    assert told.startswith("ParameterError: rosw is no parameter of this chapter; its parameters ")
    assert "\n" not in told
    assert list(tmp_path.iterdir()) == []
