"""The wheel alone, outside the repository, in environments of what it declares: nothing else.

An environment is a fresh one whose packages are links to those of the environment that the tests
run in, but only to those that the wheel requires, with or without an extra, and what these require.
So a dependency that is not declared is missing there, as it is for whoever installs the wheel.
"""

import importlib.metadata
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from safetensors.torch import save_file

from embedding_collapse.files import checksum, store_json

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "embedding_collapse"
BUILT_OF = ("pyproject.toml", "README.md", "LICENSE", "src")
OPTIONAL = {  # and what takes them
    "numba": "blocked_adam.compiled",
    "triton": "blocked_adam.kernels",
    "h5py": "inspection.weights.hdf5_process",
}
WINGS = {"": ("lab", "book"), "lab": ("book",), "book": ()}  # by extra, those that it leaves out
TINY = [
    "--dataset=synthetic-mini",
    "--rows=1500",
    "--embedding-size=2",
    "--hidden=8",
    "--epochs=1",
    "--batch-size=400",
    "--device=cpu",
    "--quiet",
]
IMPORT_ALL = """
import importlib, pathlib, sys, embedding_collapse
package = pathlib.Path(embedding_collapse.__file__).parent
print(package)
for path in sorted([*package.rglob("*.py"), *package.with_name("blocked_adam").rglob("*.py")]):
    parts = path.relative_to(package.parent).with_suffix("").parts
    if parts[1] in sys.argv[1:] or parts[-1].startswith("__"):
        continue
    try:
        importlib.import_module(".".join(parts))
    except ModuleNotFoundError as error:
        print(error.name, ".".join(parts).removeprefix("embedding_collapse."))
"""
EXAMPLES = """
import doctest, sys, embedding_collapse
for name in sys.argv[1:]:
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(embedding_collapse, name), name)
    assert test.examples and not doctest.DocTestRunner().run(test).failed
"""
NAMES = """
import sys, embedding_collapse
for name in sys.argv[1:]:
    try:
        getattr(embedding_collapse, name)
    except ImportError as error:
        print(error)
"""
READ_ALL = """
from embedding_collapse.book import paper
from embedding_collapse.lab import data, sizing
for table in (paper.published(), sizing.criteo_fields(), sizing.language_models()):
    assert len(table)
assert data.load("us-flights", 1000).fields
"""
COMMANDS = """
import json, sys
from embedding_collapse.cli import main
for command in json.loads(sys.argv[1]):
    print(main(command))
"""
OF_THE_REPOSITORY = """
from embedding_collapse.book import explorers
from embedding_collapse.book.chapters import your_embeddings
from embedding_collapse.lab import records
for call in (
    lambda: records.folder_of("results/decide"),
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
def bare(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires."""
    return install(wheel, "", tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def lab(wheel, tmp_path_factory) -> Path:
    """The same with the extra `lab`."""
    return install(wheel, "lab", tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def book(wheel, tmp_path_factory) -> Path:
    """The same with the extra `book`."""
    return install(wheel, "book", tmp_path_factory.mktemp("book"))


def install(wheel: Path, extra: str, folder: Path) -> Path:
    """Make an environment of the wheel in a folder; its interpreter."""
    venv.create(folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python]
    done = run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    (site,) = (path.parent for path in folder.rglob("embedding_collapse"))
    (own,) = importlib.metadata.distributions(path=[str(site)])
    link(own, {extra}, site, set())
    done = run(*pip, "check", cwd=folder)
    assert done.returncode == 0, done.stdout
    return python


def link(
    distribution: importlib.metadata.Distribution,
    extras: set[str],
    site: Path,
    linked: set[tuple[str, str]],
) -> None:
    """Link what a distribution requires, with those of its extras, into `site`."""
    for text, extra in itertools.product(distribution.requires or [], {"", *extras}):
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": extra}):
            continue
        if (needed.name, str(needed.extras)) in linked:
            continue
        linked.add((needed.name, str(needed.extras)))
        if needed.name == distribution.name:  # an extra that takes another one
            link(distribution, needed.extras, site, linked)
            continue
        other = importlib.metadata.distribution(needed.name)
        for name in {file.parts[0] for file in other.files} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(other.locate_file(name))
        link(other, needed.extras, site, linked)


def test_the_wheel_holds_every_file_of_the_package(wheel):
    files = {
        path.relative_to(SOURCE.parent).as_posix(): path.read_bytes()
        for package in (SOURCE, SOURCE.parent / "blocked_adam")
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = content(wheel)
    assert {name: data for name, data in held.items() if ".dist-info/" not in name} == files


def test_the_wheel_of_the_sdist_is_that_of_the_repository(tree, wheel):
    assert content(build("wheel", tree)) == content(wheel)


@pytest.mark.parametrize("extra", WINGS)
def test_every_module_of_a_wing_needs_nothing_but_what_its_extra_brings(extra, request, tmp_path):
    python = request.getfixturevalue(extra or "bare")
    done = run(python, "-W", "error", "-c", IMPORT_ALL, *WINGS[extra], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    where, *missing = done.stdout.splitlines()
    assert Path(where).is_relative_to(python.parents[1])
    assert dict(line.split() for line in missing).items() <= OPTIONAL.items()


def test_every_file_of_data_is_read(book, tmp_path):
    done = run(book, "-c", READ_ALL, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_tells_the_version_of_the_wheel(bare, tmp_path):
    done = run(bare.with_name("embedding-collapse"), "--version", cwd=tmp_path)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (done.returncode, done.stdout) == (0, f"embedding-collapse {version}\n")


# --- the instrument, where nothing else is installed ----------------------------------------------


def test_the_examples_of_the_instruments_public_names_hold(bare, tmp_path):
    names = ["measure", "inspect", "CollapseMonitor", "MultiEmbedding"]
    done = run(bare, "-W", "error", "-c", EXAMPLES, *names, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_inspect_takes_the_bare_wheel_alone(bare, tmp_path):
    table = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    save_file({"user_emb": table}, tmp_path / "model.safetensors")
    torch.save({"user_emb": table}, tmp_path / "model.pt")
    np.save(tmp_path / "model.npy", table.numpy())
    names = ["model.safetensors", "model.pt", "model.npy"]
    commands = [["inspect", n, f"--output={n}.html", f"--output={n}.json"] for n in names]
    done = run(bare, "-c", COMMANDS, json.dumps(commands), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("1 table: 1 not collapsed.") == len(names)
    for name in names:
        (found,) = json.loads((tmp_path / f"{name}.json").read_text())["tables"]
        assert (found["rows"], found["width"]) == (300, 8)
        assert "<svg" in (tmp_path / f"{name}.html").read_text(encoding="utf-8")


def test_inspect_compares_follows_and_takes_a_file_of_options_with_the_bare_wheel(bare, tmp_path):
    for step in (1, 2):
        np.save(tmp_path / f"step_{step}.npy", np.random.default_rng(step).normal(size=(300, 8)))
    (tmp_path / "run.yaml").write_text("follow: .\njson: true\nquiet: true\n")
    commands = [
        ["inspect", "--config=run.yaml"],
        ["inspect", "step_1.npy", "step_2.npy", "--json"],
        ["--completion=bash"],
    ]
    done = run(bare, "-c", COMMANDS, json.dumps(commands), cwd=tmp_path)
    followed, compared, code = done.stdout.split("\n0\n")
    assert "course" in json.loads(followed) and "compared_with" in json.loads(compared)
    assert (done.returncode, code) == (0, "1\n")
    assert asks_for("error: --completion", "completion").fullmatch(done.stderr)


def test_the_record_beside_weights_names_their_fields_and_that_it_is_not_checked_is_said(
    bare, tmp_path
):
    save_file({"table": torch.randn(70, 1, 4)}, tmp_path / "0123456789ab.safetensors")
    content = {"dataset": {"fields": ["user", "site"], "cardinalities": [50, 20]}}
    record = tmp_path / "0123456789ab.json"
    store_json(record, content | {"weights": checksum(record.with_suffix(".safetensors"))})
    done = run(
        bare, "-m", "embedding_collapse", "inspect", "0123456789ab.safetensors", cwd=tmp_path
    )
    assert done.returncode == 0
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        "0123456789ab.json",
        "0123456789ab.safetensors",
    ]
    assert done.stderr.count("xxhash is not installed, so its checksum is not compared") == 2
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:3]] == [
        ["user", "50"],
        ["site", "20"],
    ]


def asks_for(what: str, extra: str) -> re.Pattern:
    return re.compile(
        rf"{what} needs \w+, not installed here; "
        rf'pip install "embedding-collapse\[{extra}\]" brings it\n'
    )


def test_a_command_says_which_extra_brings_what_it_needs(bare, tmp_path):
    verbs = ["data", "run", "sweep", "study", "score"]
    commands = json.dumps([[verb, "--help"] for verb in verbs])
    done = run(bare, "-c", COMMANDS, commands, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1\n" * len(verbs))
    for verb, line in zip(verbs, done.stderr.splitlines(keepends=True), strict=True):
        assert asks_for(f"error: '{verb}'", "lab").fullmatch(line)


def test_a_public_name_of_the_lab_says_which_extra_brings_what_it_needs(bare, tmp_path):
    names = ["load_dataset", "Spec", "run", "study"]  # records can be read without
    done = run(bare, "-c", NAMES, *names, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for name, line in zip(names, done.stdout.splitlines(keepends=True), strict=True):
        assert asks_for(f"embedding_collapse.{name}", "lab").fullmatch(line)


# --- the lab and the book -------------------------------------------------------------------------


def test_data_run_sweep_and_inspect_work_outside_the_repository(lab, tmp_path):
    def told(*commands: list[str]) -> str:
        cache = str(tmp_path / "cache")
        asked = json.dumps(commands)
        done = run(lab, "-c", COMMANDS, asked, cwd=tmp_path, EMBEDDING_COLLAPSE_CACHE=cache)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    made = told(
        ["data", "synthetic-mini", "--rows=2000"],
        ["run", *TINY, "--model=dnn"],
        ["sweep", *TINY, "--models=dnn", "--scales=1", "--seeds=0,1"],
    )
    assert made.startswith("synthetic-mini: 2,000 rows")
    assert "2 runs: 1 were there, 1 trained" in made
    record = tmp_path / re.search(r"^record: (\S+)", made, re.MULTILINE)[1]
    environment = json.loads(record.read_text())["environment"]
    assert environment["commit"] is None and environment["versions"]["embedding-collapse"]
    assert "report: report.html" in told(["inspect", str(record.with_suffix(".safetensors"))])
    style = (SOURCE / "inspection" / "page.css").read_text()
    assert style.strip() in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_is_missing_is_asked_for_by_name(book, tmp_path):
    keras = ROOT / "tests" / "data" / "checkpoints" / "keras.weights.h5"
    commands = (
        (["study", "decide"], "there is no folder 'results' here, and this package is installed"),
        (["sweep", *TINY, "--ray"], "running on Ray needs ray, not installed here; pip install "),
        (["inspect", str(keras)], f"{keras}, which is HDF5, needs h5py, not installed here; pip"),
    )
    arguments = json.dumps([command for command, _ in commands])
    done = run(book, "-c", COMMANDS, arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1\n" * len(commands))
    for line, (_, message) in zip(done.stderr.splitlines(), commands, strict=True):
        assert line.startswith(f"error: {message}")


def test_what_lies_in_the_repository_alone_is_told_to_be_missing(book, tmp_path):
    done = run(book, "-c", OF_THE_REPOSITORY, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    folders = ["results/decide", "examples", "results/toy", "results"]
    for line, folder in zip(lines, folders, strict=True):
        assert line.startswith(f"there is no folder {folder!r} here, and this package is installed")
