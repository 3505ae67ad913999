"""Checkpoints: safetensors plus JSON, never pickle; a kill at any moment leaves a whole one."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .files import write_atomically, write_json
from .metrics import Placements

STATE = "checkpoint.json"


@dataclass
class Fit:
    """What a run knows after each epoch, and in the end.

    Attributes:
        epochs: per epoch `train_loss` (nats per row), `penalty` (the mean of what was added to
            it), `valid_auc`, `valid_log_loss`, `seconds` of training, `cpu_seconds` of training
            and validation (of all threads), and `losses`, the training loss in equal parts of the
            epoch.
        best_epoch: number (from 0) of the epoch with the highest validation AUC.
        test: `auc` and `log_loss` of the best epoch's weights, once training has ended; where
            the dataset's truth is known also `expected_auc` and `excess_log_loss`, see `metrics`.
        placements: summary of the test rows' scores, from `metrics.grouped`.
        peak_memory: bytes; see `training.peak_memory`.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = -1
    test: dict[str, float] = field(default_factory=dict)
    placements: Placements | None = None
    peak_memory: int | None = None


def save(
    folder: Path, run: Fit, model: nn.Module, best: dict[str, Tensor], optimizer: torch.optim.Adam
) -> None:
    """Write a checkpoint; the JSON file comes last, and until then the one before it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    moments = {
        f"{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    tensors = {
        f"{part}/{name}": value.contiguous()
        for part, values in (("model", model.state_dict()), ("best", best), ("adam", moments))
        for name, value in values.items()
    }
    name = f"epoch-{len(run.epochs) - 1}.safetensors"
    write_atomically(folder / name, lambda path: save_file(tensors, path))
    write_json(
        folder / STATE,
        {
            "tensors": name,
            "epochs": run.epochs,
            "best_epoch": run.best_epoch,
            "peak_memory": run.peak_memory,
        },
    )
    for old in folder.glob("epoch-*.safetensors"):
        if old.name != name:
            old.unlink()


def exists(folder: Path) -> bool:
    """Whether the folder holds a checkpoint to resume from."""
    return (folder / STATE).exists()


def resume(
    folder: Path, model: nn.Module, optimizer: torch.optim.Adam, device: torch.device
) -> tuple[Fit, dict[str, Tensor]]:
    """Put the model and the optimizer where the checkpoint left them."""
    try:
        state = json.loads((folder / STATE).read_text())
        tensors = load_file(folder / state.pop("tensors"), device=str(device))
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adam": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = value
        model.load_state_dict(parts["model"])
        adam = optimizer.state_dict()
        for name, value in parts["adam"].items():
            index, _, rest = name.partition(".")
            adam["state"].setdefault(int(index), {})[rest] = value
        optimizer.load_state_dict(adam)
        return Fit(**state), parts["best"]
    except Exception as error:
        raise ValueError(
            f"the checkpoint in {folder} cannot be resumed ({error}); delete the folder to start "
            "this run afresh"
        ) from error
