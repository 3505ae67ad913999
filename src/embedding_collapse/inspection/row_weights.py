"""How often the rows of tables are looked up: a file or arrays of it, matched with the tables."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from embedding_collapse.collapse import as_tensor, off_mps
from embedding_collapse.parameters import ParameterError, listed, short

from . import weights
from .tables import Table

RowWeights = str | Path | Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray]


def read_counts(given: RowWeights) -> dict[str, Tensor]:
    """The weights by name: of a file, of a mapping, or of an array, which has none.

    Raises:
        ParameterError: a file that cannot be read, or what is no array.
    """
    if isinstance(given, str | os.PathLike):
        counts: dict[str, Tensor] = {}
        with contextlib.suppress(weights.NoFormatError):
            counts = weights.read(given)
        if not counts:
            raise ParameterError(
                f"{os.fspath(given)!r} is no file of row weights; .npy with a number per row is "
                "accepted, and .npz of such by the tables' names"
            )
        return counts
    if not isinstance(given, Mapping):
        given = {"row_weights": given}
    return {str(name): off_mps(as_tensor(str(name), values)) for name, values in given.items()}


def match(
    counts: Mapping[str, Tensor], tables: Sequence[Table], called: str
) -> tuple[list[Tensor | None], str]:
    """The weights of each table's rows: by its name, or where no name fits by the number of rows.

    Args:
        counts: from `read_counts`, not empty.
        tables: from `tables.find`.
        called: what the weights are, for messages.

    Returns:
        Weights or None for each table, and a note of what fits none, and of what weighs several
        tables alike by its length alone.

    Raises:
        ParameterError: weights by a table's name that are not one real number for each of its
            rows, several that fit a table by their length alone, or none that fit any table.
    """
    by_name = any(name in counts for table in tables for name in (table.name, table.source))
    found: list[Tensor | None] = []
    weighs: dict[str, list[str]] = {}
    for table in tables:
        meant = [n for n in (table.name, table.source) if n in counts] if by_name else list(counts)
        fitting = [name for name in meant if _rows_of(counts[name], table) is not None]
        if by_name and meant and not fitting:
            rows = table.source_rows if meant[0] == table.source else table.values.shape[1]
            raise ParameterError(
                f"{called} has {_told(counts, meant[:1])}; one real number per row is needed, "
                f"{rows:,} for {short(meant[0])}"
            )
        if not by_name and len(fitting) > 1:
            raise ParameterError(
                f"{called} has {_told(counts, fitting)}, and by their length alone each may weigh "
                f"{short(table.name)}; name them after the tables, such as {short(table.source)}"
            )
        found.append(_rows_of(counts[fitting[0]], table) if fitting else None)
        for name in fitting[:1]:
            whole = len(counts[name]) == table.source_rows
            weighs.setdefault(name, []).append(table.source if whole else table.name)
    if not weighs:
        raise ParameterError(
            f"{called} weighs no table ({_told(counts, counts)}); one real number per row is "
            f"needed, {tables[0].source_rows:,} for {short(tables[0].source)}"
        )
    notes = [
        f"{short(name)} weighs {listed(map(short, alike))} alike, by its length alone"
        for name, several in weighs.items()
        if not by_name and len(alike := dict.fromkeys(several)) > 1
    ]
    if others := [name for name in counts if name not in weighs]:
        notes.append(f"weights that fit no table: {_told(counts, others)}")
    return found, "; ".join(notes)


def _rows_of(values: Tensor, table: Table) -> Tensor | None:
    """The part of an array that weighs a table's rows, in float64; None if it is none."""
    rows = table.values.shape[1]
    if values.is_meta or values.is_complex():
        return None
    if values.shape == (table.source_rows,):
        return values[table.start : table.start + rows].double()
    return values.double() if values.shape == (rows,) else None


def _told(counts: Mapping[str, Tensor], names: Any) -> str:
    return listed(f"{short(name)} {list(counts[name].shape) or 'of one number'}" for name in names)
