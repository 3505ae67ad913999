"""When, where and how long the chapters and the recorded runs took, as a page of the book."""

import re
from pathlib import Path
from typing import Any

import nbformat
import torch

from embedding_collapse.files import load_json, store_json
from embedding_collapse.lab import records
from embedding_collapse.lab.environment import environment
from embedding_collapse.lab.studies.index import made_by

STORED = "execution.json"  # in results/: how the stored outputs came about


def of_chapter(executed: Path) -> dict[str, Any]:
    """How a notebook that papermill has just executed here came about."""
    ran = nbformat.read(executed, as_version=4).metadata.papermill
    return {"seconds": round(ran.duration, 1), **environment(torch.device("cpu"))}


def load(results: Path) -> dict[str, dict[str, Any]]:
    """How the stored outputs came about, by chapter."""
    path = results / STORED
    return load_json(path) if path.exists() else {}


def store(chapter: str, told: dict[str, Any], results: Path) -> None:
    """Keep how a chapter's stored outputs came about."""
    store_json(results / STORED, dict(sorted((load(results) | {chapter: told}).items())))


def page(chapters: dict[str, dict[str, Any]], results: Path) -> str:
    """In Markdown: a table of the chapters, one of the recorded runs folder by folder, one of the
    other folders, and the places (hardware and versions) that all point to by number."""
    places: list[str] = []
    chapter_rows = [
        [f"`{name}`", f"{told['seconds']:.0f}\N{NO-BREAK SPACE}s", *_when_and_where([told], places)]
        for name, told in chapters.items()
    ]
    run_rows, other_rows = [], []
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        files = [load_json(path) for path in folder.glob("*.json")]
        if not files:
            continue
        row = [f"`{folder.name}`", str(len(files))]
        commands = re.split(", (?=python )", made_by(folder.name)[0])
        made = [
            ", ".join(f"`{command}`" for command in commands),
            *_when_and_where([each["environment"] for each in files], places),
        ]
        if all("epochs" in each for each in files):
            hours = sum(epoch["seconds"] for each in files for epoch in each["epochs"]) / 3600
            run_rows.append([*row, f"{hours:.2f}\N{NO-BREAK SPACE}h", *made])
        else:
            other_rows.append([*row, *made])
    ends = ["finished", "source", "where"]
    return "\n\n".join(
        [
            "## The chapters",
            _table(["notebook", "took", *ends], chapter_rows),
            "## The recorded runs",
            _table(["folder", "runs", "trained for", "made by", *ends], run_rows),
            "## Other records",
            _table(["folder", "files", "made by", *ends], other_rows),
            "## Where",
            "\n".join(f"{number}. {place}" for number, place in enumerate(places, 1)),
        ]
    )


def _when_and_where(told: list[dict[str, Any]], places: list[str]) -> list[str]:
    """The last day, the commits, and the numbers of the places, which grow by new ones."""
    numbers = set()
    for each in told:
        versions = ", ".join(f"{name} {version}" for name, version in each["versions"].items())
        threads = records.threads_of(each)
        place = f"{each['device'].upper()}: {each['hardware']}, {threads}; {versions}"
        if place not in places:
            places.append(place)
        numbers.add(places.index(place) + 1)
    finished = max(each["finished"] for each in told)[:10]
    commits = sorted({f"`{(each['commit'] or 'unknown')[:7]}`" for each in told})
    return [finished, ", ".join(commits), ", ".join(map(str, sorted(numbers)))]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
