"""Build the book: run its notebooks with papermill, then render it with Jupyter Book.

    python book/build.py            run every chapter as it stands, render the result
    python book/build.py --stored   render the outputs that the notebooks hold
    python book/build.py --refresh  run every chapter, keep records and outputs in the repository;
                                    with names (--refresh 07_results) those chapters alone
    python book/build.py --links    (with --stored) ask the links that lead out of the book

The source notebooks change only under `--refresh`; the other two work on a copy in `_build/`. Each
fails where a page says other than its records; see `embedding_collapse.book.sentences`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import execution
import filelock
import nbformat
import outputs
import papermill
from papermill.exceptions import PapermillExecutionError
from sphinx_external_toc.parsing import parse_toc_yaml

from embedding_collapse.book.sentences import mistakes

ROOT = Path(__file__).resolve().parent.parent
STAGING = ROOT / "_build" / "staging"
HTML = ROOT / "_build" / "html"
RESULTS = ROOT / "results"


def notebooks() -> list[Path]:
    """The chapters of `_toc.yml` that are notebooks, relative to the repository, in its order."""
    pages = [Path(f"{page}.ipynb") for page in parse_toc_yaml(ROOT / "_toc.yml")]
    return [page for page in pages if (ROOT / page).exists()]


def execute(chapter: Path, target: Path, records: Path | None = None) -> None:
    """Run a chapter into `target`, its run records going to `records`, or to the staging folder;
    end the program with the chapter's name where a cell fails."""
    folder = records or STAGING / "results" / chapter.stem
    parameters = {"output": str(folder)} if outputs.keeps_records(ROOT / chapter) else {}
    print(f"running {chapter}", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            ROOT / chapter,
            target,
            parameters,
            kernel_name="python3",
            language="python",
            cwd=ROOT,
            extra_arguments=["--log-level=ERROR"],  # the kernel's, whose warnings say nothing here
        )
    except PapermillExecutionError as error:
        sys.exit(f"{error}\n{chapter}: a cell failed; the partial notebook is {target}")
    outputs.tidy(target)


def execute_all(chapters: Sequence[Path]) -> Iterator[Path]:
    """Run chapters into the staging folder, as many at a time as there are cores up to 4, those
    first that train and keep records, then those that took longest when their stored outputs were
    made; each in the order given. They share the cores evenly, unless OMP_NUM_THREADS says how many
    threads each may take."""
    took = {name: told["seconds"] for name, told in execution.load(RESULTS).items()}
    cores = os.cpu_count() or 1
    at_once = min(4, cores, len(chapters))

    def order(chapter: Path) -> tuple[bool, float]:
        return not outputs.keeps_records(ROOT / chapter), -took.get(chapter.stem, 0)

    os.environ.setdefault("OMP_NUM_THREADS", str(cores // at_once))
    pool = ThreadPoolExecutor(at_once)  # a chapter runs in a kernel's process
    runs = {
        chapter: pool.submit(execute, chapter, STAGING / chapter)
        for chapter in sorted(chapters, key=order)
    }
    try:
        for chapter in chapters:
            runs[chapter].result()
            yield chapter
    finally:
        pool.shutdown(cancel_futures=True)


def check_sentences(notebook: Path) -> None:
    """End the program where a notebook's prose says other than the records behind it."""
    if wrong := mistakes(nbformat.read(notebook, as_version=4)):
        sys.exit("\n".join(f"{notebook.stem}: {line}" for line in wrong))


def stage(chapters: dict[str, dict[str, Any]]) -> None:
    """Put everything but the notebooks, which are there, into the staging folder.

    Args:
        chapters: how each came about, see `execution.of_chapter`.
    """
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(ROOT / name, STAGING)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "book", STAGING / "book", ignore=ignored)
    made = execution.page(chapters, RESULTS)
    (STAGING / "book" / "execution.md").write_text(made, encoding="utf-8")


def jupyter_book(*options: str) -> int:
    """Build the staged book; returns the exit code."""
    program = Path(sys.executable).parent / "jupyter-book"
    # its standard output would send the reader to the staging folder; warnings are on the other
    return subprocess.run(
        [program, "build", STAGING, "-n", "--all", "-q", *options], stdout=subprocess.DEVNULL
    ).returncode


def render() -> None:
    """Render the staged book; a warning is an error, and only a whole book replaces the last."""
    if jupyter_book("-W", "--keep-going"):
        sys.exit("jupyter-book failed: see the warnings above")
    made, last = STAGING / "_build" / "html", HTML.with_name("html.last")
    outputs.copy_records(STAGING, [ROOT / "results", STAGING / "results"], made / "records")
    shutil.rmtree(last, ignore_errors=True)
    if HTML.exists():
        HTML.rename(last)
    made.rename(HTML)
    shutil.rmtree(last, ignore_errors=True)
    print(f"The book is ready: open {HTML / 'index.html'} (or `make serve`)")


def check_links() -> None:
    """Ask every address outside the book whether it is there, and list them all."""
    failed = jupyter_book("--builder", "linkcheck")
    print((STAGING / "_build" / "linkcheck" / "output.txt").read_text(encoding="utf-8"), end="")
    if failed:
        sys.exit("some addresses could not be reached: see the lines marked [broken]")


def refresh(chapter: Path) -> None:
    """Run a chapter, its run records going to `results/<chapter>`, and store its outputs.

    The source's cells are kept as they are and only outputs are taken over, so that neither
    papermill's metadata nor its injected cell reaches the repository and diffs stay small.
    """
    source = nbformat.read(ROOT / chapter, as_version=4)
    target, records = STAGING / chapter, RESULTS / chapter.stem
    shutil.rmtree(records, ignore_errors=True)  # or the chapter would show runs of older code
    execute(chapter, target, records)
    execution.store(chapter.stem, execution.of_chapter(target), RESULTS)

    ran = nbformat.read(target, as_version=4).cells
    count = 0
    for cell, executed in zip(source.cells, ran, strict=True):
        if cell.cell_type != "code":
            continue
        hidden = "remove-output" in cell.metadata.get("tags", [])
        cell.outputs = [] if hidden else stored(executed.outputs)
        cell.execution_count = None
        if cell.source.strip():
            count += 1
            cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    source.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    (ROOT / chapter).write_text(outputs.text(source), encoding="utf-8")


def stored(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs worth storing: no progress bars, and one output for a stream sent in pieces."""
    kept = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def main() -> None:
    """Read the command line and do the steps it asks for."""
    parser = argparse.ArgumentParser(description="Build the book (see this file's first lines).")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--stored", action="store_true", help="render the stored outputs, run none")
    mode.add_argument(
        "--refresh", nargs="*", metavar="CHAPTER", help="run and store outputs and records"
    )
    parser.add_argument("--links", action="store_true", help="ask the outside links, build no book")
    arguments = parser.parse_args()
    refreshing = arguments.refresh is not None
    if unknown := set(arguments.refresh or []) - {chapter.stem for chapter in notebooks()}:
        parser.error(f"no chapter is called {', '.join(sorted(unknown))}")

    STAGING.parent.mkdir(exist_ok=True)
    lock = filelock.FileLock(STAGING.parent / ".lock", blocking=False)
    try:
        lock.acquire()  # until the program ends
    except filelock.Timeout:
        sys.exit(f"another build is at work in {STAGING.parent}: wait until it ends, or stop it")
    shutil.rmtree(STAGING, ignore_errors=True)
    STAGING.mkdir()
    if refreshing:
        for chapter in notebooks():
            if not arguments.refresh or chapter.stem in arguments.refresh:
                refresh(chapter)
            check_sentences(ROOT / chapter)
        return
    if arguments.stored:
        told = execution.load(RESULTS)
        for chapter in notebooks():
            (STAGING / chapter).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / chapter, STAGING / chapter)
            check_sentences(STAGING / chapter)
    else:
        told = {}
        for chapter in execute_all(notebooks()):
            told[chapter.stem] = execution.of_chapter(STAGING / chapter)
            check_sentences(STAGING / chapter)
    stage(told)
    if arguments.links:
        check_links()
    else:
        render()


if __name__ == "__main__":
    main()
