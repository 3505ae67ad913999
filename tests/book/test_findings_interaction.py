"""What is said of sub-embeddings and of the toy experiment follows from the numbers."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from embedding_collapse.book.analysis.measures import with_own_field, with_partner
from embedding_collapse.book.findings import interaction
from embedding_collapse.book.findings.interaction import Influence, Learned
from embedding_collapse.lab.data import DataSpec, load
from embedding_collapse.lab.experiment import Spec, build_model, run
from embedding_collapse.lab.groups import Cell
from embedding_collapse.lab.toy import Curves
from embedding_collapse.spectrum import information_abundance, singular_values

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
    (found,) = interaction.influences(partners)
    assert found.name == "DCNv2 base"
    assert found.partner == pytest.approx([1, 1])
    assert found.own == [with_own_field(record) for record in partners[:2]] == [0, 0]
    assert len(found.own_by_chance) == len(found.partner_by_chance) == 2


def test_without_projections_there_is_no_chance_to_compare_with(make_record):
    record = make_record(model="ffm", projection_norms=None)
    (found,) = interaction.influences([record])
    assert found.own_by_chance == found.partner_by_chance == []


def test_random_projections_pass_on_the_own_spectrum_and_know_no_partner(make_record):
    """Spectra from flat to collapsed, over many seeds: own is high, partner zero on average."""
    shares = [0.99, 0.3, 0.6]
    found = [
        interaction.at_random(make_record(scale=4, seed=seed, abundance=shares))
        for seed in range(30)
    ]
    assert np.mean([with_own_field(record) for record in found]) > 0.6
    assert abs(np.mean([with_partner(record) for record in found])) < 0.25
    assert np.shape(found[0].projected_abundance) == (1, 3, 3)
    again = interaction.at_random(make_record(scale=4, seed=0, abundance=shares))
    assert again == found[0]


def test_what_was_learned_is_the_projections_minus_those_of_the_seed(tmp_path):
    """Against the weights that the same run leaves behind, block by block."""
    data = load("synthetic-mini", 1_000, progress=False)
    spec = Spec(DataSpec(rows=1_000), embedding_size=3, hidden=8, cross_layers=1, epochs=1,
                batch_size=256, seed=3)  # fmt: skip
    found = interaction.learned(spec, data, device="cpu", progress=False)
    run(spec, data, output=tmp_path, device="cpu", progress=False)
    after = load_file(tmp_path / f"{spec.key}.safetensors")
    before = build_model(spec, data.cardinalities).interaction.weight.detach()[0, 0]
    change = after["interaction.weight"][0, 0] - before
    assert found.moved == pytest.approx((change.norm() / before.norm()).item(), rel=1e-5)
    fields = after["table"][:, 0].split(data.cardinalities)
    for i, j in ((0, 1), (5, 2), (11, 4)):
        block = change[3 * j : 3 * j + 3, 3 * i : 3 * i + 3]  # rows of the partner, columns of i
        expected = information_abundance(singular_values((fields[i] @ block.T).double()))
        assert found.record.projected_abundance[0][i][j] == pytest.approx(expected.item(), rel=1e-3)


def influence(model: str, own: list[float], partner: list[float], chance: list[float]) -> Influence:
    return Influence(Cell("flights", model, "se", 1), own, partner, chance, chance)


def test_correlations_are_counted_by_where_their_interval_lies():
    text = interaction.told(
        [
            influence("dcnv2", [0.5, 0.51, 0.52], [-0.1, 0.0, 0.1], [0.2, 0.21, 0.22]),
            influence("dcnv2", [0.7, 0.71, 0.72], [-0.3, -0.31, -0.32], [0.69, 0.71, 0.73]),
            influence("ffm", [0.6, 0.61], [0.4, 0.41], []),
        ]
    )
    assert text.splitlines() == [
        "- **DCNv2, own field.** Rank correlation with IA(Eᵢ) in 2 settings: 2 above zero (means "
        "0.51 to 0.71). Random projections of the same tables give 0.21 to 0.71; the trained ones "
        "are above them in 1 of 2.",
        "- **DCNv2, partner.** Rank correlation with IA(Eⱼ) in 2 settings: 1 inside the noise, 1 "
        "below zero (means -0.31 to 0.00).",
        "- **FFM, own field.** Rank correlation with IA(Eᵢ) in 1 settings: 1 above zero (means "
        "0.60).",
        "- **FFM, partner.** Rank correlation with IA(Eⱼ) in 1 settings: 1 above zero (means "
        "0.41).",
    ]


def curves(ends: list[list[float]]) -> Curves:
    """IA falls from 4 to these values, one row per D_3 and one number per seed."""

    def spectrum(abundance: float) -> list[float]:
        return [1.0, *[(abundance - 1) / 3] * 3]

    spectra = [[[spectrum(4.0), spectrum(end)] for end in row] for row in ends]
    inside = [[[0.3, 0.1] for _ in row] for row in ends]
    return Curves(torch.tensor([0, 100]), torch.tensor(spectra).double(), torch.tensor(inside))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        ([2.0, 2.1, 2.2], [3.5, 3.7, 3.6], "as the paper finds"),
        ([3.5, 3.7, 3.6], [2.0, 2.1, 2.2], "against the paper"),
        ([2.0, 3.5, 3.0], [3.0, 2.5, 3.1], "inside the noise"),
    ],
)
def test_the_toys_verdict_is_that_of_the_paired_differences(low, high, verdict):
    found = curves([low, high])
    text = interaction.toy_told(found, 3, 100)
    gap = np.mean(high) - np.mean(low)
    assert text.endswith(f"**{verdict}**.")
    assert f"ends at {np.mean(low):.2f} with D₃ = 3, at {np.mean(high):.2f}" in text
    assert f"falls by {gap:.2f} [" in text
    assert f"more in {sum(h > w for w, h in zip(low, high, strict=True))} of 3 seeds" in text


def test_the_sweep_tells_its_ends_and_whether_more_features_keep_more():
    found = curves([[1.0, 1.2], [2.0, 2.2], [3.0, 3.2]])
    (line,) = interaction.sweep_told({5: found}, [2, 10, 100]).splitlines()
    assert line.startswith("- K = 5: E₁ keeps 28% of its IA with D₃ = 2, 78% with D₃ = 100;")
    assert line.endswith("1.00 [1.00, 1.00], above zero.")


def test_the_span_tells_start_peak_and_end():
    text = interaction.span_told("start at 1", curves([[2.0]]))
    assert text == (
        "- start at 1: 30% of E₁ lies inside at the start, 10% at the end, and most at iteration "
        "0, 30%. Its IA is 4.0 at the start, 4.0 there, and 2.0 at the end."
    )


def test_agreement_sorts_the_findings_by_how_many_settings_show_them():
    found = [
        influence("dcnv2", [0.5, 0.51, 0.52], [-0.1, 0.0, 0.1], [0.3, 0.31, 0.32]),
        influence("dcnv2", [-0.3, 0.1, 0.3], [-0.1, 0.0, 0.1], [0.4, 0.41, 0.42]),
        influence("ffm", [0.6, 0.61, 0.6], [0.4, 0.41, 0.4], []),
    ]
    lines = interaction.agreement(curves([[2.0, 2.1, 2.2], [3.5, 3.7, 3.6]]), found).splitlines()
    assert lines == [
        "- **Agrees:** the toy experiment (in 1 of 1); FFM's sub-embeddings follow their own field "
        "(in 1 of 1, with no projections to compare with); FFM's sub-embeddings follow their "
        "partner (in 1 of 1).",
        "- **Agrees in part:** DCNv2's sub-embeddings follow their own field (above zero in 1 of "
        "2, above random projections in 1).",
        "- **Does not show:** DCNv2's sub-embeddings follow their partner (in 0 of 2).",
    ]


def test_what_random_projections_show_as_well_is_no_agreement():
    chance = [[0.5, 0.52, 0.51], [0.8, 0.81, 0.82]]
    found = [influence("dcnv2", [0.5, 0.51, 0.52], [0.0, 0.1, -0.1], each) for each in chance]
    lines = interaction.agreement(curves([[2.0, 2.1, 2.2], [3.5, 3.7, 3.6]]), found).splitlines()
    assert lines[1] == (
        "- **No more than chance:** DCNv2's sub-embeddings follow their own field (above zero in 2 "
        "of 2, above random projections in 0)."
    )


def test_in_short_counts_the_settings_that_follow_their_partner():
    found = [
        influence("dcnv2", [0.5, 0.51], [-0.1, 0.1], []),
        influence("ffm", [0.6, 0.61], [0.4, 0.41], []),
    ]
    assert interaction.in_short(found).endswith(
        "their partner: those of DCNv2 in 0 of 1 settings, those of FFM in 1 of 1 settings."
    )


def test_no_interval_of_a_correlation_reaches_beyond_one():
    found = curves([[3.0, 1.0, 2.0], [2.0, 2.0, 3.0], [2.5, 3.0, 3.9]])
    told = interaction.sweep_told({5: found}, [2, 10, 100])
    low, high = map(float, told.partition("[")[2].partition("]")[0].split(","))
    assert -1 <= low < 0 and high == 1


def test_what_was_learned_is_told_with_intervals_over_seeds(make_record):
    changes = [
        Learned(
            make_record(seed=seed, abundance=OWN, projected_abundance=following("partner")), 0.2
        )
        for seed in range(3)
    ]
    text = interaction.learned_told(changes)
    assert (
        "Over 3 seeds of DCNv2 base on synthetic-mini, training moves the projections by 20%"
        in text
    )
    assert "with IA(Eⱼ) 1.000 [1.000, 1.000], above zero. The second" in text
    assert "is consistent with training doing what the paper says" in text
