"""Runs at full scale: as many as a budget of time allows, the most telling first.

The records go to `results/<dataset>-full/` and the chapters, executed on them, to `book/recorded/`.
Whatever stops it, the same command goes on from there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedding_collapse.lab import records
from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.experiment import Spec
from embedding_collapse.lab.models import PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.studies.sweep import grid
from embedding_collapse.parameters import check_installed

from .paper import ledger, verdict_table

TELLING = ("dcnv2", "dnn")  # with explicit interaction and without
SCALES, MORE_SCALES = (1, 4, 10), (1, 2, 3, 4, 10)
SEEDS = (0, 1, 2)
FULL: dict[str, Any] = {
    "epochs": 10,
    "precision": "tf32",
}  # beside the paper's parameters, which are Spec's
SUFFIX = "-full"
CHAPTERS = ("05_multi_embedding", "07_results")
NONE = "Of runs at full scale none is recorded yet; `make record` makes them."


def cells(data: DataSpec, **parameters: Any) -> list[Spec]:
    """The grid in an order of which any beginning is useful: two models at base, 4x and 10x with
    one seed; their other seeds; the other models; the scales between.

    Args:
        data: what to train on.
        parameters: of all specs; what is not named is as `FULL` and the paper have it.
    """
    stages = [
        (TELLING, SCALES, SEEDS[:1]),
        (TELLING, SCALES, SEEDS),
        (PAPER, SCALES, SEEDS),
        (PAPER, MORE_SCALES, SEEDS),
    ]
    ordered: dict[str, Spec] = {}
    for models, scales, seeds in stages:
        for seed in seeds:
            for scale in scales:  # models side by side at each scale
                specs = grid(
                    datasets=[data],
                    models=models,
                    scales=[scale],
                    seeds=[seed],
                    **(FULL | parameters),
                )
                ordered |= {spec.key: spec for spec in specs if spec.key not in ordered}
    return list(ordered.values())


def check_chapters() -> Path:
    """The folder of the chapters.

    Raises:
        ParameterError: there is none, or what executes them is not installed.
    """
    chapters = records.in_repository("notebooks")
    check_installed("executing chapters", ("papermill", "nbformat", "ipykernel"), "book")
    return chapters


def execute_chapters(
    done: Sequence[Record],
    folder: Path,
    target: Path,
    command: str,
    data: DataSpec,
    device: str = "auto",
) -> list[Path]:
    """Execute the chapters at the records' parameters; those that the records suffice for.

    Args:
        done: records of one dataset, all made with the same parameters.
        folder: where they lie.
        target: where the executed notebooks go, as `<chapter>-<dataset>.ipynb`.
        command: that made the records; told at the top of each notebook.
        data, device: for chapter 5, which loads the data and finds its runs recorded.

    Raises:
        ParameterError: see `check_chapters`.
    """
    chapters = check_chapters()
    import nbformat
    import papermill

    written = []
    for chapter, parameters in _parameters(done, folder, data, device).items():
        path = target / f"{chapter}-{done[0].spec['dataset']}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            chapters / f"{chapter}.ipynb",
            path,
            parameters,
            kernel_name="python3",
            language="python",
            cwd=chapters.parent,
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],
        )
        executed = nbformat.read(path, as_version=4)
        note = f"Recorded with `{command}`. {records.provenance(done, keys=False)}"
        executed.cells.insert(1, nbformat.v4.new_markdown_cell(f"```{{note}}\n{note}\n```"))
        nbformat.write(executed, path)
        written.append(path)
    return written


def _parameters(
    done: Sequence[Record], folder: Path, data: DataSpec, device: str
) -> dict[str, dict[str, Any]]:
    """Of each chapter that can be executed, its parameters."""
    if not done:
        return {}
    spec, output = done[0].spec, str(folder.absolute())
    parameters: dict[str, dict[str, Any]] = {}
    trio = {scale: _trio(done, "dcnv2", scale) for scale in (10, 4)}
    scale = next((scale for scale, runs in trio.items() if runs), None)
    if scale is not None:
        parameters[CHAPTERS[0]] = {
            "dataset": spec["dataset"],
            "model": "dcnv2",
            "scale": scale,
            "seeds": len({run.spec["seed"] for run in trio[scale]}),
            "rows": spec["rows"] or 0,
            "device": device,
            "output": output,
            "weights": False,  # the records were made without
        } | {name: spec[name] for name in ("epochs", "batch_size")}
        parameters[CHAPTERS[0]] |= {
            "precision": spec.get("precision") or "",
            "embedding_size": trio[scale][0].spec["embedding_size"],
        } | {
            "path": data.path or "",
            "label": data.label or "",
            "categorical": ",".join(data.categorical),
            "numeric": ",".join(data.numeric),
            "vocabulary": data.vocabulary,
        }
    parameters[CHAPTERS[1]] = {"folders": output}
    return parameters


def _trio(done: Sequence[Record], model: str, scale: int) -> list[Record]:
    """Base, SE and ME of a model at a scale: those of the seeds, from 0 on, that all three have."""
    wanted = {("se", 1), ("se", scale), ("me", scale)}
    by_seed: dict[int, list[Record]] = {}
    for run in done:
        if run.spec["model"] == model and (run.spec["design"], run.spec["scale"]) in wanted:
            by_seed.setdefault(run.spec["seed"], []).append(run)
    chosen: list[Record] = []
    for seed in range(len(by_seed)):
        if len(by_seed.get(seed, [])) < len(wanted):
            break
        chosen += by_seed[seed]
    return chosen


# --- beside the chapters' own runs ----------------------------------------------------------------


def full_scale(results: Path | None = None) -> dict[str, list[Record]]:
    """Per dataset the records in the repository's `results/<dataset>-full/`."""
    results = records.in_repository("results") if results is None else results
    by_dataset = {
        folder.name.removesuffix(SUFFIX): records.load_all(folder)
        for folder in sorted(results.glob(f"*{SUFFIX}"))
    }
    return {name: runs for name, runs in by_dataset.items() if runs}


def scale_of(runs: Sequence[Record]) -> str:
    """What a set of runs was made with, in a few words."""
    first = runs[0]
    common = records.in_common(runs)
    named = [
        f"{name.replace('_', ' ')} {common[name]}"
        for name in ("hidden", "batch_size", "epochs", "precision")
        if common.get(name) is not None
    ]
    return (
        f"{first.spec['dataset']}, {first.dataset['rows']:,} rows of "
        f"{len(first.dataset['fields'])} fields, {sum(first.dataset['cardinalities']):,} features; "
        f"{', '.join(named)}"
    )


def ledger_at_full_scale(results: Path | None = None) -> str:
    """The ledger of recorded runs, a table per dataset, as HTML within Markdown."""
    parts = []
    for runs in full_scale(results).values():
        table = verdict_table(ledger(runs)).to_html(classes="ec-prose")
        made = records.provenance(runs, keys=False)
        parts.append(f"**At full scale: {scale_of(runs)}.**\n\n{table}\n\n{made}")
    return "\n\n".join(parts) or NONE
