"""A parameter that a chapter doesn't have ends it: papermill itself only warns.

Papermill puts a cell that begins with "# Parameters" after a chapter's cell of parameters. It is
held against that one before it runs; where the book is imported later, it is at the import.
"""

import ast
import sys
from itertools import pairwise
from typing import Any

from embedding_collapse.parameters import ParameterError

INJECTED = "# Parameters\n"


def guard() -> None:
    """In a notebook, hold what papermill injects against the cell before it.

    Raises:
        ParameterError: a cell that was injected before names what is no parameter.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return
    ran = shell.user_ns.get("In", [])
    for before, cell in pairwise(ran):
        check(before, cell)

    def check_next(lines: list[str]) -> list[str]:
        ran = shell.user_ns.get("In", [])
        check(ran[-1] if ran else "", "".join(lines))
        return lines

    shell.input_transformers_cleanup.append(check_next)  # what one raises is the cell's error


def check(parameters: str, cell: str) -> None:
    """Raise a `ParameterError` where an injected cell names what a cell of parameters does not."""
    if not cell.startswith(INJECTED):
        return
    known = _assigned(parameters)
    for name in _assigned(cell):
        if name not in known:
            raise ParameterError(
                f"{name} is no parameter of this chapter; its parameters are {', '.join(known)}"
            )


def _assigned(cell: str) -> list[str]:
    """The names that the lines of a cell give values to."""
    targets: list[Any] = []
    for line in ast.parse(cell).body:
        if isinstance(line, ast.Assign):
            targets += line.targets
        elif isinstance(line, ast.AnnAssign):
            targets.append(line.target)
    return [target.id for target in targets if isinstance(target, ast.Name)]
