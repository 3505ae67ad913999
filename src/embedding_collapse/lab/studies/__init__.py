"""The studies: named lists of runs, each with the question that it answers."""

from .decide import STUDY as DECIDE
from .study import Part, Progress, Study, progress, run_study, with_members

STUDIES = {study.name: study for study in (DECIDE,)}

__all__ = ["STUDIES", "Part", "Progress", "Study", "progress", "run_study", "with_members"]
