"""What is said of a table: its verdict by stated thresholds, what that rests on, what to try next.

The verdict compares the table's information abundance with that of random tables of the same shape,
so that neither a small K nor a field with few features counts as collapse, and takes the mean of
the rows off first: an offset that all rows share is another matter, with a remedy of its own. Where
it is known how often rows are looked up, they count as often. The thresholds are a convention,
fixed here and the same for every table; how often the verdict is wrong on tables of which the truth
is known is measured by `lab.calibration`. For scale: the token table of a language model
(wordllama) has 0.47 (chapter 2); of the fields of DCNv2 at ten times its base width the mean has
0.32 to 0.49 and the lowest 0.15 to 0.31, with ten embedding sets instead 0.76 to 0.78 and 0.66 to
0.69 (results/decide), all of them as they are, their mean not taken off.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from torch import Tensor

from .parameters import count
from .spectrum import (
    directions,
    draws_for,
    information_abundance,
    random_abundances,
    random_spectrum,
    rounded,
)

COLLAPSED, PARTLY = 0.25, 0.5  # of a random table's IA: below the first, below the second
MUCH_OFFSET = 0.05  # of the energy: below, it is a direction among others
ONE_VECTOR = 1 - 1e-12  # of the energy: from here up rounding alone tells rows apart
MANY_UNTRAINED = 0.05  # of the rows: from here up they may change the verdict
COLLAPSED_IS, PARTLY_IS, HEALTHY_IS = "collapsed", "partly collapsed", "not collapsed"
OFFSET_IS, UNTRAINED_IS = "offset", "rare rows untrained"
FEW_IS, UNMEASURED_IS = "too small to tell", "not measured"
VERDICTS = [COLLAPSED_IS, UNTRAINED_IS, PARTLY_IS, OFFSET_IS, UNMEASURED_IS, HEALTHY_IS, FEW_IS]


@dataclass(frozen=True)
class Collapse:
    """A table's measures and verdict.

    Attributes:
        name, rows, width, sets, note: of the table: D, K and M.
        known_by: what says that it is a table, see `tables.Table`.
        spectra: float64 `[M, K]`, zeros where it has fewer rows than columns; None if not measured.
        random: `[K]`, the spectrum of a random table of that shape.
        band: the lowest and the highest IA of random tables of that shape but for one in a
            hundred each, as a share of their mean.
        measures: those of `collapse.MEASURES`, see `collapse.measures_of`; the mean over the sets.
        centred: the same with the mean of the rows taken off.
        offset: the share of the energy that the mean of the rows holds; the mean over the sets.
        untrained: the share of the rows that lie as they were drawn, see `untrained`.
        trained: IA of the other rows, centred, as a share of a random table's; None if they are
            too few to tell.
        per_set: the measures of each set.
        joined: the same of the M sets side by side as one table; None for a single set.
        weighted: the same with rows weighted, beside random tables weighted alike, all centred, and
            `rows`, as many equally weighted rows as they amount to; None without weights.
        longest: of a table that is low, where its `LONGEST` share of rows hold `MUCH_ENERGY` or
            more: `rows`, how many they are, `first`, the longest's number, `energy`, the share that
            they hold, and `against_random`, what IA/random it has without them, centred; else None.
        verdict: one of `VERDICTS`.
        rests_on: the measure that it rests on, in words.
        advice: what to try next and what it costs, a sentence or two.
    """

    name: str
    rows: int
    width: int
    sets: int
    note: str
    verdict: str
    advice: str
    known_by: str = ""
    rests_on: str = ""
    spectra: Tensor | None = field(default=None, repr=False)
    random: Tensor | None = field(default=None, repr=False)
    band: tuple[float, float] = (1.0, 1.0)
    measures: dict[str, float] = field(default_factory=dict)
    centred: dict[str, float] = field(default_factory=dict)
    offset: float = 0.0
    untrained: float = 0.0
    trained: float | None = None
    per_set: list[dict[str, float]] = field(default_factory=list)
    joined: dict[str, float] | None = None
    weighted: dict[str, float] | None = None
    longest: dict[str, float] | None = None

    @property
    def judged_by(self) -> float:
        """What the verdict compares with the thresholds: 1 for a random table, 0 for none left."""
        measures = self.weighted or self.centred
        return measures["against_random"] if measures else 1.0

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain lists and numbers."""
        content = dict(vars(self))
        for name in ("spectra", "random"):
            if content[name] is not None:
                content[name] = rounded(content[name])
        return content


def judge(against_random: float) -> str:
    """IA as a share of a random table's against `COLLAPSED` and `PARTLY`."""
    if against_random < COLLAPSED:
        return COLLAPSED_IS
    return PARTLY_IS if against_random < PARTLY else HEALTHY_IS


def too_small(rows: int, width: int) -> bool:
    """Whether a shape allows no verdict.

    Either no table of it can fall below `COLLAPSED`, since IA is at least 1 and a random table's is
    not that much more; or one random table in a hundred falls below `PARTLY`.
    """
    return least(rows, width) >= COLLAPSED or band(rows, width)[0] < PARTLY


def least(rows: int, width: int) -> float:
    """The least IA/random, the mean of the rows taken off, of any table of a shape."""
    return 1 / information_abundance(random_of_shape(max(1, rows - 1), width)).item()


def judged(table: Collapse) -> Collapse:
    """A measured table with its verdict, and what that rests on."""
    rows = int(table.weighted["rows"]) if table.weighted else table.rows
    equal = f"rows weighted, as {count(rows, 'equal row')}" if table.weighted else ""
    low, high = band(rows, table.width)
    random = f"random tables of {rows:,} x {table.width} have {low:.2f} to {high:.2f}"
    if rows > 1 and table.measures.get("abundance") == 0:
        verdict, rests_on = COLLAPSED_IS, "every entry is zero"
    elif rows > 1 and table.offset > ONE_VECTOR:
        verdict, rests_on = COLLAPSED_IS, "every row is the same vector"
    elif too_small(rows, table.width):
        lowest = least(rows, table.width)
        rests_on = f"no table of {rows:,} x {table.width} has IA/random below {lowest:.2f}"
        if lowest < COLLAPSED:
            rests_on = f"chance decides: {random}"
        rests_on = f"{equal}: {rests_on}" if equal else rests_on
        verdict = FEW_IS
    elif _too_few_trained(table):
        verdict = UNTRAINED_IS
        trained = round(table.rows * (1 - table.untrained))
        rests_on = (
            f"all but about {count(trained, 'row')} of {table.rows:,} lie as they were drawn or "
            "set, and so few tell nothing"
        )
    elif table.weighted:
        verdict = judge(table.weighted["against_random"])
        rests_on = (
            f"IA/random {table.weighted['against_random']:.2f} with {equal}, and their mean taken "
            "off; random tables weighted alike have 1"
        )
    elif _hidden(table):
        assert table.trained is not None
        verdict = UNTRAINED_IS
        rests_on = (
            f"{100 * table.untrained:.3g}% of the rows lie as they were drawn or set; of all rows "
            f"IA/random is {table.centred['against_random']:.2f}, of the others "
            f"{table.trained:.2f}, {judge(table.trained)}"
        )
    else:
        verdict = judge(centred := table.centred["against_random"])
        rests_on = f"IA/random {centred:.2f}, the mean of the rows taken off"
        if verdict == HEALTHY_IS and judge(table.measures["against_random"]) != HEALTHY_IS:
            verdict = OFFSET_IS if table.offset >= MUCH_OFFSET else HEALTHY_IS
            rests_on += f", {table.measures['against_random']:.2f} with it"
        rests_on += f"; {random}"
    return replace(table, verdict=verdict, rests_on=rests_on)


def _hidden(table: Collapse) -> bool:
    """Whether rows that lie as they were drawn hide what the others do."""
    if table.trained is None or table.untrained < MANY_UNTRAINED:
        return False
    return judge(table.trained) != judge(table.centred["against_random"])


def _too_few_trained(table: Collapse) -> bool:
    """Whether nearly all rows are zero, or as they were drawn, and the others too few to judge.

    A table that has just been drawn is whole, and a table of zeros has none to judge.
    """
    few = table.trained is None and table.untrained > 1 - MANY_UNTRAINED
    return few and 0 < table.centred["against_random"] < PARTLY


def advise(table: Collapse) -> str:
    """What to try next with a table of that verdict, and what it costs."""
    size = table.rows * table.width * table.sets
    held = round((table.weighted or table.centred)["directions_90"])
    holds = "holds" if held == 1 else "hold"
    energy = f"{_one_outweighs(table)}{held} of {table.width} directions {holds} 90% of its energy"
    if table.measures.get("abundance") == 0:
        return "Every entry is zero: it was never trained, or something clears it."
    if table.verdict == FEW_IS and table.weighted and not too_small(table.rows, table.width):
        return (
            "So few rows have nearly all the weight that they tell nothing of the table. Next: "
            "inspect it without weights, or count look-ups over more data: no training."
        )
    if table.verdict == FEW_IS:
        return "Leave it, or look at its spectrum: at this shape a verdict would be chance."
    if table.offset > ONE_VECTOR:
        return (
            "Nothing tells its features apart. Next: look what it was initialised with, and "
            "whether its gradients differ from row to row: seconds."
        )
    if table.verdict == UNTRAINED_IS and table.trained is None:
        return (
            "Nearly all of its rows were never trained. Next: look whether the ids of the training "
            "data are those of its rows: one pass over the data, no training."
        )
    if table.verdict == UNTRAINED_IS:
        return (
            "Next: count how often each row is looked up, and weigh rows by it (--rows-weight "
            "counts.npy): one pass over the training data, no training."
        )
    if table.verdict == OFFSET_IS:
        return (
            f"{table.offset:.0%} of its energy is one vector that all rows share, and that is no "
            "collapse. Next, if it is in the way and only linear layers read the table: take the "
            f"mean off the rows and give it to their biases: {table.width} numbers, no training. "
            "Where fields are multiplied, predictions would change."
        )
    if table.longest and judge(share := table.longest["against_random"]) != table.verdict:
        return (
            f"{count(int(table.longest['rows']), 'row')} of {table.rows:,} have "
            f"{table.longest['energy']:.0%} of its energy, row {int(table.longest['first']):,} the "
            f"most; without them IA/random would be {share:.2f}, {judge(share)}. Next: look what "
            "they stand for, such as unknown values: no training."
        )
    if table.verdict == COLLAPSED_IS and table.sets > 1:
        return (
            f"{energy}. Its sets have collapsed as well. Next: more sets with fewer columns each, "
            f"at the same {size:,} numbers: one training run for each seed."
        )
    if table.verdict == COLLAPSED_IS:
        return (
            f"{energy}; a wide table may predict the better all the same. Next, at the same "
            f"{size:,} numbers: several embedding sets, each with its own interaction "
            "(MultiEmbedding), and as many narrow models averaged, beside a table of "
            f"{count(held, 'column')}, which saves {1 - held / table.width:.0%}: a training run of "
            "each model for each seed."
        )
    if table.verdict == PARTLY_IS:
        return (
            f"{energy}. Next, before widening it: several sets of the present width beside one "
            f"table as wide as they are together, {size:,} numbers more for each set: two "
            "training runs for each seed."
        )
    if table.rows < table.width:
        return (
            f"It has fewer rows than columns, so at most {table.rows} directions exist: a width of "
            f"{table.rows} holds as much. If its columns are the features, save it transposed."
        )
    if table.untrained > 1 - MANY_UNTRAINED:
        return (
            "Its rows look as if they had just been drawn: was it trained? Next: look at the same "
            "table in an earlier checkpoint (inspect EARLIER THIS): seconds."
        )
    return (
        f"{energy}. They are in use; if width is what you lack, twice as many columns are worth a "
        f"trial: {size:,} numbers more, one training run for each seed."
    )


def _one_outweighs(table: Collapse) -> str:
    """A sentence on a low IA that is one direction's doing, the others being in use; else ""."""
    low = table.verdict in (COLLAPSED_IS, PARTLY_IS) and table.offset < MUCH_OFFSET
    if not low or table.weighted or table.spectra is None or table.random is None:
        return ""  # the spectra are of rows that weigh the same
    if 2 * table.measures["directions_90"] < directions(table.random, 0.9):
        return ""  # what the others hold is next to nothing, however evenly
    rest, random = (information_abundance(of[..., 1:]) for of in (table.spectra, table.random))
    if judge(share := (rest / random).mean().item()) != HEALTHY_IS:
        return ""
    energy = table.spectra.square()
    first = (energy[:, 0] / energy.sum(1)).mean().item()
    return (
        f"One direction has {first:.0%} of its energy; without it IA/random would be "
        f"{share:.2f}, {HEALTHY_IS}. "
    )


@lru_cache(maxsize=4096)
def random_of_shape(rows: int, width: int) -> Tensor:
    """The mean spectrum of random tables of a shape."""
    return random_spectrum(rows, width, draws_for(width))


def band(rows: int, width: int) -> tuple[float, float]:
    """How far IA of random tables goes from its mean, as shares of that, but for one in a hundred.

    It hardly depends on the rows where there are many, so shapes that are nearly alike share one;
    and very wide tables, which hardly vary, have that of one as slender and of 256 columns.
    """
    if (small := min(rows, width)) > 256:
        rows, width = rows * 256 // small, width * 256 // small
    if rows > 100:
        rows = int(float(f"{rows:.1e}"))
    return _draw_band(rows, width)


@lru_cache(maxsize=4096)
def _draw_band(rows: int, width: int) -> tuple[float, float]:
    small = min(rows, width)
    drawn = random_abundances(rows, width, draws=max(32, min(256, 8192 // small)))
    low, high = (drawn / drawn.mean()).quantile(drawn.new_tensor([0.01, 0.99]))
    return low.item(), high.item()
