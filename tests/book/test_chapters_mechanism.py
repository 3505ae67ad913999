"""Chapter 6's tables and figures, on records whose numbers are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedding_collapse.book import plots
from embedding_collapse.book.analysis import measures
from embedding_collapse.book.chapters import mechanism as chapter
from embedding_collapse.lab.groups import Cell, by_cell, runs_in, select

NAMES = ["device", "site", "user"]  # the fields of `make_record`, by features: 3, 20, 50
ORDER = [1, 2, 0]
RESULTS = Path(__file__).parents[2] / "results"
NONE = {"parameters": [], "depth": [], "rows": []}


def shown(figure, label: str) -> list:
    """The traces that a menu's entry shows."""
    (button,) = (b for b in figure.layout.updatemenus[0].buttons if b.label == label)
    return [t for t, on in zip(figure.data, button.args[0]["visible"], strict=True) if on]


@pytest.fixture
def cells(make_record):
    """Base, SE and ME of DCNv2 and ME of its variants; ME is ahead, and far ahead of `linear`."""

    def runs(model, design, scale, auc):
        return [
            make_record(
                design,
                scale,
                seed,
                model=model,
                auc=auc + seed * 1e-5,
                projection_norms=np.random.default_rng(seed + scale)
                .random((scale if design == "me" else 1, 6, 6))
                .tolist(),
            )
            for seed in range(3)
        ]

    made = runs("dcnv2", "se", 1, 0.70)
    for scale in (4, 10):
        made += runs("dcnv2", "se", scale, 0.71) + runs("dcnv2", "me", scale, 0.72)
        made += runs("dcnv2-shared", "me", scale, 0.72) + runs("dcnv2-linear", "me", scale, 0.65)
    return by_cell(made)


def test_diversity_stands_beside_that_of_random_tables(make_record):
    runs = [
        make_record(design, scale, seed, diversity=[0.8 + seed / 10, 0.0, start])
        for scale in (4, 10)
        for design, start in (("se", 0.3), ("me", 0.6))
        for seed in range(2)
    ]
    figure = chapter.diversity_by_field(by_cell([*runs, make_record()]))
    for scale in (4, 10):
        se, random, me = shown(figure, f"synthetic-mini, {scale}x")
        assert list(se.x) == list(random.x) == list(me.x) == NAMES
        assert list(se.y) == pytest.approx([0, 0.3, 0.85])
        assert list(me.y) == pytest.approx([0, 0.6, 0.85])
        assert list(random.y) == pytest.approx([0, 1 - 4 / 20, 1 - 4 / 50])
        assert (se.line.color, me.line.color) == (plots.COLOURS["SE"], plots.COLOURS["ME"])
    assert [trace.visible for trace in figure.data] == [True] * 3 + [False] * 3


def test_norms_have_a_heat_map_per_set_on_one_scale_with_fields_by_features(make_record):
    norms = np.random.default_rng(0).random((4, 3, 3)).round(3)
    runs = [
        make_record("me", 4, model=model, projection_norms=(norms * times).tolist())
        for model, times in (("dcnv2", 1), ("dcnv2-aligned", 2))
    ]
    figure = chapter.projection_norms(runs)
    plain = shown(figure, "synthetic-mini, DCNv2")
    assert len(plain) == 4 and plain == list(figure.data[:4])
    for heat, of_set in zip(plain, norms, strict=True):
        assert list(heat.x) == list(heat.y) == NAMES
        assert np.array(heat.z) == pytest.approx(of_set[np.ix_(ORDER, ORDER)])
        assert (heat.zmin, heat.zmax) == (norms.min(), norms.max())
    assert [heat.showscale for heat in plain] == [True, False, False, False]
    assert figure.layout.xaxis.dtick == figure.layout.yaxis.dtick == 1  # every field is named


def test_claims_are_answered_as_the_records_say(cells):
    gain = chapter.claims_of_gain(cells)["synthetic-mini"]
    assert [answer.verdict for answer in gain] == ["holds", "holds", "not run"]  # of six models
    assert gain.iloc[0].effect.value == pytest.approx(0.02)
    parts = chapter.claims_of_parts(cells)["synthetic-mini"]
    assert parts["No non-linearity loses AUC"].verdict == "holds"
    assert parts["Shared interaction loses AUC"].verdict == "fails"  # all within the band
    assert parts["Aligned norms loses AUC"].verdict == "not run"
    other = chapter.claims_of_size(cells, NONE)["synthetic-mini"]
    assert {answer.verdict for answer in other} == {"not run"}


def test_sets_with_one_pattern_are_not_less_alike_than_models_trained_apart(cells):
    one = np.random.default_rng(0).random((6, 6)).tolist()
    alike = {
        cell: [replace(run, projection_norms=[one] * cell.scale) for run in runs]
        if cell.design == "me"
        else runs
        for cell, runs in cells.items()
    }
    answer = chapter.claims_of_sets(alike)["synthetic-mini"].iloc[1]
    apart = measures.as_sets(cells[Cell("synthetic-mini", "dcnv2", "se", 1)])
    assert answer.effect.value == pytest.approx(1 - measures.COMMON_PATTERN.mean(apart))
    assert answer.verdict == "fails"


def test_a_figure_has_a_panel_per_measure_and_variants_begin_at_the_base_they_share(cells):
    panels = {"AUC": measures.AUC, "IA": measures.ABUNDANCE}
    figure = chapter.against_size(cells, chapter.ME_VARIANTS, panels)
    assert [note.text for note in figure.layout.annotations] == ["AUC", "IA"]
    for name, scales in (
        ("ME", [1, 4, 10]),
        ("shared interaction", [1, 4, 10]),
        ("no non-linearity", [4, 10]),
    ):
        line = next(t for t in figure.data if t.name == name and t.mode != "lines")
        assert list(line.x) == scales
    assert not [t for t in figure.data if t.name == "aligned norms"]  # there are no such runs


def test_lines_of_one_figure_are_told_apart_by_colour():
    assert len({one.ink for one in chapter.ME_VARIANTS}) == len(chapter.ME_VARIANTS)


def test_auc_stands_over_the_number_of_all_parameters_family_by_family(make_record):
    def runs(count: int, auc: float) -> list:
        return [
            make_record(seed=seed, auc=auc + seed / 1000, parameters={"table": count, "head": 7})
            for seed in range(3)
        ]

    families = {
        "SE, wider": {"large": runs(900, 0.8), "small": runs(100, 0.7)},
        "ME, more sets": {"some": runs(500, 0.9), "none": []},
        "more cross layers": {"deep": runs(300, 0.6)},
    }
    se, me, deep = chapter.against_parameters(families).data
    assert list(se.x) == [107, 907] and list(se.hovertext) == ["small", "large"]
    assert list(se.y) == pytest.approx([0.701, 0.801])
    assert list(se.error_y.array) == pytest.approx([4.302653 * 0.001 / 3**0.5] * 2, abs=1e-5)
    assert (se.line.color, me.line.color) == (plots.COLOURS["SE"], plots.COLOURS["ME"])
    assert list(me.x) == [507]
    assert deep.line.color not in plots.COLOURS.values()


def test_rows_have_a_line_per_design_in_either_panel(make_record):
    groups = {
        rows: {
            label: [make_record(design, scale, seed, auc=rows / 1000) for seed in range(2)]
            for label, design, scale in (("base", "se", 1), ("ME 4x", "me", 4))
        }
        for rows in (100, 400)
    }
    figure = chapter.against_rows(groups)
    assert [(t.name, t.showlegend) for t in figure.data] == [
        ("base", True),
        ("base", False),
        ("ME 4x", True),
        ("ME 4x", False),
    ]
    auc, abundance = figure.data[2:]
    assert list(auc.x) == [100, 400] and list(auc.y) == pytest.approx([0.1, 0.4])
    expected = measures.FAIR_ABUNDANCE.mean(groups[100]["ME 4x"])
    assert list(abundance.y) == pytest.approx([expected] * 2, abs=1e-5)


def test_the_repositorys_runs_of_as_many_parameters_rows_and_layers_are_found():
    cells, parts = chapter.runs_of(str(RESULTS / "grid"), str(RESULTS / "beyond"))
    families = chapter.families(cells, parts, "synthetic-mini")
    for width, scale in chapter.EQUAL.items():
        se, me = (
            families["SE, wider"][f"SE, K = {width}"],
            families["ME, more sets"][f"ME {scale}x"],
        )
        assert measures.total_parameters(se) == pytest.approx(
            measures.total_parameters(me), rel=0.05
        )
    assert {"2 layers", "8 layers", "16 layers"} < set(families["more cross layers"])
    by_rows = chapter.by_rows(cells, parts, "synthetic-mini")
    assert list(by_rows) == [50_000, 200_000, 800_000]
    assert {tuple(of) for of in by_rows.values()} == {("base", "SE 10x", "ME 10x")}
    assert len(runs_in(select(cells, ["dcnv2"], dataset="flights"))) == 15
