"""Sphinx extension: figures and the scripts that draw them, and no script from another host.

A notebook holds the data of a figure once, for Jupyter; each figure's element on the page gets it.

A page that holds a figure (`<div class="ec-figure">`, see `_static/figures.js`) or an explorer
(`<section class="ec-explorer">`, see `_static/explorers.js`) gets plotly.js and the scripts that
draw them; one with a figure that trains (`<section class="ec-training">`) gets the script joined
from the modules of `embedding_collapse/book/live/`; the other pages stay light. sphinx-thebe, which
Jupyter Book always loads, is taken out: the book has no live kernel, and its script throws without
one.
"""

import json
import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

from embedding_collapse.book.joining import FIGURES, LIVE, joined, shared

DRAW = ("vendor/plotly/plotly-cartesian.min.js", "figures.js")
SCRIPTS = {
    "ec-figure": DRAW,
    "ec-explorer": (*DRAW, "live/address.script.js", "explorers.js"),
}
DATA = "application/vnd.plotly.v1+json"
STATIC = Path(__file__).parent.parent / "_static"
DRAWING = re.compile(r'<img (?=[^>]*src="[^"]*_images/(\w+)\.svg")')
# Shows the code of all cells (`_static/code.js`); made there, it would move the page as it comes.
SWITCH = '<button type="button" class="ec-code-switch">Show the code</button>'
# A first visit has chosen no theme, which the theme's own script takes for a mistake. Its setting,
# `default_mode`, would leave a page without colours where no script runs.
THEME = """{
  const { dataset } = document.documentElement;
  dataset.mode ||= "auto";
  dataset.theme ||= matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}"""
TRAINING = re.compile(r'class="ec-training" data-figure="(\w+)"')

# What Sphinx's other extensions write and a screen reader trips over: a label that says other than
# the text it labels, a role that is no more, and a list that holds more than its items.
MENDED = {
    ' aria-label="Toggle hidden content"': "",
    ' role="doc-biblioentry"': "",
    '<div role="list" class="citation-list">': '<div class="citation-list">',
}


def _silence_thebe(app: Sphinx, config: Config) -> None:
    """Take sphinx-thebe's handlers and style sheet out, before they reach a page."""
    for listeners in app.events.listeners.values():
        listeners[:] = [
            listener
            for listener in listeners
            if getattr(listener.handler, "__module__", "") != "sphinx_thebe"
        ]
    app.registry.css_files[:] = [css for css in app.registry.css_files if "thebe" not in css[0]]


def with_data(notebook: str) -> str:
    """The text of a notebook whose figures' elements hold the data to draw."""
    content = json.loads(notebook)
    for output in (output for cell in content["cells"] for output in cell.get("outputs", [])):
        bundle = output.get("data", {})
        if DATA in bundle and "text/html" in bundle:
            data = json.dumps(bundle[DATA], ensure_ascii=False, separators=(",", ":"))
            data = data.replace("<", r"\u003c")  # or a name in it could end the element
            script = f'<script type="application/json">{data}</script>'
            page = "".join(bundle["text/html"])
            bundle["text/html"] = page.replace("<noscript>", f"{script}<noscript>", 1)
    return json.dumps(content)


def _put_data(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put a notebook's data where its page draws from."""
    if app.env.doc2path(docname).endswith(".ipynb"):
        source[0] = with_data(source[0])


def _add_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object
) -> None:
    """Add the scripts to a page that holds what they draw, each once."""
    body = context.get("body", "")
    needed = [
        script for kind, all in SCRIPTS.items() if f'class="{kind}"' in body for script in all
    ]
    for script in dict.fromkeys(needed):
        app.add_js_file(script, defer="defer")
    for name in dict.fromkeys(TRAINING.findall(body)):
        app.add_js_file(f"live/{name}.script.js", defer="defer")


def _join(app: Sphinx) -> None:
    """Write the scripts of the figures that train, and the look of figures with controls, where a
    page looks for them."""
    target = Path(app.outdir) / "_static" / "live"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(LIVE / "live.css", target)
    for name in FIGURES:
        (target / f"{name}.script.js").write_text(joined(LIVE / f"{name}.js"), "utf-8")
    (target / "address.script.js").write_text(shared("address"), "utf-8")


def _spare_icons(app: Sphinx, error: Exception | None) -> None:
    """Empty the theme's script of icons, half a megabyte compressed and a third of a page: the
    theme's style has them as a font too. A build that failed, or only asks links, has none."""
    if error is not None or app.builder.format != "html":
        return
    (Path(app.outdir) / "_static" / "scripts" / "fontawesome.js").write_text("")


def with_room(body: str) -> str:
    """The body of a page with the switch for its code, if any, and room for its drawings."""

    def sized(found: re.Match) -> str:
        path = STATIC / f"{found[1]}.svg"
        if not path.exists():  # somebody else's: a notebook's output, say
            return found[0]
        drawing = path.read_text(encoding="utf-8")
        width, height = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawing).groups()
        return f'<img width="{width}" height="{height}" '

    if "above-input" in body:
        body = body.replace("</h1>", f"</h1>\n{SWITCH}", 1)
    return DRAWING.sub(sized, body)


def _mend(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Put right what hinders those who listen to a page, and what moves while it loads."""
    body = context.get("body", "")
    for wrong, right in MENDED.items():
        body = body.replace(wrong, right)
    context["body"] = with_room(body)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    for script in ("scrolling.js", "code.js"):
        app.add_js_file(script, defer="defer")
    app.add_js_file(None, body=THEME)
    app.add_css_file("live/live.css")
    app.connect("config-inited", _silence_thebe)
    app.connect("source-read", _put_data)
    app.connect("html-page-context", _add_scripts)
    app.connect("html-page-context", _mend)
    app.connect("builder-inited", _join)
    app.connect("build-finished", _spare_icons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
