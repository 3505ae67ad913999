"""ES modules as one classic script, which a page opened as a file may load; modules it may not.

It knows the forms of `import` and `export` that `_static/live/` uses, and no others: a module that
holds another does not parse as a script, which a test would show.
"""

import re
from pathlib import Path

IMPORT = re.compile(r'^import (?:\* as (\w+)|(\{[^}]*\})) from "\./(\w+)\.js";$', re.M)
EXPORT = re.compile(r"^export (async function|function|class|const) (\w+)", re.M)


def joined(entry: Path) -> str:
    """The module and all that it imports, each in a function of its own, as text."""
    order: list[Path] = []

    def visit(module: Path) -> None:
        if module not in order:
            for *_, name in IMPORT.findall(module.read_text(encoding="utf-8")):
                visit(module.with_name(f"{name}.js"))
            order.append(module)

    visit(entry)
    parts = "".join(map(_part, order))
    return f"(() => {{\nconst [$, here] = [{{}}, document.currentScript.src];\n{parts}}})();\n"


def _part(module: Path) -> str:
    text = module.read_text(encoding="utf-8").replace("import.meta.url", "here")
    names = ", ".join(name for _, name in EXPORT.findall(text))
    text = IMPORT.sub(lambda found: f"const {found[1] or found[2]} = $.{found[3]};", text)
    text = EXPORT.sub(r"\1 \2", text)
    return f"$.{module.stem} = (() => {{\n{text}return {{ {names} }};\n}})();\n"
