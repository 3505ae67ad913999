"""Sphinx extension: the tables that cells put out, made fit for a page.

Their cells may wrap, so that a table is no wider than it must; a number stays in one piece with its
interval. In the cells, and above them, a minus is a minus.
"""

import re

from sphinx.application import Sphinx

LONG = 11  # letters, as many as 5rem hold (book.css)
CELL = re.compile(r"(<t[dh]\b[^>]*>)([^<]+)(?=</t[dh]>)")
MINUS = re.compile(r"(?<![^\s\[(])-(?=[\d ])")  # a number's, or between two words
GLUE = re.compile(
    r"(?<=\d) (?:±|→|of|to|x) (?=[\d+−])"  # 0.7 ± 0.1, 2.0 of 4
    r"|(?<=\d,) (?=[+−\d])"  # [-0.1, +0.1]
    r"|(?<=\d) (?=(?:[kMG]B?|ms|s)\b)"  # 24 GB
    r"|(?<=\b[SM]E) (?=\d)"  # SE 4x
)


def set_in_type(table: str) -> str:
    """The HTML of a table with minus signs, with spaces that do not break inside numbers, and with
    long names of rows marked."""

    def cell(found: re.Match) -> str:
        text = MINUS.sub("−", found[2])
        opening = '<th class="ec-long">' if found[1] == "<th>" and len(text) > LONG else found[1]
        return opening + GLUE.sub(lambda part: part[0].replace(" ", "\u00a0"), text)

    return CELL.sub(cell, table)


def _set_tables(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object
) -> None:
    """Set the tables of a page's outputs."""
    if "body" in context:
        context["body"] = re.sub(
            r'<table [^>]*class="dataframe.*?</table>',
            lambda found: set_in_type(found[0]),
            context["body"],
            flags=re.S,
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-page-context", _set_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
