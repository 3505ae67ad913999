"""MovieLens in both of its sizes, on small files of their formats."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from embedding_collapse.lab.data import load
from embedding_collapse.lab.data.movielens import GENRES
from embedding_collapse.parameters import ParameterError

RATINGS = [(user, film, (user * film) % 5 + 1) for user in range(1, 21) for film in range(1, 21)]


def write_100k(folder: Path) -> Path:
    folder.mkdir()
    flags = {film: ["1" if i in (1, film) else "0" for i in range(19)] for film in range(1, 21)}
    (folder / "u.data").write_text("".join(f"{u}\t{f}\t{r}\t88125\n" for u, f, r in RATINGS))
    (folder / "u.user").write_text(
        "".join(f"{u}|{20 + u % 2}|{'MF'[u % 2]}|artist|9410{u % 3}\n" for u in range(1, 21))
    )
    films = [f"{f}|Café {f} (19{90 + f % 2})|01-Jan||http|" + "|".join(flags[f]) for f in flags]
    (folder / "u.item").write_text("\n".join(films) + "\n", encoding="latin-1")
    return folder


def write_1m(folder: Path) -> Path:
    folder.mkdir()
    (folder / "ratings.dat").write_text("".join(f"{u}::{f}::{r}::978300\n" for u, f, r in RATINGS))
    (folder / "users.dat").write_text(
        "".join(f"{u}::{'MF'[u % 2]}::{20 + u % 2}::7::9410{u % 3}\n" for u in range(1, 21))
    )
    films = [
        f"{f}::Café: {f} (19{90 + f % 2})::{'|'.join(sorted({GENRES[1], GENRES[min(f, 18)]}))}"
        for f in range(1, 21)
    ]
    (folder / "movies.dat").write_text("\n".join(films) + "\n", encoding="latin-1")
    return folder


@pytest.mark.parametrize("write", [write_100k, write_1m])
def test_ratings_are_joined_with_their_users_and_films(tmp_path, write):
    data = load("movielens", path=write(tmp_path / "ml"), cache=tmp_path / "cache")
    names = [field.name for field in data.fields]
    assert names == ["user", "film", "gender", "age", "occupation", "zip_code", "genres", "year"]
    assert np.array_equal(data.labels, [rating >= 4 for *_, rating in RATINGS])
    for (user, film, _), ids in zip(RATINGS, data.ids, strict=True):
        said = dict(zip(names, map(lambda f, i: f.decode(i), data.fields, ids), strict=True))
        assert said["user"] == str(user)
        assert said["gender"] == "MF"[user % 2]
        assert said["zip_code"] == f"9410{user % 3}"
        assert said["year"] == str(1990 + film % 2)
        assert "Action" in said["genres"].split("|")


@pytest.mark.parametrize("write", [write_100k, write_1m])
def test_a_zip_as_grouplens_gives_it_says_the_same(tmp_path, write):
    folder = write(tmp_path / "ml-some")
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{folder.name}/{file.name}")
    of_folder, of_zip = (
        load("movielens", path=path, cache=tmp_path / "cache")
        for path in (folder, tmp_path / "ml.zip")
    )
    assert np.array_equal(of_folder.ids, of_zip.ids)


def test_a_rating_that_cannot_be_is_told_with_its_line(tmp_path):
    folder = write_1m(tmp_path / "ml")
    lines = (folder / "ratings.dat").read_text().splitlines()
    lines[40] = "1::1::6::978300"
    (folder / "ratings.dat").write_text("\n".join(lines))
    data = load("movielens", path=folder, cache=tmp_path / "cache")
    assert data.notes == ("1 row rejected: line 41: rating is '6', not 1 or 2 or 3 or 4 or 5",)


def test_what_is_not_movielens_is_told(tmp_path):
    with pytest.raises(ParameterError, match=r"the folder or .zip ml-100k or ml-1m is needed"):
        load("movielens")
    with pytest.raises(ParameterError, match=r"does not hold u.data, u.user, u.item or ratings"):
        load("movielens", path=tmp_path)
    (tmp_path / "ml.zip").write_bytes(b"no zip")
    with pytest.raises(ParameterError, match=r"neither a folder nor a whole .zip"):
        load("movielens", path=tmp_path / "ml.zip")


def test_faults_of_users_and_films_are_told(tmp_path):
    folder = write_100k(tmp_path / "ml")
    users = (folder / "u.user").read_text().splitlines()
    (folder / "u.user").write_text("\n".join(users[:-1]))
    with pytest.raises(ParameterError, match="nothing is known of user '20'"):
        load("movielens", path=folder, cache=tmp_path / "cache")
    (folder / "u.user").write_text("\n".join([*users[:-1], "20|M"]))
    with pytest.raises(ParameterError, match=r"line 20 of u.user has 2 columns, 5 are needed"):
        load("movielens", path=folder, cache=tmp_path / "cache")


@pytest.mark.parametrize("rating", ["1::1::5", "1::1::5::978300::1", ""])
def test_a_line_of_ratings_with_other_columns_is_told(tmp_path, rating):
    folder = write_1m(tmp_path / "ml")
    lines = (folder / "ratings.dat").read_text().splitlines()
    lines[40] = rating
    (folder / "ratings.dat").write_text("\n".join(lines))
    with pytest.raises(ParameterError, match=r"line 41 of ratings.dat has \d columns, 4 are"):
        load("movielens", path=folder, cache=tmp_path / "cache")


def test_ratings_that_are_empty_are_told(tmp_path):
    folder = write_100k(tmp_path / "ml")
    (folder / "u.data").write_text("")
    with pytest.raises(ParameterError, match=r"line 1 of u.data has 1 columns, 4 are needed"):
        load("movielens", path=folder, cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["ratings.dat", "users.dat", "movies.dat"])
def test_a_damaged_file_of_a_zip_is_told_in_a_line(tmp_path, name):
    folder, path = write_1m(tmp_path / "ml"), tmp_path / "ml.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"{folder.name}/{file.name}")
        member = archive.getinfo(f"{folder.name}/{name}")
    content = bytearray(path.read_bytes())
    content[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"ml.zip'; the file is cut short or damaged") as told:
        load("movielens", path=path, cache=tmp_path / "cache")
    assert "\n" not in str(told.value)
