"""Files that are whole or not there at all."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUMBERS = re.compile(r"\[\n[-+.,\deE\s]*\]")  # no JSON string holds a line break


def write_atomically(path: Path, write: Callable[[Path], Any], *, replace: bool = True) -> None:
    """Let `write` make the file under a temporary name, then rename: whole or not at all.

    Without `replace` a file that is there stays, also one that another process wrote meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        if replace:
            temporary.replace(path)
        else:
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links, where this is the next best
                if not path.exists():
                    temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any, *, replace: bool = True) -> None:
    """Write JSON, whole or not at all; a list of numbers takes one line.

    Args:
        path: the file.
        content: numbers that are not finite are an error.
        replace: whether a file that is there gives way; where not, it stays as it is.
    """
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    text = NUMBERS.sub(lambda match: " ".join(match[0].split()), text)
    write_atomically(
        path, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"), replace=replace
    )
