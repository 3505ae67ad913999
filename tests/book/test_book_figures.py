"""Pages keep room for what comes late."""

from figures import SWITCH, with_room


def test_a_drawing_has_its_measures():
    image = '<img alt="Two clouds" src="../_images/collapse.svg" />'
    assert with_room(image) == image.replace("<img ", '<img width="560" height="360" ')


def test_only_a_page_with_code_has_a_switch_for_it():
    title = "<h1>Title</h1><h1>Another</h1>"
    code = '<details class="admonition hide above-input">'
    assert with_room(title) == title
    assert with_room(title + code) == f"<h1>Title</h1>\n{SWITCH}<h1>Another</h1>{code}"
