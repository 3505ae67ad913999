"""Chapter 1's tables and figures."""

import numpy as np
import pytest

from embedding_collapse.book.chapters import sizing as chapter
from embedding_collapse.lab import sizing

EPSILONS = [0.5, 0.1]


def trace(figure, name):
    (found,) = figure.select_traces({"name": name})
    return found


def test_every_field_stands_at_its_own_size_with_the_rule_beside_it():
    fields = sizing.criteo_fields()
    figure = chapter.fields_and_rule(fields, EPSILONS)
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
    figure = chapter.distortion(measured, points)
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


def words(figure):
    return {note.text: (note.x, 10**note.y) for note in figure.layout.annotations}


def test_words_stand_at_the_ends_of_lines():
    fields = words(chapter.fields_and_rule(sizing.criteo_fields(), EPSILONS))
    for eps in EPSILONS:
        x, y = fields[f"rule, ε = {eps:g}"]
        assert (np.exp(x), y) == pytest.approx((245_195, sizing.least(245_195, eps)), rel=1e-2)
    measured = sizing.sweep(60, [16, 64, 256], draws=4)
    ends = words(chapter.distortion(measured, 60))
    worst = measured.query("width == 16")["worst"].mean()
    assert ends["worst pair"] == pytest.approx((np.log10(16), worst), rel=1e-2)
    assert ends["the rule"][1] == pytest.approx(sizing.bound_distortion(60, 16), rel=1e-2)


def test_every_field_has_the_rules_demand_beside_what_it_got():
    table = chapter.field_by_field(sizing.criteo_fields(), EPSILONS)
    assert table.loc[16].tolist() == [2, 245_195, 12.4, 398, 9928]


def test_language_models_stand_with_the_distortion_that_the_rule_allows():
    table = chapter.language_models()
    for row in table.itertuples():
        assert sizing.bound(row.tokens, row[-1]) == pytest.approx(row.width)
