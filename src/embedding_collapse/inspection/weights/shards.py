"""Folders of several files: those of Hugging Face, with an index of them in JSON."""

import json
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from embedding_collapse.parameters import short

INDEX = "*.index.json"


def read_shards(index: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors that an index names, each from the file beside it that it names.

    Args:
        index: such as `model.safetensors.index.json`.
        read: reads one of the files.
    """
    places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    files = {file: read(beside(index.parent, file)) for file in dict.fromkeys(places.values())}
    for name, file in places.items():
        if name not in files[file]:
            raise ValueError(f"{short(file)} lacks {short(name)}, which the index has in it")
    return {name: files[file][name] for name, file in places.items()}


def beside(folder: Path, name: str) -> Path:
    """A file in a folder by a name from somebody's data, which must be a name and no path."""
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
        raise ValueError(f"it names {short(str(name))!r} as a file of this folder")
    if not (folder / name).is_file():
        raise ValueError(f"there is no file {short(name)!r} beside it")
    return folder / name
