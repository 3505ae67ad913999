"""What several test files need."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # what hands out the work of several workers needs no torch
    from embedding_collapse.lab.records import Record

KERNELS = Path(__file__).parent.parent / "_build" / "kernels"
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(KERNELS))
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # or processes start that import torch
os.environ.setdefault("RAY_worker_niceness", "0")  # of 15 by default: busy machines starve them

# Side by side a file is one worker's. These take longest and begin first: begun last, any would
# keep the other workers waiting.
LONGEST = (
    "test_faults.py",
    "test_engine_checked.py",
    "test_chapters_executed.py",
    "test_studies_sweep.py",
    "test_wheel.py",
    "03_interaction_collapse.ipynb",
    "test_engine.py",
    "test_benchmarks_gpu.py",
    "test_processes.py",
    "test_data_cache.py",
    "test_blocked_adam_kernels.py",
    "test_studies.py",
    "test_contrast.py",
    "test_store.py",
    "08_your_embeddings.ipynb",
)

SLOW = (  # of the notebooks
    "01_jl_sizing.ipynb",
    "03_interaction_collapse.ipynb",
    "07_results.ipynb",
    "08_your_embeddings.ipynb",
    "robustness.ipynb",
)

FIELDS = {"user": 50, "device": 3, "site": 20}  # features per field; the order is not by size


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from embedding_collapse.lab.environment import keep_kernels_apart

    keep_kernels_apart()
    items.sort(key=lambda item: (*LONGEST, item.path.name).index(item.path.name))
    for item in items:
        if item.path.suffix == ".ipynb":  # the warnings of its libraries are not ours to mend
            item.add_marker(pytest.mark.filterwarnings("default"))
            if item.path.name in SLOW:
                item.add_marker(pytest.mark.slow)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing reaches the reader's cache of datasets."""
    monkeypatch.setenv("EMBEDDING_COLLAPSE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make_record() -> "Callable[..., Record]":
    """Makes the record of a run that never was, with K = 4 for the base model."""
    return _make_record


def _make_record(
    design: str = "se",
    scale: int = 1,
    seed: int = 0,
    *,
    auc: float = 0.7,
    log_loss: float = 0.5,
    abundance: float | Sequence[float] = 0.5,
    model: str = "dcnv2",
    dataset: str = "synthetic-mini",
    **changes: Any,
) -> "Record":
    """A whole record from what a test is about.

    Args:
        design, scale, seed: of the spec.
        auc, log_loss: on the test split.
        abundance: IA / K, of every field or one number per field; each set alike.
        model, dataset: of the spec.
        changes: attributes of the record to set to something else.
    """
    from embedding_collapse.lab.data import DataSpec
    from embedding_collapse.lab.records import Record
    from embedding_collapse.lab.spec import Spec

    spec = Spec(
        DataSpec(dataset), model=model, design=design, scale=scale, seed=seed, embedding_size=4
    )
    shares = [abundance] * len(FIELDS) if isinstance(abundance, float) else abundance
    spectra = [[_spectrum(share, spec.width, m) for m in range(spec.sets)] for share in shares]
    record = Record(
        key=spec.key,
        spec=spec.written(),
        dataset={
            "name": "small",
            "rows": 1000,
            "fingerprint": "none",
            "fields": list(FIELDS),
            "cardinalities": list(FIELDS.values()),
            "facts": {"click rate": 0.5},
        },
        parameters={"embedding": 292 * scale, "interaction": 900, "head": 300},
        epochs=[_epoch(0.6, seed), _epoch(0.5, seed)],
        best_epoch=1,
        test={"auc": auc, "log_loss": log_loss},
        placements=_placements(auc),
        spectra=spectra,
        joined_spectra=[sorted(chain(*sets), reverse=True) for sets in spectra],
        diversity=[0.5] * len(FIELDS) if scale > 1 else None,
        projected_abundance=[[[2.0] * len(FIELDS)] * len(FIELDS)] * spec.sets,
        projection_norms=[[[1.0 + m] * len(FIELDS)] * len(FIELDS) for m in range(spec.sets)],
        speed=400.0,
        peak_memory=1_000_000,
        environment={
            "device": "cpu",
            "hardware": "Abacus™ 3000",
            "cores": 4,
            "threads": 2,
            "versions": {"embedding-collapse": "0.1.0", "python": "3.11.9", "torch": "2.6.0"},
            "commit": "0123456789ab",
            "finished": "2024-07-01T12:00:00+00:00",
        },
        centred_spectra=spectra,
        weighted_spectra=spectra,
        weighted_random=[[1.0] * spec.width] * len(FIELDS),
        weights=None,
        engine="loop",
    )
    return replace(record, **changes)


def _placements(auc: float, rows: int = 40) -> dict[str, list[float]]:
    """The same spread around every AUC, so that two runs differ by the same in every row."""
    spread = [0.1 * (row / (rows - 1) - 0.5) for row in range(rows)]
    return {part: [auc + change for change in spread] for part in ("positive", "negative")}


def _spectrum(share: float, width: int, m: int) -> list[float]:
    """One large singular value and equal small ones, with IA / K as asked; larger in later sets."""
    rest = (share * width - 1) / (width - 1)
    return [2.0 + m] + [(2.0 + m) * rest] * (width - 1)


def _epoch(loss: float, seed: int) -> dict[str, Any]:
    return {
        "train_loss": loss,
        "penalty": 0.0,
        "valid_auc": 1.3 - loss - seed / 100,
        "valid_log_loss": loss,
        "seconds": 2.0,
        "cpu_seconds": 4.0,
        "losses": [loss + 0.02, loss - 0.02],
    }
