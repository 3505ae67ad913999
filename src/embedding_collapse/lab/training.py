"""Fit a model, stop early, test the best epoch; interrupt and resume at will.

The dataset lives on the device as one integer tensor and a batch is a slice of a permutation: no
loader, no worker processes. All randomness of an epoch comes from (seed, epoch), so a resumed run
needs no random state and, on a CPU, ends with the same bits as one that was never interrupted.
"""

import contextlib
import ctypes
import platform
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from blocked_adam import kernels_run_on
from embedding_collapse.errors import DivergedError
from embedding_collapse.parameters import ParameterError

from .checkpoint import Fit, resume, save
from .data import Dataset
from .engine.captured import Engine
from .engine.checked import FALLBACK, CheckedEngine
from .engine.loop import STEPS_BETWEEN_CHECKS, StepByStep
from .metrics import Placements, auc, excess_log_loss, expected_auc, grouped, log_loss, placements
from .models import Recommender

EVALUATION_BATCH = 8192
CURVE_POINTS = 20  # per epoch, of the training loss
STATUS = Path("/proc/self/status")


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" takes the GPU where there is one.

    Raises:
        ParameterError: a name that torch does not know or cannot reach here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        value = torch.ones(1, device=name)
        value.item()  # which the device "meta", without numbers, does not have
        return value.device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ParameterError(
            f"device {name!r} cannot be used here ({reason}); 'auto', 'cpu' and, with a GPU, "
            "'cuda' are accepted"
        ) from None


def fit(
    model: Recommender,
    dataset: Dataset,
    *,
    epochs: int,
    batch_size: int = 2048,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-6,
    patience: int = 3,
    seed: int = 0,
    device: str | torch.device = "auto",
    checkpoints: Path | None = None,
    progress: str | None = None,
    precision: str | None = None,
    engine: bool | None = None,
    compile: bool | None = None,
) -> Fit:
    """Train with Adam until the validation AUC has not risen for `patience` epochs; then test.

    The defaults are the paper's. Weight decay is L2 added to the gradient of every row, looked up
    or not, as in the official code. The model ends with the best epoch's weights.

    Args:
        model: moved to the device; a penalty that it has is added to the loss.
        dataset: with its split.
        epochs: at most.
        batch_size: rows per step at most: an epoch is cut into equal batches, so that no small
            remainder meets batch norm.
        seed: of the shuffling and of dropout.
        device: see `choose_device`.
        checkpoints: folder for one checkpoint per epoch, resumed from when it holds one. Only
            ever one run's. One that is damaged, or that earlier code made, is set aside.
        progress: label of the progress bar; without one there is no bar.
        precision: of matrix products in training, see `engine.products`; None is float32.
        engine: whether steps are taken by `engine.Engine` instead of one by one, which gives the
            same results within rounding; by default where `blocked_adam.kernels_run_on` the
            device. Where it captures steps it is checked first, see `checked`.
        compile: see `engine.Engine`; without the engine nothing is compiled.

    Raises:
        DivergedError: a loss or a score that is not finite.
        ParameterError: a batch size that leaves batches of one row, or another run's checkpoint.
        OSError: a checkpoint that cannot be written; the one before it still holds.

    Warns:
        UserWarning: a checkpoint is set aside, and training starts anew; or the engine is left, and
            training goes on step by step.
    """
    device = choose_device(str(device))
    if device.type == "cpu":
        _keep_freed_memory()
    model.to(device)
    ids = torch.from_numpy(dataset.ids).to(device)
    labels = torch.from_numpy(dataset.labels).to(device)
    train, valid, test = (rows.to(device) for rows in dataset.split)
    steps = -(-len(train) // batch_size)
    if len(train) // steps < 2:
        raise ParameterError(
            f"batch size {batch_size} cuts {len(train)} training rows into batches of one row; "
            "batch norm needs two at least"
        )
    if engine is None:
        engine = kernels_run_on(device) and isinstance(model, Recommender)
    adam = {
        "learning_rate": learning_rate, "weight_decay": weight_decay, "precision": precision
    }  # fmt: skip
    trainer: StepByStep | Engine | CheckedEngine = StepByStep(model, ids, labels, **adam)
    if engine:
        fast = Engine(model, ids, labels, compile=compile, **adam)
        trainer = CheckedEngine(fast, trainer) if fast.capture else fast
    run = Fit()
    best = {name: value.clone() for name, value in model.state_dict().items()}
    settings = adam | {"data": dataset.fingerprint, "batch_size": batch_size, "seed": seed}
    if checkpoints is not None:
        run, best = resume(checkpoints, model, trainer.optimizer, device, settings) or (run, best)
        if isinstance(trainer, CheckedEngine) and run.engine.startswith(FALLBACK):
            trainer.fall_back(run.engine)
    reset_peak_memory(device)

    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        tqdm(desc=progress, total=epochs * len(train), initial=len(run.epochs) * len(train),
             unit="rows", unit_scale=True, leave=None, disable=progress is None,
             mininterval=1) as bar,  # whoever runs a notebook may drop a flood of updates
    ):  # fmt: skip
        for epoch in range(len(run.epochs), epochs):
            if epoch - run.best_epoch > patience:
                break
            started, cpu_started = time.perf_counter(), time.process_time()
            torch.manual_seed(seed * 1_000_003 + epoch)
            order = train[torch.randperm(len(train)).to(device)]
            losses = torch.full((steps,), float("nan"), device=device)
            penalties = torch.zeros_like(losses)
            model.train()
            checked = 0
            for done in trainer.epoch(order, losses, penalties):
                bar.update(epoch * len(train) + done * len(train) // steps - bar.n)
                if done - checked >= trainer.steps_between_checks or done == steps:
                    checked = done
                    _check_finite((losses + penalties)[:done], epoch, learning_rate)
                    bar.set_postfix(_postfix(losses[:done], run), refresh=False)
            seconds = time.perf_counter() - started
            parts = losses.double().tensor_split(min(steps, CURVE_POINTS))
            logits = predict(model, ids, valid)
            _check_scores(logits, f"validation rows after epoch {epoch}", learning_rate)
            run.epochs.append(
                {
                    "train_loss": losses.double().mean().item(),
                    "penalty": penalties.double().mean().item(),
                    "valid_auc": auc(logits, labels[valid]),
                    "valid_log_loss": log_loss(logits, labels[valid]),
                    "seconds": seconds,
                    "cpu_seconds": time.process_time() - cpu_started,
                    "losses": [part.mean().item() for part in parts],
                }
            )
            bar.set_postfix(_postfix(losses, run))
            if run.best_epoch < 0 or _auc(run, -1) > _auc(run, run.best_epoch):
                run.best_epoch = epoch
                best = {name: value.clone() for name, value in model.state_dict().items()}
            run.peak_memory = max(run.peak_memory or 0, peak_memory(device) or 0) or None
            run.engine = trainer.kind
            if checkpoints is not None:
                save(checkpoints, run, model, best, trainer.optimizer, settings)

    model.load_state_dict(best)
    logits = predict(model, ids, test)
    _check_scores(logits, "test rows", learning_rate)
    run.test, run.placements = tested(logits, dataset)
    return run


def tested(logits: Tensor, dataset: Dataset) -> tuple[dict[str, float], Placements]:
    """What a record holds of the test rows' logits `[rows]`: metrics, and where the rows stand.

    The metrics are `auc` and `log_loss`, and where the dataset's truth is known `expected_auc` and
    `excess_log_loss`; see `metrics`.
    """
    labels = torch.from_numpy(dataset.labels)[dataset.split[2]].to(logits.device)
    metrics = {"auc": auc(logits, labels), "log_loss": log_loss(logits, labels)}
    if dataset.truth is not None:
        truth = torch.from_numpy(dataset.truth).to(logits.device)
        metrics["expected_auc"] = expected_auc(logits, truth)
        metrics["excess_log_loss"] = excess_log_loss(logits, truth)
    return metrics, grouped(placements(logits, labels))


@torch.no_grad()
def predict(model: nn.Module, ids: Tensor, rows: Tensor) -> Tensor:
    """Logits `[len(rows)]` of the given rows of `ids`, in evaluation mode."""
    model.eval()
    return torch.cat([model(ids[batch]) for batch in rows.split(EVALUATION_BATCH)])


def _auc(run: Fit, epoch: int) -> float:
    return run.epochs[epoch]["valid_auc"]


def _postfix(losses: Tensor, run: Fit) -> dict[str, str]:
    shown = {"loss": f"{losses[-STEPS_BETWEEN_CHECKS:].mean().item():.4f}"}
    return shown | ({"valid AUC": f"{_auc(run, -1):.4f}"} if run.epochs else {})


def _check_finite(losses: Tensor, epoch: int, learning_rate: float) -> None:
    if losses.isfinite().all():
        return
    step = int((~losses.isfinite()).nonzero()[0])
    last = ", ".join(f"{loss:.4g}" for loss in losses[max(0, step - 4) : step + 1].tolist())
    raise DivergedError(
        f"the training loss is not finite at step {step} of epoch {epoch}; the last losses were "
        f"{last}. Try a smaller learning rate (now {learning_rate:g}) or a smaller model; if it "
        "happens at the first step, look for NaN in the initial weights."
    )


def _check_scores(logits: Tensor, of: str, learning_rate: float) -> None:
    lost = int((~logits.isfinite()).sum())
    if lost:
        raise DivergedError(
            f"{lost:,} of {len(logits):,} scores of the {of} are not finite. Try a smaller "
            f"learning rate (now {learning_rate:g}) or a smaller model."
        )


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new measurement of `peak_memory`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif STATUS.exists():
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to what is taken now


def peak_memory(device: torch.device) -> int | None:
    """Bytes since the reset: the most that tensors took of a GPU, or this process took of memory.

    None on a CPU outside Linux, which alone can begin a new measurement within a process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not STATUS.exists():
        return None
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def _keep_freed_memory() -> None:
    """Have glibc keep large freed blocks instead of handing them back to the kernel.

    A training step frees and takes the same large tensors again and again; by default each comes
    back as fresh pages that fault one by one: a quarter of the time of a step of DNN, ME 10x.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        mmap_threshold, trim_threshold = -3, -1  # their numbers in malloc.h
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)
