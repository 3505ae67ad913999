"""The grid's ends with products in bf16.

Question: what do products in bf16 change in time and in AUC?

Command: `python -m embedding_collapse study precision`. Records: `results/precision`.
Cost: 4 core-minutes, the records' own seconds times their threads. Read by the page on cost.
"""

from .definition import Part, Study
from .grid import MINI, SMALL
from .sweep import grid

QUESTION = "What do products in bf16 change in time and in AUC?"

STUDY = Study(
    name="precision",
    question=QUESTION,
    readers=("cost",),
    parts=(
        Part(
            "bf16",
            QUESTION,
            grid(
                datasets=[MINI], models=["dcnv2", "dnn"], scales=(1, 10), precision="bf16", **SMALL
            ),
        ),
    ),
)
