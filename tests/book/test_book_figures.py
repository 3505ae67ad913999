"""Pages keep room for what comes late, and a build that makes none is left alone."""

from types import SimpleNamespace

import pytest
from figures import SWITCH, _spare_icons, with_room


def test_a_drawing_has_its_measures():
    image = '<img alt="Two clouds" src="../_images/collapse.svg" />'
    assert with_room(image) == image.replace("<img ", '<img width="560" height="360" ')


def test_somebody_elses_drawing_is_left_as_it_is():
    image = '<img alt="An output" src="../_images/1f00aa.svg" />'
    assert with_room(image) == image


@pytest.mark.parametrize(
    ("error", "builder"), [(RuntimeError("a page is broken"), "html"), (None, "linkcheck")]
)
def test_a_build_that_failed_or_made_no_pages_has_no_icons_to_spare(tmp_path, error, builder):
    app = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format=builder))
    _spare_icons(app, error)
    assert not list(tmp_path.iterdir())


def test_only_a_page_with_code_has_a_switch_for_it():
    title = "<h1>Title</h1><h1>Another</h1>"
    code = '<details class="admonition hide above-input">'
    assert with_room(title) == title
    assert with_room(title + code) == f"<h1>Title</h1>\n{SWITCH}<h1>Another</h1>{code}"
