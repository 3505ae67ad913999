"""Tables on pages: they may wrap, but not within a number and its interval."""

import api
import pytest
from typesetting import set_in_type


def cell(text: str) -> str:
    """What becomes of a cell's text, with "~" for a space that does not break."""
    done = set_in_type(f"<tr><td>{text}</td></tr>")
    return done.removeprefix("<tr><td>").removesuffix("</td></tr>").replace("\u00a0", "~")


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("0.7401 ± 0.0023", "0.7401~±~0.0023"),
        ("-0.0023 [-0.0098, +0.0051] lower", "−0.0023 [−0.0098,~+0.0051] lower"),
        ("0.5 (0.4 to 0.6)", "0.5 (0.4~to~0.6)"),
        ("2.0 of 4", "2.0~of~4"),
        ("8 x 141 GB", "8~x~141~GB"),
        ("DCNv2 SE 10x", "DCNv2 SE~10x"),
        ("ME - SE, ours", "ME − SE, ours"),
        ("synthetic-mini", "synthetic-mini"),
        ("one of those who know", "one of those who know"),
        ("<span class='ec-effect'>-0.3</span>", "<span class='ec-effect'>−0.3</span>"),
    ],
)
def test_a_number_stays_in_one_piece_and_a_minus_is_a_minus(text, there):
    assert cell(text) == there


def test_heads_are_set_too_and_all_but_text_is_left_alone():
    table = '<table class="dataframe"><tr><th scope="row">ME - SE</th><td><a href="-1">-2</a></td>'
    assert set_in_type(table) == table.replace("ME - SE", "ME − SE").replace("-2", "−2")


def test_parameters_that_share_a_line_stay_together():
    lines = [":param width, depth: of layers", ":ivar one: of a, b: c", "a, b: c"]
    api._keep_names_together(None, "", "", None, None, lines)
    assert lines == [":param width,\u200bdepth: of layers", ":ivar one: of a, b: c", "a, b: c"]


def test_a_long_name_of_a_row_is_marked():
    table = "<tr><th>base</th><th>a table that has collapsed</th><td>1</td></tr>"
    marked = table.replace("<th>a", '<th class="ec-long">a')
    assert set_in_type(table) == marked
