import numpy as np
import pytest
import torch
from embedding_collapse.book.findings.frequency import Weighting

from embedding_collapse.book import figures
from embedding_collapse.book.findings import language as beside
from embedding_collapse.book.language_model import TokenEmbedding, TokenSpectrum
from embedding_collapse.spectrum import information_abundance, stable_rank


def bars(figure, step: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per family, the spectrum and the four measures at a place of the slider."""
    heights = figure.layout.sliders[0].steps[step].args[0]["y"]
    return [(np.array(a), np.array(b)) for a, b in zip(heights[::2], heights[1::2], strict=True)]


def test_the_slider_bends_every_family_and_all_measures_move():
    figure = figures.bend(10)
    steps = len(figure.layout.sliders[0].steps)
    for spectrum, measures in bars(figure, 0):
        assert (spectrum == 1).all()
        assert measures.tolist() == [10, 10, 10, 10]
    for family, (spectrum, measures) in enumerate(bars(figure, steps - 1)):
        assert (np.diff(spectrum) <= 0).all()
        assert (measures[:3] < 6).all() or family == 2
        assert measures[3] == (spectrum > 0).sum()
    for step in range(steps):  # the order that chapter 2 proves
        for _, measures in bars(figure, step):
            assert (np.diff(measures) >= -0.002).all()


def test_one_strong_direction_parts_the_measures():
    stable, abundance, effective, rank = bars(figures.bend(10), -1)[2][1]
    assert stable < 1.1
    assert abundance < 1.6
    assert effective > 2.5
    assert rank == 10


def test_what_is_drawn_at_first_is_where_the_slider_stands():
    figure = figures.bend(10)
    active = figure.layout.sliders[0].active
    drawn = [trace.y for trace in figure.data]
    for (spectrum, measures), first, second in zip(
        bars(figure, active), drawn[::2], drawn[1::2], strict=True
    ):
        assert np.allclose(first, spectrum)
        assert np.allclose(second, measures)
    shown = [trace.visible for trace in figure.data]
    assert shown == [True, True, False, False, False, False]


def test_measures_across_widths_are_those_of_tables_of_which_the_truth_is_known():
    figure = figures.across_widths([1000, 100], directions=5)
    (left,) = figure.select_traces({"name": "information abundance, D = 100"})
    assert left.y[0] > 0.8
    assert left.y[-1] < 0.5  # a random table of 100 x 100
    (right,) = figure.select_traces({"name": "information abundance"})
    assert np.allclose(right.y, 5 + 0.1 * (np.array(right.x) - 5))
    (stable,) = figure.select_traces({"name": "stable rank"})
    assert max(stable.y) < 6


def test_collapse_has_a_menu_of_datasets_with_the_first_as_asked(make_record):
    runs = [
        make_record("se", scale, seed, dataset=name, abundance=share)
        for name, share in (("flights", 0.5), ("synthetic-mini", 0.7))
        for scale in (1, 4)
        for seed in range(2)
    ]
    figure = figures.collapse(runs, first="synthetic-mini")
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["synthetic-mini", "flights"]
    shown = [trace for trace in figure.data if trace.visible]
    assert {trace.name for trace in shown} == {"base", "SE 4x", "random, K=4", "random, K=16"}
    assert next(t for t in shown if t.name == "base").y == pytest.approx([0.7] * 3)
    visible = menu.buttons[1].args[0]["visible"]
    assert visible == [not trace.visible for trace in figure.data]


def weighting(scale: int, seed: int, share: float) -> Weighting:
    fields = {
        "field": ["few", "many"],
        "features": [3, 40],
        "alike / random": [share, share + 0.1],
        "weighted / random": [share + 0.2, share + 0.3],
    }
    spec = {"design": "se", "scale": scale, "seed": seed}
    return Weighting("key", spec, {}, fields, 0.5, {}, {})


def test_weighted_abundance_is_the_mean_over_seeds_with_its_range():
    groups = {
        "base": [weighting(1, seed, 0.5 + seed / 10) for seed in range(3)],
        "SE 4x": [weighting(4, seed, 0.3) for seed in range(3)],
    }
    figure = figures.weighted(groups)
    (line,) = figure.select_traces({"name": "base, rows by frequency"})
    assert list(line.x) == ["few", "many"]
    assert line.y == pytest.approx([0.8, 0.9])
    assert line.error_y.array == pytest.approx([0.1, 0.1])
    assert line.line.color == figures.colour("base")
    assert len(figure.data) == 4


def test_fields_and_language_models_are_drawn_in_three_views(make_record):
    table = torch.randn(200, 20, generator=torch.Generator().manual_seed(0))
    kept = TokenSpectrum("kept", "", "", 90, 4, [4.0, 2.0, 1.0, 1.0], [1.0] * 4)
    spectra = [
        *beside.largest_fields(make_record("se", 4), 2),
        *beside.token_spectra(TokenEmbedding("tokens", table, "", ""), [kept], 16),
    ]
    figure = figures.beside_language(spectra, 16)
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == [
        "full", "first 16 singular values", "first 16 columns",
    ]  # fmt: skip
    drawn = list(figure.select_traces({"name": "tokens (200)"}))
    assert [len(trace.y) for trace in drawn] == [20, 16, 16]
    assert all(trace.y[0] == 1 for trace in figure.data)
    assert len(list(figure.select_traces({"name": "kept (90)"}))) == 2  # no columns in a record
    assert len([trace for trace in figure.data if trace.visible]) == 4
    inks = {trace.line.color for trace in figure.select_traces({"name": "user (50)"})}
    assert inks.isdisjoint({trace.line.color for trace in drawn})


def test_the_order_of_the_measures_holds_for_any_spectrum():
    spectra = torch.rand(500, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (stable_rank(spectra) <= information_abundance(spectra)).all()
