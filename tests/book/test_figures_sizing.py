import numpy as np
import pytest

from embedding_collapse.book import figures
from embedding_collapse.lab import sizing

EPSILONS = [0.5, 0.1]


def trace(figure, name):
    (found,) = figure.select_traces({"name": name})
    return found


def test_the_rule_is_drawn_for_every_eps_with_practice_and_every_language_model():
    figure = figures.rule_and_practice(EPSILONS)
    for eps in EPSILONS:
        line = trace(figure, f"rule, ε = {eps:g}")
        assert (line.x[0], line.x[-1]) == (100, 10**9)
        assert list(line.y) == sizing.least(np.array(line.x), eps).tolist()
    box = trace(figure, "recommenders")
    assert (min(box.x), max(box.x), min(box.y), max(box.y)) == (1e5, 1e9, 10, 100)
    models, known = trace(figure, "language models"), sizing.language_models()
    assert list(models.x) == known["tokens"].tolist()
    assert list(models.y) == known["width"].tolist()
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_every_field_stands_at_its_own_size_with_the_rule_beside_it():
    fields = sizing.criteo_fields()
    figure = figures.fields_and_rule(fields, EPSILONS)
    dots = trace(figure, "a field of Criteo")
    assert len(dots.x) == 39
    assert np.allclose(np.exp(dots.x), fields["num_features"], rtol=1e-3)
    assert list(dots.y) == fields["embedding_dim"].tolist()
    assert "rule, ε = 0.5: 398" in dots.customdata[15][2]
    line = trace(figure, "rule, ε = 0.1")
    assert (line.y[0], line.y[-1]) == (sizing.least(3, 0.1), sizing.least(245_195, 0.1))
    # no straight line where the vertical axis is logarithmic
    assert np.allclose(line.y, 8 * np.array(line.x) / 0.1**2, rtol=1e-2)


def test_the_measured_distortion_stands_below_the_rule_with_its_range_over_draws():
    points, widths = 60, [16, 64, 256]
    measured = sizing.sweep(points, widths, draws=4)
    figure = figures.distortion(measured, points)
    worst, rule = trace(figure, "worst"), trace(figure, "the rule's ε")
    assert list(worst.x) == list(rule.x) == widths
    means = measured.groupby("width")["worst"].mean()
    assert np.allclose(worst.y, means, atol=1e-4)
    assert (np.array(worst.y) < rule.y).all()
    band = trace(figure, "worst, range over draws")
    assert max(band.y) == pytest.approx(measured["worst"].max(), abs=1e-4)
    proof = trace(figure, "the proof's ε")
    assert len(proof.x) > 5
    assert np.allclose(proof.x, sizing.union_bound(points, np.array(proof.y)), rtol=1e-2)
