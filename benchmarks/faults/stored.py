"""Files that the project keeps, damaged: noticed each time, and never another answer."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np

from embedding_collapse.book import language_model
from embedding_collapse.inspection.report import inspect
from embedding_collapse.lab import records, training
from embedding_collapse.lab.data import load

from .child import command, isolated
from .runs import DATA, RUN, Case, essence

RESULTS = Path(__file__).parents[2] / "results"
SECONDS = 60.0  # of processor time that a small run may take


class Kind(NamedTuple):
    """One kind of stored file.

    Attributes:
        make: fills a folder with intact files.
        files: pattern of those to damage.
        folder: pattern of the folder that holds nothing else, "" where there is none.
        read: what depends on them.
        left_out: whether what is damaged may be left out of the answer, with a word.
    """

    make: Callable[[Path], Any]
    files: str
    folder: str
    read: Callable[[Path], Any]
    left_out: bool = False


def encoded(folder: Path) -> list[Any]:
    path = DATA / "criteo_format.txt.gz"
    return _content(load("criteo", path=path, cache=folder, progress=False))


def drawn(folder: Path) -> list[Any]:
    return _content(load("synthetic-mini", 2000, cache=folder, progress=False))


def _content(data: Any) -> list[Any]:
    arrays = [hashlib.sha256(part.tobytes()).hexdigest() for part in (data.ids, data.labels)]
    values = [None if field.values is None else field.values.to_pylist() for field in data.fields]
    facts = [data.name, data.fingerprint, data.cardinalities, data.facts, data.notes]
    return [*arrays, values, *facts]


def trained(folder: Path) -> dict[str, Any] | int:
    code = command(*RUN, "--output", str(folder / "output"), cache=folder / "cache")()
    return code or essence(folder / "output")


def interrupted(folder: Path) -> None:
    """A run of which two epochs are done."""

    def limited(*arguments: Any) -> Iterator[int]:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return epoch(*arguments)

    left, epoch = 2, training.StepByStep.epoch
    training.StepByStep.epoch = limited
    assert trained(folder) == 1, "the run has ended"


def inspected(folder: Path) -> list[Any]:
    (path,) = (folder / "output").glob("*.safetensors")
    return [table.to_json() for table in inspect(path).tables]


def studied(folder: Path) -> list[Any]:
    return list(map(vars, records.load_all(records.folder_of(str(folder / "study")))))


def spoken(folder: Path) -> list[str]:
    return list(map(repr, language_model.recorded(folder / "study")))


def copied(name: str, folder: Path) -> None:
    (folder / "study").mkdir()
    for path in sorted((RESULTS / name).glob("*.json"))[:2]:
        shutil.copy(path, folder / "study")


STUDY = "study/*.json", "study"
KINDS = {
    "encoded cache": Kind(encoded, "criteo-*/*", "criteo-*", encoded),
    "drawn cache": Kind(drawn, "synthetic-*/*", "synthetic-*", drawn),
    "checkpoint": Kind(interrupted, "output/*.checkpoint/[!l]*", "output/*.checkpoint", trained),
    "record": Kind(trained, "output/*.json", "", trained),
    "weights": Kind(trained, "output/*.safetensors", "", inspected),
    "study folder": Kind(partial(copied, "decide"), *STUDY, studied, left_out=True),
    "language models": Kind(partial(copied, "language_models"), *STUDY, spoken, left_out=True),
}


def stored_files(quick: bool) -> Iterator[Case]:
    """Each file of each kind truncated at 5 places, with 5 bits flipped, emptied, and replaced by
    a folder; each folder replaced by a file, and emptied. Quick, a file is truncated or has a bit
    flipped, in turn."""
    cuts = [partial(truncate, place) for place in (0, 1 / 3, 1 / 2, 1, None)]
    harms = [*cuts, *[flip] * len(cuts), empty, put_a_folder]
    for kind in KINDS:
        _, files, folders, _ = _intact(kind)
        for number, name in enumerate(files):
            few = [(cuts[-1], flip)[number % 2]] if len(files) > 1 else [cuts[-1], flip]
            for harm in few if quick else harms:
                yield Case(f"{kind}, {name}", partial(_attempt, kind, name, harm))
        for name in folders:
            yield Case(f"{kind}, {name}/", partial(_attempt, kind, name, put_a_file))
            if kind != "checkpoint":  # an empty one is what a kill before the first epoch leaves
                yield Case(f"{kind}, {name}/", partial(_attempt, kind, name, empty_folder))


def truncate(share: float | None, path: Path, random: np.random.Generator) -> str:
    """Cut a file, at a random place without a share; the last byte may be no more than a line
    end."""
    size = path.stat().st_size
    place = round((size - 2) * share) if share is not None else int(random.integers(size - 1))
    path.write_bytes(path.read_bytes()[: max(1, place)])
    return f"cut after {max(1, place):,} of {size:,} bytes"


def flip(path: Path, random: np.random.Generator) -> str:
    content = bytearray(path.read_bytes())
    place, bit = int(random.integers(len(content))), int(random.integers(8))
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place:,} of {len(content):,} flipped"


def empty(path: Path, random: np.random.Generator) -> str:
    path.write_bytes(b"")
    return "emptied"


def put_a_folder(path: Path, random: np.random.Generator) -> str:
    path.unlink()
    path.mkdir()
    return "a folder in its place"


def put_a_file(path: Path, random: np.random.Generator) -> str:
    shutil.rmtree(path)
    path.write_bytes(random.bytes(100))
    return "a file in its place"


def empty_folder(path: Path, random: np.random.Generator) -> str:
    shutil.rmtree(path)
    path.mkdir()
    return "emptied"


@lru_cache
def _intact(kind: str) -> tuple[Path, list[str], list[str], Any]:
    """A folder of intact files of a kind, names of files and folders, and what is read of them."""
    folder = Path(mkdtemp())
    made = isolated(partial(KINDS[kind].make, folder), seconds=SECONDS)
    assert made.kind == "value", made
    files, folders = (
        sorted(str(path.relative_to(folder)) for path in folder.glob(pattern)) if pattern else []
        for pattern in (KINDS[kind].files, KINDS[kind].folder)
    )
    assert files, f"no files of the kind {kind}"
    copy = Path(mkdtemp()) / "copy"
    shutil.copytree(folder, copy)
    read = isolated(partial(KINDS[kind].read, copy), seconds=SECONDS)
    assert read.kind == "value", read
    return folder, files, folders, read.value


def _attempt(
    kind: str,
    name: str,
    harm: Callable[[Path, np.random.Generator], str],
    folder: Path,
    random: np.random.Generator,
) -> str | None:
    intact, _, _, expected = _intact(kind)
    shutil.copytree(intact, folder, dirs_exist_ok=True)
    path = folder / name
    done = harm(path, random)
    found = isolated(partial(KINDS[kind].read, folder), seconds=SECONDS)
    told = found.text + found.said
    named = path.name in told or (path.parent != folder and path.parent.name in told)
    same = found.kind == "value" and found.value == expected
    refused = found.kind == "refused" or (found.value == 1 and "error: " in found.said)
    less = found.kind == "value" and KINDS[kind].left_out and named
    if refused or same or less:
        silent = "file not named" if refused else "not noticed"
        return None if named else f"{kind}, {silent}: {done} {found.text[:200]}"
    if found.kind == "value":
        return f"{kind}, another answer: {done}"
    return f"{kind}, {found.kind}: {done}, {found.text[:200]}"
