"""Decide the paper's central claim, on data large enough for size to matter.

Question: does a single embedding set (SE) stop gaining from size, do several sets (ME) go on
gaining, and is collapse the reason?

Command: `python -m embedding_collapse study decide --workers 2`; `--status` tells what is done.
Records: `results/decide`.

Fixed before the first run:

- The paper's sizes (K = 10, hidden 400, NFwFM its own), Adam at 1e-3, weight decay 1e-6, dropout
  0.2. Batches of 512 rows, a quarter of the paper's, since a million rows at 2,048 make only 488
  steps an epoch. At most 20 epochs, stopped early after two without a gain in validation AUC.
  Products in bf16, weights and sums in float32. A pilot with one seed of DNN on `us-flights` chose
  batch and epochs: its base model reached a validation AUC of .829 after five epochs at 512 and
  after six at 2,048, and peaked in the nineteenth at 1,024 with a learning rate of 3e-3. There SE
  4x peaked in the fourteenth and ME 4x in the sixth, and the three ended at a test AUC of .850,
  .859 and .858: so ME, ahead by .027 after three epochs, was not ahead in the end. Each run keeps
  its validation AUC of every epoch, so that both can be told: who is ahead after so many passes
  over the rows, and who is in the end.
- `us-flights` with 320,000 training rows (changed to that, see below), 100,000 for validation and
  500,000 for test; `synthetic-mini` with 1,000,000, 100,000 and 1,000,000, whose true probabilities
  are known. What is asked first, ME 4x against SE 4x and both against base, is asked of 1,000,000
  flights too, with as many seeds, and the two answers stand side by side.
- A difference is taken as the mean over seeds of the test AUC (on synthetic-mini: of the expected
  AUC) of the new cell minus that of the old, with a 95% interval for both sources of chance, seeds
  and test rows. *Holds*: the interval lies on the claim's side of zero. *Fails*: it lies on the
  other side, or wholly within +-0.001, which counts as no difference. *Undecided*: anything else.
- Adding seeds: if after seeds 0 to 4 the half-width of ME minus SE at 4x is above 0.002 and above
  a fifth of the effect for DNN or DCNv2 on either data set, that trio (base, SE 4x, ME 4x) is run
  with seeds 5 to 9 too, once. Since that is a second look, both looks at these differences are
  taken at Pocock's level for two, 97.06% instead of 95%.
- Ensembles of base models: disjoint groups of seeds. ME is more than an ensemble if ME 4x minus
  four base models is above zero, averaged either way.
- Equal parameters: ME is more than parameters if ME 4x minus each of the controls of equal size
  is above zero; where SE of equal interaction parameters is compared, so is ME with SE's.
- Regularisation: dropout and weight decay are chosen for base, SE and ME each by mean validation
  AUC over seeds, and the chosen ones compared on test rows.
- Collapse's part: over all cells of `main` and `models`, the rank correlation of the base model's
  IA/K with the gain of ME over SE, and of the fall of IA/K along SE's sizes with SE's gain; each
  with its 95% interval by bootstrap over cells, over all and within models.

Changed twice. When three runs were made (DNN, seed 0, on 1,000,000 flights): all parts were to have
that many rows, which those runs' times put at more than 70 core-hours, some 50 too many. Until then
DNN's ME 4x was ahead of SE 4x by .0005 and SE 4x of base by .0045; of other numbers of rows nothing
was known but the pilot, whose runs of three epochs on 300,000 rows showed larger differences. And
when DNN's trio was made on 320,000 rows of synthetic-mini: there all of them stayed below the AUC
of a linear model, so that size had nothing to gain, and ME 4x was ahead of SE 4x by .0007. It went
back to 1,000,000 rows, as first planned, and those runs to `rows`. Criteria, models, sizes and
seeds stayed as they were.

Part `lifted` was added when SE 10x of DCNv2 had one seed on `us-flights`: .8049, .0106 above ME
10x. A table of ten columns, projected to as many as SE's, has at most ten directions, so what it
has of SE's gain is the wide interaction's and not the wide table's. That the gain is the table's
*holds* if the lifted model stays below SE at 4x and 10x taken together, and *fails* if it is above
or within +-0.001; the share that it has of SE's gain over base is told beside.

Parts `decay` and `remedies` were added when all else but `suppressed` had verdicts on the flights.
They ask on rows enough what two earlier studies, which went, had asked on 100,000 and fewer: DCNv2
without weight decay, beside DNN's in `regularisation`, and two other ways to fill a wide table,
both at 4x. There, decay had been a small part of the collapse; a flat spectrum had filled the
tables; of AUC nothing was decided. That decay empties the tables *holds* if IA against random is
higher without it; that it alone does, *fails* if without it SE 4x is still below base.

Part `closer look` was added last. Of what was asked of the flights with three seeds, three claims
lay between chance and a verdict: their 95% intervals left out zero, and corrected for being several
they were undecided. These were that overfitting grows with size (the regularised model's part of
it), that ME beats SE with as many parameters in the interaction, and that ME is more than
regularisation. They get seeds 3 and 4 too, once, and are then taken at the second look's level. Of
the claims that were decided on three seeds none would have been undecided at that level.

The paper's other models but FinalMLP were to have two seeds. When IPNN had them on the flights, two
left its intervals so wide that claims on all models together came out undecided which were decided
without it. All of these models get a third seed; IPNN's, on the flights, is a second look.

FinalMLP's three base models on the flights lay .0193 apart in AUC, and with them it was undecided
whether size harms DNN, xDeepFM and FinalMLP, which had failed of DNN alone. It gets seeds 3 and 4
of every size there, once, taken at the second look's level. xDeepFM's three seeds come after these.

Part `last look` was added when all six models had run on the flights and it was undecided whether
ME beats SE of the same size: +.0026, from .0004 to .0048, p .022 before Holm's correction. Three
quarters of that mean's variance were NFwFM's and FinalMLP's, most of the rest IPNN's and xDeepFM's.
The former two get seeds up to 7 of the sizes that this claim compares, the latter two up to 4. As
it is the third look at IPNN and FinalMLP, what they are part of is taken at Pocock's level for
three, 97.79%. No more seeds are added to that claim: undecided then, it stays so.

When most runs were made, a critical reading of the pages set four things right. This text did not
say that verdicts are corrected for being several (Holm), as the code did from the first run on. The
claims of a data set that have no runs yet are counted too now, so that no verdict changes because
others are asked; one did, claim 21 on the clicks, to undecided until they are. *Each* of the
controls of equal size had been judged by their mean; it is the least sure one now, by which that ME
is more than parameters went from *holds* to *undecided*. And the bootstrap over cells took cells
that share their base runs for independent; it is over pairs of data set and model now, with ranks
within sizes beside those within models.

Part `linear` was added for what chapter 6 had left open: ME 4x of DCNv2 loses .0110 on the flights
without its non-linearity, and base was not run without it. That ME owes its gain to it *holds* if
ME 4x loses more without it than base does, and *fails* if it loses less, or as much within +-0.001;
the same against SE 4x is told beside. Written before its runs; it is no claim of the ledger.

Part `three epochs` was added when a reader saw that a table's IA depends on the epoch that is
tested: on the flights regularised SE 10x of DCNv2 was tested after three epochs in four of its five
runs and after four in the fifth, which was fuller by .03 than the others, plain SE 10x after four
in all. After three epochs each, that the regularised model is less collapsed *holds* if IA/K is
higher beyond chance, and *fails* if it is lower; and so that wide tables are more collapsed than
base ones, in each of three models. Written before its runs; the ledger's claims stay as they were.

Where ensembles are made of it, the base model has more seeds than 0 to 4, and all count in its
cell; that a comparison was looked at twice is told by the wider models' seeds. Ensembles and these
seeds were made with later code than the rest: its products in bf16 leave batch norm in float32.
On a processor without instructions for bf16 the same numbers are multiplied in float32 and rounded
(`lab.engine.products`). DNN's runs on a million synthetic clicks were made on one, those on 100,000
flights, DCNv2's on 320,000 clicks, and at ten times the size those of `forecast` and `lifted`; for
the ensembles the first's base model was trained again on another with seeds 0 to 4, and the first
records stay.
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
