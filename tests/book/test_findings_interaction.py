"""What is said of sub-embeddings follows from the numbers."""

from embedding_collapse.book.findings import interaction
from embedding_collapse.book.findings.interaction import Influence
from embedding_collapse.lab.groups import Cell


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
