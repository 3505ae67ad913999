"""The wheel alone, outside the repository, in an environment of what it declares: nothing else.

The environment is a fresh one whose packages are links to those of the environment that the tests
run in, but only to those that the wheel requires, and what these require. So a dependency that is
not declared is missing there, as it is for whoever installs the wheel.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "embedding_collapse"
BUILT_OF = ("pyproject.toml", "README.md", "LICENSE", "src")
OPTIONAL = {  # and what takes them
    "triton": "blocked_adam.kernels",
    "ipywidgets": "book.explorers.live",
    "h5py": "inspection.weights.hdf5_process",
}
TINY = ["--dataset=flights", "--rows=1500", "--embedding-size=2", "--hidden=8", "--epochs=1",
        "--batch-size=400", "--device=cpu", "--quiet"]  # fmt: skip
IMPORT_ALL = """
import importlib, itertools, pkgutil, blocked_adam, embedding_collapse
print(embedding_collapse.__file__)
for module in itertools.chain(
    pkgutil.walk_packages(embedding_collapse.__path__, "embedding_collapse."),
    pkgutil.walk_packages(blocked_adam.__path__, "blocked_adam."),
):
    try:
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        print(error.name, module.name.removeprefix("embedding_collapse."))
"""
READ_ALL = """
from embedding_collapse.book import paper
from embedding_collapse.lab import data, sizing
for table in (paper.published(), sizing.criteo_fields(), sizing.language_models()):
    assert len(table)
assert data.load("us-flights", 1000).fields and data.load("flights", 1000).fields
"""
COMMANDS = """
import json, sys
from embedding_collapse.cli import main
for command in json.loads(sys.argv[1]):
    print(main(command))
"""
OF_THE_REPOSITORY = """
from embedding_collapse.book import explorers, recording
from embedding_collapse.book.chapters import your_embeddings
from embedding_collapse.lab import records
from embedding_collapse.book.analysis import frequency
for call in (
    lambda: records.folder_of("results/grid"),
    lambda: recording.full_scale(),
    lambda: recording.check_chapters(),
    lambda: your_embeddings.source("deepfm"),
    lambda: explorers.EXPLORERS["toy"](),
    lambda: explorers.EXPLORERS["scaling"](),
):
    try:
        call()
    except ValueError as error:
        print(error)
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """A process that knows nothing of where the tests run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=cwd, env=kept | environment, capture_output=True, text=True)


def build(kind: str, source: Path) -> Path:
    """The sdist or the wheel of a source tree, as its build backend makes it."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}('dist'))"
    done = run(sys.executable, "-c", code, cwd=source)
    assert done.returncode == 0, done.stderr
    return source / "dist" / done.stdout.splitlines()[-1]


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of what is built, for building leaves files behind."""
    folder = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory) -> Path:
    """Built of the sdist, as a stranger would."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(build("sdist", tree)) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return build("wheel", unpacked)


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python]
    done = run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    (site,) = (path.parent for path in folder.rglob("embedding_collapse"))
    (own,) = importlib.metadata.distributions(path=[str(site)])
    link(own, site, {own.name})
    done = run(*pip, "check", cwd=folder)
    assert done.returncode == 0, done.stdout
    return python


def link(distribution: importlib.metadata.Distribution, site: Path, linked: set[str]) -> None:
    """Link what a distribution requires, without extras but those that it asks for, into `site`."""
    for text in distribution.requires or []:
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        other = importlib.metadata.distribution(needed.name)
        if other.name in linked:
            continue
        linked.add(other.name)
        for name in {file.parts[0] for file in other.files} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(other.locate_file(name))
        link(other, site, linked)


def test_the_wheel_holds_every_file_of_the_package(wheel):
    files = {
        path.relative_to(SOURCE.parent).as_posix(): path.read_bytes()
        for package in (SOURCE, SOURCE.parent / "blocked_adam") for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip
    held = content(wheel)
    assert {name: data for name, data in held.items() if ".dist-info/" not in name} == files


def test_the_wheel_of_the_sdist_is_that_of_the_repository(tree, wheel):
    assert content(build("wheel", tree)) == content(wheel)


def test_every_module_is_imported_of_the_wheel_and_needs_nothing_undeclared(python, tmp_path):
    done = run(python, "-W", "error", "-c", IMPORT_ALL, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    where, *missing = done.stdout.splitlines()
    assert Path(where).is_relative_to(python.parents[1])
    assert dict(line.split() for line in missing).items() <= OPTIONAL.items()


def test_every_file_of_data_is_read(python, tmp_path):
    done = run(python, "-c", READ_ALL, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_tells_the_version_of_the_wheel(python, tmp_path):
    done = run(python.with_name("embedding-collapse"), "--version", cwd=tmp_path)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (done.returncode, done.stdout) == (0, f"embedding-collapse {version}\n")


def test_data_run_sweep_and_inspect_work_outside_the_repository(python, tmp_path):
    def command(*arguments: str) -> str:
        done = run(python, "-m", "embedding_collapse", *arguments, cwd=tmp_path,
                   EMBEDDING_COLLAPSE_CACHE=str(tmp_path / "cache"))  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert command("data", "synthetic-mini", "--rows=2000").startswith("synthetic-mini: 2,000 rows")
    record = tmp_path / command("run", *TINY, "--model=dnn").split()[-1]
    made = json.loads(record.read_text())["environment"]
    assert made["commit"] is None and made["versions"]["embedding-collapse"]
    cells = ["--models=dnn", "--scales=1", "--seeds=0,1"]
    assert "2 runs: 1 were there, 1 trained" in command("sweep", *TINY, *cells)
    assert "report: report.html" in command("inspect", str(record.with_suffix(".safetensors")))
    style = (SOURCE / "inspection" / "page.css").read_text()
    assert style.strip() in (tmp_path / "report.html").read_text(encoding="utf-8")
    command("record", *TINY[:-1], "--minutes=0", "--recorded=")


def test_what_is_missing_is_asked_for_by_name(python, tmp_path):
    keras = ROOT / "tests" / "data" / "checkpoints" / "keras.weights.h5"
    commands = (
        (["study", "decide"], "there is no folder 'results' here, and this package is installed"),
        (["record", *TINY[:-1]], "there is no folder 'notebooks' here, and this package is instal"),
        (["sweep", *TINY, "--ray"], "running on Ray needs ray, not installed here; pip install 'e"),
        (["inspect", str(keras)], f"{keras}, which is HDF5, needs h5py, not installed here; pip"),
    )
    arguments = json.dumps([command for command, _ in commands])
    done = run(python, "-c", COMMANDS, arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1\n" * len(commands))
    for line, (_, message) in zip(done.stderr.splitlines(), commands, strict=True):
        assert line.startswith(f"error: {message}")


def test_what_lies_in_the_repository_alone_is_told_to_be_missing(python, tmp_path):
    done = run(python, "-c", OF_THE_REPOSITORY, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    folders = ["results/grid", "results", "notebooks", "examples", "results/toy",
               "results"]  # fmt: skip
    for line, folder in zip(lines, folders, strict=True):
        assert line.startswith(f"there is no folder {folder!r} here, and this package is installed")
