"""Lifted DCNv2: tables of ten columns before an interaction as wide as SE's."""

from dataclasses import replace

import pytest
import torch

from embedding_collapse.decomposition import singular_values
from embedding_collapse.lab.models import Size, build

SIZE = Size(fields=3, sets=1, width=40, hidden=16)
CARDINALITIES = [20, 30, 25]


def lifted(size: Size):
    model = build("dcnv2-lifted", CARDINALITIES, size).eval()
    return model, torch.einsum(
        "bni,nik->bnk",
        model.embed(torch.tensor([[x] * 3 for x in range(20)])).squeeze(0),
        model.interaction.lift.squeeze(0),
    )


@pytest.mark.parametrize("width", [40, 100])
def test_what_its_interaction_is_given_of_a_field_has_ten_directions_at_most(width):
    model, wide = lifted(replace(SIZE, width=width))
    assert model.table.shape == (sum(CARDINALITIES), 1, 10)
    assert wide.shape == (20, 3, width)
    spectra = singular_values(wide.movedim(1, 0).detach().double())
    assert (spectra[:, 9] > 1e-3).all() and (spectra[:, 10:] < 1e-6).all()


def test_its_interaction_is_that_of_a_wide_table():
    model, wide = lifted(SIZE)
    wide_model = build("dcnv2", CARDINALITIES, SIZE).eval()
    wide_model.interaction.load_state_dict(model.interaction.interaction.state_dict())
    ids = torch.tensor([[x] * 3 for x in range(20)])
    ours = model.interaction(model.embed(ids))
    theirs = wide_model.interaction(wide.unsqueeze(0))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    counts = [one.parameter_counts()["interaction"] for one in (model, wide_model)]
    assert counts[0] - counts[1] == 3 * 10 * 40  # the lift's


def test_what_is_lifted_begins_about_as_large_as_the_table():
    model, wide = lifted(replace(SIZE, width=400))
    assert wide.std().item() == pytest.approx(model.table[:70].std().item(), rel=0.15)
