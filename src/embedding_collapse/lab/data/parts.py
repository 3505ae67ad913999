"""Data that come in three parts: to train on, to validate on and to test on."""

from collections.abc import Iterable
from pathlib import Path

from embedding_collapse.parameters import ParameterError, listed

NAMES = {  # that each part goes by
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}


def three(names: Iterable[str], where: str) -> list[str]:
    """Those of the parts, in the order train, validation, test.

    Args:
        names: of all there is: keys, splits or files, which count up to their first dot.
        where: what has them, for messages.

    Raises:
        ParameterError: a part that is missing or there twice, or something beside the three.
    """
    names = list(names)
    found = {
        part: [name for name in names if str(name).partition(".")[0].lower() in known]
        for part, known in NAMES.items()
    }
    if len(names) != 3 or any(len(own) != 1 for own in found.values()):
        accepted = "; ".join(" or ".join(known) for known in NAMES.values())
        raise ParameterError(
            f"split is 'given', and {where} has {listed(names) or 'nothing'}; one of each is "
            f"accepted, and nothing else: {accepted}"
        )
    return [name for own in found.values() for name in own]


def three_files(folder: Path) -> list[Path]:
    """The files of a folder to train, validate and test on; hidden ones don't count.

    Raises:
        ParameterError: no folder, or `three`.
    """
    if not folder.is_dir():
        kind = "one file" if folder.exists() else "which is not there"
        raise ParameterError(
            f"split is 'given' and path {str(folder)!r}, {kind}; a folder of three files is "
            "accepted, such as train.csv, valid.csv and test.csv, or a dataset on the Hub"
        )
    names = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    return [folder / name for name in three(names, str(folder))]
