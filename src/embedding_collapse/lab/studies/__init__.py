"""The studies: named lists of runs, each with the question that it answers."""

from embedding_collapse.parameters import check_choice

from . import decide
from .definition import Part, Study, title, with_members
from .progress import Progress, progress
from .running import Failure, Outcome, run_all

STUDIES = {one.STUDY.name: one.STUDY for one in (decide,)}


def study(name: str) -> Study:
    """The study of that name; `study("decide").records(missing_ok=True)` gives its runs' records.

    Raises:
        ParameterError: there is none; the message lists those there are.

    Example:
        >>> import embedding_collapse
        >>> decide = embedding_collapse.study("decide")
        >>> decide.parts[0].specs[0].label
        'base'
    """
    check_choice("study", name, STUDIES)
    return STUDIES[name]


__all__ = [
    "STUDIES",
    "Failure",
    "Outcome",
    "Part",
    "Progress",
    "Study",
    "progress",
    "run_all",
    "study",
    "title",
    "with_members",
]
