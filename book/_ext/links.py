"""Sphinx extension: links that a cell computed lead to pages.

Sphinx turns a link to a notebook into one to its page where the link stands in prose. One in an
output, which is right in Jupyter, it leaves as it is.
"""

import posixpath
import re

from sphinx.application import Sphinx

TO_NOTEBOOK = re.compile(r'(<a [^>]*href=")([\w./-]+)\.ipynb(#[^"]*)?"')


def _lead_to_pages(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object
) -> None:
    def to_page(link: re.Match) -> str:
        page = posixpath.normpath(posixpath.join(posixpath.dirname(pagename), link[2]))
        end = ".html" if page in app.env.found_docs else ".ipynb"
        return f'{link[1]}{link[2]}{end}{link[3] or ""}"'

    if "body" in context:
        context["body"] = TO_NOTEBOOK.sub(to_page, context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-page-context", _lead_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
