"""The grid's ends with products in bf16.

Question: what do products in bf16 change in time and in AUC?

Command: `python -m embedding_collapse study precision`. Records: `results/precision`.
"""

from .definition import Part, Study
from .grid import MINI, SMALL
from .sweep import grid

QUESTION = "What do products in bf16 change in time and in AUC?"

STUDY = Study(
    name="precision",
    question=QUESTION,
    readers=(),
    parts=(
        Part(
            "bf16",
            QUESTION,
            grid(
                datasets=[MINI],
                models=["dcnv2", "dnn"],
                scales=(1, 10),
                precision="bf16",
                **SMALL,
            ),
        ),
    ),
)
