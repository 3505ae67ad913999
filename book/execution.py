"""When, where and how long the chapters and the recorded runs took, as a page of the book."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
import torch

from embedding_collapse import records
from embedding_collapse.environment import environment
from embedding_collapse.files import write_json

STORED = "execution.json"  # in results/: how the stored outputs came about
COMMANDS = {"grid": "make grid", "interaction": "make interaction", "beyond": "make beyond"}


def of_chapter(executed: Path) -> dict[str, Any]:
    """How a notebook that papermill has just executed here came about."""
    ran = nbformat.read(executed, as_version=4).metadata.papermill
    return {"seconds": round(ran.duration, 1), **environment(torch.device("cpu"))}


def load(results: Path) -> dict[str, dict[str, Any]]:
    """How the stored outputs came about, by chapter."""
    path = results / STORED
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def store(chapter: str, told: dict[str, Any], results: Path) -> None:
    """Keep how a chapter's stored outputs came about."""
    write_json(results / STORED, dict(sorted((load(results) | {chapter: told}).items())))


def page(chapters: dict[str, dict[str, Any]], results: Path) -> str:
    """In Markdown: a table of the chapters, one of the recorded runs folder by folder, and the
    places (hardware and versions) that both point to by number."""
    places: list[str] = []
    chapter_rows = [
        [f"`{name}`", f"{told['seconds']:.0f} s", *_when_and_where([told], places)]
        for name, told in chapters.items()
    ]
    run_rows = []
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        found = list(_records(folder))
        if found:
            hours = sum(epoch["seconds"] for r in found for epoch in r.epochs) / 3600
            command = COMMANDS.get(folder.name, "make refresh")
            run_rows.append(
                [f"`{folder.name}`", str(len(found)), f"{hours:.2f} h", f"`{command}`",
                 *_when_and_where([record.environment for record in found], places)]
            )  # fmt: skip
    ends = ["finished (UTC)", "source", "where"]
    return "\n\n".join(
        [
            "## The chapters",
            _table(["notebook", "took", *ends], chapter_rows),
            "## The recorded runs",
            _table(["folder", "runs", "training took", "made by", *ends], run_rows),
            "## Where",
            "\n".join(f"{number}. {place}" for number, place in enumerate(places, 1)),
        ]
    )


def _records(folder: Path) -> Iterable[records.Record]:
    for path in sorted(folder.glob("*.json")):
        if "epochs" in json.loads(path.read_text(encoding="utf-8")):  # others are no training
            yield records.load(path)


def _when_and_where(told: list[dict[str, Any]], places: list[str]) -> list[str]:
    """The last time, the commits, and the numbers of the places, which grow by new ones."""
    numbers = set()
    for each in told:
        versions = ", ".join(f"{name} {version}" for name, version in each["versions"].items())
        device, threads = each["device"].upper(), each["threads"]
        place = f"{device}: {each['hardware']}, {threads} thread{'s'[: threads != 1]}; {versions}"
        if place not in places:
            places.append(place)
        numbers.add(places.index(place) + 1)
    finished = max(each["finished"] for each in told)[:16].replace("T", " ")
    commits = sorted({f"`{(each['commit'] or 'unknown')[:7]}`" for each in told})
    return [finished, ", ".join(commits), ", ".join(map(str, sorted(numbers)))]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
