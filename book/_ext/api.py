"""Sphinx extension: the reference of the library."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def modules(package: str, without: tuple[str, ...] = ()) -> dict[str, str]:
    """What each module of a package is: the first line of its docstring, by its name in there.

    Args:
        package: its full name.
        without: packages in it to leave out.
    """
    (root,) = find_spec(package).submodule_search_locations
    told = {}
    for path in sorted(Path(root).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name and parts[0] not in without and not parts[-1].startswith("__main"):
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            told[name] = doc.partition("\n\n")[0].replace("\n", " ").rstrip(":")
    return told


class Modules(SphinxDirective):
    """A table of a package's modules, each with what it is."""

    required_arguments = 1
    option_spec: ClassVar = {"without": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Parse the table as Markdown, so that names in backticks are set as code."""
        without = tuple(self.options.get("without", "").split())
        rows = [
            f"| `{name}` | {what} |" for name, what in modules(self.arguments[0], without).items()
        ]
        box = nodes.container()
        lines = StringList(["| module | what it is |", "|---|---|", *rows], self.env.docname)
        self.state.nested_parse(lines, 0, box)
        return box.children


def _skip(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool:
    """A field of a named tuple says no more than its number; its class tells what it is."""
    return skip or str(getattr(obj, "__doc__", "")).startswith("Alias for field number")


def _keep_names_together(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Of `:param width, depth:` Sphinx would take all words but the last for a type."""
    for number, line in enumerate(lines):
        if field := re.match(r":(?:param|ivar) \*?\w+(?:, \w+)+:", line):
            lines[number] = field[0].replace(", ", ",\u200b") + line[field.end() :]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("modules", Modules)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _keep_names_together, priority=600)  # after napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
