"""Decide the paper's central claim, on data large enough for size to matter.

Question: does a single embedding set (SE) stop gaining from size, do several sets (ME) go on
gaining, and is collapse the reason? What was fixed before the first run, and what was changed or
added since, is told by `book/protocol.md`.

Command: `python -m embedding_collapse study decide --workers 2`; `--status` tells what is done.
Records: `results/decide`.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from typing import Any

from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.spec import Design, Spec

from .definition import Part, Study

FLIGHTS = DataSpec("us-flights", 320_000)
FORECAST = DataSpec("us-flights-forecast", 320_000)
DRAWN = DataSpec("synthetic-mini", 1_000_000, held_out=(100_000, 1_000_000))
BOTH = (FLIGHTS, DRAWN)
DesignAtScale = tuple[Design, int]
SIZES: tuple[DesignAtScale, ...] = (("se", 1), ("se", 4), ("me", 4), ("se", 10), ("me", 10))
BASE, SE4, ME4, SE10, ME10 = SIZES
TRIO = (BASE, SE4, ME4)
TELLING = ("dnn", "dcnv2")  # without explicit interaction and with it
TRAINING: dict[str, Any] = {"batch_size": 512, "epochs": 20, "patience": 2, "precision": "bf16"}
REGULARISATIONS: tuple[dict[str, Any], ...] = (
    {"dropout": 0.0},
    {"dropout": 0.5},
    {"weight_decay": 0.0},
    {"weight_decay": 1e-5},
)
MORE_ROWS = {"us-flights": 2_400_000, "synthetic-mini": 3_200_000}
# DCNv2's K at scale 1 with as many parameters as ME 4x, in all and in the interaction; of ME 4x
# with as many in the interaction as SE 4x; and hidden units with as many in all
EQUAL = {
    "us-flights": {"all": 28, "interaction": 24, "me": 18, "hidden": 730, "dnn": 664},
    "synthetic-mini": {"all": 28, "interaction": 23, "me": 18, "hidden": 894, "dnn": 798},
}


def cells(
    data: Iterable[DataSpec],
    models: Iterable[str],
    sizes: Iterable[DesignAtScale],
    seeds: Iterable[int],
    **options: Any,
) -> list[Spec]:
    """Every combination, one seed after another; of each, data set by data set."""
    return [
        Spec(one, model=model, design=design, scale=scale, seed=seed, **TRAINING | options)
        for seed, one, model, (design, scale) in product(seeds, data, models, sizes)
    ]


def every_size() -> list[Spec]:
    """The paper's sizes, five seeds of each: first up to 4x, as that decides most for its time, and
    of each the quicker model."""
    return [
        spec
        for sizes, data, model in product((TRIO, (SE10, ME10)), BOTH, TELLING)
        for spec in cells([data], [model], sizes, range(5))
    ]


def ensembles(model: str, data: DataSpec) -> list[Spec]:
    """Averages of 2, 4 and 5 base models, three of each."""
    return [
        spec
        for members, average in product((4, 2, 5), ("logits", "probabilities"))
        for spec in cells([data], [model], [BASE], range(3), members=members, average=average)
    ]


def equal_parameters(data: DataSpec) -> list[Spec]:
    """What has as many parameters as ME 4x, and ME 4x with as many as SE 4x."""
    equal, seeds = EQUAL[data.name], range(3)
    return [
        *cells([data], ["dcnv2"], [BASE], seeds, embedding_size=equal["all"]),
        *cells([data], ["dcnv2"], [BASE], seeds, embedding_size=equal["interaction"]),
        *cells([data], ["dcnv2"], [ME4], seeds, embedding_size=equal["me"]),
        *cells([data], ["dcnv2"], [BASE], seeds, cross_layers=16),
        *cells([data], ["dcnv2"], [BASE], seeds, hidden=equal["hidden"]),
        *cells([data], ["dnn"], [BASE], seeds, hidden=equal["dnn"]),
    ]


def a_million_flights() -> list[Spec]:
    """The trio with as many seeds as in `main`, the quicker model first."""
    million = replace(FLIGHTS, rows=1_000_000)
    return [spec for model in TELLING for spec in cells([million], [model], TRIO, range(5))]


def more_or_fewer_rows() -> list[Spec]:
    """A third of the rows, and all of them."""
    few = [replace(FLIGHTS, rows=100_000), replace(DRAWN, rows=320_000)]
    whole = [replace(data, rows=MORE_ROWS[data.name]) for data in BOTH]
    return cells(few, TELLING, TRIO, range(5)) + cells(whole, TELLING, TRIO, range(3))


def between() -> list[Spec]:
    """Seeds 3 and 4 of what three left between chance and a verdict or too far apart; the third of
    IPNN."""
    seeds = (3, 4)
    return [
        *cells([FLIGHTS], ["dcnv2-regularized"], [BASE, SE10], seeds),
        *cells([FLIGHTS], ["dcnv2"], [ME4], seeds, embedding_size=EQUAL["us-flights"]["me"]),
        *(spec for way in REGULARISATIONS
          for spec in cells([FLIGHTS], ["dnn"], [SE4, ME4], seeds, **way)),
        *cells([FLIGHTS], ["ipnn"], SIZES, [2]),
        *cells([FLIGHTS], ["finalmlp"], SIZES, seeds),
    ]  # fmt: skip


def last() -> list[Spec]:
    """More seeds of the models that leave ME minus SE over all models wide; the widest first."""
    return [
        *cells([FLIGHTS], ["nfwfm"], SIZES[1:], range(3, 5)),
        *cells([FLIGHTS], ["nfwfm", "finalmlp"], SIZES[1:], range(5, 8)),
        *cells([FLIGHTS], ["ipnn", "xdeepfm"], SIZES[1:], range(3, 5)),
    ]


BASES = tuple(cells([data], ["dcnv2"], [BASE], [0])[0] for data in BOTH)

STUDY = Study(
    name="decide",
    question=(
        "Does a single embedding set stop gaining from size, do several go on gaining, and is "
        "collapse the reason?"
    ),
    readers=(
        "02_information_abundance",
        "03_interaction_collapse",
        "04_suppressing_interaction",
        "06_how_it_works",
        "07_results",
        "cost",
        "opening",
        "robustness",
    ),
    parts=(
        Part(
            "second look",
            "What do five seeds more say where five left the interval too wide?",
            cells([FLIGHTS], ["dnn"], TRIO, range(5, 10)),
        ),
        Part("main", "Do SE and ME gain from size, and which of the two gains more?", every_size()),
        Part(
            "ensemble",
            "Is ME only an ensemble of base models?",
            [spec for data, model in product(BOTH, TELLING) for spec in ensembles(model, data)],
        ),
        Part(
            "parameters",
            "Is ME's gain only that of its parameters?",
            [spec for data in BOTH for spec in equal_parameters(data)],
        ),
        Part(
            "regularisation",
            "Is ME's gain only that of regularisation?",
            [
                spec
                for way in REGULARISATIONS
                for spec in cells([FLIGHTS], ["dnn"], TRIO, range(3), **way)
            ],
        ),
        Part("million", "Is the answer the same with a million flights?", a_million_flights()),
        Part(
            "suppressed",
            "Does suppressing interaction let a single set gain from size?",
            cells(BOTH, ["dcnv2-regularized"], [BASE, SE4, SE10], range(3)),
        ),
        Part(
            "variants",
            "Which part of multi-embedding makes it work?",
            cells(
                BOTH,
                ["dcnv2-shared", "dcnv2-linear", "dcnv2-aligned", "dcnv2-distinct"],
                [ME4],
                range(3),
            )
            + cells(BOTH, ["ipnn-raw"], [SE4, ME4], range(3)),
        ),
        Part(
            "linear",
            "Do base and one wide set need the non-linearity as several sets do?",
            cells(BOTH, ["dcnv2-linear"], [BASE, SE4], range(3)),
        ),
        Part(
            "three epochs",
            "Are tables after as many epochs as collapsed?",
            cells(
                [FLIGHTS],
                ["dcnv2", "dcnv2-regularized", "dnn"],
                [BASE, SE10],
                range(3),
                epochs=3,
            ),
        ),
        Part(
            "lifted",
            "Is what a wide table gains the table's, or the wide interaction's?",
            cells(BOTH, ["dcnv2-lifted"], [SE4, SE10], range(3)),
        ),
        Part(
            "decay",
            "Is it weight decay that empties a wide table?",
            cells([FLIGHTS], ["dcnv2"], [BASE, SE4], range(3), weight_decay=0.0),
        ),
        Part(
            "remedies",
            "Do other remedies make a wide table gain?",
            cells([FLIGHTS], ["dcnv2-flat", "dcnv2-sfg"], [SE4], range(3)),
        ),
        Part(
            "closer look",
            "What do more seeds say where few left a claim between chance and a verdict?",
            between(),
        ),
        Part(
            "last look",
            "What do more seeds say of ME against SE over all models?",
            last(),
        ),
        Part(
            "ffm",
            "Where sub-embeddings are parameters, do they follow the partner field?",
            cells(BOTH, ["ffm"], [BASE], range(3)),
        ),
        Part(
            "forecast",
            "Does it hold where the timetable cannot be recognised?",
            cells([FORECAST], TELLING, SIZES, range(3)),
        ),
        Part(
            "models",
            "Do the paper's other models agree?",
            cells(BOTH, ["finalmlp", "ipnn", "nfwfm", "xdeepfm"], SIZES, range(3)),
        ),
        Part("rows", "How do the gains change with the number of rows?", more_or_fewer_rows()),
        Part(
            "time",
            "Does it hold where the test rows come after the training rows?",
            cells([replace(FLIGHTS, split="time")], TELLING, TRIO, range(3)),
        ),
        Part(
            "float32",
            "Do products in bf16 change the result?",
            cells([FLIGHTS], TELLING, TRIO, range(3), precision=None),
        ),
    ),
)
