"""Chapter 3's tables and figures: their numbers are those of the records and of the runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from embedding_collapse.book import plots
from embedding_collapse.book.analysis.influence import Influence
from embedding_collapse.book.chapters import interaction_collapse as chapter
from embedding_collapse.book.plots import rounded
from embedding_collapse.decomposition import singular_values
from embedding_collapse.lab import toy
from embedding_collapse.lab.data import DataSpec, load
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.gradient import pulls
from embedding_collapse.lab.groups import Cell
from embedding_collapse.lab.records import key_of, save
from embedding_collapse.lab.spec import Spec, build_model
from embedding_collapse.lab.studies.decide import BASES
from embedding_collapse.lab.toy import Curves
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import information_abundance

OWN = [0.9, 0.3, 0.5]  # IA / K of the fields of `make_record`
PAIRS = [[[9.0, 0.8, 1.2], [1.6, 9.0, 2.4], [2.8, 3.2, 9.0]]]  # user, device, site


@pytest.fixture
def records(make_record):
    """Two seeds, the second twice the first; another design; a model without sub-embeddings."""
    twice = [[[2 * value for value in row] for row in PAIRS[0]]]
    return [
        make_record(abundance=[0.9, 0.3, 0.5], projected_abundance=PAIRS),
        make_record(seed=1, abundance=[0.9, 0.3, 0.5], projected_abundance=twice),
        make_record("se", 4, abundance=[0.9, 0.3, 0.5], projected_abundance=PAIRS),
        make_record(model="dnn", projected_abundance=None),
    ]


def test_the_heat_map_is_the_mean_over_seeds_sorted_by_own_abundance(records):
    heat = chapter.sub_embeddings(records).data[0]
    assert list(heat.x) == list(heat.y) == ["device", "site", "user"]
    expected = [[None, 3.6, 2.4], [4.8, None, 4.2], [1.2, 1.8, None]]  # rows i, columns j
    assert [list(row) for row in heat.z] == expected


def test_the_bars_are_the_row_and_column_sums_without_the_field_itself(records):
    _, above, beside = chapter.sub_embeddings(records).data[:3]
    assert list(above.x) == list(beside.y) == ["device", "site", "user"]
    np.testing.assert_allclose(above.y, [6.0, 5.4, 6.6])
    np.testing.assert_allclose(beside.x, [6.0, 9.0, 3.0])
    np.testing.assert_allclose(above.customdata, [1.2, 2.0, 3.6])
    assert (above.yaxis, beside.xaxis, beside.orientation) == ("y2", "x2", "h")


def test_a_menu_shows_one_run_at_a_time(records):
    figure = chapter.sub_embeddings(records)
    assert len(figure.data) == 6
    first, second = figure.layout.updatemenus[0].buttons
    assert first.label == "synthetic-mini, DCNv2 base"
    assert list(first.args[0]["visible"]) == [True] * 3 + [False] * 3
    assert list(second.args[0]["visible"]) == [False] * 3 + [True] * 3
    assert [trace.visible for trace in figure.data] == [True] * 3 + [False] * 3


def test_influence_has_a_dot_per_seed_and_crosses_where_there_are_random_projections():
    found = [
        Influence(
            Cell("synthetic", "dcnv2", "se", 4), [0.5, 0.6], [0.1, 0.2], [0.4, 0.3], [0, 0.0]
        ),
        Influence(Cell("synthetic", "ffm", "se", 1), [0.7, 0.8], [0.6, 0.65], [], []),
    ]
    chance, own, _, partner = chapter.influence(found).data
    names = ["synthetic, DCNv2 SE 4x"] * 2 + ["synthetic, FFM base"] * 2
    assert list(own.x) == [0.5, 0.6, 0.7, 0.8]
    assert list(own.y) == list(partner.y) == names
    assert list(partner.x) == [0.1, 0.2, 0.6, 0.65]
    assert (list(chance.x), list(chance.y)) == ([0.4, 0.3], names[:2])
    assert (chance.xaxis, own.xaxis, partner.xaxis) == ("x", "x", "x2")


def test_names_of_fields_with_markup_are_text(records):
    for record in records:
        record.dataset["fields"] = ["<b>user</b>", "device", "site"]
    heat = chapter.sub_embeddings(records).data[0]
    assert list(heat.x) == ["device", "site", "&lt;b&gt;user&lt;/b&gt;"]
    menu = plots.spectra_by_field(records[:1]).layout.updatemenus[0]
    assert [button.label for button in menu.buttons] == [
        "device (3)",
        "site (20)",
        "&lt;b&gt;user&lt;/b&gt; (50)",
    ]


@pytest.fixture(scope="module")
def curves() -> toy.Curves:
    return toy.run((2, 8), 4, range(3), 40, every=10, first=12, second=9)


def lines(figure) -> list:
    return [trace for trace in figure.data if trace.fill is None]


def bands(figure) -> list:
    return [trace for trace in figure.data if trace.fill == "toself"]


def test_the_sweep_shows_the_share_kept_for_every_third_field_and_width(curves):
    kept = curves.abundance[..., -1] / curves.abundance[..., 0]
    figure = chapter.toy_sweep({4: kept.numpy()}, (2, 8))
    (line,), (band,) = lines(figure), bands(figure)
    assert line.name == "K = 4"
    assert list(line.x) == [2, 8]
    np.testing.assert_allclose(line.y, kept.mean(1), atol=1e-3)
    np.testing.assert_allclose(band.y[:2], kept.amin(1), atol=1e-3)


def test_the_span_figure_has_both_measures_from_iteration_0_on(curves):
    """On a logarithmic axis iteration 0 stands a decade before the next measurement."""
    figure = chapter.toy_span({"one": curves, "other": curves}, 0.75)
    inside, abundance = lines(figure)[:2]
    assert list(inside.x) == list(abundance.x) == [1, 10, 20, 30, 40]
    assert [told[2] for told in inside.customdata] == [0, 10, 20, 30, 40]
    assert figure.layout.xaxis.ticktext == ("0", "10")
    assert figure.layout.xaxis.tickvals == (1, 10)
    np.testing.assert_allclose(inside.y, curves.inside[0].mean(0), atol=1e-3)
    np.testing.assert_allclose(abundance.y, curves.abundance[0].mean(0), atol=1e-3)
    assert [line.name for line in lines(figure) if line.showlegend] == ["one", "other"]
    (random,) = figure.layout.shapes
    assert (random.y0, random.y1, random.yref) == (0.75, 0.75, "y")


def test_a_long_curve_is_thinned_but_keeps_its_ends():
    curves = toy.run(3, 4, [0], 400, every=1, first=12, second=9)
    figure = chapter.toy_span({"one": curves}, 0.75)
    line = lines(figure)[0]
    assert len(line.x) <= 51
    assert (line.customdata[0][2], line.customdata[-1][2]) == (0, 400)
    assert figure.layout.xaxis.ticktext == ("0", "1", "10", "100")


def test_pulls_show_alpha_sigma_and_their_product():
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(size, 4, generator=generator) for size in (5, 3, 7)]
    ids = torch.stack([torch.randint(size, (50,), generator=generator) for size in (5, 3, 7)], 1)
    of = pulls(tables, ids, torch.randn(50, generator=generator))
    figure = chapter.pulls_by_direction({"few": of[1], "many": of[2]})
    alpha, sigma, product = figure.data[:3]
    assert list(alpha.x) == [1, 2, 3]
    np.testing.assert_allclose(sigma.y, of[1].sigma, rtol=1e-2)
    np.testing.assert_allclose(product.y, of[1].weights.square().mean(0).sqrt(), rtol=1e-2)
    np.testing.assert_allclose(np.multiply(alpha.y, sigma.y), product.y, rtol=2e-2)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["few", "many"]


def test_the_parts_add_up_to_what_automatic_differentiation_gives():
    parts, error = chapter.pulls_of(6)
    assert list(parts) == ["3 features", "100 features", "100, collapsed"]
    assert error < 1e-12 and parts["3 features"].theta.abs().max() > 1e-3
    assert [len(pull.sigma) for pull in parts.values()] == [3, 6, 6]


def test_runs_are_those_of_base_and_se_by_model_in_one_setting_of_each_data_set(
    make_record, tmp_path
):
    for model, design, scale in (
        ("dcnv2", "se", 1),
        ("dcnv2", "me", 4),
        ("dcnv2", "se", 4),
        ("ffm", "se", 1),
        ("dnn", "se", 1),
    ):
        save(make_record(design, scale, model=model), tmp_path)
        save(make_record(design, scale, model=model, dataset="synthetic"), tmp_path)
    for model in ("dcnv2", "ffm"):
        run = make_record(model=model)
        spec = run.spec | {"dropout": 0.5}
        save(replace(run, spec=spec, key=key_of(spec)), tmp_path)
    asked, crossed, aware = chapter.runs_of(str(tmp_path))
    assert sorted(one.base.data.name for one in asked) == ["synthetic", "synthetic-mini"]
    assert sorted(run.label for run in crossed) == ["SE 4x"] * 2 + ["base"] * 2
    assert [run.spec["model"] for run in aware] == ["ffm"] * 2
    assert {run.spec["dropout"] for run in crossed + aware} == {0.2}


def test_runs_of_one_data_set_and_without_ffm_will_do_but_not_without_dcnv2(make_record, tmp_path):
    save(make_record(model="dnn"), tmp_path)
    save(make_record("me", 4), tmp_path)
    with pytest.raises(ParameterError, match="has no run of dcnv2, base or SE"):
        chapter.runs_of(str(tmp_path))
    save(make_record("se", 4), tmp_path)
    (asked,), (run,), aware = chapter.runs_of(str(tmp_path))
    assert (asked.base.data.name, run.label, aware) == ("synthetic-mini", "SE 4x", [])


def made(ends: list[list[float]]) -> Curves:
    """IA falls from 4 to these values, one row per D_3 and one number per seed."""

    def spectrum(abundance: float) -> list[float]:
        return [1.0, *[(abundance - 1) / 3] * 3]

    spectra = [[[spectrum(4.0), spectrum(end)] for end in row] for row in ends]
    inside = [[[0.3, 0.1] for _ in row] for row in ends]
    return Curves(torch.tensor([0, 100]), torch.tensor(spectra).double(), torch.tensor(inside))


@pytest.mark.parametrize(
    ("few", "many"),
    [([2.0, 2.1, 2.2], [3.5, 3.7, 3.6]), ([3.5, 3.7, 3.6], [2.0, 2.1, 2.2])],
)
def test_the_further_fall_is_that_of_the_pairs_of_seeds(few, many):
    effect = chapter.further_fall(made([few, many]))
    gaps = np.subtract(many, few)
    assert effect.value == pytest.approx(gaps.mean())
    reach = 4.302653 * gaps.std(ddof=1) / np.sqrt(3)  # Student's t with 2 degrees of freedom
    assert (effect.low, effect.high) == pytest.approx((gaps.mean() - reach, gaps.mean() + reach))


def test_what_is_kept_stands_with_the_fewest_and_the_most_features():
    shares = np.array([[2.0, 2.2], [1.0, 1.2], [3.0, 3.2]]) / 4
    row = chapter.few_and_many({5: shares}, [10, 2, 100]).loc["K = 5"]
    few, many, more = row
    assert list(row.index[:2]) == ["kept with D₃ = 2", "with D₃ = 100"]
    assert (few, many, more.value) == pytest.approx((1.1 / 4, 3.1 / 4, 0.5))


def test_what_is_kept_comes_from_the_record_and_is_what_training_gives(monkeypatch):
    """To the third digit of an IA of 4 and more, which is all that the record has; sums are taken
    in another order on other processors."""
    ((width, stored),) = chapter.kept([2, 100], [5], 2, 5_000, "logistic").items()
    monkeypatch.setattr(chapter.toy, "stored", lambda: {"grid": chapter.toy.GRID | {"third": []}})
    ((_, trained),) = chapter.kept([2, 100], [5], 2, 5_000, "logistic").items()
    assert width == 5 and stored.shape == (2, 2)
    np.testing.assert_allclose(stored, trained, atol=2e-3)


@pytest.mark.parametrize(
    "asked",
    [
        ([7], [5], 2, 5_000, "logistic"),
        ([2], [6], 2, 5_000, "logistic"),
        ([2], [5], 6, 5_000, "logistic"),
        ([2], [5], 2, 30, "logistic"),
        ([2], [5], 2, 5_000, "squared"),
    ],
    ids=["third", "width", "seeds", "iterations", "loss"],
)
def test_what_the_record_does_not_hold_is_trained(asked, monkeypatch):
    """Here in a few steps."""
    thirds, (width,), seeds, iterations, loss = asked
    known = toy.run(thirds, width, range(seeds), 5, every=5, loss=loss)
    trained: list[tuple] = []

    def train(*given, **settings):
        trained.append((*given, settings))
        return known

    monkeypatch.setattr(chapter, "train", train)
    found = chapter.kept(*asked)
    settings = {"seeds": range(seeds), "iterations": iterations, "loss": loss, "every": iterations}
    assert trained == [(thirds, width, settings)]
    np.testing.assert_array_equal(found[width], known.abundance[..., -1] / known.abundance[..., 0])


def test_where_the_table_lies_is_told_at_the_start_the_peak_and_the_end():
    found = made([[2.0]])._replace(inside=torch.tensor([[[0.3, 0.1]]]))
    row = chapter.where_it_lies({"start at 1": found}).loc["start at 1"]
    assert row["inside the span"].tolist() == ["30%", "30%", "10%"]
    assert row["IA(E₁)"].tolist() == ["4.0", "4.0", "2.0"]
    assert row["iteration", "of the peak"] == "0"


def test_correlations_are_held_against_zero_and_against_random_projections():
    found = [
        Influence(
            Cell("synthetic", "dcnv2", "se", 4), [0.5, 0.6], [0.1, 0.2], [0.4, 0.3], [0, 0.0]
        ),
        Influence(Cell("synthetic", "ffm", "se", 1), [0.7, 0.8], [0.6, 0.65], [], []),
    ]
    table = chapter.correlations(found)
    own, above, partner = table.loc["synthetic, DCNv2 SE 4x"]
    assert (own.value, above.value, partner.value) == pytest.approx((0.55, 0.2, 0.15))
    assert above.low < 0.2 < above.high
    together = [found[0]._replace(own=[0.5, 0.8], own_by_chance=[0.3, 0.6])]  # run by run
    assert chapter.correlations(together).iloc[0]["above random projections"].half_width < 1e-9
    assert rounded(table, 2).loc["synthetic, FFM base", "above random projections"] == ""


def test_what_is_trained_here_is_the_studys_base_model_for_less_long():
    one, other = chapter.specs_of("us-flights", 5_000, 2)
    assert (one.seed, other.seed, one.epochs) == (0, 1, 2)
    base = BASES[0]
    assert replace(one, data=base.data, epochs=base.epochs, precision=base.precision) == base
    assert one.data == DataSpec("us-flights", 5_000, held_out=(10_000, 10_000))
    assert chapter.specs_of("synthetic", 0, 1)[0].data == DataSpec("synthetic")


def test_what_was_learned_is_told_with_how_far_it_moved(make_record):
    follows = np.tile(np.array(OWN) * 4, (3, 1))[None].tolist()  # their partner
    changes = [
        chapter.Learned(make_record(seed=seed, abundance=OWN, projected_abundance=follows), 0.2)
        for seed in range(3)
    ]
    (row,) = rounded(chapter.what_was_learned(changes), 3).to_numpy()
    assert row.tolist() == ["20%", "+0.000", "+1.000"]  # alike in all seeds: no interval


def test_what_was_learned_is_the_projections_minus_those_of_the_seed(tmp_path):
    """Against the weights that the same run leaves behind, block by block."""
    data = load("synthetic-mini", 1_000, progress=False)
    spec = Spec(
        DataSpec(rows=1_000),
        embedding_size=3,
        hidden=8,
        cross_layers=1,
        epochs=1,
        batch_size=256,
        seed=3,
    )
    found = chapter.learned(spec, data, device="cpu", progress=False)
    run(spec, data, output=tmp_path, device="cpu", progress=False)
    after = load_file(tmp_path / f"{spec.key}.safetensors")
    before = build_model(spec, data.cardinalities).interaction.weight.detach()[0, 0]
    change = after["interaction.weight"][0, 0] - before
    assert found.moved == pytest.approx((change.norm() / before.norm()).item(), rel=1e-5)
    fields = after["table"][:, 0].split(data.cardinalities)
    for i, j in ((0, 1), (5, 2), (11, 4)):
        block = change[3 * j : 3 * j + 3, 3 * i : 3 * i + 3]  # rows of the partner, columns of i
        expected = information_abundance(singular_values((fields[i] @ block.T).double()))
        assert found.record.projected_abundance[0][i][j] == pytest.approx(expected.item(), rel=1e-3)
