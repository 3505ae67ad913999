"""The studies: named lists of runs, each with the question that it answers."""

from embedding_collapse.parameters import check_choice

from .decide import STUDY as DECIDE
from .study import Part, Progress, Study, progress, run_study, with_members

STUDIES = {study.name: study for study in (DECIDE,)}

__all__ = [
    "STUDIES", "Part", "Progress", "Study", "by_name", "progress", "run_study", "with_members",
]  # fmt: skip


def by_name(name: str) -> Study:
    """The study of that name: its question, its runs, and the records that it has.

    Raises:
        ParameterError: there is none.

    Example:
        >>> import embedding_collapse
        >>> decide = embedding_collapse.study("decide")
        >>> decide.parts[0].specs[0].label
        'base'
    """
    check_choice("study", name, STUDIES)
    return STUDIES[name]
