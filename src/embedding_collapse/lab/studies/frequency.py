"""Some of the grid's runs made once more, by code whose records hold weighted spectra.

Question: is a wide table collapsed where it is used, in the rows that occur often?

Command: `python -m embedding_collapse study frequency`. Records: `results/frequency`.
Cost: 10 core-minutes, the records' own seconds times their threads. Read by chapter 2.
"""

from .definition import Part, Study
from .grid import MINI, SMALL
from .sweep import grid

QUESTION = "Is a wide table collapsed where it is used, in the rows that occur often?"

STUDY = Study(
    name="frequency",
    question=QUESTION,
    readers=("02_information_abundance",),
    parts=(
        Part(
            "widths",
            QUESTION,
            grid(
                datasets=[MINI],
                models=["dcnv2"],
                designs=["se"],
                scales=(1, 10),
                seeds=range(5),
                **SMALL,
            ),
        ),
    ),
)
