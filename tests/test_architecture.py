"""The house: a module imports only from floors below its own."""

import ast
from pathlib import Path

import embedding_collapse

PACKAGE = Path(embedding_collapse.__file__).parent
FLOORS = [
    {"spectrum", "subspace", "gradient", "sizing", "metrics"},
    {"parameters", "files", "environment"},
    {"models", "data", "checkpoint", "toy", "language_model", "blocked_adam"},
    {"weights", "multi_embedding"},
    {"engine", "cost", "tables", "rounding"},
    {"loop"},
    {"agreement"},
    {"checked"},
    {"training", "records", "collapse"},
    {"store"},
    {"experiment", "monitor"},
    {"sweep"},
    {"studies"},
    {"analysis"},
    {"findings"},
    {"paper"},
    {"figures", "recording"},
    {"explorers", "report", "examples"},
    {"cli"},
    {"__main__"},
]


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, those of its own folder left out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        inside = path.parent != PACKAGE and node.level == 1
        if not inside:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {name.split(".")[0] for name in names}
    return found


def test_imports_run_downwards_only():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if module == "__init__":
            continue
        above = {name for name in imported(path) if floor[name] >= floor[module]}
        assert not above, f"{path.name} imports {above}"


def test_every_module_is_in_the_books_reference():
    reference = (Path(__file__).parent.parent / "book" / "api.md").read_text(encoding="utf-8")
    packages = ("findings", "analysis", "studies")
    for module in set().union(*FLOORS) - {*packages, "examples", "__main__"}:
        assert f"automodule:: embedding_collapse.{module}\n" in reference, module
    for package in packages:
        for path in (PACKAGE / package).glob("[a-z]*.py"):
            module = f"embedding_collapse.{package}.{path.stem}"
            assert f"automodule:: {module}\n" in reference, module
