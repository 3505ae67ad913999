"""Around the grid: the other form of DCNv2's regulariser, and runs without weight decay.

Question: is it the form of the regulariser, or weight decay, that makes the grid show what it
shows?

Command: `python -m embedding_collapse study beyond`. Records: `results/beyond`.
Cost: 35 core-minutes, the records' own seconds times their threads. Read by chapter 4.

What it asked besides, about parameters, depth and rows, `decide` answers on more rows.
"""

from .definition import Part, Study
from .grid import MINI, SMALL
from .sweep import grid

STUDY = Study(
    name="beyond",
    question="Is it the form of the regulariser, or weight decay, that makes the grid show what it "
    "shows?",
    readers=("04_suppressing_interaction",),
    parts=(
        Part(
            "fixed",
            "Does the other form of the regulariser, its scale fixed, do the same?",
            grid(
                datasets=[MINI],
                models=["dcnv2-regularized-fixed"],
                designs=["se"],
                scales=(1, 4, 10),
                **SMALL,
            ),
        ),
        Part(
            "decay",
            "Is it weight decay that collapses embeddings?",
            grid(
                datasets=[MINI],
                models=["dcnv2", "dcnv2-regularized", "dnn"],
                designs=["se"],
                scales=(1, 10),
                weight_decay=0.0,
                **SMALL,
            ),
        ),
    ),
)
