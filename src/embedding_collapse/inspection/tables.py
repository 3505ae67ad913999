"""The embedding tables of a checkpoint, cut into fields and sets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import Tensor

from embedding_collapse.collapse import off_mps
from embedding_collapse.parameters import ParameterError, check_whole, count, short

from .field_dims import FieldDims, read_field_dims
from .recognition import GUESS, LAYER, MANY_ROWS, OPTIMIZER, Reading, recognise

SCALES = (  # to multiply by, the inverse ones too, as DeepSeek has them of square blocks
    *("_scale", ".scale", "_scales", ".scales", ".SCB", ".weight_scale"),
    *("_scale_inv", ".weight_scale_inv"),
)
ZEROS = ("_zero_point", ".zero_point", ".weight_zero_point")


class NoTableError(ParameterError):
    """No table among the tensors."""


@dataclass(frozen=True)
class Table:
    """One table, or one field of a joint table.

    Attributes:
        name: of the tensor in the checkpoint, or of the field.
        values: `[M, D, K]`, a view of what is on disk; M embedding sets, 1 for an ordinary table.
        known_by: what says that it is a table: the class of its module, the library whose
            convention names it so, or its name, its shape or the tables beside it, which are
            guesses and end with `GUESS`; or who asked for it.
        note: what a reader should know of it, "" where there is nothing.
        source: the tensor's name in the checkpoint, which a field was cut from.
        start: the field's first row in it.
        source_rows: how many rows that has.
    """

    name: str
    values: Tensor
    known_by: str = ""
    note: str = ""
    source: str = ""
    start: int = 0
    source_rows: int = 0


class LeftOut(NamedTuple):
    """A tensor of two or three dimensions that is not measured, and why."""

    name: str
    shape: tuple[int, ...]
    why: str


def by_set(table: Tensor, sets: int | None = None, *, sets_first: bool = False) -> Tensor:
    """A table as `[M, D, K]`, one slice per embedding set; a view.

    Args:
        table: `[D, K]`, `[D, M*K]` with `sets`, or `[D, M, K]` or `[M, D, K]`, of which the longer
            of the two first dimensions is taken for D unless `sets_first`.
        sets: M, where the table does not say so itself.

    Raises:
        ParameterError: columns that do not divide into that many sets, or another number of sets.
    """
    if table.ndim == 3:
        rows_first = table.shape[0] >= table.shape[1] and not sets_first
        stacked = table.transpose(0, 1) if rows_first else table
        if sets is not None and sets != len(stacked):
            raise ParameterError(f"sets is {sets}; the table holds {len(stacked)}")
        return stacked
    width = table.shape[1]
    if width % (sets or 1):
        raise ParameterError(f"sets is {sets}; {width} columns cannot be cut into that many")
    parts = (sets or 1, width // (sets or 1))
    return table.unflatten(1, parts).transpose(0, 1)


def find(
    tensors: Mapping[str, Tensor],
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    field_dims: FieldDims | None = None,
    sets: int | None = None,
    known: Mapping[str, Reading] | None = None,
) -> tuple[list[Table], list[LeftOut]]:
    """The embedding tables among tensors, and every other that might have been one.

    Args:
        tensors: by name, as `weights.read` gives them.
        include: a pattern such as `*.user.*`, or several; they alone then decide what is a table.
        exclude: a pattern of names to leave out, or several.
        field_dims: features per field, to cut every table with that many rows into its fields; see
            `field_dims.read_field_dims`.
        sets: M, for tables that hold M embedding sets side by side.
        known: what their holders say of some, see `weights.known_in`.

    Raises:
        NoTableError: no table found.
        ParameterError: none that the fields or sets fit, or one that is spread over processes.
    """
    include, exclude = patterns(include), patterns(exclude)
    if field_dims is not None:
        field_dims = read_field_dims(field_dims)
    if sets is not None:
        check_whole("sets", sets, least=1)
    chosen: dict[str, str] = {}
    left_out: list[LeftOut] = []
    for name, tensor in tensors.items():
        if tensor.ndim not in (2, 3):
            continue
        found = reading(name, tensors, include, exclude, known or {})
        if found.is_table:
            chosen[name] = found.why
        else:
            left_out.append(LeftOut(name, tuple(tensor.shape), found.why))
    if not chosen:
        raise NoTableError(_nothing(tensors, left_out, include))
    tables: list[Table] = []
    seen: dict[tuple, str] = {}
    for name, known_by in chosen.items():
        tensor = tensors[name]
        if hasattr(tensor, "device_mesh"):  # to measure it every process would have to take part
            raise ParameterError(
                f"{short(name)} is spread over processes (a DTensor), which is not measured; "
                "inspect its checkpoint"
            )
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() and not tensor.is_meta and place in seen:
            why = f"the same numbers as {short(seen[place])}, stored once"
            left_out.append(LeftOut(name, tuple(tensor.shape), why))
            continue
        seen[place] = name
        numbers, note = _numbers(name, tensor, tensors)
        values = by_set(off_mps(numbers), sets, sets_first="stacked." in name)  # a MultiEmbedding's
        table = Table(name, values, known_by, note, name, source_rows=values.shape[1])
        tables += _cut(table, field_dims or {}, alone=len(chosen) == 1)
    total = sum(field_dims.values()) if field_dims else 0
    if field_dims and not any(table.source_rows == total for table in tables):
        rows = ", ".join(
            f"{short(table.name)} has {table.values.shape[1]:,}" for table in tables[:5]
        )
        raise ParameterError(
            f"the field dims add up to {total:,} rows; {rows}; a row for padding is a field of its "
            "own"
        )
    return tables, left_out


def patterns(given: str | Sequence[str]) -> list[str]:
    """Patterns of names; a text is one of them."""
    return [given] if isinstance(given, str) else list(given)


def reading(
    name: str,
    tensors: Mapping[str, Tensor],
    include: Sequence[str],
    exclude: Sequence[str],
    known: Mapping[str, Reading],
) -> Reading:
    """As `recognise` has it, but for what the caller or the tensor's module says."""
    if any(fnmatchcase(name, pattern) for pattern in exclude):
        return Reading(False, "excluded")
    if include:
        chosen = any(fnmatchcase(name, pattern) for pattern in include)
        return Reading(chosen, "you" if chosen else f"matches none of {', '.join(include)}")
    if name in known and not (known[name].is_table and tensors[name].shape[-1] < 2):
        return known[name]
    reading = recognise(name, tensors)
    other = LAYER.search(name) or OPTIMIZER.search(name)
    alone = len(tensors) == 1 and not other and tensors[name].shape[-1] > 1
    if alone and not reading.is_table:
        return Reading(True, "file of one" + GUESS)
    return reading


def _nothing(
    tensors: Mapping[str, Tensor], left_out: Sequence[LeftOut], include: Sequence[str]
) -> str:
    """Why no table was found, and what there is instead."""
    names = [f"{short(one.name)} {list(one.shape)} ({one.why})" for one in left_out]
    if include:
        names = [f"{short(one.name)} {list(one.shape)}" for one in left_out]
    there = (
        f"; it holds {', '.join(names[:6])}"
        if names
        else f"; {count(len(tensors), 'tensor')} in it"
    )
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    flat = Counter(tensor.shape for tensor in tensors.values() if tensor.ndim == 1)
    ((width,), number) = flat.most_common(1)[0] if flat else ((0,), 0)
    if not names and number >= MANY_ROWS and width > 1:
        there += f", {number:,} of them of {width:,} numbers: stacked, they would be a table"
    sought = f"matches {', '.join(include)}" if include else "looks like an embedding table"
    return f"nothing here {sought}{there}{more}. --tables PATTERN (include=) names tables"


def _numbers(name: str, tensor: Tensor, tensors: Mapping[str, Tensor]) -> tuple[Tensor, str]:
    """What torch quantised, and whole numbers and floats of 8 bits with the scales that lie beside
    them under its name, as the numbers they stand for, any other tensor as it is; and a note."""
    floating, kind = tensor.is_floating_point(), str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        return tensor.dequantize(), "quantised by torch; measured after de-quantisation"
    if tensor.is_meta or (floating and tensor.element_size() > 1):
        return tensor, kind if tensor.dtype in (torch.float16, torch.bfloat16) else ""
    scale, zero = (_beside(name, tensor, tensors, ends) for ends in (SCALES, ZEROS))
    if scale is not None and tensor.ndim == 2:
        numbers = (tensor.float() - (0 if zero is None else zero)) * scale
        return numbers, f"{kind}; measured with its scales"
    if not floating:
        return tensor, ""
    others = [
        f"{short(other)} {list(tensors[other].shape)}"
        for other in _named_beside(name, tensors, SCALES)
    ]
    without = f"; measured without its scales: {', '.join(others)}"
    return tensor, kind + (without if others else "")


def _beside(
    name: str, tensor: Tensor, tensors: Mapping[str, Tensor], ends: Sequence[str]
) -> Tensor | None:
    """A number for the tensor or one for each row, under its name and one of those ends."""
    for other in _named_beside(name, tensors, ends):
        values = tensors[other]
        if not values.is_meta and values.numel() in (1, len(tensor)):
            whole = values.dequantize() if values.is_quantized else values.float()
            return whole.reshape(-1, 1)
    return None


def _named_beside(name: str, tensors: Mapping[str, Tensor], ends: Sequence[str]) -> list[str]:
    """The tensors under its name and one of those ends."""
    stems = [name, *(name.removesuffix(end) for end in (".weight", "_quantized", ".qdata"))]
    names = dict.fromkeys(stem + end for stem in stems for end in ends)
    return [other for other in names if other in tensors]


def _cut(table: Table, field_dims: Mapping[str, int], alone: bool) -> list[Table]:
    """A table, or its fields where it has as many rows as they add up to."""
    if not field_dims or sum(field_dims.values()) != table.source_rows:
        return [table]
    fields, start = [], 0
    for field, rows in field_dims.items():
        label = field if alone else f"{table.name}: {field}"
        values = table.values.narrow(1, start, rows)
        fields.append(replace(table, name=label, values=values, start=start))
        start += rows
    return fields
