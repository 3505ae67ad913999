import pytest
import torch

from embedding_collapse.book.findings import yardsticks
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import random_spectrum, stable_rank


@pytest.fixture
def runs(make_record):
    """Three seeds of base and SE 4x; the latter's IA / K is half of the former's."""
    return [
        make_record("se", scale, seed, abundance=share + seed / 100)
        for seed in range(3)
        for scale, share in ((1, 0.8), (4, 0.4))
    ]


def test_readings_are_means_over_fields_as_worked_out_by_hand(make_record):
    record = make_record("se", 4, abundance=[0.4, 0.5, 0.6])
    found = yardsticks.readings(record)
    assert len(found) == 9
    assert found["information abundance", "over K"] == pytest.approx(0.5)
    assert found["information abundance", "as it is"] == pytest.approx(8)  # K = 16
    stable = [
        (stable_rank(torch.tensor(sets[0])) / stable_rank(random_spectrum(rows, 16))).item()
        for sets, rows in zip(record.spectra, record.dataset["cardinalities"], strict=True)
    ]
    assert found["stable rank", "against random"] == pytest.approx(sum(stable) / 3, rel=1e-5)


def test_the_sets_of_me_are_averaged(make_record):
    record = make_record("me", 4, abundance=0.6)
    assert yardsticks.readings(record)["information abundance", "as it is"] == pytest.approx(2.4)


def test_comparison_has_every_reading_with_a_number_per_seed(runs):
    compared = yardsticks.compare(runs, "SE 4x")
    assert [(each.measure, each.reading) for each in compared] == [
        (name, reading) for name in yardsticks.MEASURES for reading in yardsticks.READINGS
    ]
    over_k = compared[1]
    assert over_k.old == pytest.approx([0.80, 0.81, 0.82])
    assert over_k.new == pytest.approx([0.40, 0.41, 0.42])
    assert over_k.change.mean == pytest.approx(-0.4)
    table = yardsticks.side_by_side(compared, "SE 4x")
    row = table.loc["IA", "over K"]
    assert row["base"] == "0.81 ± 0.01"
    assert row["SE 4x - base"].startswith("-0.40 [-0.4")


def test_in_short_counts_the_shares_that_say_more_collapsed(runs):
    told = yardsticks.in_short({"flights": yardsticks.compare(runs, "SE 4x")}, "SE 4x")
    assert "more collapsed than base: 4 of 6 on flights (IA/K 0.81 in base" in told


def test_agreement_is_told_and_so_is_its_absence(runs):
    compared = yardsticks.compare(runs, "SE 4x")
    as_is, over_k, _ = yardsticks.agreement(compared, "SE 4x").splitlines()
    assert "SE 4x is *less collapsed* than base by all three measures" in as_is
    assert "SE 4x is *more collapsed* than base by all three measures" in over_k
    assert "information abundance -49%" in over_k
    flipped = [
        each._replace(change=each.change._replace(mean=1, low=0.5, high=2))
        if each.measure == "stable rank"
        else each
        for each in compared
    ]
    over_k = yardsticks.agreement(flipped, "SE 4x").splitlines()[1]
    assert "the measures differ on SE 4x against base" in over_k
    assert "stable rank -" in over_k
    assert over_k.count("(more collapsed)") == 2
    assert over_k.count("(less collapsed)") == 1


def test_one_seed_tells_nothing_apart(runs):
    lines = yardsticks.agreement(yardsticks.compare(runs[:2], "SE 4x"), "SE 4x").splitlines()
    assert all("*inside the noise* of base by all three" in line for line in lines)


def test_a_label_that_is_not_there_is_named(runs):
    with pytest.raises(ValueError, match="no runs of SE 10x; there are base, SE 4x"):
        yardsticks.compare(runs, "SE 10x")


def test_runs_are_chosen_by_model_and_scale_and_others_are_refused(make_record, runs):
    records = [*runs, make_record("me", 4), make_record("se", 10), make_record(model="dnn")]
    found = yardsticks.chosen(records, "dcnv2", 4, "synthetic-mini")
    assert {run.label for run in found} == {"base", "SE 4x"}
    assert {run.spec["model"] for run in found} == {"dcnv2"}
    for asked, message in (
        (("ipnn", 4, "synthetic-mini"), "model 'ipnn' is unknown; known: dcnv2, dnn"),
        (("dcnv2", 3, "synthetic-mini"), "scale 3 is unknown; known: 4, 10"),
        (("dcnv2", 4, "criteo"), "dataset 'criteo' is unknown; known: synthetic-mini"),
    ):
        with pytest.raises(ParameterError, match=message):
            yardsticks.chosen(records, *asked)


def test_blocks_of_a_random_table_are_random_and_those_of_a_line_are_lines():
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(500, 1, 20, generator=generator)
    assert yardsticks.in_blocks(wide, [100, 400], 5) == pytest.approx(1, abs=0.05)
    line = wide[..., :1] * torch.randn(20, generator=generator)
    narrow = yardsticks.in_blocks(line, [100, 400], 5)
    assert narrow == pytest.approx(1 / 5, abs=0.03)
