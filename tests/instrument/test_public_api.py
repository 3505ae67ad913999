"""`embedding_collapse` itself: light until a name is used, each with an example that holds."""

import ast
import doctest
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import embedding_collapse
from embedding_collapse.parameters import ParameterError

NAMES = sorted(set(embedding_collapse.__all__) - {"__version__"})
HEAVY = {"torch", "numpy", "pandas", "pyarrow", "safetensors"}


def imported_by(code: str) -> set[str]:
    """The top-level modules that a fresh process has imported at its end."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.splitlines()[-1].split())


def test_to_import_the_package_or_to_list_its_names_imports_nothing_heavy():
    code = "import embedding_collapse; dir(embedding_collapse); embedding_collapse.__version__"
    assert not imported_by(code) & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_on_the_command_line_import_nothing_heavy(arguments):
    code = f"""
from contextlib import suppress
from embedding_collapse.cli import main
with suppress(SystemExit):
    main({arguments})
"""
    assert not imported_by(code) & HEAVY


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "4000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_how_long_torchs_threads_wait_is_said_where_the_user_has_not(given, spins, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    code = "import os, embedding_collapse; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | given, capture_output=True, text=True
    )
    assert done.stdout.split() == [spins], done.stderr


def test_the_instruments_names_import_nothing_of_the_lab():
    code = "from embedding_collapse import CollapseMonitor, MultiEmbedding, inspect, measure"
    modules = imported_by(code)
    assert "torch" in modules
    assert not modules & {"datasets", "pandas", "plotly", "pyarrow", "xxhash"}  # torch has tqdm


@pytest.mark.parametrize("name", NAMES)
def test_the_example_in_a_public_names_docstring_holds(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBEDDING_COLLAPSE_CACHE", str(tmp_path / "cache"))
    public = getattr(embedding_collapse, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(public, name, globs={})
    assert test.examples
    report: list[str] = []
    assert not doctest.DocTestRunner().run(test, out=report.append).failed, "".join(report)


def test_type_checkers_are_told_the_same_places_of_the_names_as_python():
    source = Path(embedding_collapse.__file__).read_text()
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    typed = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == embedding_collapse._PLACES
    assert sorted(typed) == NAMES
    assert sorted([*NAMES, "__version__"]) == dir(embedding_collapse)


def test_modules_beside_the_public_names_are_still_imported_by_name():
    from embedding_collapse import collapse, inspect, monitor

    assert isinstance(collapse, ModuleType) and isinstance(monitor, ModuleType)
    assert inspect is sys.modules["embedding_collapse.inspection.report"].inspect


def test_the_version_is_that_of_the_installed_package():
    assert embedding_collapse.__version__ == version("embedding-collapse")


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'meassure'"):
        _ = embedding_collapse.meassure


def test_a_study_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ParameterError, match=r"study 'decid' is unknown; known: .*decide"):
        embedding_collapse.study("decid")
