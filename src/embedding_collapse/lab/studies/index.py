"""The index of all records, `results/README.md`: `python -m embedding_collapse.lab.studies`."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from embedding_collapse.lab import records
from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec

from . import STUDIES
from .definition import Study
from .progress import progress

NAME = "README.md"
HEAD = """# Records

One file per run, named by the hash of its parameters, its key. This index is made by
`python -m embedding_collapse.lab.studies`. AUC is the expected one where the truth is known, IA/K
the mean over fields and sets; seconds are those of training; hours of a core include validation.
Parameters that are left out are `Spec`'s own. `python -m embedding_collapse study decide --only KEY
--output FOLDER` makes one of the study's runs again."""
# folders of what is no run: what makes it anew, and what it is
OTHERS = {
    "language_models": (
        "python -c 'from embedding_collapse.book import language_model; "
        'language_model.record("minilm", "results/language_models")\'',
        "Spectra of the token embeddings of language models.",
    ),
    "speed": (
        "python benchmarks/cost.py, python benchmarks/optimizer.py --device cpu --output "
        "results/speed/optimizer-cpu.json, python benchmarks/criteo.py, "
        "python benchmarks/serving.py",
        "Time per step against size, of the optimizers, and of requests.",
    ),
    "live": (
        "python -c 'from embedding_collapse.book.explorers import sets; sets.record()'",
        "What the figure of chapter 5 that trains ends with, for where no script runs.",
    ),
    "toy": (
        "python -c 'from embedding_collapse.book.explorers import toy; toy.record()'",
        "The toy experiment over its whole grid.",
    ),
    "verdict": (
        "python -m embedding_collapse.lab.calibration",
        "How often the verdict of a table is wrong, on tables of which the truth is known.",
    ),
}
WAITING = "waiting"
IN_COLUMNS = {"dataset", "rows", "model", "design", "scale", "seed", "members", "average"}
DEFAULTS = {field.name: field.default for of in (DataSpec, Spec) for field in fields(of)}


def write(results: Path) -> Path:
    """Write the index of a folder of results into it."""
    path = results / NAME
    path.write_text(page(results), encoding="utf-8")
    return path


def page(results: Path) -> str:
    """The index in Markdown: the studies with their records, then the other folders.

    Args:
        results: a folder of folders, of studies by their names, of `OTHERS`, and of runs that
            chapters or full-scale recordings made.

    Warns:
        UserWarning: a damaged record, which is left out.
    """
    sections = [HEAD]
    for study in STUDIES.values():
        runs = study.records(results / study.name, missing_ok=True)
        sections += [_about(study, runs), *_listed(runs, study.name, _parts(study))]
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        if folder.name not in STUDIES:
            command, what = made_by(folder.name)
            sections.append(f"## {folder.name}\n\n{what} Made by `{command}`.")
            if folder.name not in OTHERS:
                sections += _listed(records.load_all(folder), folder.name, {})
    return "\n\n".join(sections) + "\n"


def made_by(folder: str) -> tuple[str, str]:
    """The command that makes a folder of results anew, and what is in it."""
    if folder in STUDIES:
        return f"make study NAME={folder}", STUDIES[folder].question
    if folder == WAITING:
        return "make study NAME=decide", (
            "Runs of a comparison that is not whole yet. No page reads them, so that nothing is "
            "decided by a part; moved to `decide`, they are not made again."
        )
    if folder.endswith("-full"):
        return "make record", "The paper's grid at full scale."
    return OTHERS.get(folder, ("make refresh", "Runs of a chapter."))


def _about(study: Study, runs: Sequence[Record]) -> str:
    readers = ", ".join(f"[{name}](../notebooks/{name}.ipynb)" for name in study.readers)
    lines = [
        f"## {study.name}\n\n{study.question} `{study.command}`",
        f"Done: {progress(study.specs, runs)}. Read by {readers}.",
        "\n".join(f"- *{part.name}*: {part.question}" for part in study.parts),
    ]
    return "\n\n".join(lines)


def _parts(study: Study) -> dict[str, str]:
    """The parts that each key belongs to."""
    names: dict[str, list[str]] = {}
    for part in study.parts:
        for spec in part.specs:
            names.setdefault(spec.key, []).append(part.name)
    return {key: ", ".join(belongs) for key, belongs in names.items()}


def _listed(runs: Sequence[Record], folder: str, parts: Mapping[str, str]) -> list[str]:
    """A table with a row per record, and the parameters and machines that it points to."""
    if not runs:
        return []
    common = _special(Spec.read(runs[0].spec))
    for record in runs:
        special = _special(Spec.read(record.spec))
        common = {name: value for name, value in common.items() if special.get(name) == value}
    machines = list(dict.fromkeys(map(_machine, runs)))
    rows = [
        {
            "part": parts.get(record.key, ""),
            "data": record.spec["dataset"],
            "rows": f"{record.spec['rows'] or record.dataset['rows']:,}",
            "model": record.spec["model"],
            "size": record.label,
            "seed": str(record.spec["seed"]),
            "also": _in_words(_special(Spec.read(record.spec)), common),
            "key": f"[{record.key}]({folder}/{record.key}.json)",
            "test AUC": f"{record.test_auc:.4f}",
            "IA/K": f"{record.relative_abundance.mean():.3f}",
            "seconds": f"{sum(epoch['seconds'] for epoch in record.epochs):.1f}",
            "machine": str(machines.index(_machine(record)) + 1),
        }
        for record in runs
    ]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    numbered = "; ".join(f"{number}: {name}" for number, name in enumerate(machines, 1))
    return [
        f"All with {_in_words(common, {})}. Machines: {numbered}.",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
    ]


def _special(spec: Spec) -> dict[str, Any]:
    """The parameters that have no column and are not `Spec`'s own, nor the data's."""
    plain = DEFAULTS | {"embedding_size": MODELS[spec.model].embedding_size}
    return {
        name: value
        for name, value in spec.written().items()
        if name not in IN_COLUMNS and value != plain.get(name)
    }


def _in_words(special: Mapping[str, Any], common: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in special.items() if common.get(name) != value
    )


def _machine(record: Record) -> str:
    environment = record.environment
    torch = environment["versions"]["torch"]
    return f"{environment['hardware']}, {records.threads_of(environment)}, torch {torch}"
