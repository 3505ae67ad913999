"""One run: a frozen spec goes in, a record comes out. Every run goes through this door."""

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from . import records
from .data import DATASETS, Dataset, load
from .files import write_atomically
from .models import MODELS, Recommender, Size, build
from .parameters import check_choice, check_number, check_whole
from .records import Record, design_label
from .spectrum import field_spectra
from .training import choose_device, fit

Design = Literal["se", "me"]


@dataclass(frozen=True)
class Spec:
    """The whole truth of a run; the defaults are the paper's.

    Attributes:
        dataset, rows: see `data.load`; rows of None is all.
        model: one of `models.MODELS`.
        design: "se" scales the width of one embedding set, "me" the number of sets.
        scale: by how much; at 1 both designs are the same base model.
        embedding_size: K at scale 1.
        hidden, cross_layers, dropout: see `models.Size`.
        epochs, batch_size, learning_rate, weight_decay, patience: see `training.fit`.
        seed: of the initial weights, the shuffling and dropout. Not of the data or its split.

    Raises:
        ParameterError: a value of the wrong type or out of range; the message is one line that says
            what is accepted.
    """

    dataset: str = "synthetic-mini"
    rows: int | None = None
    model: str = "dcnv2"
    design: Design = "se"
    scale: int = 1
    embedding_size: int = 10
    hidden: int = 400
    cross_layers: int = 4
    dropout: float = 0.2
    epochs: int = 10
    batch_size: int = 2048
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    patience: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("dataset", self.dataset, DATASETS)
        check_choice("model", self.model, MODELS)
        check_choice("design", self.design, get_args(Design))
        if self.rows is not None:
            check_whole("rows", self.rows, least=10)
        for name in ("scale", "embedding_size", "hidden", "cross_layers", "epochs", "patience"):
            check_whole(name, getattr(self, name), least=1)
        check_whole("batch_size", self.batch_size, least=2)
        check_whole("seed", self.seed, least=0)
        check_number("dropout", self.dropout, 0, 1)
        check_number("learning_rate", self.learning_rate, 0)
        check_number("weight_decay", self.weight_decay, 0)

    @property
    def sets(self) -> int:
        """M, the number of embedding sets."""
        return self.scale if self.design == "me" else 1

    @property
    def width(self) -> int:
        """K of one set."""
        return self.embedding_size * (1 if self.design == "me" else self.scale)

    @property
    def label(self) -> str:
        return design_label(self.design, self.scale)

    @property
    def key(self) -> str:
        """Hash of all parameters: equal for equal runs, on every machine."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def comparison(*, scale: int, seeds: int, **parameters: Any) -> list[Spec]:
    """The base model, SE and ME at the same total embedding size; for each seed in turn.

    Args:
        scale: of SE and ME, at least 2.
        seeds: how many, from 0.
        parameters: the rest of the specs.

    Raises:
        ParameterError: as `Spec` does.
    """
    check_whole("scale", scale, least=2)
    check_whole("seeds", seeds, least=1)
    return [
        Spec(design=design, scale=size, seed=seed, **parameters)
        for seed in range(seeds)
        for design, size in (("se", 1), ("se", scale), ("me", scale))
    ]


def run(
    spec: Spec,
    dataset: Dataset | None = None,
    *,
    output: Path | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Record:
    """Train and test one model, and record what came of it.

    Args:
        spec: the run.
        dataset: what `data.load(spec.dataset, spec.rows)` returns, to load it once for many runs.
        output: folder of records. A spec that has its record there is not trained again; one
            whose training was interrupted goes on from its last epoch. The record lands there as
            `<key>.json`, the weights of the best epoch as `<key>.safetensors`.
        device: see `training.choose_device`.
        progress: show a bar.
    """
    if output is not None and records.path_of(output, spec.key).exists():
        return records.load(records.path_of(output, spec.key))
    device = choose_device(device)
    dataset = load(spec.dataset, spec.rows, progress=progress) if dataset is None else dataset
    model = build_model(spec, dataset)
    checkpoints = None if output is None else output / f"{spec.key}.checkpoint"
    fitted = fit(
        model,
        dataset,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        patience=spec.patience,
        seed=spec.seed,
        device=device,
        checkpoints=checkpoints,
        progress=f"{spec.model} {spec.label}, seed {spec.seed}" if progress else None,
    )
    table = model.table.detach()
    train_rows = dataset.split_sizes[0]
    record = Record(
        key=spec.key,
        spec=dataclasses.asdict(spec),
        dataset={
            "name": dataset.name,
            "rows": len(dataset),
            "fingerprint": dataset.fingerprint,
            "fields": [field.name for field in dataset.fields],
            "cardinalities": dataset.cardinalities,
            "facts": dataset.facts,
        },
        parameters=model.parameter_counts(),
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        test={"auc": fitted.test_auc, "log_loss": fitted.test_log_loss},
        spectra=_rounded(field_spectra(table, dataset.cardinalities)),
        joined_spectra=_rounded(
            field_spectra(table.flatten(1).unsqueeze(1), dataset.cardinalities).squeeze(1)
        ),
        speed=statistics.median(train_rows / epoch["seconds"] for epoch in fitted.epochs),
        peak_memory=fitted.peak_memory,
        environment=environment(device),
    )
    if output is not None:
        weights = {name: value.contiguous() for name, value in model.state_dict().items()}
        write_atomically(output / f"{spec.key}.safetensors", lambda path: save_file(weights, path))
        records.save(record, output)
        shutil.rmtree(checkpoints)
    return record


def build_model(spec: Spec, dataset: Dataset) -> Recommender:
    """The spec's model, freshly initialised for the dataset's fields."""
    size = Size(
        fields=len(dataset.fields),
        sets=spec.sets,
        width=spec.width,
        hidden=spec.hidden,
        dropout=spec.dropout,
        cross_layers=spec.cross_layers,
    )
    return build(spec.model, dataset.cardinalities, size, spec.seed)


def _rounded(values: Tensor) -> list:
    """Nested lists with six significant digits: all that a float32 table holds of them."""
    if values.ndim > 1:
        return [_rounded(part) for part in values]
    return [float(f"{value:.6g}") for value in values.tolist()]


def environment(device: torch.device) -> dict[str, Any]:
    """Where and when a run took place."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": device.type,
        "hardware": gpu or processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {
            "embedding-collapse": version("embedding-collapse"),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "commit": commit(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def processor() -> str:
    """The processor's name, as well as the platform tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@lru_cache
def commit() -> str | None:
    """The commit of the source tree this package runs from, "+" if changed; None outside one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "."], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
