"""Fit a model, stop early, test the best epoch; interrupt and resume at will.

The dataset lives on the device as one integer tensor and a batch is a slice of a permutation: no
loader, no worker processes. All randomness of an epoch comes from (seed, epoch), so a resumed run
needs no random state and, on a CPU, ends with the same bits as one that was never interrupted.

Several processes (see `processes`) train one model as one would, but for rounding, dropout and
batch norm included (`engine.loop`): each takes a part of every batch, and its share of the
batches that are evaluated. The first alone reads and writes checkpoints.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from blocked_adam import kernels_run_on, numba_runs
from embedding_collapse.errors import DivergedError
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import rounded

from . import processes
from .checkpoint import Fit, resume, save
from .data import Dataset
from .device import choose_device, peak_memory, prepare, random_state_kept
from .engine.captured import Engine
from .engine.checked import FALLBACK, CheckedEngine
from .engine.loop import STEPS_BETWEEN_CHECKS, StepByStep, Together
from .metrics import auc, excess_log_loss, expected_auc, grouped, log_loss, placements
from .models import Recommender

CURVE_POINTS = 20  # per epoch, of the training loss
WORTH_BLOCKING = 10_000_000  # numbers of a table: see benchmarks/README.md, "The optimizer"
Trainer = StepByStep | Engine | CheckedEngine


@dataclass(frozen=True)
class Training:
    """How a model is trained, by Adam; the defaults are the paper's.

    Weight decay is L2 added to the gradient of every row, looked up or not, as in the official
    code.

    Attributes:
        epochs: at most.
        batch_size: rows per step at most: an epoch is cut into equal batches, so that no small
            remainder meets batch norm.
        patience: epochs without a rise of the validation AUC after which training ends.
        seed: of the shuffling and of dropout.
        precision: of matrix products, see `engine.products.products`; None is float32.
        engine: whether steps are taken by `engine.captured.Engine` instead of one by one, which
            gives the same results within rounding; by default where `blocked_adam.kernels_run_on`
            the device, and on a CPU for tables of `WORTH_BLOCKING` numbers, where Numba is
            installed. Where it captures steps it is checked first, see `engine.checked`.
        compile: see `engine.captured.Engine`; without the engine nothing is compiled.
    """

    epochs: int
    batch_size: int = 2048
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    patience: int = 3
    seed: int = 0
    precision: str | None = None
    engine: bool | None = None
    compile: bool | None = None

    def steps(self, rows: int) -> int:
        """How many steps an epoch of that many rows takes.

        Raises:
            ParameterError: batches of one row.
        """
        steps = -(-rows // self.batch_size)
        if rows // steps < 2:
            raise ParameterError(
                f"batch size {self.batch_size} cuts {rows} training rows into batches of one row; "
                "batch norm needs two at least"
            )
        return steps

    def settings(self, dataset: Dataset) -> dict[str, Any]:
        """What must be the same where a checkpoint is resumed."""
        names = ("learning_rate", "weight_decay", "precision", "batch_size", "seed")
        return {name: self.__dict__[name] for name in names} | {"data": dataset.fingerprint}


def fit(
    model: Recommender,
    dataset: Dataset,
    training: Training,
    *,
    device: str | torch.device = "auto",
    checkpoints: Path | None = None,
    progress: str | None = None,
) -> Fit:
    """Train until the validation AUC has not risen for a while, then test the best epoch.

    Args:
        model: moved to the device; it ends with the best epoch's weights.
        device: see `device.choose_device`.
        checkpoints: folder of this run alone, for one checkpoint per epoch; resumed from when it
            holds one, which is set aside with a warning if damaged or made by earlier code.
        progress: label of the progress bar; without one there is no bar.

    Raises:
        DivergedError: a loss or a score that is not finite.
        ParameterError: a batch size that leaves batches of one row, or another run's checkpoint.
        OSError: a checkpoint that cannot be written; the one before it still holds.
    """
    device = choose_device(str(device))
    data, settings = _on_device(dataset, device), training.settings(dataset)
    trainer = make_trainer(model.to(device), data, training)
    run, best = _resumed(checkpoints, trainer, settings) or (Fit(), _copied(model))
    prepare(device)
    with random_state_kept(device), _bar(progress, len(data.train), training, run) as bar:
        for epoch in range(len(run.epochs), training.epochs):
            if epoch - run.best_epoch > training.patience:
                break
            run.epochs.append(train_and_validate(trainer, data, training, run, bar))
            aucs = [one["valid_auc"] for one in run.epochs]
            if run.best_epoch < 0 or aucs[-1] > aucs[run.best_epoch]:
                run.best_epoch, best = epoch, _copied(model)
            run.peak_memory = max(run.peak_memory or 0, peak_memory(device) or 0) or None
            run.engine = trainer.kind
            if checkpoints is not None and processes.rank() == 0:
                save(checkpoints, run, model, best, trainer.optimizer, settings)
    model.load_state_dict(best)
    logits = evaluate(model, data.ids, data.test, "test rows", training)
    run.test, run.placements = tested(logits, dataset)
    return run


def train_and_validate(
    trainer: Trainer, data: "_Data", training: Training, run: Fit, bar: tqdm
) -> dict[str, Any]:
    """The run's next epoch; what `Fit.epochs` holds of it."""
    epoch = len(run.epochs)
    started, cpu_started = time.perf_counter(), time.process_time()
    torch.manual_seed(training.seed * 1_000_003 + epoch)
    losses, penalties = train_epoch(trainer, data.train, training, run, bar)
    seconds = time.perf_counter() - started
    name, labels = f"validation rows after epoch {epoch}", data.labels[data.valid]
    logits = evaluate(trainer.model, data.ids, data.valid, name, training)
    cpu_seconds = torch.tensor(time.process_time() - cpu_started, dtype=torch.float64)
    results = {
        "train_loss": losses.double().mean().item(),
        "penalty": penalties.double().mean().item(),
        "valid_auc": auc(logits, labels),
        "valid_log_loss": log_loss(logits, labels),
        "seconds": seconds,
        "cpu_seconds": processes.add_up(cpu_seconds).item(),
        "losses": _curve(losses),
    }
    bar.set_postfix(_postfix(losses, [results]))
    return results


def train_epoch(
    trainer: Trainer, rows: Tensor, training: Training, run: Fit, bar: tqdm
) -> tuple[Tensor, Tensor]:
    """Take the steps of the run's next epoch; their losses and penalties, `[steps]`.

    Args:
        rows: numbers of the training rows, which are shuffled.
        bar: over the rows of all epochs.

    Raises:
        DivergedError: a loss that is not finite.
    """
    epoch, steps = len(run.epochs), training.steps(len(rows))
    order = rows[torch.randperm(len(rows)).to(rows.device)]
    losses = torch.full((steps,), float("nan"), device=rows.device)
    penalties = torch.zeros_like(losses)
    trainer.model.train()
    checked = 0
    for done in trainer.epoch(order, losses, penalties):
        bar.update(epoch * len(rows) + done * len(rows) // steps - bar.n)
        if done - checked >= trainer.steps_between_checks or done == steps:
            checked = done
            _check_finite((losses + penalties)[:done], epoch, training)
            bar.set_postfix(_postfix(losses[:done], run.epochs), refresh=False)
    return losses, penalties


def evaluate(model: nn.Module, ids: Tensor, rows: Tensor, name: str, training: Training) -> Tensor:
    """As `predict`; the rows' name is for the error.

    Raises:
        DivergedError: a logit that is not finite.
    """
    logits = predict(model, ids, rows, processes.rank(), processes.count())
    lost = int((~logits.isfinite()).sum())
    if lost:
        raise DivergedError(
            f"{lost:,} of {len(logits):,} scores of the {name} are not finite. Try a smaller "
            f"learning rate (now {training.learning_rate:g}) or a smaller model."
        )
    return logits


def tested(logits: Tensor, dataset: Dataset) -> tuple[dict[str, float], dict[str, list[float]]]:
    """What a record holds of the test rows' logits `[rows]`: its `test` and its `placements`."""
    labels = torch.from_numpy(dataset.labels)[dataset.split[2]].to(logits.device)
    metrics = {"auc": auc(logits, labels), "log_loss": log_loss(logits, labels)}
    if dataset.truth is not None:
        truth = torch.from_numpy(dataset.truth).to(logits.device)
        metrics["expected_auc"] = expected_auc(logits, truth)
        metrics["excess_log_loss"] = excess_log_loss(logits, truth)
    stand = grouped(placements(logits, labels))._asdict()
    return metrics, {name: rounded(torch.from_numpy(part)) for name, part in stand.items()}


@torch.no_grad()
def predict(model: nn.Module, ids: Tensor, rows: Tensor, rank: int = 0, count: int = 1) -> Tensor:
    """Logits `[len(rows)]` of the given rows of `ids`, in evaluation mode.

    Of so many processes the one of that rank computes its share of them, and all get the whole.
    """
    model.eval()
    # on a CPU more rows at once take more memory, and no less time
    size = 2048 if ids.device.type == "cpu" else 8192
    batches = rows.split(size)
    if count == 1:
        return torch.cat([model(ids[batch]) for batch in batches])
    logits = ids.new_zeros(len(rows), dtype=next(model.parameters()).dtype)
    parts = logits.split(size)
    for batch, part in list(zip(batches, parts, strict=True))[rank::count]:
        part.copy_(model(ids[batch]))
    return processes.add_up(logits)


class _Data(NamedTuple):
    """A dataset on the device: int32 ids `[rows, N]`, labels `[rows]`, the row numbers of each part
    of its split."""

    ids: Tensor
    labels: Tensor
    train: Tensor
    valid: Tensor
    test: Tensor


def _on_device(dataset: Dataset, device: torch.device) -> _Data:
    ids, labels = torch.from_numpy(dataset.ids), torch.from_numpy(dataset.labels)
    return _Data(*(part.to(device) for part in (ids, labels, *dataset.split)))


def make_trainer(model: Recommender, data: _Data, training: Training) -> Trainer:
    """What takes the steps: the plain loop, or the engine, checked where it captures steps.

    Raises:
        ParameterError: a batch size that leaves batches of one row, or fewer than processes.
    """
    rows, count = len(data.train) // training.steps(len(data.train)), processes.count()
    if count > rows:
        raise ParameterError(
            f"{count} processes cannot share batches of {rows} rows; a row for each is needed"
        )
    names = ("learning_rate", "weight_decay", "precision")
    options: dict[str, Any] = {name: getattr(training, name) for name in names}
    if count > 1:
        return Together(model, data.ids, data.labels, **options)
    loop = StepByStep(model, data.ids, data.labels, **options)
    if not (_by_default(model) if training.engine is None else training.engine):
        return loop
    engine = Engine(model, data.ids, data.labels, **options, compile=training.compile)
    return CheckedEngine(engine, loop) if engine.capture else engine


def _by_default(model: Recommender) -> bool:
    """Whether the engine is to train a model where nothing else is said."""
    if model.table.device.type == "cpu":
        return model.table.numel() >= WORTH_BLOCKING and numba_runs()
    return kernels_run_on(model.table.device)


def _resumed(
    checkpoints: Path | None, trainer: Trainer, settings: dict[str, Any]
) -> tuple[Fit, dict[str, Tensor]] | None:
    """See `checkpoint.resume`; a run that had left the engine goes on without it."""
    resumed = None
    if checkpoints is not None and processes.rank() == 0:
        resumed = resume(checkpoints, trainer.model, trainer.optimizer, settings)
    if isinstance(trainer, Together):
        return trainer.share(resumed)
    if resumed and isinstance(trainer, CheckedEngine) and resumed[0].engine.startswith(FALLBACK):
        trainer.fall_back(resumed[0].engine)
    return resumed


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _curve(losses: Tensor) -> list[float]:
    """The losses `[steps]` of an epoch as the means of equal parts."""
    parts = losses.double().tensor_split(min(len(losses), CURVE_POINTS))
    return [part.mean().item() for part in parts]


def _bar(label: str | None, rows: int, training: Training, run: Fit) -> tqdm:
    """A bar over the rows of all epochs."""
    return tqdm(
        desc=label,
        total=training.epochs * rows,
        initial=len(run.epochs) * rows,
        unit="rows",
        unit_scale=True,
        leave=None,
        disable=label is None,
        mininterval=1,  # whoever runs a notebook may drop a flood of updates
    )


def _postfix(losses: Tensor, epochs: list[dict[str, Any]]) -> dict[str, str]:
    """The latest losses, and the validation AUC of the last epoch if there is one."""
    shown = {"loss": f"{losses[-STEPS_BETWEEN_CHECKS:].mean().item():.4f}"}
    return shown | ({"valid AUC": f"{epochs[-1]['valid_auc']:.4f}"} if epochs else {})


def _check_finite(losses: Tensor, epoch: int, training: Training) -> None:
    if losses.isfinite().all():
        return
    step = int((~losses.isfinite()).nonzero()[0])
    last = ", ".join(f"{loss:.4g}" for loss in losses[max(0, step - 4) : step + 1].tolist())
    raise DivergedError(
        f"the training loss is not finite at step {step} of epoch {epoch}; the last losses were "
        f"{last}. Try a smaller learning rate (now {training.learning_rate:g}) or a smaller model; "
        "if it happens at the first step, look for NaN in the initial weights."
    )
