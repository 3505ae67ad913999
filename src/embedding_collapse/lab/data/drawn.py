"""A synthetic dataset: drawn once into the cache."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedding_collapse.files import reserve
from embedding_collapse.lab.metrics import expected_auc

from .cache import stored
from .dataset import Dataset, Field
from .parallel import available_cores, under_bar
from .spec import DataSpec
from .synthetic import LAWS, Law, draw_rows, make_tables, sigmoid
from .vocabulary import number_values

DEFAULT_ROWS = {"synthetic": 45_840_617, "synthetic-mini": 200_000}  # unless the spec tells
BINS, LOWEST, PER_UNIT = 1 << 16, -16.0, 2048.0  # of the logits, to measure AUC
TRUTH = "truth.npy"
SEED = 0  # of all that is drawn


def draw_dataset(
    spec: DataSpec, *, cache: str | Path | None, workers: int | None, progress: bool
) -> Dataset:
    """Draw a synthetic dataset, or map the one drawn before.

    Args:
        spec: of "synthetic" (39 fields) or "synthetic-mini" (12 fields). A raw row depends on
            its number only; which values are rare depends on all rows that are drawn, those held
            out included. The raw rows of test are the same whatever the other numbers are, those
            of validation whatever `rows` is, and fewer training rows are the first of more.
        cache: folder that keeps the rows, 4 N + 1 bytes each; see `cache.stored`.
        workers: threads; by default one per available core. They do not change the rows.
        progress: show a bar where drawing takes more than a few seconds.

    Returns:
        A `Dataset` over memory maps, with facts `click_rate`, `best_auc` (of the true logit) and
        `linear_auc` (of its linear part). With rows held out, these lie as train, validation,
        test, the test rows' true probabilities are the dataset's `truth`, and both AUCs are
        `metrics.expected_auc` on it. Writing to the arrays does not reach the disk.

    Raises:
        ValueError: the rows drawn, if very few, are all of one class.

    Warns:
        UserWarning: the cache holds a damaged copy; it is drawn anew.
    """
    law, rows, held_out = LAWS[spec.name](), spec.rows or DEFAULT_ROWS[spec.name], spec.held_out
    determined_by = [asdict(law), rows, SEED, *([list(held_out)] if held_out else [])]

    def build(folder: Path) -> dict[str, Any]:
        sizes = (rows, *(held_out or (0, 0)))
        return _draw(folder, law, sizes, workers or available_cores(), progress)

    kept = stored(f"{spec.name}-{rows}", determined_by, build, cache, progress)
    fields = tuple(map(Field, law.names, kept.about["cardinalities"]))
    return Dataset(
        spec.name,
        kept.ids,
        kept.labels,
        fields,
        kept.fingerprint,
        kept.about["facts"],
        held_out=held_out,
        truth=None if held_out is None else np.load(kept.folder / TRUTH, mmap_mode="c"),
        spec=spec,
    )


def _parts(law: Law, sizes: tuple[int, int, int]) -> list[slice]:
    """Where the rows of block 0, 1, ... go: they lie as train, validation, test, each from blocks
    of its own; test has the first blocks and train the last, so that more training rows leave the
    others as they are."""
    parts = []
    end = sum(sizes)
    for size in reversed(sizes):
        start = end - size
        parts += [slice(i, min(i + law.block, end)) for i in range(start, end, law.block)]
        end = start
    return parts


def _draw(
    folder: Path, law: Law, sizes: tuple[int, int, int], workers: int, progress: bool
) -> dict[str, Any]:
    """Draw raw rows block by block while counting their values, then number these in place."""
    parts = _parts(law, sizes)
    total, test = sum(sizes), sizes[2]
    first_test = total - test
    shape = (total, len(law.sizes))
    ids = np.lib.format.open_memmap(folder / "ids.npy", "w+", np.int32, shape)
    labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.uint8, (total,))
    for part in ("ids.npy", "labels.npy"):
        reserve(folder / part)
    ends = np.cumsum(law.sizes, dtype=np.int64)
    starts = ends - law.sizes
    counts = np.zeros(ends[-1], np.int64)  # of all fields' raw ids, end to end
    scored = np.zeros((2, 2 * BINS), np.int64)  # rows per [whole or linear logit, label and bin]
    test_logits = np.empty((2, test))  # whole and linear, of the rows held out
    lock = threading.Lock()

    def draw(block: int, part: slice) -> None:
        raw, label, logits = draw_rows(law, tables, SEED, block, part.stop - part.start)
        ids[part], labels[part] = raw, label
        if part.start >= first_test:
            test_logits[:, part.start - first_test : part.stop - first_test] = logits
        seen = np.bincount((raw + starts).ravel(), minlength=len(counts))
        bins = ((logits - LOWEST) * PER_UNIT).astype(np.int64).clip(0, BINS - 1)
        histograms = [np.bincount(b, minlength=2 * BINS) for b in bins + label * np.int64(BINS)]
        with lock:
            np.add(counts, seen, out=counts)
            np.add(scored, histograms, out=scored)

    def number(block: int, part: slice) -> None:
        ids[part] = numbering.take(ids[part] + starts)

    with ThreadPoolExecutor(workers) as pool:
        tables = make_tables(law, SEED, pool)
        bar = partial(under_bar, pool, progress=progress)
        bar(draw, range(len(parts)), parts, title=f"drawing {total:,} rows")
        numberings = [number_values(c, law.minimum_count) for c in np.split(counts, ends[:-1])]
        numbering = np.concatenate(numberings)
        bar(number, range(len(parts)), parts, title="numbering values")
    whole, linear = scored.reshape(2, 2, BINS)
    aucs = [_auc(*whole), _auc(*linear)]
    if test:
        truth = sigmoid(test_logits[0])
        np.save(folder / TRUTH, truth)
        aucs = [
            expected_auc(score, torch.from_numpy(truth)) for score in torch.from_numpy(test_logits)
        ]
    facts = {
        "click_rate": float(whole[1].sum() / total),
        "best_auc": aucs[0],
        "linear_auc": aucs[1],
    }
    ids.flush()
    labels.flush()
    return {"cardinalities": [int(part.max()) + 1 for part in numberings], "facts": facts}


def _auc(negatives: np.ndarray, positives: np.ndarray) -> float:
    """AUC from the two classes' histograms of the score; rows of one bin count as tied."""
    below = np.cumsum(negatives) - negatives
    pairs = negatives.sum() * positives.sum()
    return float((positives * (below + negatives / 2)).sum() / max(pairs, 1))
