"""The toy experiment: what it finds, and that its shortcuts compute what the paper describes."""

import pytest
import torch
import torch.nn.functional as F
from rounding import assert_same_sums

from embedding_collapse.decomposition import singular_values
from embedding_collapse.errors import DivergedError
from embedding_collapse.lab import toy
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import information_abundance


def test_few_features_in_the_third_field_cost_the_first_table_its_information_abundance():
    low, high = toy.run((3, 100), seeds=range(5)).abundance
    assert (low[:, -1] - low[:, 0]).mean() < (high[:, -1] - high[:, 0]).mean() - 0.5
    assert (low[:, -1] < high[:, -1]).all()  # for every seed


def assert_descended_alike(found: torch.Tensor, expected: torch.Tensor, terms: int) -> None:
    """Measured in float64, of tables trained in float32 by sums of so many terms in all."""
    assert_same_sums(found.float(), expected.float(), terms)


@pytest.mark.rounding
@pytest.mark.parametrize("loss", toy.LOSSES)
def test_training_equals_gradient_descent_by_automatic_differentiation(loss):
    draw = toy.draw(6, 5, 3, 4, seed=1, spread=0.5)
    one = draw.first.clone().requires_grad_()
    measure = {"logistic": F.binary_cross_entropy_with_logits, "squared": F.mse_loss}[loss]
    for _ in range(20):
        e = one[:, None], draw.second[None], draw.third[draw.context]  # [D_1, D_2, K] by broadcast
        logits = (e[0] * e[1] + e[0] * e[2] + e[1] * e[2]).sum(-1)
        (slope,) = torch.autograd.grad(measure(logits, draw.labels), one)
        one = (one - 0.7 * slope).detach().requires_grad_()
    found = toy.run(
        3, 4, [1], 20, every=20, first=6, second=5, learning_rate=0.7, loss=loss, spread=0.5
    )
    span = torch.linalg.qr(draw.third.mT).Q
    terms = 20 * (4 + 5)  # steps; a logit's and a slope's sums, over K and D_2
    assert_descended_alike(found.spectra[0, 0, -1], singular_values(one.detach()), terms)
    share = (one @ span).square().sum() / one.square().sum()
    assert_descended_alike(found.inside[0, 0, -1], share.detach(), terms + 6 * 4)


@pytest.mark.rounding
def test_a_setting_has_the_same_curve_alone_and_among_others():
    thirds, seeds = (2, 3, 100), range(4)
    together = toy.run(thirds, seeds=seeds, iterations=60, every=20)
    alone = toy.run(3, seeds=[2], iterations=60, every=20)
    terms = 60 * (10 + 100)  # steps; over K and D_2
    assert_descended_alike(together.spectra[1, 2], alone.spectra[0, 0], terms)
    assert together.steps.tolist() == [0, 20, 40, 60]
    assert together.abundance.shape == (3, 4, 4)


def test_float32_is_enough(monkeypatch):
    single = toy.run(3, seeds=[0], iterations=300).abundance
    draw = toy.draw

    def in_double(*sizes):
        return toy.Draw(*(x.double() if x.is_floating_point() else x for x in draw(*sizes)))

    monkeypatch.setattr(toy, "draw", in_double)
    double = toy.run(3, seeds=[0], iterations=300).abundance
    assert torch.allclose(single, double, rtol=1e-5)


@pytest.mark.rounding
def test_the_curves_of_a_seed_start_from_one_table_for_every_third_field():
    found = toy.run((3, 20), seeds=range(2), iterations=1)
    # tables of a batch, whose products a library may order differently
    assert_same_sums(found.spectra[0, :, 0], found.spectra[1, :, 0], 100 + 10 * 10)
    assert not torch.equal(found.spectra[0, 0, 0], found.spectra[0, 1, 0])


def test_the_abundance_is_that_of_the_spectra_and_everything_is_inside_a_full_span():
    found = toy.run((3, 20), seeds=[0], iterations=5, every=5)
    assert torch.equal(found.abundance, information_abundance(found.spectra))
    assert_same_sums(found.inside[1], torch.ones_like(found.inside[1]), 100 * 10 + 20 * 10)
    assert (found.inside[0] < 0.6).all()


def test_of_a_table_of_zeros_nothing_is_inside_a_span():
    found = toy.run(3, 4, [0], 1, first=6, second=5, spread=0.0)
    assert found.inside[0, 0, 0] == 0 and found.inside.isfinite().all()


def test_training_that_diverges_says_so():
    with pytest.raises(DivergedError, match=r"no longer finite; .* learning_rate \(now 1000\)"):
        toy.run(3, seeds=[0], iterations=100, first=6, second=5, learning_rate=1e3, loss="squared")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("third", 0, "third is 0; whole numbers from 1 up are accepted"),
        ("third", (), "the number of values of third is 0"),
        ("seeds", [], "the number of seeds is 0"),
        ("seeds", [-1], "seed is -1"),
        ("width", 0, "width is 0"),
        ("iterations", 2.5, "iterations is 2.5"),
        ("every", 0, "every is 0"),
        ("learning_rate", -1, "learning_rate is -1"),
        ("spread", "a", "spread is 'a'"),
        ("loss", "hinge", "loss 'hinge' is unknown; known: logistic, squared"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name, value, message):
    with pytest.raises(ParameterError, match="^" + message.replace("(", r"\(")):
        toy.run(**{name: value})
