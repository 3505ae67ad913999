"""Chapter 6's tables and figures, on records whose numbers are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedding_collapse.book import plots
from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.influence import PASSED_ON
from embedding_collapse.book.analysis.ledger import base_of
from embedding_collapse.book.analysis.settings import one_each, settings
from embedding_collapse.book.chapters import mechanism as chapter
from embedding_collapse.lab.groups import by_cell
from embedding_collapse.lab.spec import Spec
from embedding_collapse.parameters import ParameterError

NAMES = ["device", "site", "user"]  # the fields of `make_record`, by features: 3, 20, 50
ORDER = [1, 2, 0]
RESULTS = Path(__file__).parents[2] / "results"


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


def test_likeness_stands_beside_the_steps_of_training(cells):
    runs = [run for group in cells.values() for run in group]
    asked = settings(runs)
    found = chapter.likeness(asked)
    group = cells[next(cell for cell in cells if cell[1:4] == ("dcnv2", "me", 4))]
    row = found.loc[asked[0].name, "ME 4x"]
    assert row["of one run"] == pytest.approx(measures.COMMON_PATTERN.mean(group))
    assert row["one - different"] == measures.likeness(group).nearer
    assert row["steps"] == ""  # all rows, and how many is not said
    limited = [replace(run, spec=run.spec | {"rows": 5_000, "batch_size": 512}) for run in runs]
    found = chapter.likeness(settings(limited))
    assert set(found["steps"]) == {f"{8 * (group[0].best_epoch + 1)}"}  # of 4,000 that train
    held = [replace(run, spec=run.spec | {"held_out": [500, 500]}) for run in limited]
    found = chapter.likeness(settings(held))
    assert set(found["steps"]) == {f"{10 * (group[0].best_epoch + 1)}"}  # `rows` are those
    fewer = [replace(run, spec=run.spec | {"rows": 4_000}) for run in limited[:-1]]
    assert len(settings([*limited, *fewer])) == 2
    (one,) = one_each(settings([*limited, *fewer]))  # no data set's cells are of two sizes
    assert {run.spec["rows"] for run in one.runs} == {5_000}
    other = [
        replace(run, spec=run.spec | {"dataset": "table", "label": "y", "content": content})
        for content, some in (("ab12cd34", limited), ("ff00ff00", limited[1:]))
        for run in some
    ]
    with pytest.warns(UserWarning, match="table ff00ff, 5,000 rows is left out here, beside table"):
        (one,) = one_each(settings(other))
    assert one.source == "table ab12cd"
    single = [run for run in runs if run.spec["seed"] == 0]
    assert chapter.likeness(settings(single)).empty  # a reader's runs of one seed


def test_what_projections_leave_has_a_row_per_size(cells):
    found = chapter.passed_on(cells)
    assert list(found.index) == ["base", "SE 4x", "ME 4x", "SE 10x", "ME 10x"]
    assert list(found.columns) == ["synthetic-mini"]
    wide = next(of for cell, of in cells.items() if (cell.model, cell.label) == ("dcnv2", "SE 10x"))
    assert found.loc["SE 10x", "synthetic-mini"] == pytest.approx(PASSED_ON.mean(wide))


def test_what_me_loses_without_the_non_linearity_stands_beside_what_others_lose(cells, make_record):
    linear = [make_record(seed=seed, model="dcnv2-linear", auc=0.69) for seed in range(3)]
    found = chapter.without_nonlinearity(cells | by_cell(linear))["synthetic-mini"]
    assert found["base"].value == pytest.approx(-0.01 - 1e-5)
    assert found["ME 4x"].value == pytest.approx(-0.07)
    assert found["ME 4x minus base"].value == pytest.approx(-0.06 + 1e-5)
    alone = {cell: of for cell, of in cells.items() if cell.model != "dcnv2-linear"}
    assert chapter.without_nonlinearity(alone).empty  # a reader's runs of plain DCNv2


def test_remedies_stand_beside_plain_runs_of_their_size(cells, make_record):
    flat, nowhere = (
        [
            make_record("se", scale, seed, model="dcnv2-flat", auc=0.705 + seed * 1e-5)
            for seed in range(3)
        ]
        for scale in (10, 7)
    )
    table = chapter.other_remedies(cells | by_cell(flat) | by_cell(nowhere))
    assert list(table.index) == [("synthetic-mini", "flat spectra, SE 10x")]
    se = next(
        runs for cell, runs in cells.items() if (cell.model, cell.label) == ("dcnv2", "SE 10x")
    )
    expected = measures.AUC.mean(flat) - measures.AUC.mean(se)
    assert table["test AUC"].iloc[0].value == pytest.approx(expected)


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


def test_the_repositorys_runs_of_as_many_parameters_are_found():
    runs, asked, cells = chapter.runs_of(str(RESULTS / "decide"))
    assert [one.base.data.name for one in asked] == ["us-flights", "synthetic-mini"]
    assert list(dict.fromkeys(cell.dataset for cell in cells)) == ["us-flights", "synthetic-mini"]
    families = chapter.families(runs, asked[0].base)
    assert list(families) == list(chapter.WAYS)
    me = families["ME, more sets"]["ME 4x"]
    for way, label in (
        ("SE, wider", "one set, K = 28"),
        ("more hidden units", "730 hidden units"),
    ):
        assert measures.total_parameters(families[way][label]) == pytest.approx(
            measures.total_parameters(me), rel=0.05
        )
    assert all(families[way] for way in families)


def test_runs_of_other_data_are_made_larger_by_size_alone(make_record):
    made = [make_record(*size, dataset="synthetic") for size in (("se", 1), ("se", 4), ("me", 4))]
    base = base_of(Spec.read(made[0].spec))
    families = chapter.families(made, base)
    assert [bool(runs) for runs in families["SE, wider"].values()] == [True, True, False]
    assert families["more hidden units"].keys() == {"base"}


def test_a_folder_without_sets_to_look_into_is_refused():
    with pytest.raises(ParameterError, match="no run of dcnv2 ME 4x; its sets are looked into"):
        chapter.runs_of(str(RESULTS / "05_multi_embedding"))
