"""GroupLens' MovieLens 100K and 1M: ratings joined with their users and films.

The data may not be passed on; https://grouplens.org/datasets/movielens holds ml-100k.zip and
ml-1m.zip. F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM
Transactions on Interactive Intelligent Systems 5(4), 2015.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from embedding_collapse.parameters import ParameterError, at_home

from .columns import Kind, Source
from .delimited import damage_told
from .reading import Batches, Table, stamps
from .typed import open_frame

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
# how either size is written: by file, what stands between its columns, and these; ratings first
LAYOUTS: list[dict[str, tuple[str, list[str]]]] = [
    {
        "u.data": ("\t", ["user", "film", "rating", "time"]),
        "u.user": ("|", ["user", "age", "gender", "occupation", "zip_code"]),
        "u.item": ("|", ["film", "title", "date", "video", "address", *GENRES]),
    },
    {
        "ratings.dat": ("::", ["user", "film", "rating", "time"]),
        "users.dat": ("::", ["user", "gender", "age", "occupation", "zip_code"]),
        "movies.dat": ("::", ["film", "title", "genres"]),
    },
]
FIELDS = ["user", "film", "gender", "age", "occupation", "zip_code", "genres", "year"]


def movielens(path: str | None) -> Source:
    """Whether a user rates a film 4 or better; fields of the user and of the film.

    Args:
        path: the folder `ml-100k` or `ml-1m`, or its .zip as GroupLens gives it.

    Raises:
        ParameterError: no such folder or .zip, files that are missing or not as they should be.
    """
    where = at_home(path or "")
    if not path or not where.exists():
        raise ParameterError(f"path is {path!r}; the folder or .zip ml-100k or ml-1m is needed")
    with damage_told(where):
        files = _files(where)
    layout = next((one for one in LAYOUTS if one.keys() <= files.keys()), None)
    if layout is None:
        needed = " or ".join(", ".join(one) for one in LAYOUTS)
        raise ParameterError(f"path is {path!r}, which does not hold {needed}")

    def content(progress: bool) -> str:
        with damage_told(where):
            sums = [hashlib.sha256(files[name].read_bytes()).hexdigest() for name in layout]
        return hashlib.sha256("".join(sums).encode()).hexdigest()

    def read(wanted: Sequence[str], progress: bool) -> Batches:
        with damage_told(where):
            tables = [_read(where, files[name], *how) for name, how in layout.items()]
        yield from open_frame(_joined(path, *tables)).read(wanted, progress)

    fields: dict[str, Kind] = dict.fromkeys(FIELDS, "categorical")
    opened = stamps([where] if where.is_file() else [where / name for name in layout])
    table = Table(path, ["rating", *FIELDS], content, read, opened=opened)
    return Source("movielens", table, "rating", LABELS, fields)


def _files(where: Path) -> dict[str, Path | zipfile.Path]:
    """Where each file is, by its name."""
    if where.is_dir():
        return {file.name: file for file in where.iterdir()}
    if not zipfile.is_zipfile(where):
        raise ParameterError(f"path is {str(where)!r}, neither a folder nor a whole .zip")
    archive = zipfile.ZipFile(where)
    return {Path(name).name: zipfile.Path(archive, name) for name in archive.namelist()}


def _read(
    where: Path, file: Path | zipfile.Path, delimiter: str, columns: list[str]
) -> pd.DataFrame:
    """The rows of a file, all of them text; an empty file is one blank line."""
    lines = file.read_bytes().splitlines() or [b""]
    rows = [line.decode("latin-1").split(delimiter) for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise ParameterError(
                f"path is {str(where)!r}; line {number} of {file.name} has {len(row)} columns, "
                f"{len(columns)} are needed"
            )
    return pd.DataFrame(rows, columns=columns)


def _joined(
    path: str, ratings: pd.DataFrame, users: pd.DataFrame, films: pd.DataFrame
) -> pd.DataFrame:
    """The ratings in their order, each with what is known of its user and its film."""
    films["year"] = films["title"].str.extract(r"\((\d{4})\)\s*$", expand=False).fillna("")
    if "genres" not in films:
        films["genres"] = [
            "|".join(genre for genre in GENRES if film[genre] == "1")
            for film in films.to_dict("records")
        ]
    for key, known in (("user", users), ("film", films)):
        if lost := ratings.loc[~ratings[key].isin(known[key]), key].tolist():
            raise ParameterError(f"path is {path!r}; nothing is known of {key} {lost[0]!r}")
        ratings = ratings.merge(known.drop_duplicates(key, keep="last"), on=key)
    return ratings[["rating", *FIELDS]]
