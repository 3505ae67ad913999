"""How often the verdict is wrong: what is counted, and that the record is of this code."""

from pathlib import Path

import pytest
import torch

from embedding_collapse.files import load_json
from embedding_collapse.lab import calibration
from embedding_collapse.lab.calibration import CASES, SEEDS, SHAPES, TRUTHS, rates, trained

RECORD = Path(__file__).parents[2] / "results" / "verdict" / "calibration.json"


def test_false_alarms_and_misses_are_counted_apart_and_small_shapes_in_neither():
    cases = [
        {"truth": "sound", "verdicts": {"not collapsed": 5, "offset": 1, "too small to tell": 2}},
        {"truth": "offset", "verdicts": {"offset": 3, "collapsed": 2}},
        {"truth": "collapsed", "verdicts": {"collapsed": 4, "partly collapsed": 1, "offset": 1}},
    ]
    assert rates(cases) == {
        "false alarms": 3,
        "of sound tables": 11,
        "misses": 1,
        "of collapsed tables": 6,
        "too small to tell": 2,
    }


@pytest.mark.parametrize("kind", CASES)
def test_a_case_is_what_it_says(kind):
    """At a shape at which every kind is told, but those that Zipf's law leaves half trained."""
    case = CASES[kind]
    found = calibration.verdicts(case, 2000, 16, seeds=1)
    if kind not in ("Zipf, quarter rank", "Zipf, low rank, counts given"):
        assert set(found) <= set(TRUTHS[case.truth])


def test_rows_that_were_never_looked_up_are_as_they_were_drawn():
    target = torch.full((400, 8), 9.0, dtype=torch.float64)
    values, counts = trained(target, 0.01, torch.Generator().manual_seed(0), True)
    assert counts.sum() == 1200 and (counts == 0).any()
    assert (values[counts == 0].abs() < 0.1).all()
    assert (values[counts > 60] - 9).abs().max() < 0.2


def test_the_record_is_of_these_cases_and_its_rates_are_those_of_its_counts():
    record = load_json(RECORD)
    told = [(case["kind"], case["truth"], case["rows"], case["width"]) for case in record["cases"]]
    assert told == [(kind, case.truth, *shape) for kind, case in CASES.items() for shape in SHAPES]
    assert all(sum(case["verdicts"].values()) == SEEDS for case in record["cases"])
    assert record["rates"] == rates(record["cases"])
    (first, *_) = record["cases"]
    assert (
        calibration.verdicts(CASES[first["kind"]], first["rows"], first["width"])
        == (first["verdicts"])
    )
