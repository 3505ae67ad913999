"""The house: what is in it is documented, declared and tested. Who may import whom stands in
pyproject.toml."""

import ast
import importlib.util
import json
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import api  # of the book's extensions
from packaging.requirements import Requirement

import embedding_collapse

PACKAGE = Path(embedding_collapse.__file__).parent
ROOT = PACKAGE.parents[1]


def test_every_module_is_in_the_books_reference():
    """In a wing's table, with the first line of its docstring."""
    pages = [path.read_text(encoding="utf-8") for path in ROOT.glob("book/api*.md")]
    tables = re.findall(r"^```\{modules\} (\S+)\n(?::without: (.*)\n)?", "\n".join(pages), re.M)
    listed = {}
    for package, without in tables:
        told = api.modules(package, tuple(without.split()))
        listed |= {f"{package}.{name}": what for name, what in told.items()}
    for path in [
        *PACKAGE.rglob("[a-z]*.py"),
        *(PACKAGE.parent / "blocked_adam").rglob("[a-z]*.py"),
    ]:
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        assert listed[name].endswith((".", "?")), name


def test_the_modules_that_the_reference_documents_exist():
    for path in ROOT.glob("book/api_*.md"):
        for name in re.findall(r"automodule:: (\S+)", path.read_text(encoding="utf-8")):
            assert importlib.util.find_spec(name), f"{path.name}: {name}"


def test_a_chapters_module_serves_its_page_alone():
    """One notebook imports it, and no other module of the package does."""
    for path in (PACKAGE / "book" / "chapters").glob("[a-z]*.py"):
        module = f"embedding_collapse.book.chapters.{path.stem}"
        pages = [page.name for page in ROOT.glob("notebooks/*.ipynb") if module in imported(page)]
        others = [other for other in PACKAGE.rglob("*.py") if module in imported(other)]
        assert (len(pages), others) == (1, []), (module, pages)


@cache
def imported(path: Path) -> set[str]:
    """The modules, and the names in them, that a module or a notebook imports by their full name.

    Relative imports count from the module's own package.
    """
    sources = [path.read_text(encoding="utf-8")]
    if path.suffix == ".ipynb":
        cells = json.loads(sources[0])["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = set()
    for node in chain.from_iterable(ast.walk(ast.parse(source)) for source in sources):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
            module = ".".join([*package, *filter(None, [node.module])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_no_two_test_files_share_a_name_by_which_pytest_would_import_them():
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(set(names)) == len(names)


def test_what_is_imported_is_declared():
    """Also where it would come along with something else that is declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = chain(project["dependencies"], *project["optional-dependencies"].values())
    declared = {Requirement(text).name for text in texts} | {"triton"}  # of torch's own choice
    distributions, undeclared = packages_distributions(), set()
    known = sys.stdlib_module_names | {PACKAGE.name, "blocked_adam"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for module in {name.split(".")[0] for name in names} - known:
                installed = distributions.get(module, [module])  # or declared by that very name
                owners = {name.replace("_", "-").lower() for name in installed}
                if not owners & declared:
                    undeclared.add((path.name, module))
    assert not undeclared
