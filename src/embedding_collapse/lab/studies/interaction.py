"""FFM, whose sub-embeddings are parameters.

Question: do sub-embeddings follow the partner field where they are parameters, too?

Command: `python -m embedding_collapse study interaction`. Records: `results/interaction`.
Cost: 50 core-seconds, the records' own seconds times their threads. Read by chapter 3.
"""

from .definition import Part, Study
from .grid import BOTH, SMALL
from .sweep import grid

QUESTION = "Do sub-embeddings follow the partner field where they are parameters, too?"

STUDY = Study(
    name="interaction",
    question=QUESTION,
    readers=("03_interaction_collapse",),
    parts=(Part("ffm", QUESTION, grid(datasets=BOTH, models=["ffm"], scales=[1], **SMALL)),),
)
