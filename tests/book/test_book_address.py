"""The book's public address: one command writes it, and every button follows from it."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import address  # a script of the book's, no part of the package
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
FORK = "https://github.com/Reader/collapse-fork"
NOTEBOOK = "cost"


@pytest.fixture(scope="module")
def fork(tmp_path_factory) -> Path:
    """A copy of the book with two pages, and the address of a fork written into it."""
    folder = tmp_path_factory.mktemp("fork")
    for name in ("_config.yml", "book/_ext", "book/_static", "book/references.bib"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        (folder / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, folder / name)
    (folder / "book" / "intro.md").write_text("# A page\n\nWith a few words.\n")
    (folder / "_toc.yml").write_text(
        f"format: jb-book\nroot: book/intro\nchapters:\n  - file: notebooks/{NOTEBOOK}\n"
    )
    (folder / "notebooks").mkdir()
    shutil.copy2(ROOT / "notebooks" / f"{NOTEBOOK}.ipynb", folder / "notebooks")
    address.write(FORK, folder)
    return folder


def install_source(folder: Path) -> str:
    notebook = nbformat.read(folder / "notebooks" / f"{NOTEBOOK}.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.metadata.tags == ["remove-cell"]
    return first.source


def test_one_command_writes_the_address_everywhere(fork):
    assert address.configured(fork) == FORK
    assert f'git clone --quiet --depth 1 "{FORK}"' in install_source(fork)


def test_writing_the_same_address_again_changes_nothing(fork):
    assert address.write(FORK, fork) == []


def test_taking_the_address_back_restores_the_files(fork, tmp_path):
    shutil.copytree(fork, tmp_path, dirs_exist_ok=True)
    address.write(address.configured(ROOT), tmp_path)
    for name in ("_config.yml", f"notebooks/{NOTEBOOK}.ipynb"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


def test_every_notebook_has_the_configured_address():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert text == address.with_install_cell(path, address.configured()), path.name


def test_what_is_no_address_is_refused():
    done = subprocess.run(
        [sys.executable, ROOT / "book" / "address.py", "github.com/me/mine"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "'github.com/me/mine' is no address" in done.stderr


@pytest.mark.parametrize(
    "base", ["https://book.example/collapse", "https://book.example/collapse/"]
)
def test_a_base_address_ends_in_a_slash_for_the_paths_that_follow(base):
    of_pages = runpy.run_path(str(ROOT / "book" / "_ext" / "address.py"))  # of the name of another
    config = SimpleNamespace(html_theme_options={"repository_url": FORK}, html_baseurl=base)
    of_pages["_turn_on"](None, config)
    assert config.ogp_site_url == "https://book.example/collapse/"


def test_launch_buttons_and_social_cards_follow_from_the_address(fork):
    program = Path(sys.executable).parent / "jupyter-book"
    done = subprocess.run([program, "build", fork, "-q"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    html = fork / "_build" / "html"
    page = (html / "notebooks" / f"{NOTEBOOK}.html").read_text()
    path = f"notebooks/{NOTEBOOK}.ipynb"
    for link in (
        f"https://mybinder.org/v2/gh/Reader/collapse-fork/main?urlpath=lab/tree/{path}",
        f"https://colab.research.google.com/github/Reader/collapse-fork/blob/main/{path}",
        f"https://www.kaggle.com/kernels/welcome?src={FORK}/blob/main/{path}",
        f"{FORK}/issues/new",
    ):
        assert f'href="{link}' in page
    site = "https://reader.github.io/collapse-fork/"
    assert f'property="og:image" content="{site}_static/social.png"' in page
    assert "mybinder" not in (html / "book" / "intro.html").read_text()
