"""Write the repository's public address where it is needed: `_config.yml`, and the notebooks.

    python book/address.py https://github.com/OWNER/NAME
    python book/address.py                                 what _config.yml has, into the notebooks

A notebook that is opened on Colab or Kaggle is alone there, so with an address it gets a first cell
that fetches the package and the records. Everything else reads `_config.yml`.
"""

import argparse
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import outputs
import yaml

ROOT = Path(__file__).resolve().parent.parent
CELL = "install"  # its id in every notebook
LINE = re.compile(r'^(?P<before>repository:\n  url: )"(?P<address>[^"]*)"', re.MULTILINE)


def configured(root: Path = ROOT) -> str:
    """The address in `_config.yml`; empty where there is none yet."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"]


def install_cell(address: str) -> nbformat.NotebookNode:
    """A notebook's first cell of code: get the package where it is missing."""
    source = f'''\
# On Colab or Kaggle: fetch the package and its records. Where it is installed, nothing happens.
import importlib.util
import sys

if importlib.util.find_spec("embedding_collapse") is None:
    !git clone --quiet --depth 1 "{address}" embedding-collapse
    %pip install --quiet -e "embedding-collapse[book]"
    sys.path.insert(0, "embedding-collapse/src")'''
    return nbformat.v4.new_code_cell(source, id=CELL, metadata={"tags": ["remove-cell"]})


def write(address: str, root: Path = ROOT) -> list[Path]:
    """Put the address into `_config.yml` and every notebook; returns the files that changed."""
    config = root / "_config.yml"
    text = config.read_text(encoding="utf-8")
    contents = {config: LINE.sub(lambda found: f'{found["before"]}"{address}"', text)}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        contents[path] = with_install_cell(path, address)
    changed = [path for path, new in contents.items() if path.read_text(encoding="utf-8") != new]
    for path in changed:
        path.write_text(contents[path], encoding="utf-8")
    return changed


def with_install_cell(path: Path, address: str) -> str:
    """The notebook's text with an install cell before all other code, or with none: no address."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.get("id") != CELL]
    if address:
        first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
        notebook.cells.insert(first, install_cell(address))
    return outputs.text(notebook)


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description="Write the repository's public address.")
    parser.add_argument("address", nargs="?", default=configured())
    address = parser.parse_args().address.rstrip("/").removesuffix(".git")
    if address and urlsplit(address).scheme != "https":
        sys.exit(f"{address!r} is no address; https://HOST/OWNER/NAME is accepted")
    for path in write(address):
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
