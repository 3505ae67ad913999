"""What a record holds of a model's tables, beside the same of the table itself."""

import numpy as np
import pytest
import torch

from embedding_collapse.lab.data import Dataset, DataSpec, load
from embedding_collapse.lab.measured import measured
from embedding_collapse.lab.models import Recommender
from embedding_collapse.lab.spec import Spec, build_model
from embedding_collapse.spectrum import field_spectra, weighted_random_spectra

SPEC = Spec(DataSpec("synthetic-mini", 1500), embedding_size=3, hidden=8, design="me", scale=2)


@pytest.fixture(scope="module")
def clicks() -> Dataset:
    return load("synthetic-mini", 1500)


@pytest.fixture(scope="module")
def model(clicks) -> Recommender:
    return build_model(SPEC, clicks.cardinalities)


@pytest.fixture(scope="module")
def content(model, clicks) -> dict:
    return measured(SPEC, model, clicks)


def assert_on_record(values: list, expected: torch.Tensor, digits: int = 6) -> None:
    """To as many significant digits as a record holds, and zeros to the rounding of float64."""
    found = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=10 ** (1 - digits), atol=1e-9)


@pytest.mark.parametrize("kind", ["centred", "weighted"])
def test_spectra_are_centred_and_weighted_by_how_often_training_rows_have_a_feature(
    model, clicks, content, kind
):
    ways = {"centred": {"centred": True}, "weighted": {"weights": clicks.training_counts}}
    expected = field_spectra(model.table.detach(), clicks.cardinalities, **ways[kind])
    assert_on_record(content[f"{kind}_spectra"], expected)


def test_random_tables_are_weighted_as_the_models_own(clicks, content):
    expected = weighted_random_spectra(clicks.training_counts, clicks.cardinalities, SPEC.width)
    assert_on_record(content["weighted_random"], expected, digits=4)


def test_joined_spectra_are_those_of_a_fields_sets_side_by_side(model, clicks, content):
    largest = int(np.argmax(clicks.cardinalities))
    sets = model.table.detach().split(clicks.cardinalities)[largest]
    assert_on_record(
        content["joined_spectra"][largest], torch.linalg.svdvals(sets.flatten(1).double())
    )
