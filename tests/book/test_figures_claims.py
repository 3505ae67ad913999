"""The picture of a claim's comparisons."""

import pytest

from embedding_collapse.book import figures, paper
from embedding_collapse.book.figures.claims import MARKS


def test_every_comparison_has_its_point_interval_and_mark(make_record):
    records = [
        make_record(design, scale, seed, auc=auc + seed / 1e4, dataset=dataset)
        for dataset in ("flights", "synthetic-mini")
        for design, scale, auc in (("se", 1, 0.7), ("se", 10, 0.6), ("me", 4, 0.7), ("me", 10, 0.8))
        for seed in range(3)
    ]
    findings = paper.ledger(records)
    figure = figures.forest(findings)
    (menu,) = figure.layout.updatemenus
    assert [button.label[:3] for button in menu.buttons[:3]] == ["1. ", "2. ", "3. "]
    gains = next(b for b in menu.buttons if "Multi-embedding gains" in b.label)
    shown = [t for t, on in zip(figure.data, gains.args[0]["visible"], strict=True) if on]
    finding, _ = (f for f in findings if f.claim.text.startswith("Multi-embedding gains"))
    (change,) = (c.change for c in finding.comparisons if c.change)
    point = next(t for t in shown if t.name == "as claimed")
    assert list(point.y) == ["DCNv2 ME 10x"] and list(point.x) == [round(change.mean, 6)]
    assert list(point.hovertext) == ["DCNv2 ME 10x against base"]
    assert point.x[0] - point.error_x.arrayminus[0] == pytest.approx(change.low, abs=1e-6)
    assert (point.marker.color, point.marker.symbol) == MARKS["as claimed"]
    assert {t.yaxis for t in shown} == {"y", "y2"}  # a panel per dataset
    assert sum(bool(t.showlegend) for t in shown) == len(MARKS)  # each mark is explained once


def test_a_number_stands_beside_the_level_that_it_is_held_against(make_record):
    norms = [[[0.0, 1, 2], [3, 4, 5], [6, 7, 8]]] * 2
    runs = [make_record("me", 4, seed, projection_norms=norms) for seed in range(3)]
    chosen = [f for f in paper.ledger(runs) if f.claim.text.startswith("Each set lets")]
    level, *points = figures.forest(chosen).data
    assert list(level.x) == [0.5]
    (against,) = [t for t in points if t.name == "against the claim"]
    assert list(against.x) == [1.0]  # the sets are wholly alike
