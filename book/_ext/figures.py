"""Sphinx extension: scripts for the pages that need them, and none from another host.

A page that holds a figure (`<div class="ec-figure">`, see `_static/figures.js`) gets plotly.js and
the script that draws it; the other pages stay light. sphinx-thebe, which Jupyter Book always
loads, is taken out: the book has no live kernel, and its script throws without one.
"""

from sphinx.application import Sphinx

SCRIPTS = ("vendor/plotly/plotly-cartesian.min.js", "figures.js")


def _choose_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object
) -> None:
    """Add the figures' scripts to a page that holds one, and drop sphinx-thebe's."""
    if 'class="ec-figure"' in context.get("body", ""):
        for script in SCRIPTS:
            app.add_js_file(script, defer="defer")
    context["script_files"][:] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename}{script.attributes.get('body')}".lower()
    ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-page-context", _choose_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
