"""What chapters leave behind: outputs made fit for pages, and the records that they cite."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

WIDGET = "application/vnd.jupyter.widget-view+json"
FIGURE = "application/vnd.plotly.v1+json"
SPREAD = re.compile(rf'^( +)("{re.escape(FIGURE)}": )(\{{\n.*?^\1\}})', re.M | re.S)
CITED = re.compile(r"\.\./records/(\w+)\.json")  # see plots.provenance


def keeps_records(notebook: Path) -> bool:
    """Whether a notebook has the parameter that names a folder for its records."""
    cells = nbformat.read(notebook, as_version=4).cells
    return any(
        "parameters" in cell.metadata.get("tags", []) and "output:" in cell.source for cell in cells
    )


def text(notebook: nbformat.NotebookNode) -> str:
    """A notebook as it is stored: a figure's data on one line, not on one for every number."""

    def one_line(figure: re.Match) -> str:
        return figure[1] + figure[2] + json.dumps(json.loads(figure[3]), ensure_ascii=False)

    return SPREAD.sub(one_line, nbformat.writes(notebook)) + "\n"


def tidy(notebook: Path) -> None:
    """Take papermill's cell out of a notebook that ran, and what only a kernel brings to life."""
    ran = nbformat.read(notebook, as_version=4)
    ran.metadata.pop("widgets", None)
    ran.cells = [
        cell for cell in ran.cells if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    for output in (output for cell in ran.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop(WIDGET, None)
    nbformat.write(ran, notebook)


def is_record(path: Path) -> bool:
    """Whether a file holds a run's record, see `embedding_collapse.lab.records`."""
    return "epochs" in json.loads(path.read_text(encoding="utf-8"))


def copy_records(notebooks: Path, folders: Sequence[Path], target: Path) -> None:
    """Put the records that figures cite beside the pages.

    Args:
        notebooks: the folder of the notebooks that became pages.
        folders: of records; those of a later one come before those of an earlier. Another study of
            a run may bear the run's name: what is a record of training comes first.
        target: the folder that the pages link to.
    """
    pages = [page.read_text(encoding="utf-8") for page in notebooks.rglob("*.ipynb")]
    cited = {key for page in pages for key in CITED.findall(page)}
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in folder.rglob("*.json")):
        if path.stem in cited and (path.stem not in found or is_record(path)):
            found[path.stem] = path
    if missing := cited - set(found):
        sys.exit(f"pages cite runs whose records are not in results: {', '.join(sorted(missing))}")
    target.mkdir(exist_ok=True)
    for key in cited:
        shutil.copy2(found[key], target)
