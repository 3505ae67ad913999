"""Which fields' information abundance sub-embeddings follow."""

from dataclasses import replace

import numpy as np
import pytest

from embedding_collapse.book.analysis import influence
from embedding_collapse.book.analysis.measures import with_own_field, with_partner

OWN = [0.9, 0.3, 0.5]  # IA / K of the fields of `make_record`


def following(what: str) -> list:
    """Sub-embeddings `[M][i][j]` whose IA is that of their own field, or of their partner."""
    own = np.array(OWN) * 4
    pairs = np.tile(own[:, None], (1, 3))
    return [(pairs if what == "own" else pairs.T).tolist()]


@pytest.fixture
def partners(make_record):
    """Two runs of DCNv2 whose sub-embeddings follow their partner, and two of a model without."""
    made = [
        make_record(seed=seed, abundance=OWN, projected_abundance=following("partner"))
        for seed in range(2)
    ]
    return [*made, make_record(model="dnn", projected_abundance=None)]


def test_influences_are_the_rank_correlations_of_every_run_that_has_sub_embeddings(partners):
    (found,) = influence.influences(partners)
    assert found.cell.title == "synthetic-mini, DCNv2 base"
    assert found.partner == pytest.approx([1, 1])
    assert found.own == [with_own_field(record) for record in partners[:2]] == [0, 0]
    assert len(found.own_by_chance) == len(found.partner_by_chance) == 2


def test_without_projections_there_is_no_chance_to_compare_with(make_record):
    record = make_record(model="ffm", projection_norms=None)
    (found,) = influence.influences([record])
    assert found.own_by_chance == found.partner_by_chance == []


def test_random_projections_pass_on_the_own_spectrum_and_know_no_partner(make_record):
    """Spectra from flat to collapsed, over many seeds: own is high, partner zero on average."""
    shares = [0.99, 0.3, 0.6]
    found = [
        influence.at_random(make_record(scale=4, seed=seed, abundance=shares)) for seed in range(30)
    ]
    assert np.mean([with_own_field(record) for record in found]) > 0.6
    assert abs(np.mean([with_partner(record) for record in found])) < 0.25
    assert np.shape(found[0].projected_abundance) == (1, 3, 3)
    again = influence.at_random(make_record(scale=4, seed=0, abundance=shares))
    assert again == found[0]


def test_random_projections_pass_all_on_at_any_width_and_others_their_share(make_record):
    for scale in (1, 4):
        record = influence.at_random(make_record(scale=scale, seed=3, abundance=[0.9, 0.3, 0.6]))
        others = replace(record, spec=record.spec | {"seed": 4})
        assert influence.passed_on(others) == pytest.approx(1, abs=0.3)
        halved = (np.array(record.projected_abundance) / 2).tolist()
        assert influence.passed_on(replace(record, projected_abundance=halved)) == 0.5


def test_without_its_smallest_field_a_run_has_neither_its_sub_embeddings_nor_those_made_for_it(
    make_record,
):
    run = make_record(projected_abundance=[[[9.0, 0.8, 1.2], [1.6, 9.0, 2.4], [2.8, 3.2, 9.0]]])
    left = influence.without(run, "device")  # the second
    assert left.projected_abundance == [[[9.0, 1.2], [2.8, 9.0]]]
    assert left.spectra == [run.spectra[0], run.spectra[2]]
    assert len(run.spectra) == 3
