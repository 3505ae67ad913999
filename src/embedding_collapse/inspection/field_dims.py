"""How many features each field of a joint table has: as one says it, or as a record beside the
weights does."""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedding_collapse.files import DamagedError, damage, load_json
from embedding_collapse.parameters import ParameterError, at_home, check_whole, short

KEY = re.compile(r"[0-9a-f]{12}")  # of a run, which its files are named after


FieldDims = str | Path | Sequence[int] | Mapping[str, int]


def read_field_dims(given: FieldDims) -> dict[str, int]:
    """Features per field, from `10,200,3`, from a JSON file, or from numbers.

    They have to add up to the rows of the table. A model that keeps offsets, the first row of each
    field, has `numpy.diff([*offsets, rows])` of them. A row for padding is a field of its own:
    before the first field the offsets are `[0, *offsets]`.

    Args:
        given: numbers separated by commas; or a file's name: a list of numbers, an object from
            fields to numbers, or the record of a run of this library; or such a list or mapping.

    Raises:
        ParameterError: neither, or a number below 1.
        DamagedError: a record that is not as it was written.
    """
    if not isinstance(given, str | Path):
        return _checked(given)
    text = str(given)
    content: object
    try:
        if re.fullmatch(r"[\d\s,]+", text):
            content = [int(part) for part in text.split(",") if part.strip()]
        else:
            path = at_home(text)
            if path.exists() and not path.is_file():
                raise OSError("it is no file")
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, dict) and isinstance(content.get("dataset"), dict):
                content = fields_of(load_json(path))
    except DamagedError:
        raise
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ParameterError(
            f"field dims {text!r} are neither whole numbers with commas between nor a JSON file of "
            f"them ({error})"
        ) from None
    return _checked(content)


def _checked(given: Any) -> dict[str, int]:
    """A list or a mapping of numbers as features by field; numpy's numbers as Python's."""
    content = given
    if isinstance(content, Sequence | np.ndarray) and not isinstance(content, str):
        content = {f"field {index}": rows for index, rows in enumerate(content)}
    if not isinstance(content, Mapping) or not content:
        raise ParameterError(
            f"field dims are {short(repr(given))}; numbers, by field or in a list, are accepted"
        )
    dims = {f: int(n) if isinstance(n, np.integer) else n for f, n in content.items()}
    for field, rows in dims.items():
        check_whole(f"field dims, {short(str(field))}:", rows, least=1)
    return dims


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
