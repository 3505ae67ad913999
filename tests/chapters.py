"""Chapters under real papermill, for the tests of each of them."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def papermill(
    folder: Path, *parameters: str, chapter: str = "05_multi_embedding"
) -> subprocess.CompletedProcess:
    """The command line as a reader types it, in a folder that is not the repository's."""
    flags = [
        flag for p in zip(parameters[::2], parameters[1::2], strict=True) for flag in ("-p", *p)
    ]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            str(NOTEBOOKS / f"{chapter}.ipynb"),
            "out.ipynb",
            *flags,
        ],
        cwd=folder,
        env=os.environ | {"EMBEDDING_COLLAPSE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def shown(notebook: nbformat.NotebookNode, source: str) -> str:
    """The text that the cell holding `source` put out."""
    (cell,) = (c for c in notebook.cells if c.cell_type == "code" and source in c.source)
    return "".join(
        o.text if o.output_type == "stream" else o.data.get("text/markdown", o.data["text/plain"])
        for o in cell.outputs
    )
