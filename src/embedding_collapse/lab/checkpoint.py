"""Checkpoints: safetensors plus JSON, never pickle; a kill at any moment leaves a whole one."""

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from embedding_collapse.files import (
    DamagedError,
    checksum,
    damage,
    load_json,
    set_aside,
    store_json,
    write_atomically,
)
from embedding_collapse.parameters import ParameterError

# Of the code that decides what training makes of a run (training, engine, blocked_adam, models,
# metrics) and of what is kept below: raise it with any change to either.
VERSION = 8
STATE = "checkpoint.json"
KEPT = ("epochs", "best_epoch", "peak_memory", "engine")  # there, of a `Fit`


@dataclass
class Fit:
    """What a run knows after each epoch, and in the end.

    Attributes:
        epochs: per epoch `train_loss` (nats per row), `penalty` (the mean of what was added to
            it), `valid_auc`, `valid_log_loss`, `seconds` of training, `cpu_seconds` of training
            and validation (of all threads and processes), and `losses`, the training loss in
            equal parts of the epoch.
        best_epoch: number (from 0) of the epoch with the highest validation AUC.
        test, placements: of the best epoch's weights, once training has ended; as in
            `records.Record`.
        peak_memory: bytes; see `device.peak_memory`.
        engine: how the last epoch's steps were taken: "loop", "captured" (in CUDA graphs),
            "uncaptured" or "loop (fallback: why)"; see `engine.checked`.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = -1
    test: dict[str, float] = field(default_factory=dict)
    placements: dict[str, list[float]] = field(default_factory=dict)
    peak_memory: int | None = None
    engine: str = "loop"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], scratch: Path | None = None) -> str:
    """Write tensors as safetensors, whole or not at all; see `files.write_atomically`.

    Returns:
        The file's checksum.
    """
    laid_out = {name: value.contiguous() for name, value in tensors.items()}
    write_atomically(path, lambda temporary: save_file(laid_out, temporary), scratch=scratch)
    return checksum(path)


def save(
    folder: Path,
    run: Fit,
    model: nn.Module,
    best: dict[str, Tensor],
    optimizer: torch.optim.Adam,
    settings: Mapping[str, Any],
) -> None:
    """Write a checkpoint; the JSON file comes last, and until then the one before it holds.

    Args:
        folder: of this run alone.
        run, model, best, optimizer: what training goes on from.
        settings: what must be the same where it goes on, as JSON takes it.

    Raises:
        OSError: it cannot be written; the one before it still holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moments = {
        f"{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    tensors = {
        f"{part}/{name}": value
        for part, values in (("model", model.state_dict()), ("best", best), ("adam", moments))
        for name, value in values.items()
    }
    name = f"epoch-{len(run.epochs) - 1}.safetensors"
    store_json(
        folder / STATE,
        {
            "version": VERSION,
            "settings": settings,
            "tensors": name,
            "checksum": save_tensors(folder / name, tensors),
            **{name: getattr(run, name) for name in KEPT},
        },
    )
    for old in folder.iterdir():  # and what killed processes were writing
        if old.name.startswith(".") or (old.match("epoch-*.safetensors") and old.name != name):
            with contextlib.suppress(OSError):  # NFS keeps what some process has open
                old.unlink()


def resume(
    folder: Path, model: nn.Module, optimizer: torch.optim.Adam, settings: Mapping[str, Any]
) -> tuple[Fit, dict[str, Tensor]] | None:
    """Put the model and the optimizer where the checkpoint left them.

    Returns:
        What had been trained, and the weights of its best epoch; None where there is no checkpoint
        to go on from.

    Raises:
        ParameterError: the checkpoint of another run.

    Warns:
        UserWarning: the checkpoint is damaged, or an earlier version of the code made it; it is
            set aside, as if there were none.
    """
    try:
        state = _read(folder)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        for path in folder.glob("epoch-*.safetensors"):
            set_aside(path)
        aside = set_aside(folder / STATE).name
        warnings.warn(f"set aside as {aside}, training anew: {error}", stacklevel=3)
        return None
    run = Fit(**{name: state[name] for name in KEPT})
    try:
        if state["settings"] != settings:
            raise ValueError(f"it was made with {state['settings']}, and this is {settings}")
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adam": {}}
        device = str(next(model.parameters()).device)
        for name, value in load_file(folder / state["tensors"], device=device).items():
            part, _, rest = name.partition("/")
            stays_mapped = device == "cpu" and part != "model"  # which keeps the file open
            parts[part][rest] = value.clone() if stays_mapped else value
        model.load_state_dict(parts["model"])
        adam = optimizer.state_dict()
        for name, value in parts["adam"].items():
            index, _, rest = name.partition(".")
            adam["state"].setdefault(int(index), {})[rest] = value
        optimizer.load_state_dict(adam)
    except (ValueError, RuntimeError) as error:
        raise ParameterError(
            f"the checkpoint in {folder} is not of this run ({error}); delete the folder, or "
            "choose another"
        ) from error
    return run, parts["best"]


def _read(folder: Path) -> dict[str, Any]:
    """What the JSON file of a whole checkpoint holds.

    Raises:
        FileNotFoundError: there is no checkpoint.
        DamagedError: it is damaged, or of another version.
    """
    state = load_json(folder / STATE)
    if (version := state.get("version")) != VERSION:
        raise DamagedError(f"{folder / STATE} is of version {version} of the code, not {VERSION}")
    if wrong := damage(folder / state["tensors"], state["checksum"]):
        raise DamagedError(wrong)
    return state
