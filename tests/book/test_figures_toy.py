"""Figures of the toy experiment and of FM's gradient: their numbers are those handed in."""

import numpy as np
import pytest
import torch

from embedding_collapse.book import figures
from embedding_collapse.lab import toy
from embedding_collapse.lab.gradient import pulls


@pytest.fixture(scope="module")
def curves() -> toy.Curves:
    return toy.run((2, 8), 4, range(3), 40, every=10, first=12, second=9)


def lines(figure) -> list:
    return [trace for trace in figure.data if trace.fill is None]


def bands(figure) -> list:
    return [trace for trace in figure.data if trace.fill == "toself"]


def test_curves_are_means_over_seeds_and_bands_their_range(curves):
    figure = figures.toy_curves(curves, (2, 8))
    assert [line.name for line in lines(figure)] == ["D<sub>3</sub> = 2", "D<sub>3</sub> = 8"]
    for line, band, values in zip(lines(figure), bands(figure), curves.abundance, strict=True):
        assert list(line.x) == [0, 10, 20, 30, 40]
        np.testing.assert_allclose(line.y, values.mean(0), atol=1e-3)
        around = np.array([values.amin(0).numpy(), values.amax(0).flip(0).numpy()]).ravel()
        np.testing.assert_allclose(band.y, around, atol=1e-3)


def test_the_sweep_shows_the_share_kept_for_every_third_field_and_width(curves):
    figure = figures.toy_sweep({4: curves}, (2, 8))
    (line,), (band,) = lines(figure), bands(figure)
    kept = curves.abundance[..., -1] / curves.abundance[..., 0]
    assert line.name == "K = 4"
    assert list(line.x) == [2, 8]
    np.testing.assert_allclose(line.y, kept.mean(1), atol=1e-3)
    np.testing.assert_allclose(band.y[:2], kept.amin(1), atol=1e-3)


def test_the_span_figure_has_both_measures_from_iteration_0_on(curves):
    """On a logarithmic axis iteration 0 stands a decade before the next measurement."""
    figure = figures.toy_span({"one": curves, "other": curves})
    inside, abundance = lines(figure)[:2]
    assert list(inside.x) == list(abundance.x) == [1, 10, 20, 30, 40]
    assert [told[2] for told in inside.customdata] == [0, 10, 20, 30, 40]
    assert figure.layout.xaxis.ticktext == ("0", "10")
    assert figure.layout.xaxis.tickvals == (1, 10)
    np.testing.assert_allclose(inside.y, curves.inside[0].mean(0), atol=1e-3)
    np.testing.assert_allclose(abundance.y, curves.abundance[0].mean(0), atol=1e-3)
    assert [line.name for line in lines(figure) if line.showlegend] == ["one", "other"]


def test_a_long_curve_is_thinned_but_keeps_its_ends():
    curves = toy.run(3, 4, [0], 400, every=1, first=12, second=9)
    figure = figures.toy_span({"one": curves})
    line = lines(figure)[0]
    assert len(line.x) <= 51
    assert (line.customdata[0][2], line.customdata[-1][2]) == (0, 400)
    assert figure.layout.xaxis.ticktext == ("0", "1", "10", "100")


def test_pulls_show_alpha_sigma_and_their_product():
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(size, 4, generator=generator) for size in (5, 3, 7)]
    ids = torch.stack([torch.randint(size, (50,), generator=generator) for size in (5, 3, 7)], 1)
    of = pulls(tables, ids, torch.randn(50, generator=generator))
    figure = figures.pulls_by_direction({"few": of[1], "many": of[2]})
    alpha, sigma, product = figure.data[:3]
    assert list(alpha.x) == [1, 2, 3]
    np.testing.assert_allclose(sigma.y, of[1].sigma, rtol=1e-2)
    np.testing.assert_allclose(product.y, of[1].weights.square().mean(0).sqrt(), rtol=1e-2)
    np.testing.assert_allclose(np.multiply(alpha.y, sigma.y), product.y, rtol=2e-2)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["few", "many"]
