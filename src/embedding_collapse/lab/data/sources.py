"""The tables that can be read: Criteo's and Avazu's click logs, and anyone's own."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embedding_collapse.parameters import ParameterError, listed, short

from . import hub
from .columns import Kind, Source, meaning
from .delimited import open_text, open_text_with_header
from .reading import Table, check_file
from .typed import open_parquet

BINARY = {"0": 0, "1": 1}
FLOAT = BINARY | {"0.0": 0, "1.0": 1}  # as some tools write them
TRUTH = FLOAT | {"false": 0, "true": 1, "False": 0, "True": 1}
CRITEO: dict[str, Kind] = {
    **{f"I{i}": "whole" for i in range(1, 14)},
    **{f"C{i}": "categorical" for i in range(1, 27)},
}
AVAZU_FIELDS = [
    "hour",
    "C1",
    "banner_pos",
    "site_id",
    "site_domain",
    "site_category",
    "app_id",
    "app_domain",
    "app_category",
    "device_id",
    "device_ip",
    "device_model",
    "device_type",
    "device_conn_type",
    "C14",
    "C15",
    "C16",
    "C17",
    "C18",
    "C19",
    "C20",
    "C21",
]
AVAZU: dict[str, Kind] = dict.fromkeys(AVAZU_FIELDS, "categorical")
PANDAS_INDEX = "__index_level_"  # how pandas names the index that it writes beside the columns


def criteo(path: str | None) -> Source:
    """Criteo's display advertising challenge: 13 fields of whole numbers, 26 of tokens.

    Args:
        path: Kaggle's `train.txt`, plain, .gz or .zip; or a dataset on the Hub, by default
            reczoo/Criteo_x4, which holds the same rows in another order.
    """
    path = path or "reczoo/Criteo_x4"
    names = ["label", *CRITEO]
    if hub.is_name(path):
        table, labels = hub.open_dataset(path, text=names), FLOAT
    else:
        table, labels = open_text(Path(path).expanduser(), "\t", names), BINARY
    return Source("criteo", table, "label", labels, CRITEO)


def avazu(path: str | None) -> Source:
    """Avazu's click-through rate challenge: each of the 22 columns after the label is a field.

    The minimum count of 4 is the paper's.

    Args:
        path: Kaggle's `train.csv`, plain, .gz or .zip; or a dataset on the Hub, by default
            reczoo/Avazu_x4, which holds the same rows in another order.
    """
    path = path or "reczoo/Avazu_x4"
    if hub.is_name(path):
        table, labels = hub.open_dataset(path, text=["id", "click", *AVAZU]), FLOAT
    else:
        table, labels = open_text_with_header(Path(path).expanduser(), ","), BINARY
    check_columns(table, ["click", *AVAZU])
    return Source("avazu", table, "click", labels, AVAZU, minimum_count=4)


def own_table(
    path: str | None,
    label: str | None,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
) -> Source:
    """A table of one's own.

    Args:
        path: a file of delimited text with a header (plain, .gz or .zip), a Parquet file, or a
            dataset on the Hub.
        label: the column that holds 0 or 1, or true or false.
        categorical, numeric: the columns to take as fields. Where neither is given, all are but
            an index that pandas wrote, and those that hold fractions count as numeric; the notes
            say which.
    """
    if not path or not label:
        missing = "label" if path else "path"
        raise ParameterError(f"{missing} is not given; the dataset 'table' needs path and label")
    for name in [label, *categorical]:
        if name in numeric or (name == label and name in categorical):
            raise ParameterError(
                f"column {name!r} is given twice; it can be the label, categorical or numeric"
            )
    table = _open(path)
    check_columns(table, [label, *categorical, *numeric])
    if categorical or numeric:
        chosen: dict[str, Kind] = {
            name: "numeric" if name in numeric else "categorical"
            for name in table.names
            if name in {*categorical, *numeric}
        }
        return Source("table", table, label, TRUTH, chosen)
    index = [n for n in table.names if n == "" or n.startswith(PANDAS_INDEX)]
    names = [n for n in table.names if n not in (label, *index)]
    if not names:
        raise ParameterError(f"path is {path!r}; it has no column beside the label {label!r}")
    fields = _guess(table, names)
    kinds = {kind: [n for n in names if fields[n] == kind] for kind in ("categorical", "numeric")}
    guesses = [f"{kind}: {listed(own, 200)}" for kind, own in kinds.items() if own]
    guesses += [f"index, left out: {short(n) or 'the column without a name'}" for n in index]
    return Source("table", table, label, TRUTH, fields, notes=(f"guessed {'; '.join(guesses)}",))


def _open(path: str) -> Table:
    if hub.is_name(path):
        return hub.open_dataset(path)
    file = Path(path).expanduser()
    check_file(file)
    with file.open("rb") as opened:
        parquet = opened.read(4) == b"PAR1"
    return open_parquet(file) if parquet else open_text_with_header(file)


def _guess(table: Table, names: list[str]) -> dict[str, Kind]:
    """The kind of each column, from the first batch: columns with fractions are numeric."""
    for batch in table.read(names, False):
        columns = batch().columns
        return {name: _kind(columns[name].dictionary) for name in names}
    return dict.fromkeys(names, "categorical")


def _kind(values: pa.BinaryArray) -> Kind:
    texts, numbers = meaning(values, "numeric")
    whole = pc.match_substring_regex(texts, r"^(-?[0-9]+(\.0*)?)?$")
    return "numeric" if numbers.all() and not pc.all(whole).as_py() else "categorical"


def check_columns(table: Table, needed: Sequence[str]) -> None:
    """Raise a `ParameterError` unless each needed column is there, and no name comes twice."""
    names = table.names
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ParameterError(
            f"path is {table.path!r}; several of its columns are named {listed(twice)}"
        )
    missing = [name for name in needed if name not in names]
    if missing:
        raise ParameterError(
            f"path is {table.path!r}; it has no column {listed(missing)}; "
            f"its columns are {listed(names)}"
        )
