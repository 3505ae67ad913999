"""Chapters with a reader's parameters: by papermill's command, or in a kernel that lasts."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def papermill(folder: Path, chapter: str, /, **parameters: object) -> subprocess.CompletedProcess:
    """The command line as a reader types it, in a folder that is not the repository's."""
    flags = [flag for name, value in parameters.items() for flag in ("-p", name, str(value))]
    notebook = NOTEBOOKS / f"{chapter}.ipynb"
    return subprocess.run(
        [sys.executable, "-m", "papermill", str(notebook), "out.ipynb", *flags],
        cwd=folder,
        env=os.environ | {"EMBEDDING_COLLAPSE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


class Kernel:
    """A Jupyter kernel for one chapter after the other: it starts, and imports, once."""

    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")

    def run(self, folder: Path, chapter: str, /, **parameters: object) -> nbformat.NotebookNode:
        """A chapter that papermill has given the parameters, executed in a folder as far as it
        comes."""
        source = load_notebook_node(str(NOTEBOOKS / f"{chapter}.ipynb"))
        for cell in source.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        notebook = parameterize_notebook(source, parameters)
        begin = (
            # the reset takes away what a process needs that is started from here
            f"%reset -f\n__spec__ = None; import os; os.chdir({str(folder)!r}); "
            f"os.environ['EMBEDDING_COLLAPSE_CACHE'] = {str(folder / 'cache')!r}"
        )
        notebook.cells.insert(0, nbformat.v4.new_code_cell(begin))
        client = NotebookClient(notebook, km=self.manager, timeout=600)
        with contextlib.suppress(CellExecutionError):
            client.execute()
        client.kc.stop_channels()
        return notebook

    def end(self) -> None:
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)


def error(notebook: nbformat.NotebookNode) -> str:
    """What is shown of the error that stopped it; empty where it came to its end."""
    told = (o.traceback for o in outputs(notebook) if o.output_type == "error")
    return "\n".join(next(told, []))


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """What all cells put out."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def shown(notebook: nbformat.NotebookNode, source: str) -> str:
    """The text that the cell holding `source` put out."""
    (cell,) = (c for c in notebook.cells if c.cell_type == "code" and source in c.source)
    return "".join(
        o.text if o.output_type == "stream" else o.data.get("text/markdown", o.data["text/plain"])
        for o in cell.outputs
    )
