"""The toy experiment: what it finds, and that its shortcuts compute what the paper describes."""

import pytest
import torch
import torch.nn.functional as F

from embedding_collapse import toy
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import information_abundance, singular_values


def test_few_features_in_the_third_field_cost_the_first_table_its_information_abundance():
    low, high = toy.run((3, 100), seeds=range(5)).abundance
    assert (low[:, -1] - low[:, 0]).mean() < (high[:, -1] - high[:, 0]).mean() - 0.5
    assert (low[:, -1] < high[:, -1]).all()  # for every seed


@pytest.mark.parametrize("loss", toy.LOSSES)
def test_training_equals_gradient_descent_by_automatic_differentiation(loss):
    draw = toy._draw(6, 5, 3, 4, seed=1, spread=0.5)
    one = draw.first.clone().requires_grad_()
    measure = {"logistic": F.binary_cross_entropy_with_logits, "squared": F.mse_loss}[loss]
    for _ in range(20):
        e = one[:, None], draw.second[None], draw.third[draw.context]  # [D_1, D_2, K] by broadcast
        logits = (e[0] * e[1] + e[0] * e[2] + e[1] * e[2]).sum(-1)
        (slope,) = torch.autograd.grad(measure(logits, draw.labels), one)
        one = (one - 0.7 * slope).detach().requires_grad_()
    found = toy.run(3, 4, [1], 20, every=20, first=6, second=5, learning_rate=0.7, loss=loss,
                    spread=0.5)  # fmt: skip
    span = torch.linalg.qr(draw.third.mT).Q
    assert torch.allclose(found.spectra[0, 0, -1], singular_values(one.detach()), rtol=1e-5)
    share = (one @ span).square().sum() / one.square().sum()
    assert found.inside[0, 0, -1].item() == pytest.approx(share.item(), rel=1e-5)


def test_a_setting_has_the_same_curve_alone_and_among_others():
    thirds, seeds = (2, 3, 100), range(4)
    together = toy.run(thirds, seeds=seeds, iterations=60, every=20)
    alone = toy.run(3, seeds=[2], iterations=60, every=20)
    assert torch.allclose(together.spectra[1, 2], alone.spectra[0, 0], rtol=1e-4)
    assert together.steps.tolist() == [0, 20, 40, 60]
    assert together.abundance.shape == (3, 4, 4)


def test_float32_is_enough(monkeypatch):
    single = toy.run(3, seeds=[0], iterations=300).abundance
    draw = toy._draw

    def in_double(*sizes):
        return toy._Draw(*(x.double() if x.is_floating_point() else x for x in draw(*sizes)))

    monkeypatch.setattr(toy, "_draw", in_double)
    double = toy.run(3, seeds=[0], iterations=300).abundance
    assert torch.allclose(single, double, rtol=1e-5)


def test_the_curves_of_a_seed_start_from_one_table_for_every_third_field():
    found = toy.run((3, 20), seeds=range(2), iterations=1)
    assert torch.equal(found.spectra[0, :, 0], found.spectra[1, :, 0])
    assert not torch.equal(found.spectra[0, 0, 0], found.spectra[0, 1, 0])


def test_the_abundance_is_that_of_the_spectra_and_everything_is_inside_a_full_span():
    found = toy.run((3, 20), seeds=[0], iterations=5, every=5)
    assert torch.equal(found.abundance, information_abundance(found.spectra))
    assert torch.allclose(found.inside[1], torch.ones_like(found.inside[1]))
    assert (found.inside[0] < 0.6).all()


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
