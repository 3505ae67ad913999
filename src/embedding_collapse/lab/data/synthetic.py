"""Click logs drawn from a known law, with the shape of Criteo's.

A row has three group variables (who, what, where). Every field belongs to one of them and takes
its id either from its own Zipf law or, with probability `loyalty`, from the few ids that the
row's group favours; so ids are heavy-tailed and fields are correlated. The label is drawn from

    logit = intercept + sum of one bias per feature + sum over pairs of fields in the same space,
            over all spaces, of the inner product of the two features' latent vectors,

where the latent vectors live in several distinct spaces and each field takes part in two or three
of them. A value seen in fewer than ten rows then falls into its field's rare bucket.

The law is fixed by statistics of real click logs. Its cardinalities are those of Criteo's fields
(`criteo_fields.csv`, as shown in the paper's talk). The logit's three constants were set once so
that about a quarter of the rows are clicks (Criteo: 0.256), the linear part of the logit alone has
an AUC of about 0.79 (what logistic regression reaches on Criteo), and the whole logit, the best
that any model could do, one between 0.82 and 0.87 (above what models reach there). What no
statistic settles (the numbers of spaces and groups, loyalty, the Zipf law's shift) are round
numbers chosen before any model saw the data. Nothing was tuned to make a claim about embedding
collapse come out: what models make of these data is for the experiments to say.

The same rows come out on every machine, for any number of workers: the random numbers are Philox
words that depend on the seed and the row only, and ids and labels follow from them by integer
operations and single IEEE additions, products, quotients and square roots in a fixed order. No
function of the C library and no sum whose order depends on the processor takes part.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np

from embedding_collapse.lab.sizing import criteo_fields

from .vocabulary import MINIMUM_COUNT

ONE = 1 << 32  # probability 1 in the fixed-point arithmetic of the draws


@dataclass(frozen=True)
class Law:
    """All that determines the rows, save the seed."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]  # raw vocabulary per field
    groups: tuple[int, ...]  # how many users, ads and contexts there are
    intercept: float = -1.65
    linear: float = 1.5  # standard deviation of the biases' sum, were fields independent
    pairwise: float = 0.95  # the same of the inner products' sum
    spaces: int = 6
    dimension: int = 4  # of each space
    favourites: int = 4  # ids per field that a group favours, a power of two
    loyalty: float = 0.5
    shift: float = 1.0  # of the Zipf-Mandelbrot law: P(rank r) ~ 1 / (r + shift)
    minimum_count: int = MINIMUM_COUNT
    block: int = 16384  # rows that share a Philox counter
    version: int = 1  # of the code below and of drawn.py: raise it if anything kept changes


def _criteo() -> list[tuple[str, int]]:
    """Name and number of features of Criteo's 39 fields."""
    fields = criteo_fields()
    names = [f"field_{number}" for number in fields["field"]]
    return list(zip(names, fields["num_features"].tolist(), strict=True))


def _full() -> Law:
    names, sizes = zip(*_criteo(), strict=True)
    return Law(names, sizes, (32768, 4096, 256))


def _mini() -> Law:
    """Twelve fields evenly spaced by size; sizes above 100 are their geometric mean with 100."""
    ranked = sorted(_criteo(), key=lambda named: named[1])
    chosen = [ranked[i * (len(ranked) - 1) // 11] for i in range(12)]
    names, sizes = zip(*chosen, strict=True)
    sizes = tuple(size if size <= 100 else math.isqrt(100 * size) for size in sizes)
    return Law(names, sizes, (2048, 256, 16))


# What is fixed for a name; the parameters were measured once, with the three statistics above.
LAWS: dict[str, Callable[[], Law]] = {"synthetic": _full, "synthetic-mini": _mini}


class Zipf(NamedTuple):
    """Alias table of a Zipf law: slot i gives i where a 32-bit draw is under its threshold."""

    threshold: np.ndarray  # uint32 [V]
    alias: np.ndarray  # int64 [V]


class Tables(NamedTuple):
    groups: list[Zipf]
    fields: list[Zipf]
    favourites: list[np.ndarray]  # per field: int64 [groups * favourites], ids
    features: list[np.ndarray]  # per field: float32 [V, 2 + spaces * dimension]


def words(seed: int, stream: int, count: int, block: int = 0) -> np.ndarray:
    """uint64 `[count]`: random words, a pure function of the arguments."""
    return np.random.Philox(key=(seed << 64) | stream, counter=block << 64).random_raw(count)


def zipf_shares(size: int, shift: float) -> np.ndarray:
    """float64 `[size]`: the law's probabilities, 1 / (rank + shift) over their sum."""
    weight = 1 / (np.arange(1, size + 1) + shift)
    return weight / np.cumsum(weight)[-1]


def zipf_table(size: int, shift: float) -> Zipf:
    """Alias table of the law, made with whole arrays.

    Slots hold 2^32 each. Values that fill less than a slot are topped up, in order, by the first
    value with mass to spare; one that gives too much is itself topped up by the next.
    """
    mass = (zipf_shares(size, shift) * size * ONE).astype(np.int64)
    mass[0] += size * ONE - mass.sum()
    poor, rich = np.flatnonzero(mass < ONE), np.flatnonzero(mass >= ONE)
    lacking, spare = np.cumsum(ONE - mass[poor]), np.cumsum(mass[rich] - ONE)
    threshold, alias = np.minimum(mass, ONE), np.arange(size, dtype=np.int64)
    alias[poor] = rich[np.searchsorted(spare, lacking - (ONE - mass[poor]), side="right")]
    overdrawn = lacking[np.searchsorted(lacking, spare[:-1])] - spare[:-1]
    threshold[rich[:-1]] = ONE - overdrawn
    alias[rich[:-1]] = rich[1:]
    return Zipf(np.minimum(threshold, ONE - 1).astype(np.uint32), alias)


def draw_zipf(table: Zipf, random: np.ndarray) -> np.ndarray:
    """int64 ids from the upper 32 bits of random words; the lower 32 stay free for other uses."""
    product = (random >> 32) * len(table.alias)
    slot = (product >> 32).view(np.int64)
    own = product.astype(np.uint32) < table.threshold.take(slot)
    return np.where(own, slot, table.alias.take(slot))


def make_tables(law: Law, seed: int, pool: ThreadPoolExecutor) -> Tables:
    fields = list(pool.map(lambda size: zipf_table(size, law.shift), law.sizes))
    count = len(fields)
    random = words(seed, 1, count * law.spaces).reshape(count, law.spaces)
    order = np.argsort(random, axis=1)  # a random order of the spaces for each field
    members = [order[i, : 2 + i % 2] for i in range(count)]
    per_space = [sum(space in own for own in members) for space in range(law.spaces)]
    pairs = sum(n * (n - 1) // 2 for n in per_space)

    def favourites(i: int) -> np.ndarray:
        size = law.groups[i % len(law.groups)] * law.favourites
        return draw_zipf(fields[i], words(seed, 1000 + i, size))

    def features(i: int) -> np.ndarray:
        """Columns: bias, half the squared norm of the latent vector, the latent vector."""
        share, own = zipf_shares(law.sizes[i], law.shift)[:, None], members[i]
        values = normals(words(seed, 2000 + i, len(share) * (1 + len(own) * law.dimension)))
        values = values.reshape(len(share), -1)
        values -= np.cumsum(share * values, axis=0)[-1]  # no field shifts the mean, and no
        values /= np.sqrt(np.cumsum(share * values * values, axis=0)[-1])  # pair adds to a bias
        table = np.zeros((len(share), 2 + law.spaces * law.dimension), np.float32)
        table[:, 0] = values[:, 0] * (law.linear / math.sqrt(count))
        scale = math.sqrt(law.pairwise / math.sqrt(law.dimension * pairs))
        for place, space in enumerate(own):
            first = 2 + space * law.dimension
            for k in range(law.dimension):
                column = (values[:, 1 + place * law.dimension + k] * scale).astype(np.float32)
                table[:, first + k] = column
                table[:, 1] += column * column / 2
        return table

    groups = [zipf_table(size, law.shift) for size in law.groups]
    numbers = range(count)
    return Tables(groups, fields, [*pool.map(favourites, numbers)], [*pool.map(features, numbers)])


def draw_rows(
    law: Law, tables: Tables, seed: int, block: int, rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the first rows of a block.

    Returns:
        Raw ids (int32 `[rows, N]`), labels (uint8 `[rows]`) and logits (float64 `[2, rows]`: the
        whole, and its linear part).
    """
    above, count = len(law.groups), len(law.sizes)
    random = words(seed, 0, (above + count + 1) * law.block, block)
    random = random.reshape(-1, law.block)[:, :rows]
    group = [draw_zipf(tables.groups[g], random[g]) for g in range(above)]
    ids = np.empty((rows, count), np.int32)
    total = np.zeros((rows, 2 + law.spaces * law.dimension), np.float32)
    for i in range(count):
        word = random[above + i]
        choice = (word & (law.favourites - 1)).view(np.int64)
        liked = tables.favourites[i].take(group[i % above] * law.favourites + choice)
        loyal = ((word >> 16) & 0xFFFF) < int(law.loyalty * 65536)
        drawn = np.where(loyal, liked, draw_zipf(tables.fields[i], word))
        ids[:, i] = drawn
        total += tables.features[i].take(drawn, axis=0)
    # All pairs at once: the squared norm of a sum, less the norms of its terms, is twice their
    # inner products.
    linear = law.intercept + total[:, 0].astype(np.float64)
    logit = linear - total[:, 1]
    for k in range(2, total.shape[1]):
        logit += total[:, k].astype(np.float64) * total[:, k] / 2
    uniform = (random[-1] >> 11) * 2.0**-53
    return ids, (uniform < sigmoid(logit)).astype(np.uint8), np.stack([logit, linear])


def normals(random: np.ndarray) -> np.ndarray:
    """float64, about standard normal: the centred sum of a word's four 16-bit parts."""
    parts = (((random >> bits) & 0xFFFF).view(np.int64) for bits in (0, 16, 32, 48))
    total = reduce(np.add, parts)
    return (total - 2 * 65535) / math.sqrt(4 * (65536**2 - 1) / 12)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) by products and quotients alone, with abs(x) cut at 30."""
    small = np.clip(x, -30, 30) / -256
    power = np.ones_like(small)
    for n in range(8, 0, -1):  # the series of exp to order 8, |small| < 0.12
        power = 1 + power * small / n
    for _ in range(8):
        power = power * power
    return 1 / (1 + power)
