"""The modules of a figure that trains (`live/`) as one text, which a page opened as a file may
load, and a notebook; modules that import each other they may not.

It knows the forms of `import` and `export` that `live/` uses, and no others: a module that holds
another does not parse as a script, which a test would show. A worker's modules travel as text
inside.
"""

import json
import re
from pathlib import Path

LIVE = Path(__file__).parent / "live"
FIGURES = ("collapse", "sets", "bottleneck")  # modules that export `mount`
IMPORT = re.compile(r'^import (?:\* as (\w+)|(\{[^}]*\})) from "\./(\w+)\.js";$', re.M)
EXPORT = re.compile(r"^export (async function|function|class|const) (\w+)", re.M)
WORKER = re.compile(r'new URL\("\./(\w+)\.js", import\.meta\.url\)')
WIDGET = """
export default {{
  render: ({{ model, el }}) => {{
    el.innerHTML = model.get("page");
    const mounted = $.{name}.mount(el.firstElementChild);
    return () => mounted.then((end) => end());
  }},
}};
"""


def joined(entry: Path) -> str:
    """The module and all that it imports, each in a function of its own, as a classic script."""
    return f"(() => {{\n{_parts(entry)}}})();\n"


def shared(name: str) -> str:
    """A module of `live/` as a classic script, for scripts that are no modules: what it exports is
    `window.embedding<Name>`."""
    module = f"{_parts(LIVE / f'{name}.js')}return $.{name};\n"
    return f"window.embedding{name.capitalize()} = (() => {{\n{module}}})();\n"


def widget(name: str) -> str:
    """The figure of that name, one of `FIGURES`, as the ES module of an anywidget."""
    return _parts(LIVE / f"{name}.js") + WIDGET.format(name=name)


def _parts(entry: Path) -> str:
    order: list[Path] = []

    def visit(module: Path) -> None:
        if module not in order:
            for *_, name in IMPORT.findall(module.read_text(encoding="utf-8")):
                visit(module.with_name(f"{name}.js"))
            order.append(module)

    visit(entry)
    return "const $ = {};\n" + "".join(map(_part, order))


def _part(module: Path) -> str:
    text = module.read_text(encoding="utf-8")
    names = ", ".join(name for _, name in EXPORT.findall(text))
    text = IMPORT.sub(lambda match: f"const {match[1] or match[2]} = $.{match[3]};", text)
    text = EXPORT.sub(r"\1 \2", text)
    text = WORKER.sub(lambda match: _as_address(joined(module.with_name(f"{match[1]}.js"))), text)
    return f"$.{module.stem} = (() => {{\n{text}return {{ {names} }};\n}})();\n"


def _as_address(script: str) -> str:
    text = json.dumps(script, ensure_ascii=False)
    return f'URL.createObjectURL(new Blob([{text}], {{ type: "text/javascript" }}))'
