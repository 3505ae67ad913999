"""GroupLens' MovieLens 100K and 1M: ratings joined with their users and films.

The data may not be passed on; https://grouplens.org/datasets/movielens holds ml-100k.zip and
ml-1m.zip. F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM
Transactions on Interactive Intelligent Systems 5(4), 2015.
"""

import hashlib
import re
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from embedding_collapse.parameters import ParameterError

from .columns import Kind, Source
from .delimited import open_text
from .reading import Batch, Batches, Table

OF_USER = ["gender", "age", "occupation", "zip_code"]
OF_FILM = ["genres", "year"]
LABELS = {"1": 0, "2": 0, "3": 0, "4": 1, "5": 1}
GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]


class Layout(NamedTuple):
    """How one of the two sizes is written: names of its files, and columns with their delimiter."""

    ratings: str
    users: str
    films: str
    delimiter: str  # of the ratings; one character
    columns: list[str]  # of the ratings
    between: str  # columns of users and films
    user: list[str]
    film: list[str]


LAYOUTS = [
    Layout(
        "u.data",
        "u.user",
        "u.item",
        "\t",
        ["user", "film", "rating", "time"],
        "|",
        ["user", "age", "gender", "occupation", "zip_code"],
        ["film", "title", "date", "video", "address", *GENRES],
    ),
    Layout(  # "::" is read as two delimiters with an empty column between
        "ratings.dat",
        "users.dat",
        "movies.dat",
        ":",
        ["user", "", "film", "", "rating", "", "time"],
        "::",
        ["user", "gender", "age", "occupation", "zip_code"],
        ["film", "title", "genres"],
    ),
]


def movielens(path: str | None) -> Source:
    """Whether a user rates a film 4 or better; fields of the user and of the film.

    Args:
        path: the folder `ml-100k` or `ml-1m`, or its .zip as GroupLens gives it.

    Raises:
        ParameterError: no such folder or .zip, files that are missing or not as they should be.
    """
    where = Path(path or "").expanduser()
    if not path or not where.exists():
        raise ParameterError(f"path is {path!r}; the folder or .zip ml-100k or ml-1m is needed")
    names = _files(where)
    for layout in LAYOUTS:
        if {layout.ratings, layout.users, layout.films} <= set(names):
            break
    else:
        needed = " or ".join(f"{own.ratings}, {own.users}, {own.films}" for own in LAYOUTS)
        raise ParameterError(f"path is {path!r}, which does not hold {needed}")
    users = _rows(where, names[layout.users], layout.user, layout.between)
    films = _rows(where, names[layout.films], layout.film, layout.between)
    for film in films.values():
        year = re.search(r"\((\d{4})\)\s*$", film["title"])
        film["year"] = year[1] if year else ""
        film.setdefault("genres", "|".join(genre for genre in GENRES if film.get(genre) == "1"))
    if where.is_dir():
        ratings = open_text(names[layout.ratings], layout.delimiter, layout.columns)
    else:
        ratings = open_text(
            where, layout.delimiter, layout.columns, names[layout.ratings].as_posix()
        )

    def content(progress: bool) -> str:
        content = [ratings.content(progress), sorted(users.items()), sorted(films.items())]
        return hashlib.sha256(repr(content).encode()).hexdigest()

    def read(wanted: Sequence[str], progress: bool) -> Batches:
        for task in ratings.read(["user", "film", "rating"], progress):
            yield partial(_joined, path, task, users, films)

    table = Table(path, layout.columns, content, read)
    fields: dict[str, Kind] = dict.fromkeys(["user", "film", *OF_USER, *OF_FILM], "categorical")
    return Source("movielens", table, "rating", LABELS, fields)


def _files(where: Path) -> dict[str, Path]:
    """Where each file is, by its name."""
    if where.is_dir():
        return {file.name: file for file in where.iterdir()}
    if not zipfile.is_zipfile(where):
        raise ParameterError(f"path is {str(where)!r}, neither a folder nor a whole .zip")
    with zipfile.ZipFile(where) as archive:
        return {Path(name).name: Path(name) for name in archive.namelist()}


def _rows(where: Path, name: Path, columns: list[str], delimiter: str) -> dict[str, dict[str, str]]:
    """The rows of a small file, by their first column."""
    if where.is_dir():
        content = name.read_bytes()
    else:
        with zipfile.ZipFile(where) as archive:
            content = archive.read(name.as_posix())
    rows = {}
    for number, line in enumerate(content.splitlines(), 1):
        row = line.decode("latin-1").split(delimiter)
        if len(row) != len(columns):
            raise ParameterError(
                f"path is {str(where)!r}; line {number} of {name.name} has {len(row)} columns, "
                f"{len(columns)} are needed"
            )
        rows[row[0]] = dict(zip(columns, row, strict=True))
    return rows


def _joined(
    path: str, task: Callable[[], Batch], users: dict[str, dict], films: dict[str, dict]
) -> Batch:
    """Columns of users and films beside the ratings: a join of the values, not of the rows."""
    batch = task()
    columns = dict(batch.columns)
    for key, known, added in (("user", users, OF_USER), ("film", films, OF_FILM)):
        codes = columns[key]
        names = [value.decode(errors="replace") for value in codes.dictionary.to_pylist()]
        lost = [name for name in names if name not in known]
        if lost:
            raise ParameterError(f"path is {path!r}; nothing is known of {key} {lost[0]!r}")
        for column in added:
            values = pa.array([known[name][column] for name in names], pa.string())
            columns[column] = pa.DictionaryArray.from_arrays(
                codes.indices, values.cast(pa.binary())
            )
    return batch._replace(columns=columns)
