"""Around the grid: DCNv2 with other widths, depths, rows, regularisers and without weight decay.

Question: are size, several sets and suppressed interaction the reasons for what the grid shows?

Command: `python -m embedding_collapse study beyond`. Records: `results/beyond`.
Cost: 52 core-minutes, the records' own seconds times their threads. Read by chapters 4 and 6.

The part `decay` was added once the others had been seen.
"""

from dataclasses import replace
from typing import Any

from embedding_collapse.lab.spec import Spec

from .definition import Part, Study
from .grid import BOTH, MINI, SMALL
from .sweep import grid


def dcnv2(**options: Any) -> list[Spec]:
    """Base models on `synthetic-mini`, three seeds, but for what is said."""
    base: dict[str, Any] = {"datasets": [MINI], "models": ["dcnv2"], "scales": [1]}
    return grid(**base | SMALL | options)


STUDY = Study(
    name="beyond",
    question="Are size, several sets and suppressed interaction the reasons for what the grid "
    "shows?",
    readers=("04_suppressing_interaction", "06_how_it_works"),
    parts=(
        Part(
            "parameters",
            "Does SE with as many parameters as ME 4x and 10x do as well?",
            dcnv2(embedding_size=14) + dcnv2(embedding_size=24),
        ),
        Part(
            "depth",
            "Do more cross layers do what more sets do?",
            [spec for layers in (2, 8, 16) for spec in dcnv2(datasets=BOTH, cross_layers=layers)],
        ),
        Part(
            "rows",
            "Do the gains change with a quarter and four times the rows, for as many steps?",
            dcnv2(datasets=[replace(MINI, rows=50_000)], scales=(1, 10), epochs=16)
            + dcnv2(datasets=[replace(MINI, rows=800_000)], scales=(1, 10), epochs=1),
        ),
        Part(
            "fixed",
            "Does the other form of the regulariser, its scale fixed, do the same?",
            dcnv2(models=["dcnv2-regularized-fixed"], designs=["se"], scales=(1, 4, 10)),
        ),
        Part(
            "decay",
            "Is it weight decay that collapses embeddings?",
            dcnv2(
                models=["dcnv2", "dcnv2-regularized", "dnn"],
                designs=["se"],
                scales=(1, 10),
                weight_decay=0.0,
            ),
        ),
    ),
)
