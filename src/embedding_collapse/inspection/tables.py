"""Which tensors of a checkpoint are embedding tables, and how they are cut into fields and sets."""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embedding_collapse.files import DamagedError, damage, load_json
from embedding_collapse.parameters import ParameterError, check_whole, short

from .weights import view

NAMED = re.compile(r"emb|table|lookup", re.IGNORECASE)
# of a layer behind a table, whose weight is named after both ("embedding.proj.weight")
LAYER = re.compile(
    r"linear|proj|norm|mlp|conv|attn|attention|dense|interaction|gate|head|bias", re.IGNORECASE
)
OPTIMIZER = re.compile(r"optimi[sz]er|exp_avg|momentum|max_exp|square_avg", re.IGNORECASE)
KEY = re.compile(r"[0-9a-f]{12}")  # of a run, which its files are named after
MANY_ROWS, TALL = 1000, 16  # a tensor whose name doesn't tell is a table from here up


@dataclass(frozen=True)
class Table:
    """One table, or one field of a joint table.

    Attributes:
        name: of the tensor in the checkpoint, or of the field.
        values: `[M, D, K]`, a view of what is on disk; M embedding sets, 1 for an ordinary table.
        note: what a reader should know of it, "" where there is nothing.
        source: the tensor's name in the checkpoint, which a field was cut from.
        start: the field's first row in it.
        source_rows: how many rows that has.
    """

    name: str
    values: Tensor
    note: str = ""
    source: str = ""
    start: int = 0
    source_rows: int = 0


def is_table(name: str, tensor: Tensor) -> bool:
    """Whether a tensor looks like an embedding table.

    Two dimensions (three for embedding sets, where the name tells) and at least two columns; and a
    name that says embedding, table or lookup, or many rows: `MANY_ROWS`, and `TALL` times as many
    as columns. What an optimizer keeps is none.
    """
    if tensor.ndim not in (2, 3) or tensor.shape[-1] < 2 or OPTIMIZER.search(name):
        return False
    ends = [match.end() for match in NAMED.finditer(name)]
    if ends and not LAYER.search(name, ends[-1]):
        return True
    rows, width = tensor.shape[0], tensor.shape[-1]
    return tensor.ndim == 2 and rows >= MANY_ROWS and rows >= TALL * width


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
        stacked = view(table, lambda t: t.transpose(0, 1)) if rows_first else table
        if sets is not None and sets != len(stacked):
            raise ParameterError(f"sets is {sets}; the table holds {len(stacked)}")
        return stacked
    width = table.shape[1]
    if width % (sets or 1):
        raise ParameterError(f"sets is {sets}; {width} columns cannot be cut into that many")
    parts = (sets or 1, width // (sets or 1))
    return view(table, lambda t: t.unflatten(1, parts).transpose(0, 1))


def find(
    tensors: Mapping[str, Tensor],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    field_dims: Mapping[str, int] | None = None,
    sets: int | None = None,
) -> tuple[list[Table], list[str]]:
    """The embedding tables among tensors, and what a reader should know of those left out.

    Args:
        tensors: by name, as `weights.read` gives them.
        include: patterns such as `*.user.*`; given any, they alone decide what is a table.
        exclude: patterns of names to leave out.
        field_dims: features per field, to cut every table with that many rows into its fields.
        sets: M, for tables that hold M embedding sets side by side.

    Raises:
        ParameterError: no table found, or none that the fields or sets fit.
    """
    if sets is not None:
        check_whole("sets", sets, least=1)
    chosen = {name: tensor for name, tensor in tensors.items() if _chosen(name, tensor, include)}
    if not include and len(tensors) == 1:  # a file with one matrix in it needs no other sign
        chosen = {name: t for name, t in tensors.items() if t.ndim in (2, 3)}
    chosen = {
        name: tensor
        for name, tensor in chosen.items()
        if not any(fnmatchcase(name, pattern) for pattern in exclude)
    }
    if not chosen:
        raise ParameterError(_nothing(tensors, include))
    notes = _left_out(tensors, chosen)
    tables: list[Table] = []
    seen: dict[tuple, str] = {}
    for name, tensor in chosen.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() and not tensor.is_meta and place in seen:
            notes.append(f"{short(name)} is {short(seen[place])}, stored once")
            continue
        seen[place] = name
        tables += _cut(name, tensor, field_dims, sets, alone=len(chosen) == 1)
    total = sum(field_dims.values()) if field_dims else 0
    if field_dims and not any(table.source_rows == total for table in tables):
        rows = ", ".join(
            f"{short(table.name)} has {table.values.shape[1]:,}" for table in tables[:5]
        )
        raise ParameterError(f"the field dims add up to {total:,} rows; {rows}")
    return tables, notes


def _chosen(name: str, tensor: Tensor, include: Sequence[str]) -> bool:
    if not include:
        return is_table(name, tensor)
    return tensor.ndim in (2, 3) and any(fnmatchcase(name, pattern) for pattern in include)


def _nothing(tensors: Mapping[str, Tensor], include: Sequence[str]) -> str:
    """Why no table was found, and what there is instead."""
    shapes = [f"{short(name)} {list(t.shape)}" for name, t in tensors.items() if t.ndim in (2, 3)]
    there = f"; it holds {', '.join(shapes[:6])}" if shapes else f"; {len(tensors)} tensors in it"
    more = f" and {len(shapes) - 6} more" if len(shapes) > 6 else ""
    sought = f"matches {', '.join(include)}" if include else "looks like an embedding table"
    return f"nothing here {sought}{there}{more}. --include PATTERN names tables"


def _left_out(tensors: Mapping[str, Tensor], chosen: Mapping[str, Tensor]) -> list[str]:
    single = [
        name
        for name, tensor in tensors.items()
        if name not in chosen and NAMED.search(name) and tensor.ndim == 2 and tensor.shape[1] == 1
    ]
    if not single:
        return []
    more = f" and {len(single) - 1} more" if len(single) > 1 else ""
    return [f"left out, since one column has nothing to measure: {short(single[0])}{more}"]


def _cut(
    name: str,
    tensor: Tensor,
    field_dims: Mapping[str, int] | None,
    sets: int | None,
    alone: bool,
) -> list[Table]:
    """A table, or its fields where it has as many rows as they add up to."""
    note = ""
    if tensor.is_quantized:
        tensor, note = tensor.dequantize(), "quantised by torch; measured after de-quantisation"
    elif tensor.dtype in (torch.float16, torch.bfloat16):
        note = str(tensor.dtype).removeprefix("torch.")
    table = by_set(tensor, sets, sets_first="stacked." in name)  # as MultiEmbedding names them
    if not field_dims or sum(field_dims.values()) != table.shape[1]:
        return [Table(name, table, note, name, 0, table.shape[1])]
    fields, start = [], 0
    for field, rows in field_dims.items():
        values = view(table, partial(torch.narrow, dim=1, start=start, length=rows))
        label = field if alone else f"{name}: {field}"
        fields.append(Table(label, values, note, name, start, table.shape[1]))
        start += rows
    return fields


def read_field_dims(text: str) -> dict[str, int]:
    """Features per field, from `10,200,3` or from a JSON file.

    Args:
        text: numbers separated by commas; or a file's name: a list of numbers, an object from
            fields to numbers, or the record of a run of this library.

    Raises:
        ParameterError: neither, or a number below 1.
        DamagedError: a record that is not as it was written.
    """
    content: object
    try:
        if re.fullmatch(r"[\d\s,]+", text):
            content = [int(part) for part in text.split(",") if part.strip()]
        else:
            if Path(text).exists() and not Path(text).is_file():
                raise OSError("it is no file")
            content = json.loads(Path(text).read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("dataset"), dict):
            content = fields_of(load_json(Path(text)))
    except DamagedError:
        raise
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ParameterError(
            f"field dims {text!r} are neither numbers nor a JSON file of them ({error})"
        ) from None
    if isinstance(content, list):
        content = {f"field {index}": rows for index, rows in enumerate(content)}
    if not isinstance(content, dict) or not content:
        raise ParameterError(f"field dims {text!r} hold no list or object of numbers")
    for field, rows in content.items():
        check_whole(f"field dims, {short(field)}:", rows, least=1)
    return content


def fields_of(record: Mapping[str, Any]) -> dict[str, int] | None:
    """Features per field of the dataset that a record is of; None where it names none."""
    dataset = record.get("dataset")
    if not isinstance(dataset, dict) or not {"fields", "cardinalities"} <= dataset.keys():
        return None
    return dict(zip(map(str, dataset["fields"]), dataset["cardinalities"], strict=True))


def record_beside(checkpoint: Path) -> dict[str, Any] | None:
    """The record of a run of this library that lies beside its weights, if there is one.

    Raises:
        DamagedError: the weights are not those of the record.

    Warns:
        UserWarning: a file named as records are that is damaged. Of any other name it may be
            anyone's.
    """
    try:
        record = load_json(checkpoint.with_suffix(".json"))
    except FileNotFoundError:
        return None
    except (OSError, DamagedError) as error:
        if KEY.fullmatch(checkpoint.stem):
            warnings.warn(f"the fields are not known: {error}", stacklevel=3)
        return None
    expected = record.get("weights")
    if isinstance(expected, str) and (wrong := damage(checkpoint, expected)):
        raise DamagedError(wrong)
    return record
