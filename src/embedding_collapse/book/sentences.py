"""Sentences by hand, checked: what a page says of the stored study, held against its records.

A person writes a sentence with its numbers into a notebook. A hidden cell beside it, tagged
`sentences`, says the same in code::

    if checked:
        says("SE 4x is ahead of base by {:.3f}", gain)
        holds("Every one of them lies below zero", (change.high < 0).all())

What is false raises there. What is true is printed with the numbers that the records give, and
building the book fails where no Markdown cell holds those very words (`mistakes`).
"""

import re

TAG = "sentences"  # of the hidden cells
NUMBER = re.compile(r"\d(?:[\d,]*\d)?(?:\.\d+)?")
APART = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)|<[^>]*>", re.S)


class SentenceError(Exception):
    """A sentence of a page that the stored records contradict."""


def speaks_of(stored: object, shown: object) -> bool:
    """Whether the page shows the study that its text speaks of; where it doesn't, a line says so.

    Args:
        stored: what tells that study: keys of runs, parameters.
        shown: the same of what the page shows now.
    """
    if stored != shown:
        print("The text speaks of the stored study; tables and figures show this run.")
    return stored == shown


def says(text: str, *values: object) -> None:
    """The page holds this text, its fields in braces filled with the values."""
    print(text.format(*values))


def holds(text: str, truth: bool) -> None:
    """The page holds this text, and it is true.

    Raises:
        SentenceError: it is false.
    """
    if not truth:
        raise SentenceError(f"the page says “{text}”, and the records say otherwise")
    print(text)


def mistakes(notebook: dict) -> list[str]:
    """What a notebook's hidden cells have found true and its Markdown does not say.

    Args:
        notebook: with its outputs, as nbformat or json read it.

    Returns:
        A line per sentence: what the records say, and what the page says in its place.
    """
    prose = _plain(_prose(notebook))
    wrong = []
    for sentence in asserted(notebook):
        if not re.search(_whole(sentence), prose):
            pattern = NUMBER.sub(r"[\\d.,]*\\d", re.escape(sentence).replace(r"\.", "."))
            match = re.search(pattern, prose)
            says = f"the page says “{match[0]}”" if match else "no such text is on the page"
            wrong.append(f"the records say “{sentence}”; {says}")
    return wrong


def asserted(notebook: dict) -> list[str]:
    """The sentences, or parts of them, that the notebook's hidden cells have found true."""
    return [
        _plain(line)
        for cell in notebook["cells"]
        if TAG in cell["metadata"].get("tags", [])
        for output in cell.get("outputs", [])
        if output.get("name") != "stderr"  # a warning is no sentence
        for line in "".join(output.get("text", "")).splitlines()
    ]


def unchecked(notebook: dict) -> list[str]:
    """The decimals in a notebook's prose, up to its exercises, that no hidden cell accounts for."""
    prose = _prose(notebook).partition("## Exercises")[0]
    text = _plain(APART.sub(" ", re.sub(r"^#.*$", "", prose, flags=re.M)))
    for sentence in sorted(asserted(notebook), key=len, reverse=True):
        text = re.sub(_whole(_plain(APART.sub(" ", sentence))), " ", text)
    return re.findall(r"\d[\d,]*\.\d+%?", text)


def _prose(notebook: dict) -> str:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def _whole(sentence: str) -> str:
    """A pattern of the sentence that no part of a longer number fits: "0.12" is not in "0.1279"."""
    return rf"(?:(?!\d)|(?<!\d)(?<!\d[.,])){re.escape(sentence)}(?!(?<=\d)[.,]?\d)"


def _plain(text: str) -> str:
    """One line, with a minus like that of a formatted number."""
    return " ".join(text.replace("−", "-").replace("*", "").split())
