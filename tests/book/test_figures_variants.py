"""Models side by side: what the figures draw is what the records hold."""

from collections.abc import Callable

import numpy as np
import pytest

from embedding_collapse.book import figures
from embedding_collapse.book.findings.mechanism import block_deviation
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import random_abundance

NAMES = ["device", "site", "user"]  # the fields of `make_record`, by features
AUC = figures.both_designs(lambda record: record.test["auc"])
MODELS = {"dcnv2": 0.70, "dcnv2-shared": 0.72, "dcnv2-linear": 0.74}


@pytest.fixture
def runs(make_record: Callable[..., Record]) -> list[Record]:
    """ME of three models at 4x and 10x on two datasets, and DCNv2's base; three seeds."""
    return [
        make_record("me" if scale > 1 else "se", scale, seed, model=model, dataset=dataset,
                    auc=auc + scale / 100 + seed / 1000)
        for dataset in ("flights", "synthetic-mini")
        for model, auc in MODELS.items()
        for scale in ((1, 4, 10) if model == "dcnv2" else (4, 10))
        for seed in range(3)
    ]  # fmt: skip


def lines(figure, name: str) -> list:
    return [trace for trace in figure.data if trace.name == name and trace.mode != "lines"]


def test_a_variant_begins_at_the_base_that_it_shares(runs):
    table = figures.points(runs, AUC)
    figure = figures.series_against_scale({"AUC": table}, figures.ME_VARIANTS)
    for name, scales, values in (
        ("ME", [1, 4, 10], [0.711, 0.741, 0.801]),
        ("shared interaction", [1, 4, 10], [0.711, 0.761, 0.821]),
        ("no non-linearity", [4, 10], [0.781, 0.841]),
    ):
        line = lines(figure, name)[0]
        assert list(line.x) == scales
        assert list(line.y) == pytest.approx(values)
    assert not lines(figure, "aligned norms")  # there are no such runs


def test_each_quantity_has_a_panel_and_each_dataset_an_entry_in_the_menu(runs):
    tables = {name: figures.points(runs, AUC) for name in ("one", "other")}
    figure = figures.series_against_scale(tables, figures.ME_VARIANTS)
    assert [note.text for note in figure.layout.annotations] == ["one", "other"]
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["flights", "synthetic-mini"]
    for button in menu.buttons:
        shown = [t for t, on in zip(figure.data, button.args[0]["visible"], strict=True) if on]
        assert len(shown) == 2 * 3 * 2  # panels, models, a line and its band
        told = [trace.name for trace in shown if trace.showlegend]
        assert told == ["ME", "shared interaction", "no non-linearity"]


def test_one_design_is_drawn_of_a_model_that_has_both(make_record):
    runs = [make_record(design, 4, auc=auc) for design, auc in (("se", 0.6), ("me", 0.8))]
    figure = figures.series_against_scale({"AUC": figures.points(runs, AUC)}, figures.OTHER_FIXES)
    assert [list(lines(figure, name)[0].y) for name in ("SE", "ME")] == [[0.6], [0.8]]


def test_lines_of_one_figure_are_told_apart_by_colour_and_by_dash():
    for series in (figures.SUPPRESSED, figures.ME_VARIANTS, figures.OTHER_FIXES):
        assert len({one.ink for one in series}) == len(series)
    assert {one.ink for one in figures.SUPPRESSED if one.model == "dcnv2"} == {
        figures.COLOURS["SE"]
    }


def test_abundance_by_model_is_that_of_the_records_at_one_scale(make_record):
    runs = [
        make_record("se", scale, seed, model=model, abundance=[share, share + 0.1, share + 0.2])
        for scale in (4, 10)
        for model, share in (("dcnv2", 0.3), ("dnn", 0.5))
        for seed in range(2)
    ]
    figure = figures.abundance_by_model(runs, figures.SUPPRESSED, 10)
    assert [trace.name for trace in figure.data] == ["DCNv2", "DNN", "random, K=40"]
    for trace, share in zip(figure.data, (0.3, 0.5), strict=False):
        assert list(trace.x) == NAMES
        assert list(trace.y) == pytest.approx([share + 0.1, share + 0.2, share])
    expected = [random_abundance(rows, 40) / 40 for rows in (3, 20, 50)]
    assert list(figure.data[-1].y) == pytest.approx(expected, abs=1e-4)


def test_deviations_have_a_panel_per_regularised_model_and_dataset(make_record):
    regularised = [one for one in figures.SUPPRESSED if "regularized" in one.model]
    runs = [
        make_record("se", scale, seed, model=one.model, dataset=dataset,
                    epochs=[{"penalty": (seed + scale) * 1e-4}, {"penalty": seed * 1e-4}])
        for one, datasets in zip(regularised, (["flights", "synthetic-mini"], ["flights"]),
                                 strict=True)
        for dataset in datasets
        for scale in (1, 10)
        for seed in range(2)
    ]  # fmt: skip
    figure = figures.block_deviations([*runs, make_record()], regularised)
    assert [note.text for note in figure.layout.annotations] == [
        "regularised, flights",
        "fixed scale, flights",
        "regularised, synthetic-mini",
    ]
    first = [r for r in runs if r.spec["scale"] == 10][:2]
    line = next(trace for trace in figure.data if trace.name == "SE 10x")
    expected = np.mean([block_deviation(record) for record in first], axis=0)
    assert list(line.y) == pytest.approx(expected.tolist(), abs=1e-4)
