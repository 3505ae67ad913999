"""The small grid: every model, SE and ME, base, 4x and 10x, three seeds.

Question: what do size, several sets and the other remedies do, on data small enough for any
machine?

Command: `python -m embedding_collapse study grid`. Records: `results/grid`.
Cost: 3.0 core-hours, the records' own seconds times their threads. Read by chapters 2,
3, 4 and 6, the pages on cost and explorers, and the opening.
"""

from typing import Any

from embedding_collapse.lab.data import DataSpec

from .definition import Part, Study
from .sweep import grid

FLIGHTS, MINI = BOTH = DataSpec("flights", 100_000), DataSpec("synthetic-mini")
# for two cores
SMALL: dict[str, Any] = {"embedding_size": 5, "hidden": 100, "batch_size": 512, "epochs": 4}
VARIANTS = ("dcnv2-shared", "dcnv2-linear", "dcnv2-aligned", "ipnn-raw")


STUDY = Study(
    name="grid",
    question="What do size, several sets and other remedies do, on data small enough for any "
    "machine?",
    readers=(
        "02_information_abundance",
        "03_interaction_collapse",
        "04_suppressing_interaction",
        "06_how_it_works",
        "cost",
        "opening",
    ),
    parts=(
        Part(
            "models",
            "Do SE and ME of the paper's six models gain from size?",
            grid(datasets=BOTH, scales=(1, 4, 10), **SMALL),
        ),
        Part(
            "suppressed",
            "Does a wide table gain where interaction is regularised?",
            grid(
                datasets=BOTH,
                models=["dcnv2-regularized"],
                designs=["se"],
                scales=(1, 4, 10),
                **SMALL,
            ),
        ),
        Part(
            "variants",
            "Which part of multi-embedding makes it work?",
            grid(datasets=BOTH, models=VARIANTS, designs=["me"], scales=(4, 10), **SMALL),
        ),
        Part(
            "flat",
            "Do remedies that flatten spectra make a wide table gain?",
            grid(
                datasets=[MINI],
                models=["dcnv2-flat", "dcnv2-sfg"],
                designs=["se"],
                scales=(4, 10),
                **SMALL,
            ),
        ),
        Part(
            "distinct",
            "Do sets that are pushed apart gain more?",
            grid(
                datasets=[MINI], models=["dcnv2-distinct"], designs=["me"], scales=(4, 10), **SMALL
            ),
        ),
    ),
)
