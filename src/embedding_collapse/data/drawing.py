"""A synthetic dataset: drawn once into the cache."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from .cache import stored
from .dataset import Dataset, Field
from .parallel import available_cores
from .spec import DataSpec
from .synthetic import LAWS, Law, draw_rows, make_tables
from .vocabulary import cardinality, number_values

ROWS = {"synthetic": 45_840_617, "synthetic-mini": 200_000}  # unless the spec tells
BINS, LOWEST, PER_UNIT = 1 << 16, -16.0, 2048.0  # of the logits, to measure AUC


def draw_dataset(
    spec: DataSpec,
    *,
    seed: int = 0,
    cache: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Dataset:
    """Draw a synthetic dataset, or map the one drawn before.

    Args:
        spec: of "synthetic" (39 fields) or "synthetic-mini" (12 fields). A raw row depends on seed
            and row number only; which values are rare depends on all rows.
        seed: 0 to 2^64 - 1.
        cache: folder that keeps the rows, 4 N + 1 bytes each; see `cache.stored`.
        workers: threads; by default one per available core. They do not change the rows.
        progress: show a bar where drawing takes more than a few seconds.

    Returns:
        A `Dataset` over memory maps, with facts `click_rate`, `best_auc` (of the true logit) and
        `linear_auc` (of its linear part). Writing to the arrays does not reach the disk.

    Raises:
        ValueError: the rows drawn, if very few, are all of one class.

    Warns:
        UserWarning: the cache holds a damaged copy; it is drawn anew.
    """
    law, rows = LAWS[spec.name](), spec.rows or ROWS[spec.name]

    def build(folder: Path) -> dict[str, Any]:
        return _draw(folder, law, rows, seed, workers or available_cores(), progress)

    found = stored(f"{spec.name}-{rows}", [asdict(law), rows, seed], build, cache, progress)
    fields = tuple(map(Field, law.names, found.about["cardinalities"]))
    return Dataset(
        spec.name, found.ids, found.labels, fields, found.fingerprint, found.about["facts"],
        spec=spec,
    )  # fmt: skip


def _draw(
    folder: Path, law: Law, rows: int, seed: int, workers: int, progress: bool
) -> dict[str, Any]:
    """Draw raw rows block by block while counting their values, then number these in place."""
    shape = (rows, len(law.sizes))
    ids = np.lib.format.open_memmap(folder / "ids.npy", "w+", np.int32, shape)
    labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.uint8, (rows,))
    ends = np.cumsum(law.sizes)
    starts = ends - law.sizes
    counts = np.zeros(ends[-1], np.int64)  # of all fields' raw ids, end to end
    scored = np.zeros((2, 2 * BINS), np.int64)  # rows per [whole or linear logit, label and bin]
    lock = threading.Lock()

    def draw(block: int) -> None:
        part = slice(block * law.block, min(rows, (block + 1) * law.block))
        raw, label, logits = draw_rows(law, tables, seed, block, part.stop - part.start)
        ids[part], labels[part] = raw, label
        seen = np.bincount((raw + starts).ravel(), minlength=len(counts))
        bins = ((logits - LOWEST) * PER_UNIT).astype(np.int64).clip(0, BINS - 1)
        histograms = [np.bincount(b, minlength=2 * BINS) for b in bins + label * np.int64(BINS)]
        with lock:
            np.add(counts, seen, out=counts)
            np.add(scored, histograms, out=scored)

    def number(block: int) -> None:
        part = slice(block * law.block, (block + 1) * law.block)
        ids[part] = numbering.take(ids[part] + starts)

    def run(task: Callable[[int], None], title: str) -> None:
        blocks = -(-rows // law.block)
        with closing(pool.map(task, range(blocks))) as done:  # closing cancels what has not begun
            for _ in tqdm(done, title, blocks, disable=not progress, delay=3, unit="block"):
                pass

    with ThreadPoolExecutor(workers) as pool:
        tables = make_tables(law, seed, pool)
        run(draw, f"drawing {rows:,} rows")
        numberings = [number_values(c, law.minimum_count) for c in np.split(counts, ends[:-1])]
        numbering = np.concatenate(numberings)
        run(number, "numbering values")
    whole, linear = scored.reshape(2, 2, BINS)
    facts = {
        "click_rate": float(whole[1].sum() / rows),
        "best_auc": _auc(*whole),
        "linear_auc": _auc(*linear),
    }
    ids.flush()
    labels.flush()
    return {"cardinalities": [cardinality(part) for part in numberings], "facts": facts}


def _auc(negatives: np.ndarray, positives: np.ndarray) -> float:
    """AUC from the two classes' histograms of the score; rows of one bin count as tied."""
    below = np.cumsum(negatives) - negatives
    pairs = negatives.sum() * positives.sum()
    return float((positives * (below + negatives / 2)).sum() / max(pairs, 1))
