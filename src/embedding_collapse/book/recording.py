"""Runs at full scale: as many as a budget of time allows, the most telling first.

The records go to `results/<dataset>-full/` and the chapters, executed on them, to `book/recorded/`.
Whatever stops it, the same command goes on from there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedding_collapse.lab import records
from embedding_collapse.lab.data import OPTIONS, DataSpec
from embedding_collapse.lab.models import PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies.sweep import grid
from embedding_collapse.parameters import check_installed

TELLING = ("dcnv2", "dnn")  # with explicit interaction and without
SCALES, MORE_SCALES = (1, 4, 10), (1, 2, 3, 4, 10)
SEEDS = (0, 1, 2)
FULL: dict[str, Any] = {"epochs": 10, "precision": "tf32"}  # beside the paper's, which are Spec's
SUFFIX = "-full"
OF_DATA = set(OPTIONS) - {"rows", "held_out"}  # that chapter 5 takes for what is read
CHAPTERS = ("05_multi_embedding", "07_results")


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
    max_rejected: float = 0.01,
) -> list[Path]:
    """Execute the chapters at the records' parameters; those that the records suffice for.

    Args:
        done: records of one dataset, all made with the same parameters.
        folder: where they lie.
        target: where the executed notebooks go, as `<chapter>-<dataset>.ipynb`.
        command: that made the records; told at the top of each notebook.
        data, device, max_rejected: for chapter 5, which loads the data and finds its runs recorded.

    Raises:
        ParameterError: see `check_chapters`.
    """
    chapters = check_chapters()
    import nbformat
    import papermill

    written = []
    for chapter, parameters in parameters_of(done, folder, data, device, max_rejected).items():
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


def _as_parameter(value: Any) -> Any:
    """A parameter of the data as a chapter takes it: "" is none, and several stand with commas."""
    return ",".join(value) if isinstance(value, tuple) else "" if value is None else value


def parameters_of(
    done: Sequence[Record], folder: Path, data: DataSpec, device: str, max_rejected: float
) -> dict[str, dict[str, Any]]:
    """Of each chapter that can be executed, its parameters."""
    if not done:
        return {}
    spec, output = done[0].spec, str(folder.absolute())
    parameters: dict[str, dict[str, Any]] = {}
    trio = {scale: _trio(done, "dcnv2", scale) for scale in (10, 4)}
    scale = next((scale for scale, runs in trio.items() if runs), None)
    plain = Spec()  # for what the chapter has no parameters
    named = (data.split, data.held_out, spec["hidden"])
    if scale is not None and named == (plain.data.split, plain.data.held_out, plain.hidden):
        parameters[CHAPTERS[0]] = {
            "dataset": spec["dataset"],
            "model": "dcnv2",
            "scale": scale,
            "seeds": len({run.spec["seed"] for run in trio[scale]}),
            "rows": spec["rows"] or 0,
            "device": device,
            "output": output,
            "weights": False,  # the records were made without
            "epochs": spec["epochs"],
            "batch_size": spec["batch_size"],
            "precision": spec["precision"] or "",
            "embedding_size": trio[scale][0].spec["embedding_size"],
            "max_rejected": max_rejected,
            **{name: _as_parameter(getattr(data, name)) for name in OF_DATA - {"min_count"}},
            "min_count": data.min_count or 0,
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
