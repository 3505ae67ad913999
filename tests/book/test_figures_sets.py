"""Embedding sets beside one another: what the figures draw is what the records hold."""

import numpy as np
import pytest

from embedding_collapse.book import figures
from embedding_collapse.book.findings.mechanism import most_abundance

NAMES = ["device", "site", "user"]  # the fields of `make_record`, by features: 3, 20, 50
ORDER = [1, 2, 0]


def shown(figure, label: str) -> list:
    """The traces that a menu's entry shows."""
    (button,) = (b for b in figure.layout.updatemenus[0].buttons if b.label == label)
    return [t for t, on in zip(figure.data, button.args[0]["visible"], strict=True) if on]


def test_diversity_stands_beside_that_of_random_tables(make_record):
    runs = [
        make_record(design, scale, seed, diversity=[0.8 + seed / 10, 0.0, start])
        for scale in (4, 10)
        for design, start in (("se", 0.3), ("me", 0.6))
        for seed in range(2)
    ]
    figure = figures.diversity_by_field([*runs, make_record()])
    for scale in (4, 10):
        se, random, me = shown(figure, f"synthetic-mini, {scale}x")
        assert list(se.x) == list(random.x) == list(me.x) == NAMES
        assert list(se.y) == pytest.approx([0, 0.3, 0.85])
        assert list(me.y) == pytest.approx([0, 0.6, 0.85])
        assert list(random.y) == pytest.approx([0, 1 - 4 / 20, 1 - 4 / 50])
        assert (se.line.color, me.line.color) == (figures.COLOURS["SE"], figures.COLOURS["ME"])
    assert [trace.visible for trace in figure.data] == [True] * 3 + [False] * 3


def test_norms_have_a_heat_map_per_set_on_one_scale_with_fields_by_features(make_record):
    norms = np.random.default_rng(0).random((4, 3, 3)).round(3)
    runs = [
        make_record("me", 4, model=model, projection_norms=(norms * times).tolist())
        for model, times in (("dcnv2-aligned", 2), ("dcnv2", 1))
    ]
    figure = figures.projection_norms(runs)
    plain = shown(figure, "synthetic-mini, DCNv2")
    assert len(plain) == 4 and plain == list(figure.data[:4])  # the plain model comes first
    for heat, of_set in zip(plain, norms, strict=True):
        assert list(heat.x) == list(heat.y) == NAMES
        assert np.array(heat.z) == pytest.approx(of_set[np.ix_(ORDER, ORDER)])
        assert (heat.zmin, heat.zmax) == (norms.min(), norms.max())
    assert [heat.showscale for heat in plain] == [True, False, False, False]


def test_sums_of_abundance_are_shares_of_the_most_with_se_and_me_apart(make_record):
    pairs = np.arange(9.0).reshape(3, 3)
    runs = [
        make_record(design, scale, seed, projected_abundance=[(pairs + seed).tolist()] * sets)
        for design, scale, sets in (("se", 1, 1), ("se", 4, 1), ("me", 4, 4))
        for seed in range(2)
    ]
    figure = figures.sums_of_abundance(runs)
    found = {(trace.name, trace.xaxis): trace for trace in figure.data}
    assert set(found) == {("base", "x"), ("base", "x2"), ("SE 4x", "x"), ("ME 4x", "x2")}
    for (name, _), trace in found.items():
        record = next(run for run in runs if run.label == name)
        sums = (pairs + 0.5).sum(0)[ORDER]
        assert list(trace.x) == NAMES
        assert list(trace.customdata) == pytest.approx(sums)
        assert list(trace.y) == pytest.approx(sums / most_abundance(record), abs=1e-4)
    told = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(told) == ["ME 4x", "SE 4x", "base"]
