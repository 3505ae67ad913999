"""What explains a run, on records whose numbers are known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from embedding_collapse.book.findings import mechanism
from embedding_collapse.lab.models import build
from embedding_collapse.lab.models.penalties import orthogonality
from embedding_collapse.lab.models.recommender import Size
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import random_abundance

Make = Callable[..., Record]
CARDINALITIES = [50, 3, 20]  # of `make_record`, whose base model has K = 4


def test_sets_as_diverse_as_random_tables_have_a_relative_diversity_of_one(make_record: Make):
    random = [1 - 4 / 50, 0.0, 1 - 4 / 20]  # a field with fewer features than K has none
    assert mechanism.relative_diversity(make_record("me", 4, diversity=random)) == pytest.approx(1)
    half = make_record("me", 4, diversity=[value / 2 for value in random])
    assert mechanism.relative_diversity(half) == pytest.approx(0.5)
    assert np.isnan(mechanism.relative_diversity(make_record()))


def test_abundance_is_summed_over_the_fields_it_comes_from(make_record: Make):
    one = [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]  # by i, then j
    other = [[3.0, 2.0, 1.0]] * 3
    record = make_record("me", 2, projected_abundance=[one, other])
    assert mechanism.abundance_sums(record) == pytest.approx(
        [(4 + 9) / 2, (5 + 6) / 2, (6 + 3) / 2]
    )
    with pytest.raises(ValueError, match="dnn projects no fields"):
        mechanism.abundance_sums(make_record(model="dnn", projected_abundance=None))


def test_the_most_that_a_sum_can_be_is_that_of_random_tables(make_record: Make):
    expected = sum(random_abundance(rows, 4) for rows in CARDINALITIES)
    assert mechanism.most_abundance(make_record()) == pytest.approx(expected)


@pytest.mark.parametrize("model", ["dcnv2-regularized", "dcnv2-regularized-fixed"])
@pytest.mark.parametrize(("blocks", "expected"), [("orthogonal", 0), ("zero", 1)])
def test_blocks_deviate_by_nothing_where_orthogonal_and_by_one_where_zero(
    make_record: Make, model: str, blocks: str, expected: float
):
    network = build(model, CARDINALITIES, Size(fields=3, sets=1, width=4))
    interaction = network.interaction
    with torch.no_grad():
        eye = torch.eye(4).repeat(3, 3) if blocks == "orthogonal" else torch.zeros(12, 12)
        interaction.weight[:] = eye
    penalty = network.penalty(interaction, torch.zeros(1, 2, 3, 4)).item()
    record = make_record(model=model, epochs=[{"penalty": penalty}])
    assert mechanism.block_deviation(record) == pytest.approx([expected], abs=1e-6)
    assert network.penalty.func is orthogonality


def test_other_models_have_no_deviation(make_record: Make):
    for model in ("dcnv2", "dcnv2-aligned"):
        with pytest.raises(ValueError, match=f"{model} has no penalty on the blocks"):
            mechanism.block_deviation(make_record(model=model))


def test_deviation_is_told_of_the_epoch_that_was_tested(make_record: Make):
    each = 1e-5 * 4 * 3**2 * 4
    epochs = [{"penalty": value * each} for value in (0.9, 0.5, 0.1)]
    record = make_record(model="dcnv2-regularized", epochs=epochs, best_epoch=1)
    (row,) = mechanism.deviation_table([record]).values
    assert row.tolist() == ["0.900", "0.500", "0.100"]


@pytest.fixture
def patterns(make_record: Make) -> list[Record]:
    """Base runs with unrelated patterns; runs of ME whose sets have the same one."""
    draw = np.random.default_rng(0)
    apart = [
        make_record("se", 1, seed, projection_norms=draw.random((1, 8, 8)).tolist())
        for seed in range(3)
    ]
    together = [
        make_record("me", 4, seed, projection_norms=[draw.random((8, 8)).tolist()] * 4)
        for seed in range(3)
    ]
    return apart + together


def test_patterns_are_compared_between_runs_and_between_sets(patterns: list[Record]):
    apart = mechanism.patterns_between_runs(patterns[:3])
    assert len(apart) == 3 and max(apart) < 1
    table = mechanism.pattern_table(patterns)["rank correlation"]
    assert table["synthetic-mini", "sets of DCNv2 ME 4x"] == "1.0000 ± 0.0000"
    assert table["synthetic-mini", "runs of DCNv2 base"].startswith(f"{np.mean(apart):.4f} ±")


def test_sets_that_are_all_alike_are_told_to_be_more_alike_than_runs(patterns: list[Record]):
    found = mechanism.patterns_compared(patterns)
    change = found["synthetic-mini, DCNv2 ME 4x"]
    assert change.mean == pytest.approx(1 - np.mean(mechanism.patterns_between_runs(patterns[:3])))
    assert change.verdict == "higher"


def test_diversity_is_tabled_with_and_without_the_share_of_random_tables(make_record: Make):
    random = [1 - 4 / 50, 0.0, 1 - 4 / 20]
    runs = [make_record("se", 1), make_record("me", 4, diversity=random)]
    (row,) = mechanism.diversity_table(runs).values
    assert row.tolist() == [f"{np.mean(random):.4f}", "1.0000"]
