"""What is compared of a run: one number each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from embedding_collapse.lab.contrast import Effect, Group, contrast, mean_of
from embedding_collapse.lab.data.spec import US_FLIGHTS
from embedding_collapse.lab.groups import Cell, spread
from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import normalised_abundance
from embedding_collapse.subspace import random_diversity

NOTABLE = 0.001  # in AUC: a smaller gain counts as none; papers on clicks speak of one from here on


class Measure(NamedTuple):
    """A number of a run.

    Attributes:
        name: as a table's head has it.
        value: of a record.
        tested: whether it depends on the choice of test rows.
        band: a difference that lies within it to either side counts as none; 0 where none does.
    """

    name: str
    value: Callable[[Record], float]
    tested: bool = False
    band: float = 0.0

    def groups(self, cells: Iterable[tuple[float, Sequence[Record]]]) -> list[Group]:
        """The runs of several cells, each with its weight in a contrast, as that takes them.

        Raises:
            ParameterError: runs that were tested on other rows, or on the same in another order.
        """
        cells = list(cells)
        if not self.tested:
            return [Group(weight, [self.value(run) for run in runs]) for weight, runs in cells]
        rows = {_test_rows(run) for _, runs in cells for run in runs}
        if len(rows) > 1:
            raise ParameterError(
                f"runs tested on other rows, {' and '.join(sorted(rows))}; runs on the same data, "
                "made or read by the same options and versions, can be compared row by row"
            )
        return [
            Group(weight, [self.value(run) for run in runs], [run.score_summary for run in runs])
            for weight, runs in cells
        ]

    def mean_difference(
        self,
        pairs: Sequence[tuple[list[Record], list[Record]]],
        *,
        level: float = 0.95,
        against: float = 0.0,
    ) -> Effect:
        """The mean over pairs of cells of new minus old, as one contrast: runs that several pairs
        share count once. (`ledger` has the differences of cells, whose level heeds how often they
        were looked at.)

        Args:
            pairs: new and old; where old is empty, the new cell's own number.
            level: of the interval.
            against: what the mean is held against; it is taken off.

        Raises:
            ParameterError: runs that were tested on other rows, or on the same in another order.
        """
        cells: dict[tuple[str, ...], tuple[float, list[Record]]] = {}
        for pair in pairs:
            for runs, sign in zip(pair, (1, -1), strict=True):
                if runs:
                    key = tuple(run.key for run in runs)
                    weight, _ = cells.get(key, (0.0, runs))
                    cells[key] = weight + sign / len(pairs), runs
        groups = self.groups(cells.values())
        return contrast([group for group in groups if group.weight], level, against)

    def mean(self, runs: list[Record]) -> float:
        """The mean over the runs of a cell."""
        return float(np.mean([self.value(run) for run in runs]))


def _test_rows(run: Record) -> str:
    """What tells a run's test rows: the fingerprint of its data; but of US flights, and of drawn
    data that hold out a fixed number, they are the same whatever number of rows trains."""
    held_out, split = run.spec.get("held_out"), run.spec.get("split", "random")
    if run.spec["dataset"] in US_FLIGHTS or held_out is not None:
        return f"{run.spec['dataset']}, split {split}, held_out {held_out}"
    return f"fingerprint {run.dataset['fingerprint'][:12]}"


def _projected_abundance(record: Record) -> float:
    """The mean over sets and pairs of different fields."""
    abundance = np.array(record.projected_abundance)
    others = ~np.eye(abundance.shape[-1], dtype=bool)
    return float(abundance[:, others].mean() / len(record.spectra[0][0]))


def _decline(record: Record) -> float:
    aucs = [epoch["valid_auc"] for epoch in record.epochs]
    return max(aucs) - aucs[-1]


def rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's along the last axis; 0 where one has no order, all its entries being equal."""
    ranks = (rankdata(values, axis=-1) for values in (x, y))
    x, y = (of - of.mean(-1, keepdims=True) for of in ranks)
    norms = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return (x * y).sum(-1) / np.where(norms == 0, 1, norms)


def with_own_field(record: Record) -> float:
    """Rank correlation over i of IA(E_i^{->j}) with IA(E_i), the mean over j (and sets)."""
    return _with_field(record, own=True)


def with_partner(record: Record) -> float:
    """Rank correlation over j of IA(E_i^{->j}) with IA(E_j), the mean over i (and sets)."""
    return _with_field(record, own=False)


def _with_field(record: Record, own: bool) -> float:
    ia, pairs = record.abundance.mT.numpy(), np.array(record.projected_abundance)  # [M, N (, N)]
    pairs = pairs.swapaxes(-1, -2) if own else pairs
    others = ~np.eye(ia.shape[-1], dtype=bool)  # the field with itself is no interaction
    ia = np.broadcast_to(ia[:, None], pairs.shape)
    shape = *pairs.shape[:2], -1
    return rank_correlation(pairs[:, others].reshape(shape), ia[:, others].reshape(shape)).mean()


def with_partner_in_sums(record: Record) -> float:
    """Rank correlation over j of IA(E_i^{->j}) summed over all i with IA(E_j), the mean over sets:
    as the paper's figures show it."""
    sums = np.array(record.projected_abundance).sum(-2)  # [M, N]
    return rank_correlation(sums, record.abundance.mT.numpy()).mean()


def common_pattern(record: Record) -> float:
    """Rank correlation between two sets' ||W_{i->j}||_F over pairs of fields, the mean over
    pairs of sets; NaN where all sets share one W, or have none."""
    norms = np.array(record.projection_norms)
    if norms.ndim < 3 or len(norms) < 2:
        return float("nan")
    others = ~np.eye(norms.shape[-1], dtype=bool)
    maps = norms[:, others]
    first, second = np.triu_indices(len(maps), 1)
    return rank_correlation(maps[first], maps[second]).mean()


class Likeness(NamedTuple):
    """How alike the weights of a cell's sets are, by `common_pattern`.

    Attributes:
        together, apart: the mean over pairs of sets of one run, and over those of different runs,
            which know nothing of each other.
        nearer: the first minus the second, its interval by jackknife over runs, as pairs share
            them; without one for fewer than three runs.
    """

    together: float
    apart: float
    nearer: Effect


def likeness(runs: Sequence[Record]) -> Likeness:
    """Of the sets of several runs, each with equally many and a W of its own in each."""
    norms = np.array([run.projection_norms for run in runs])  # [R, M, N, N]
    count, sets, fields, _ = norms.shape
    maps = norms[..., ~np.eye(fields, dtype=bool)]
    ranks = rankdata(maps.reshape(count * sets, -1), axis=-1)
    pairs = np.corrcoef(ranks).reshape(count, sets, count, sets).sum((1, 3))
    pairs = np.where(np.eye(count, dtype=bool), (pairs - sets) / (sets - 1), pairs / sets) / sets

    def parts(kept: Sequence[int]) -> tuple[float, float]:
        some = pairs[np.ix_(kept, kept)]
        together, number = np.trace(some), len(kept)
        return together / number, (some.sum() - together) / (number * (number - 1))

    together, apart = parts(range(count))
    pseudo = [together - apart]
    if count > 2:
        for left_out in range(count):
            one, other = parts([run for run in range(count) if run != left_out])
            pseudo.append(count * pseudo[0] - (count - 1) * (one - other))
        del pseudo[0]
    return Likeness(together, apart, mean_of(pseudo))


def in_blocks(run: Record) -> float:
    """IA against random of the columns of SE's tables, turned at random and cut into blocks as wide
    as the base model's: wide and narrow tables at one width. The mean over fields and blocks."""
    generator = torch.Generator().manual_seed(0)
    shares = [
        block_abundance(spectrum, rows, run.spec["scale"], generator)
        for (spectrum,), rows in zip(run.spectra, run.dataset["cardinalities"], strict=True)
    ]
    return float(np.mean(shares))


def block_abundance(
    spectrum: Sequence[float], rows: int, blocks: int, generator: torch.Generator
) -> float:
    """IA against random of a table's columns, turned at random and cut into so many blocks; their
    mean.

    The spectrum is enough: it is that of a table whose right singular vectors are the axes, and
    turned at random it is as much as the table itself is.

    Args:
        spectrum: `[K]`, K a multiple of `blocks`.
        rows: of the table.
        blocks: how many.
        generator: turns the table.
    """
    wide = len(spectrum)
    rotation = torch.linalg.qr(torch.randn(wide, wide, generator=generator)).Q
    turned = torch.tensor(spectrum)[:, None] * rotation
    parts = turned.unflatten(1, (blocks, -1)).transpose(0, 1)
    return normalised_abundance(torch.linalg.svdvals(parts), rows).mean().item()


def relative_diversity(record: Record) -> float:
    """Diversity against that of random tables, the mean over fields with more than K features.

    K is that of the base model, as wide as one set of ME or one block of SE. About 1 for tables
    that have nothing to do with each other; NaN at scale 1.
    """
    if record.diversity is None:
        return float("nan")
    width = record.spec["embedding_size"]
    random = np.array([random_diversity(rows, width) for rows in record.dataset["cardinalities"]])
    return float(np.mean(np.array(record.diversity)[random > 0] / random[random > 0]))


AUC = Measure("test AUC", lambda record: record.test_auc, tested=True, band=NOTABLE)
LOG_LOSS = Measure("test log-loss", lambda record: record.test["log_loss"])
LEAST_LOG_LOSS = Measure(
    "least validation log-loss",
    lambda record: min(epoch["valid_log_loss"] for epoch in record.epochs),
)
ABUNDANCE = Measure("mean IA/K", lambda record: record.relative_abundance.mean().item())
FAIR_ABUNDANCE = Measure(
    "mean IA against random", lambda record: record.abundance_against_random.mean().item()
)
JOINED_ABUNDANCE = Measure(
    "mean IA/K, sets joined", lambda record: record.joined_abundance.mean().item()
)
PROJECTED_ABUNDANCE = Measure("mean IA/K of sub-embeddings", _projected_abundance)
DIVERSITY = Measure("diversity", lambda record: float(np.mean(record.diversity or np.nan)))
RELATIVE_DIVERSITY = Measure("diversity against random", relative_diversity)
DECLINE = Measure("fall of validation AUC from its best", _decline)
OWN_FIELD = Measure("rank correlation with the own field", with_own_field)
PARTNER = Measure("rank correlation with the partner", with_partner)
PARTNER_IN_SUMS = Measure("rank correlation of sums with the partner", with_partner_in_sums)
COMMON_PATTERN = Measure("rank correlation of two sets' weights", common_pattern)
BEST_EPOCH = Measure("best epoch", lambda record: record.best_epoch + 1.0)


def total_parameters(runs: Sequence[Record]) -> int:
    """Of embedding, interaction and head; all runs of a cell have the same number."""
    return sum(runs[0].parameters.values())


def _spread(values: Sequence[float]) -> str:
    return "" if np.isnan(values).any() else spread(values)


def overview(cells: Mapping[Cell, Sequence[Record]], measures: Sequence[Measure]) -> pd.DataFrame:
    """A row per cell: seeds, parameters, and means with their standard deviations over seeds."""
    rows = {
        cell.title: {
            "seeds": len(runs),
            "parameters": f"{total_parameters(runs):,}",
        }
        | {measure.name: _spread([measure.value(run) for run in runs]) for measure in measures}
        for cell, runs in cells.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
