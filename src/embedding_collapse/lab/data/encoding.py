"""From a table to integer ids on disk, in memory that does not grow with the rows.

The table is read once. Each batch numbers its own values, and those numbers go to disk with the
values; then each field's values are put together, counted and given their ids; then the ids take
the numbers' place on disk.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_collapse.parameters import ParameterError, count, listed, printable, short

from .cache import stored
from .codebook import VERSION, Codebook
from .columns import Source
from .dataset import Dataset, Field, split_rows
from .entry import Entry, read_bins, written_bins
from .first_pass import LISTS, ORDER, Part, Read, as_lists, read_rows
from .numbering import UNSEEN, UNTRAINED, number_fields
from .parallel import available_cores
from .reading import SHOWN, check_unchanged
from .spec import DataSpec

LOG = logging.getLogger(__name__)
DERIVED = ("columns", "positive", "split_by")  # of a source, part of what is cached where given
SHOWN_LABELS = 20
MOST_TEXT = 2**31 - 2  # bytes
SCORING = ("bins", "rare_share")  # of what is kept, for a codebook; earlier versions left them out


def encode(
    source: Source,
    spec: DataSpec,
    *,
    max_rejected: float,
    cache: str | Path | None,
    workers: int | None,
    progress: bool,
) -> Dataset:
    """Encode a table, or map what was encoded before; see `data.load` for the arguments.

    The ids depend on the table alone, not on the number of workers.

    Returns:
        A `Dataset` over memory maps, with facts `label_rate` and `rejected_share`.

    Raises:
        ParameterError: a table that cannot be read or changes meanwhile, with too few rows, too
            many rejected ones, or one class only.

    Warns:
        UserWarning: the cache holds a damaged copy; it is encoded anew.
    """
    truth: dict[str, Any] = {
        "version": VERSION,
        "content": spec.content,
        "label": [source.label, source.labels],
        "fields": list(source.fields.items()),
        "minimum_count": source.minimum_count,
        "vocabulary": spec.counted_on,
        "rows": spec.rows,
    }
    truth |= {name: value for name in DERIVED if (value := getattr(source, name))}
    if source.threshold is not None:
        truth["threshold"] = source.threshold
    ordered = bool(source.split_by or source.held_out)
    if ordered:  # or rows in the order of earlier versions would pass for these
        truth["held_out"] = "in random order"

    def build(folder: Path) -> dict[str, Any]:
        threads = workers or available_cores()
        with ThreadPoolExecutor(threads) as pool:
            read = read_rows(source, spec.rows, folder, pool, threads, progress)
            for part in source.parts:
                check_unchanged(part.table)
            _check(source, spec.rows, max_rejected, read)
            return _number(source, spec.counted_on, read, folder, pool, progress)

    kept = stored(source.name, truth, build, cache, progress, needed=SCORING)
    about = kept.about
    whole = Part(about["total"] - about["rejected"], about["rejected"], about["shown"])
    parts = [Part(*part) for part in about.get("parts", [whole])]  # earlier versions have the whole
    _check_rejected(source, max_rejected, parts)
    with pa.memory_map(str(kept.folder / "vocabulary.arrow")) as file:
        known = pa.ipc.open_file(file).read_all()["values"].chunk(0)
    entries = tuple(
        Entry(
            name,
            source.column_of(name),
            kind,
            values.values,
            read_bins(about["bins"].get(name)),
            about["rare_share"][name],
        )
        for (name, kind), values in zip(source.fields.items(), known, strict=True)
    )
    notes = (*source.notes, *about.get("choices", ()), *_notes(about, source.minimum_count))
    for note in notes:
        LOG.warning("%s", printable(f"{source.table.path}: {note}"))
    facts = {
        "label_rate": float(kept.labels.mean()),
        "rejected_share": about["rejected"] / about["total"],
    }
    try:
        return Dataset(
            source.name,
            kept.ids,
            kept.labels,
            tuple(Field(one.field, len(one.values) + 1, one.values) for one in entries),
            kept.fingerprint,
            facts,
            notes,
            spec,
            held_out=tuple(about["sizes"][1:]) if source.held_out else None,
            order=np.load(kept.folder / ORDER, mmap_mode="c") if ordered else None,
            codebook=Codebook(kept.fingerprint, entries),
        )
    except ParameterError as error:  # a split without one of the classes
        raise ParameterError(f"path is {source.table.path!r}; {error}") from None


def _notes(about: dict[str, Any], minimum: int) -> Iterator[str]:
    rejected, shown = about["rejected"], about["shown"]
    if sizes := about.get("sizes"):
        yield f"{sizes[0]:,} rows train, {sizes[1]:,} validate and {sizes[2]:,} test, as given"
    if rejected:
        more = "; ..." if rejected > len(shown) else ""
        yield f"{count(rejected, 'row')} rejected: {'; '.join(shown)}{more}"
    lines, where = about["quoted"]
    if lines:
        yield f"a quoted value spans {lines + 1:,} lines (from {where}); an unpaired quote?"
    if about["blank"]:
        yield f"blank in every row: {listed(about['blank'], 200)}"
    for name, share in about.get("unseen", {}).items():
        yield f"no training row has the value of {short(name)} that {share:.0%} of the others have"
    if bare := about.get("untrained"):
        yield (
            f"no training row is in the rare bucket of {listed(bare, 200)}, where up to "
            f"{max(bare.values()):.1%} of the others are: nothing trains its vector; a min_count "
            f"above {minimum} puts rare values there"
        )
    if about["rare"]:
        yield f"no value is frequent enough for an id of its own: {listed(about['rare'], 200)}"


def _check(source: Source, rows: int | None, max_rejected: float, read: Read) -> None:
    have = len(read.labels)
    _check_rejected(source, max_rejected, read.parts)
    if lost := [value for value in source.positive if value not in read.label_values]:
        yaml = "; YAML reads yes and no as true and false, unless they are quoted"
        raise ParameterError(
            f"positive is {','.join(source.positive)!r}, and no row has {listed(lost)}; "
            f"{short(source.label)} holds {listed(read.label_values, SHOWN_LABELS)}"
            f"{yaml if {'true', 'false'} & {*lost} else ''}"
        )
    if have < 10:
        held = f"{have} rows that can be used" if have else "no rows"
        raise ParameterError(f"path is {source.table.path!r}, which holds {held}; 10 are needed")
    most = read.parts[0].rows
    if rows is not None and most < rows:
        trains = " to train on" if source.held_out else ""
        raise ParameterError(
            f"rows is {rows}; {source.table.path!r} has {most} rows{trains}, and 10 to {most} are "
            "accepted"
        )
    if read.labels.min() == read.labels.max():
        raise ParameterError(
            f"path is {source.table.path!r}, where {short(source.label)} is {read.labels[0]} in "
            f"all {have:,} rows; both classes are needed"
        )


def _check_rejected(source: Source, most: float, parts: list[Part]) -> None:
    """Of each part by itself, or one to test on could lose most of its rows to a large one."""
    for part, (rows, rejected, shown) in zip(source.parts, parts, strict=False):
        if rejected <= most * (rows + rejected):
            continue
        others = source.name == "table" and any(f": {short(source.label)} is" in s for s in shown)
        hint = "; positive or threshold says which values of a label are 1" if others else ""
        raise ParameterError(
            f"path is {part.table.path!r}; {rejected:,} of {rows + rejected:,} rows cannot be used "
            f"({'; '.join(shown)}); a share of {most:g} is accepted, and max_rejected sets it{hint}"
        )


def _number(
    source: Source,
    vocabulary: str,
    read: Read,
    folder: Path,
    pool: ThreadPoolExecutor,
    progress: bool,
) -> dict[str, Any]:
    """Turn what was read into ids, and write down what they stand for."""
    trains = None
    if read.order is not None or vocabulary == "train":
        trains = np.zeros(len(read.labels), bool)
        order = split_rows(len(trains))[0].numpy() if read.order is None else read.order
        trains[order[: read.sizes[0]]] = True
    known = number_fields(
        read.codes,
        read.values,
        list(source.fields.values()),
        source.minimum_count,
        trains,
        folder / "scratch",
        pool,
        progress,
        everywhere=vocabulary == "all",
    )
    (folder / "values.arrow").unlink()
    named = list(zip(source.fields, known, strict=True))
    _check_text(source, {name: field.values for name, field in named})
    with (
        pa.OSFile(str(folder / "vocabulary.arrow"), "wb") as file,
        pa.ipc.new_file(file, LISTS) as writer,
    ):
        writer.write(as_lists([field.values.cast(pa.string()) for field in known]))
    rejected = sum(part.rejected for part in read.parts)
    about = {
        "total": len(read.labels) + rejected,
        "rejected": rejected,
        "shown": [reason for part in read.parts for reason in part.shown][:SHOWN],
        "parts": read.parts,
        "quoted": read.quoted,
        "blank": [name for name, field in named if field.blank],
        "rare": [name for name, field in named if len(field.values) == 0],
        "bins": {name: written_bins(field.bins) for name, field in named if field.bins},
        "rare_share": {name: field.rare for name, field in named},
    }
    if source.held_out:
        about["sizes"] = read.sizes
    if trains is not None:
        about["untrained"] = {
            name: field.untrained for name, field in named if field.untrained > UNTRAINED
        }
    if read.order is not None:
        about["unseen"] = {name: field.unseen for name, field in named if field.unseen > UNSEEN}
    if source.positive:
        others = [value for value in read.label_values if source.label_of(value) == 0]
        about["choices"] = [
            f"{short(source.label)} is 1 for {listed(source.positive)}, "
            f"0 for {listed(others, SHOWN_LABELS)}"
        ]
    return about


def _check_text(source: Source, values: dict[str, pa.Array]) -> None:
    """Raise a `ParameterError` where there is more text than Arrow has in a list."""
    sizes = {name: pc.sum(pc.binary_length(one)).as_py() or 0 for name, one in values.items()}
    if sum(sizes.values()) > MOST_TEXT:
        largest = max(sizes, key=sizes.__getitem__)
        raise ParameterError(
            f"path is {source.table.path!r}, whose values with an id take {sum(sizes.values()):,} "
            f"bytes of text, {sizes[largest]:,} of them {short(largest)}'s; {MOST_TEXT:,} are "
            f"accepted: drop={largest!r} leaves it out, a larger min_count keeps fewer values"
        )
