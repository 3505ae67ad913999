"""Sphinx extension: the tables that cells put out, made fit for a page.

Their cells may wrap, so that a table is no wider than it must; a number stays in one piece with its
interval. In the cells, and above them, a minus is a minus.
"""

import re

from sphinx.application import Sphinx

TEXT = re.compile(r"(?<=>)[^<]+")
LONG = 11  # letters, as many as 5rem hold (book.css)
ROW = re.compile(r"<th>(?=([^<]+)</th>)")
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

    def text(found: re.Match) -> str:
        return GLUE.sub(lambda part: part[0].replace(" ", "\u00a0"), MINUS.sub("−", found[0]))

    def name(found: re.Match) -> str:
        return '<th class="ec-long">' if len(found[1]) > LONG else found[0]

    return ROW.sub(name, TEXT.sub(text, table))


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
