"""From the values of a table's batches to ids, the same in all batches."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_collapse.files import reserve

from .bins import Bins, bins_of, equal_bins
from .columns import Kind
from .parallel import under_bar
from .vocabulary import RARE, number_values

UNSEEN = 0.5  # the share of `Known.unseen` from which on it is told
UNTRAINED = 0.001  # and that of `Known.untrained`


class Known(NamedTuple):
    """A field's vocabulary.

    Attributes:
        values: what its ids from 1 up stand for; texts of either length.
        blank: whether all rows are.
        unseen: of the rows that do not train, the share whose value, or bin, no row has that does.
            It is large where parts were written apart, 3 in one and 3.0 in the other.
        rare: the share of the rows that train, or of all where these needn't be known, that are in
            the rare bucket.
        untrained: the share of the others in it, where no row is in it that trains; else 0.
        bins: where those of a numeric field begin.
    """

    values: pa.StringArray
    blank: bool
    unseen: float
    rare: float
    untrained: float
    bins: Bins | None


def told_apart(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts as a dictionary, of `large_string` where it holds 2 GiB or more."""
    try:
        return texts.dictionary_encode()
    except pa.ArrowCapacityError:
        return texts.cast(pa.large_string()).dictionary_encode()


def number_fields(
    codes: list[np.ndarray],
    values: list[pa.ListArray],
    kinds: Sequence[Kind],
    minimum: int,
    trains: np.ndarray | None,
    scratch: Path,
    pool: ThreadPoolExecutor,
    progress: bool,
    *,
    everywhere: bool,
) -> list[Known]:
    """Replace the numbers that values have in their batches by the fields' ids, in place.

    Args:
        codes: of each batch int32 `[N, rows]`, the number of the value in the batch; becomes the
            ids, int32 `[rows, N]` in the same memory.
        values: of each batch the N fields' values.
        kinds: of the N fields.
        minimum: the fewest rows with which a value keeps an id of its own.
        trains: bool `[rows of all batches]`, those that train; None where they needn't be known.
        scratch: name for a file that is written and removed.
        pool: where to work.
        progress: show a bar where this takes more than a few seconds.
        everywhere: whether values are counted on all rows, or on those that train alone.
    """
    count, counted = len(kinds), 0 if everywhere else -1
    masks: list[list[np.ndarray | slice]] = [[slice(None)] for _ in codes]  # of all rows
    if trains is not None:
        for batch, part in zip(codes, masks, strict=True):
            part.append(trains[: batch.shape[1]])
            trains = trains[batch.shape[1] :]
    # the id of each value, batch by batch and in it field by field: too many to hold in memory
    sizes = [len(lists[field].values) for lists in values for field in range(count)]
    every = np.memmap(scratch, np.int32, "w+", shape=sum(sizes))
    reserve(scratch)
    ids = np.split(np.asarray(every), np.cumsum(sizes)[:-1])

    def number(field: int) -> Known:
        seen = pa.chunked_array([lists[field].values for lists in values])
        seen = told_apart(seen).chunks  # each with the dictionary of them all
        places = [chunk.indices.to_numpy() for chunk in seen]
        texts = seen[0].dictionary
        by_rows = np.zeros((len(masks[0]), len(texts)), np.int64)
        for batch, own_masks, place in zip(codes, masks, places, strict=True):
            for counts, mask in zip(by_rows, own_masks, strict=True):
                np.add.at(counts, place, np.bincount(batch[field][mask], minlength=len(place)))
        counts = by_rows[counted]
        blanks = pc.equal(texts, "").to_numpy(zero_copy_only=False)
        blank = counts.sum() == counts[blanks].sum()
        group, numbers = np.arange(len(texts)), None
        if kinds[field] == "numeric":
            numbers = pc.if_else(blanks, "nan", texts).cast(pa.float64()).to_numpy()
            order = np.argsort(numbers)  # ids ascend with the numbers; a blank comes last
            binned = pa.array(equal_bins(numbers, counts)[order], pa.string()).dictionary_encode()
            group[order], texts = binned.indices.to_numpy(), binned.dictionary
            by_rows = np.array([np.bincount(group, each).astype(np.int64) for each in by_rows])
        numbering = number_values(by_rows[counted], minimum)
        for own, place in zip(ids[field::count], places, strict=True):
            own[:] = numbering[group[place]]
        whole, trained = by_rows[0], by_rows[-1]
        unseen = whole[trained == 0].sum() / max((whole - trained).sum(), 1)
        known, rare = texts.filter(numbering != RARE), by_rows[:, numbering == RARE].sum(1)
        rare_share = rare[-1] / max(trained.sum(), 1)
        untrained = rare[0] / max((whole - trained).sum(), 1) if rare[-1] == 0 else 0
        bins = None if numbers is None else bins_of(numbers, counts, numbering[group])
        return Known(known, bool(blank), float(unseen), float(rare_share), float(untrained), bins)

    def replace(number: int) -> None:
        batch, new = codes[number], np.empty_like(codes[number])
        for field, own in enumerate(ids[number * count : (number + 1) * count]):
            own.take(batch[field], out=new[field], mode="clip")
        batch.reshape(-1, count)[:] = new.T  # from field by field to row by row

    try:
        known = under_bar(pool, number, range(count), title="numbering values", progress=progress)
        under_bar(pool, replace, range(len(codes)), title="writing ids", progress=progress)
    finally:
        scratch.unlink()
    return known
