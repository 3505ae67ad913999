"""The tables that can be read: Criteo's and Avazu's click logs, and anyone's own."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_collapse.parameters import ParameterError, at_home, listed, short

from . import hub
from .columns import Kind, Source, blanked, meaning
from .delimited import open_text, open_text_with_header
from .parts import three, three_files
from .reading import Table, check_file, matching
from .spec import DataSpec
from .times import MONTH, PARTS, moments
from .typed import PANDAS_INDEX, open_frame, open_parquet, parts_in

BINARY = {"0": 0, "1": 1}
TRUTH = BINARY | {"false": 0, "true": 1}
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
    *(f"C{i}" for i in range(14, 22)),
]
AVAZU: dict[str, Kind] = dict.fromkeys(AVAZU_FIELDS, "categorical")


def criteo(path: str | None, given: bool = False) -> Source:
    """Criteo's display advertising challenge: 13 fields of whole numbers, 26 of tokens.

    Args:
        path: Kaggle's `train.txt`, plain, .gz or .zip; or a dataset on the Hub, by default
            reczoo/Criteo_x4, which holds the same rows in another order.
        given: keep to the dataset's own splits.
    """
    names = ["label", *CRITEO]
    table, *held_out = _click_log(
        path or "reczoo/Criteo_x4", given, names, lambda file: open_text(file, names)
    )
    return Source("criteo", table, "label", BINARY, CRITEO, held_out=tuple(held_out))


def avazu(path: str | None, given: bool = False) -> Source:
    """Avazu's click-through rate challenge: each of the 22 columns after the label is a field.

    The minimum count of 4 is the paper's.

    Args:
        path: Kaggle's `train.csv`, plain, .gz or .zip; or a dataset on the Hub, by default
            reczoo/Avazu_x4, which holds the same rows in another order.
        given: keep to the dataset's own splits.
    """
    names = ["id", "click", *AVAZU]
    tables = _click_log(
        path or "reczoo/Avazu_x4", given, names, lambda file: open_text_with_header(file, ",")
    )
    for table in tables:
        check_columns(table, names[1:])
    held_out = tuple(tables[1:])
    return Source("avazu", tables[0], "click", BINARY, AVAZU, held_out=held_out, minimum_count=4)


def _click_log(
    path: str, given: bool, names: list[str], open_file: Callable[[Path], Table]
) -> list[Table]:
    """A dataset on the Hub, or one file; where its own splits are asked for, all three."""
    if hub.is_name(path):
        return hub.open_dataset(path, names, given)
    if given:
        raise ParameterError(
            f"split is 'given' and path {path!r}; a dataset on the Hub has splits, and a table of "
            "three files"
        )
    return [open_file(at_home(path))]


def own_table(spec: DataSpec, frame: Any = None) -> Source:
    """A table of one's own.

    Args:
        spec: its `path` is a file of delimited text with a header (plain, .gz or .zip), a Parquet
            file or a folder of them, or a dataset on the Hub; where its split is given, a folder of
            three such files or folders. Where neither `categorical` nor `numeric` is given, all
            columns are fields but an index that pandas wrote and what the spec has another use
            for; else those named alone are. The notes say which is which.
        frame: see `data.load`.
    """
    there = bool(spec.path) or frame is not None
    if not there or spec.label is None:
        raise ParameterError(
            f"{'label' if there else 'path'} is not given; the dataset 'table' needs label, and "
            "path or a frame"
        )
    table, *held_out = _tables(spec, frame)
    spec = _named_as_in(table, spec)
    label = cast(str, spec.label)
    uses = Counter([label, *spec.categorical, *spec.numeric, *spec.times, *spec.drop])
    for name, count in uses.items():
        if count > 1:
            raise ParameterError(
                f"column {name!r} is given twice; it can be the label, categorical, numeric, "
                "one of times or dropped"
            )
    for one in (table, *held_out):
        check_columns(one, [*uses, *([spec.split_by] if spec.split_by else [])])
    named: dict[str, Kind] = dict.fromkeys(spec.categorical, "categorical")
    named |= dict.fromkeys(spec.numeric, "numeric")
    notes: tuple[str, ...] = ()
    used = {*uses, spec.split_by}
    others = [n for n in table.names if n not in used]
    if not named:
        index = [n for n in table.names if n == "" or n.startswith(PANDAS_INDEX)]
        names = [n for n in others if n not in index]
        if not names and not spec.times:
            raise ParameterError(
                f"path is {table.path!r}; it has no column beside the label {label!r}"
            )
        named, notes = _guess(table, names, index)
    elif others:
        notes = (f"left out, since columns are named: {listed(others, 200)}",)
    fields: dict[str, Kind] = {}
    columns = {}
    for name in table.names:
        if name in named:
            fields[name] = named[name]
        for part in PARTS if name in spec.times else ():
            fields[f"{name} {part}"], columns[f"{name} {part}"] = cast(Kind, part), name
    if twice := [name for name in columns if name in named]:
        raise ParameterError(f"path is {table.path!r}; it has a column {listed(twice)} already")
    for one in held_out:
        check_columns(one, list(named))
    return Source(
        "table",
        table,
        label,
        TRUTH,
        fields,
        columns,
        spec.positive,
        spec.threshold,
        spec.split_by,
        tuple(held_out),
        notes=notes,
    )


def _named_as_in(table: Table, spec: DataSpec) -> DataSpec:
    """The spec with the table's own names of its columns, where blanks are all that differs."""
    several = ("categorical", "numeric", "times", "drop")
    named: dict[str, Any] = {name: tuple(own_names(table, getattr(spec, name))) for name in several}
    for name in ("label", "split_by"):
        if text := getattr(spec, name):
            (named[name],) = own_names(table, [text])
    return replace(spec, **named)


def own_names(table: Table, names: Sequence[str]) -> list[str]:
    """The table's own names of some columns, where blanks around them are all that differs; a name
    that it has not stays as it is. Raise a `ParameterError` where two of its columns could be
    meant."""
    others: dict[str, list[str]] = {}
    for name in dict.fromkeys(table.names):
        if name not in names:
            others.setdefault(name.strip(), []).append(name)
    own = []
    for name in names:
        fits = [name] if name in table.names else others.get(name.strip(), [name])
        if len(fits) > 1:
            raise ParameterError(
                f"path is {table.path!r}; {listed(map(repr, fits))} could each be column {name!r}; "
                "rename one"
            )
        own += fits
    return own


def _tables(spec: DataSpec, frame: Any) -> list[Table]:
    """One, or the three to train, validate and test on."""
    given, path = spec.split == "given", str(spec.path)
    if frame is not None:
        if not given and isinstance(frame, Mapping):
            raise ParameterError(
                f"frame is a dict of {listed([str(one) for one in frame])}; with split='given' one "
                "of train, validation and test is accepted, else a table"
            )
        if not given:
            return [open_frame(frame, drop=spec.drop)]
        if not isinstance(frame, Mapping):
            raise ParameterError(
                f"split is 'given' and frame a {type(frame).__name__}; a dict of three, train, "
                "validation and test, is accepted"
            )
        return [
            open_frame(frame[name], drop=spec.drop)._replace(path=f"frame {name!r}")
            for name in three(frame, "frame")
        ]
    if hub.is_name(path):
        return hub.open_dataset(path, given=given)
    file = at_home(path)
    if given:
        return [open_file(part) for part in three_files(file)]
    return [open_file(file)]


def open_file(file: Path) -> Table:
    """A file of delimited text with a header, a Parquet file, or a folder of these.

    Raises:
        ParameterError: it is none of these.
    """
    if file.is_dir() and parts_in(file):
        return open_parquet(file)
    if file.is_dir():
        raise ParameterError(
            f"path is {str(file)!r}, a folder; a file is accepted, a folder of .parquet files and "
            "nothing else, and with split 'given' one of the three to train, validate and test on"
        )
    check_file(file)
    with file.open("rb") as opened:
        parquet = opened.read(4) == b"PAR1"
    return open_parquet(file) if parquet else open_text_with_header(file)


def open_rows(file: Path, wanted: Sequence[str]) -> Table:
    """A file as `open_file` opens it, or Criteo's text, which has no header, with or without a
    label, where Criteo's fields are wanted.

    Raises:
        ParameterError: it is none of these.
    """
    table = open_file(file)
    names = [*CRITEO] if len(table.names) == len(CRITEO) else ["label", *CRITEO]
    headless = set(wanted) == {*CRITEO} and not {*table.names} & {*CRITEO}
    if headless and table.unit == "line" and len(table.names) == len(names):
        return open_text(file, names)
    return table


def _guess(
    table: Table, names: list[str], index: list[str]
) -> tuple[dict[str, Kind], tuple[str, ...]]:
    """The kind of each column, from the first batch: those with fractions are numeric. And notes
    on it: of the others, which hold timestamps, and which would be numeric but for a text that is
    no number; and which columns are an index that pandas wrote."""
    kinds: dict[str, Kind] = dict.fromkeys(names, "categorical")
    dated, doubtful = [], []
    first = next(table.read(names, False), None) if names else None
    for name, column in first().columns.items() if first else ():
        kinds[name], text = _kind(column.dictionary)
        if text is not None:
            doubtful.append(
                f"{short(name)}: taken for categorical, as {short(text)!r} is no number; most of "
                "the others are"
            )
        texts = blanked(meaning(column.dictionary, "categorical")[0])
        texts = texts.filter(pc.not_equal(texts, ""))
        months = matching(texts, MONTH).all()  # true of none too
        if kinds[name] == "categorical" and not months and not np.isnan(moments(texts)).any():
            dated.append(name)
    guesses = [
        f"{kind}: {listed(own, 200)}"
        for kind in ("categorical", "numeric")
        if (own := [name for name in names if kinds[name] == kind])
    ]
    guesses += [f"index, left out: {short(n) or 'the column without a name'}" for n in index]
    notes = [f"guessed {'; '.join(guesses)}"] if guesses else []
    notes += doubtful
    if dated:
        notes.append(
            f"timestamps: {listed(dated)}; as times they give the hour and the weekday, and "
            "split_by splits by one"
        )
    return kinds, tuple(notes)


def _kind(values: pa.BinaryArray) -> tuple[Kind, str | None]:
    """Of a column with these values; and the first that is no number, where most are fractions."""
    texts, numbers = meaning(values, "numeric")
    whole = matching(texts, r"^(-?([0-9]+(\.0*)?|inf))?$")
    large = matching(texts, r"^-?[0-9](\.[0-9]*)?e\+?[0-9]+$")  # as floats are written
    floats = texts.filter(pa.array(large)).to_pylist()
    whole[large] = [float(text).is_integer() for text in floats]
    if numbers.all():
        return "categorical" if whole.all() else "numeric", None
    if 2 * (~whole).sum() <= len(texts):
        return "categorical", None
    return "categorical", values[int(numbers.argmin())].as_py().decode(errors="backslashreplace")


def check_columns(table: Table, needed: Sequence[str], *, others: bool = True) -> None:
    """Raise a `ParameterError` unless each needed column is there, and no name comes twice: none of
    these, and none of `others` where they matter too."""
    names = table.names
    several = [name for name, count in Counter(names).items() if count > 1]
    if twice := [name for name in several if others or name in needed]:
        raise ParameterError(
            f"path is {table.path!r}; several of its columns are named {listed(map(repr, twice))}"
        )
    missing = [name for name in needed if name not in names]
    if missing:
        raise ParameterError(
            f"path is {table.path!r}; it has no column {listed(map(repr, missing))}; "
            f"its columns are {listed(map(repr, names))}"
        )
