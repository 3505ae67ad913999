"""Studies outside the grid: what the figures draw is what the records hold."""

from dataclasses import replace

import numpy as np
import pytest

from embedding_collapse.book import figures
from embedding_collapse.book.findings import studies


def test_auc_stands_over_the_number_of_all_parameters_family_by_family(make_record):
    def runs(count: int, auc: float) -> list:
        return [
            make_record(
                seed=seed, auc=auc + seed / 1000, parameters={"embedding": count, "head": 7}
            )
            for seed in range(3)
        ]

    families = {
        "SE, wider": {"large": runs(900, 0.8), "small": runs(100, 0.7)},
        "ME, more sets": {"some": runs(500, 0.9)},
        "more cross layers": {"deep": runs(300, 0.6)},
    }
    figure = figures.against_parameters(families)
    se, me, deep = figure.data
    assert list(se.x) == [107, 907] and list(se.hovertext) == ["small", "large"]
    assert list(se.y) == pytest.approx([0.701, 0.801])
    assert list(se.error_y.array) == pytest.approx([4.302653 * 0.001 / 3**0.5] * 2, abs=1e-5)
    assert (se.line.color, me.line.color) == (figures.COLOURS["SE"], figures.COLOURS["ME"])
    assert deep.line.color not in figures.COLOURS.values()


def test_rows_have_a_line_per_design_in_either_panel(make_record):
    groups = {
        rows: {
            label: [make_record(design, scale, seed, auc=rows / 1000) for seed in range(2)]
            for label, design, scale in (("base", "se", 1), ("ME 4x", "me", 4))
        }
        for rows in (100, 400)
    }
    figure = figures.against_rows(groups)
    assert [(t.name, t.showlegend) for t in figure.data] == [
        ("base", True), ("base", False), ("ME 4x", True), ("ME 4x", False)
    ]  # fmt: skip
    auc, abundance = figure.data[2:]
    assert list(auc.x) == [100, 400] and list(auc.y) == pytest.approx([0.1, 0.4])
    expected = groups[100]["ME 4x"][0].abundance_against_random.mean().item()
    assert list(abundance.y) == pytest.approx([expected] * 2, abs=1e-5)


def test_best_epochs_are_means_over_seeds_with_the_fall_behind_them(make_record):
    def run(design: str, scale: int, seed: int, aucs: list[float], model: str = "dcnv2"):
        epochs = [{"valid_auc": value} for value in aucs]
        record = make_record(design, scale, seed, model=model)
        return replace(record, epochs=epochs, best_epoch=int(np.argmax(aucs)))

    runs = [run("se", 1, 0, [0.7, 0.6]), run("se", 1, 1, [0.6, 0.7])]
    runs += [run("me", 4, 0, [0.8, 0.5]), run("se", 4, 0, [0.8, 0.7], "dnn")]
    (heat,) = figures.best_epochs(runs, ["dnn", "dcnv2"]).data
    assert list(heat.x) == ["base", "SE 4x", "ME 4x"] and list(heat.y) == ["DNN", "DCNv2"]
    assert np.array(heat.z, dtype=float)[1] == pytest.approx([0.05, np.nan, 0.3], nan_ok=True)
    assert [list(row) for row in heat.text] == [["", "1.0", ""], ["1.5", "", "1.0"]]


def test_the_columns_of_best_epochs_are_those_of_the_table_beside_it(make_record):
    cells = [("se", 1), ("me", 10), ("se", 10), ("me", 4), ("se", 4)]
    epochs = [{"valid_auc": 0.7}, {"valid_auc": 0.6}]
    runs = [replace(make_record(*cell), epochs=epochs, best_epoch=0) for cell in cells]
    (heat,) = figures.best_epochs(runs, ["dcnv2"]).data
    assert list(heat.x) == list(studies.peaks(runs).columns)
