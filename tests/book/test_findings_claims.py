"""Claims that can hold with nothing learned: their numbers against what chance gives."""

import pytest

from embedding_collapse.book.analysis.influence import at_random
from embedding_collapse.book.findings.claims import CLAIMS, ledger

SEEDS = range(3)
IN_ORDER = [[0.0, 1, 2], [3, 4, 5], [6, 7, 8]]
OTHERS = [[[0.0, 5, 1], [7, 2, 8], [3, 6, 4]], [[0.0, 8, 7], [6, 5, 4], [3, 2, 1]]]


def finding(records, start: str):
    """What the ledger has of a claim."""
    (found,) = [f for f in ledger(records) if f.claim.text.startswith(start)]
    return found


def test_a_claim_bears_its_place_in_the_ledger():
    assert [claim.number for claim in CLAIMS] == list(range(1, len(CLAIMS) + 1))


def test_random_projections_of_the_same_tables_are_no_more_than_chance(make_record):
    def runs(change):
        return [
            change(make_record(seed=seed, abundance=[0.9, 0.3, 0.6], projection_norms=[IN_ORDER]))
            for seed in SEEDS
        ]

    own = "A sub-embedding's information abundance grows"
    by_chance = finding(runs(at_random), own)
    assert by_chance.count("as claimed") == 1  # and yet nothing is learned
    assert by_chance.beyond_chance == "none of 1 beyond chance"
    no_norms = [make_record(seed=seed, projection_norms=None) for seed in SEEDS]
    assert finding(no_norms, own).beyond_chance == ""


@pytest.mark.parametrize(
    ("apart", "said"), [(IN_ORDER, "1 of 1 beyond chance"), (None, "none of 1 beyond chance")]
)
def test_patterns_of_sets_are_held_against_those_of_models_trained_apart(make_record, apart, said):
    """Sets unlike each other count where models trained apart are alike."""
    norms = [apart or each for each in (IN_ORDER, *OTHERS)]
    records = [make_record(seed=seed, projection_norms=[norms[seed]]) for seed in SEEDS]
    records += [
        make_record("me", 4, seed, projection_norms=[IN_ORDER, OTHERS[0]]) for seed in SEEDS
    ]
    assert finding(records, "Each set lets other pairs").beyond_chance == said
    assert finding(records, "Multi-embedding gains").beyond_chance == ""
