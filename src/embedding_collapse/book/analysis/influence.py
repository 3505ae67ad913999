"""How a sub-embedding's information abundance goes with its own field's and with its partner's."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedding_collapse.lab.contrast import mean_of
from embedding_collapse.lab.groups import Cell, by_cell
from embedding_collapse.lab.records import Record

from .measures import PROJECTED_ABUNDANCE, Measure, with_own_field, with_partner


class Influence(NamedTuple):
    """The rank correlations of one cell's sub-embeddings, a number per seed.

    Attributes:
        cell: the runs.
        own: of IA(E_i^{->j}) with IA(E_i), see `measures.with_own_field`.
        partner: of IA(E_i^{->j}) with IA(E_j), see `measures.with_partner`.
        own_by_chance, partner_by_chance: the same had nothing been learned, see
            `at_random`; empty for a model that projects nothing.
    """

    cell: Cell
    own: list[float]
    partner: list[float]
    own_by_chance: list[float]
    partner_by_chance: list[float]


def influences(records: Iterable[Record]) -> list[Influence]:
    """Of all runs that have sub-embeddings, cell by cell."""
    held = [record for record in records if record.projected_abundance is not None]
    results = []
    for cell, group in by_cell(held).items():
        project = all(record.projection_norms is not None for record in group)
        random = [at_random(record) for record in group] if project else []
        results.append(
            Influence(
                cell,
                *(
                    [correlation(run) for run in runs]
                    for runs in (group, random)
                    for correlation in (with_own_field, with_partner)
                ),
            )
        )
    return results


def correlations(cells: Sequence[Influence]) -> pd.DataFrame:
    """A row per dataset, model and size: the rank correlations with the own field and with the
    partner, against zero, and by how much the first is above that of random projections (NaN for a
    model that projects nothing): an `Effect` over seeds each."""
    rows = {}
    for one in cells:
        chance = one.own_by_chance
        rows[one.cell.title] = {
            "own field": mean_of(one.own),
            # run by run, as both are of its tables
            "above random projections": mean_of(np.subtract(one.own, chance)) if chance else np.nan,
            "partner": mean_of(one.partner),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def without(run: Record, field: str) -> Record:
    """The run's spectra and sub-embeddings without those of a field, and without those made for
    it."""
    kept = np.delete(np.arange(len(run.spectra)), run.dataset["fields"].index(field))
    pairs = np.array(run.projected_abundance)[:, kept][:, :, kept]
    return replace(run, spectra=[run.spectra[i] for i in kept], projected_abundance=pairs.tolist())


def at_random(record: Record) -> Record:
    """The record as if its tables were projected by independent normal matrices.

    A projection passes much of a table's spectrum on whatever it is, so that some correlation with
    the own field is there before anything is learned. Only the spectra matter here, since a normal
    matrix has no preferred directions.
    """
    spectra = np.array(record.spectra).swapaxes(0, 1)  # [M, N, K]
    sets, fields, width = spectra.shape
    generator = np.random.default_rng(record.spec["seed"])
    projections = generator.standard_normal((sets, fields, fields, width, width))
    projected = spectra[:, :, None, :, None] * projections  # [M, i, j, K, K]
    values = np.linalg.svd(projected, compute_uv=False)
    return replace(record, projected_abundance=(values.sum(-1) / values.max(-1)).tolist())


def passed_on(record: Record) -> float:
    """IA of the sub-embeddings, over sets and pairs of different fields, against that of the same
    tables under random projections: what is left of it once projections are learned.

    Unlike IA / K it can be compared over widths: at the random start it is about 1 at any.
    """
    value = PROJECTED_ABUNDANCE.value
    return value(record) / value(at_random(record))


PASSED_ON = Measure("sub-embeddings' IA against random projections", passed_on)
