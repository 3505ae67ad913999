"""Chapter 2's tables and figures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from embedding_collapse.book.analysis.ledger import sharing
from embedding_collapse.book.analysis.measures import in_blocks
from embedding_collapse.book.chapters import information_abundance as chapter
from embedding_collapse.book.language_model import TokenEmbedding, TokenSpectrum
from embedding_collapse.book.plots import colour, rounded
from embedding_collapse.lab import records
from embedding_collapse.lab.studies import study
from embedding_collapse.lab.studies.decide import BASES
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import (
    information_abundance,
    normalised_abundance,
    random_spectrum,
    stable_rank,
)

TABLE = torch.randn(200, 20, generator=torch.Generator().manual_seed(0))
EMBEDDING = TokenEmbedding("tokens", TABLE, "a test", "0")
KEPT = TokenSpectrum("kept", "a record", "0", 90, 4, [4.0, 2.0, 1.0, 1.0], [2.0, 2.0, 1.0, 1.0])


@pytest.fixture
def runs(make_record):
    """Three seeds of base and SE 4x; the latter's IA / K is half of the former's."""
    return [
        make_record("se", scale, seed, abundance=share + seed / 100)
        for seed in range(3)
        for scale, share in ((1, 0.8), (4, 0.4))
    ]


@pytest.fixture
def trained(make_record):
    """IA / K of the largest field is higher by 0.2 where frequent rows count more, of the others by
    0.1; random tables lose nothing."""

    def run(scale: int, seed: int, share: float):
        plain = make_record("se", scale, seed, abundance=share)
        weighted = make_record("se", scale, seed, abundance=[share + 0.1, share + 0.2, share + 0.1])
        data = plain.dataset | {"cardinalities": [1000, 100_000, 10_000]}
        return replace(plain, dataset=data, weighted_spectra=weighted.spectra)

    return [
        run(scale, seed, share + seed / 10)
        for scale, share in ((1, 0.5), (4, 0.3))
        for seed in range(3)
    ]


def kept(folder, runs) -> str:
    """Their folder."""
    for run in runs:
        records.save(run, folder)
    return str(folder)


def test_runs_are_chosen_by_model_and_scale_and_others_are_refused(make_record, runs, tmp_path):
    others = [
        make_record("me", 4),
        make_record("se", 10),
        make_record(model="dnn"),
        make_record(dataset="synthetic"),
        make_record("se", 4, dataset="synthetic"),
        make_record(dataset="us-flights"),
    ]
    folder = kept(tmp_path, [*runs, *others])
    found = chapter.runs_of(folder, "dcnv2", 4, "synthetic-mini")
    assert list(found) == ["synthetic-mini", "synthetic"]  # us-flights has no SE
    assert next(iter(chapter.runs_of(folder, "dcnv2", 4, "synthetic"))) == "synthetic"
    assert list(chapter.runs_of(folder, "dcnv2", 10, "synthetic-mini")) == ["synthetic-mini"]
    labels = [(run.label, run.spec["seed"]) for run in found["synthetic-mini"]]
    assert labels == [(label, seed) for label in ("base", "SE 4x") for seed in range(3)]
    assert {run.spec["model"] for group in found.values() for run in group} == {"dcnv2"}
    for asked, message in (
        (("ipnn", 4, "synthetic"), "model 'ipnn' is unknown; known: dcnv2, dnn"),
        (("dcnv2", 3, "synthetic"), "scale 3 is unknown; known: 4, 10"),
        (("dcnv2", 4, "criteo"), "dataset 'criteo' is unknown; known: synthetic-mini, synthetic"),
    ):
        with pytest.raises(ParameterError, match=message):
            chapter.runs_of(folder, *asked)


def changed(run, **spec):
    spec = run.spec | spec
    return replace(run, spec=spec, key=records.key_of(spec))


def test_runs_of_another_setting_are_no_part_of_a_data_set(make_record, runs, tmp_path):
    """Here another dropout, and more rows."""
    others = [
        changed(run, **other)
        for run in runs[:4]
        for other in ({"dropout": 0.5}, {"rows": 123_456, "seed": 9})
    ]
    found = chapter.runs_of(kept(tmp_path, [*runs, *others]), "dcnv2", 4, "synthetic-mini")
    assert {run.key for run in found["synthetic-mini"]} == {run.key for run in runs}


def test_runs_that_share_no_setting_are_refused(make_record, tmp_path):
    base, wide = make_record(), changed(make_record("se", 4), dropout=0.5)
    message = "holds no runs of dcnv2, base and SE 4x, that share their settings"
    with pytest.raises(ParameterError, match=message):
        chapter.runs_of(kept(tmp_path, [base, wide]), "dcnv2", 4, "synthetic-mini")


def test_the_repositorys_runs_are_those_of_the_studys_two_data_sets():
    every = study("decide").records(missing_ok=True)
    main = {run.key for base in BASES for run in sharing(base, every)}
    for scale in (4, 10):
        found = chapter.runs_of("results/decide", "dcnv2", scale, "synthetic-mini")
        assert list(found) == ["synthetic-mini", "us-flights"]
        for group in found.values():
            assert {run.label for run in group} == {"base", f"SE {scale}x"}
            assert {run.key for run in group} < main


def test_collapse_has_a_menu_of_datasets_and_shows_the_first(make_record):
    figure = chapter.collapse(
        {
            name: [
                make_record("se", scale, seed, dataset=name, abundance=share)
                for scale in (1, 4)
                for seed in range(2)
            ]
            for name, share in (("synthetic-mini", 0.7), ("synthetic", 0.5))
        }
    )
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["synthetic-mini", "synthetic"]
    shown = [trace for trace in figure.data if trace.visible]
    assert {trace.name for trace in shown} == {"base", "SE 4x", "random, K=4", "random, K=16"}
    assert next(t for t in shown if t.name == "base").y == pytest.approx([0.7] * 3)
    visible = menu.buttons[1].args[0]["visible"]
    assert visible == [not trace.visible for trace in figure.data]


def test_measures_across_widths_are_those_of_tables_of_which_the_truth_is_known():
    figure = chapter.across_widths()
    (left,) = figure.select_traces({"name": "information abundance, D = 100"})
    assert left.y[0] > 0.8
    assert left.y[-1] < 0.5  # a random table of 100 x 100
    (right,) = figure.select_traces({"name": "information abundance"})
    assert np.allclose(right.y, 5 + 0.1 * (np.array(right.x) - 5), atol=1e-4)
    (stable,) = figure.select_traces({"name": "stable rank"})
    assert max(stable.y) < 6


def test_readings_are_means_over_fields_as_worked_out_by_hand(make_record):
    record = make_record("se", 4, abundance=[0.4, 0.5, 0.6])
    found = chapter.readings(record)
    assert len(found) == 9
    assert found["information abundance", "over K"] == pytest.approx(0.5)
    assert found["information abundance", "as it is"] == pytest.approx(8)  # K = 16
    stable = [
        (stable_rank(torch.tensor(sets[0])) / stable_rank(random_spectrum(rows, 16))).item()
        for sets, rows in zip(record.spectra, record.dataset["cardinalities"], strict=True)
    ]
    assert found["stable rank", "against random"] == pytest.approx(sum(stable) / 3, rel=1e-5)


def test_the_sets_of_me_are_averaged(make_record):
    record = make_record("me", 4, abundance=0.6)
    assert chapter.readings(record)["information abundance", "as it is"] == pytest.approx(2.4)


def test_the_nine_readings_stand_beside_each_other_with_the_change(runs):
    table = chapter.beside({"mini": runs}, chapter.readings)
    assert list(table.index) == [(m, r) for m in chapter.MEASURES for r in chapter.READINGS]
    base, wide, change = table.loc[("information abundance", "over K")]
    assert (base, wide, change.value) == pytest.approx((0.81, 0.41, -0.4))
    assert change.low < -0.4 < change.high < 0
    row = rounded(table, 2).loc[("information abundance", "over K"), "mini"]
    assert row["base"] == "0.81" and row["change"].startswith("-0.40 [-0.4")


def test_one_seed_has_a_change_without_an_interval(runs):
    table = rounded(chapter.beside({"mini": runs[:2]}, chapter.readings), 2)
    assert table.loc[("information abundance", "over K"), ("mini", "change")] == "-0.40"


def test_without_the_first_singular_value_a_flat_rest_is_whole(make_record):
    runs = [make_record("se", 1, abundance=0.5), make_record("se", 4, abundance=0.5)]
    table = chapter.without_first({"mini": runs})
    assert table.loc["mini"].tolist() == pytest.approx([0.5, 0.5, 1, 1])


def test_weighting_has_the_means_over_seeds_and_what_it_adds_in_pairs(trained):
    table = chapter.beside({"mini": trained}, chapter.weightings)["mini"]
    base, wide, change = table.loc[("IA / K", "rows by frequency")]
    assert (base, wide, change.value) == pytest.approx((0.6 + 0.4 / 3, 0.4 + 0.4 / 3, -0.2))
    against = table.loc["IA / random"]
    for label in ("base", "SE 4x"):
        alike, weighted, added = against[label]
        assert weighted == pytest.approx(table.loc[("IA / K", "rows by frequency"), label])
        assert added == pytest.approx(weighted - alike)


def test_what_weighting_adds_is_compared_in_pairs(trained):
    """The seeds differ, what weighting adds to base doesn't."""
    changes = chapter.beside({"mini": trained}, chapter.weightings)["mini", "change"]
    added, plain = (
        changes["IA / random", row] for row in ("what weighting adds", "rows by frequency")
    )
    assert added.half_width < plain.half_width / 5


def test_weighted_abundance_is_the_mean_over_seeds_with_its_range(trained):
    figure = chapter.weighted({"mini": trained})
    (line,) = figure.select_traces({"name": "base, rows by frequency"})
    assert list(line.x) == ["user", "site", "device"]
    assert line.y == pytest.approx([0.7, 0.7, 0.8])
    assert line.error_y.array == pytest.approx([0.1, 0.1, 0.1])
    assert line.line.color == colour("base")
    assert len(figure.data) == 4
    both = chapter.weighted({"mini": trained, "other": trained})
    assert [button.label for button in both.layout.updatemenus[0].buttons] == ["mini", "other"]
    assert len(both.data) == 8


def test_blocks_of_a_table_without_collapse_are_without(make_record):
    """In blocks of any width; a line is a line there too."""
    whole, line = (make_record("se", 4, abundance=share) for share in (1.0, 1 / 16))
    rows = [100_000] * 3  # a random table of so many rows has equal singular values
    whole, line = (
        replace(run, dataset=run.dataset | {"cardinalities": rows}) for run in (whole, line)
    )
    assert in_blocks(whole) == pytest.approx(1, abs=0.02)
    assert in_blocks(line) == pytest.approx(1 / 4, abs=0.01)


def test_blocks_of_the_base_model_are_its_table(make_record):
    run = make_record("se", 1, abundance=[0.3, 0.4, 0.5])
    assert in_blocks(run) == pytest.approx(run.abundance_against_random.mean().item())


def test_blocks_stand_below_whole_tables(runs):
    table = chapter.blocks({"mini": runs})["mini"]
    assert list(table.index) == ["whole table", "in blocks"]
    assert table.loc["in blocks", "base"] == pytest.approx(table.loc["whole table", "base"])
    wide = [run for run in runs if run.label == "SE 4x"]
    assert table.loc["in blocks", "SE 4x"] == pytest.approx(np.mean([*map(in_blocks, wide)]))


def test_blocks_are_those_of_a_table_with_that_spectrum(make_record):
    """However its columns are turned."""
    table = torch.randn(1000, 16, generator=torch.Generator().manual_seed(1)).double()
    table = table * torch.linspace(1, 0.05, 16)
    run = make_record("se", 4)
    spectrum = torch.linalg.svdvals(table).tolist()
    run = replace(run, spectra=[[spectrum]], dataset=run.dataset | {"cardinalities": [1000]})
    direct = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        rotation = torch.linalg.qr(torch.randn(16, 16, generator=generator).double()).Q
        blocks = (table @ rotation).unflatten(1, (4, -1)).transpose(0, 1)
        direct.append(normalised_abundance(torch.linalg.svdvals(blocks), 1000).mean().item())
    assert in_blocks(run) == pytest.approx(np.mean(direct), abs=4 * np.std(direct))


def test_the_fields_are_the_largest_first(make_record):
    record = make_record("se", 4, abundance=[0.3, 0.4, 0.5])
    first, second = chapter.largest_fields(record, 2)
    assert (first.name, first.rows, second.name) == ("user (50)", 50, "site (20)")
    assert first.full.tolist() == record.spectra[0][0]


def test_leading_values_are_of_the_whole_and_leading_columns_of_what_is_left():
    own, kept = chapter.token_spectra(EMBEDDING, [KEPT], 3)
    assert own.name == "tokens (200)"
    whole = torch.linalg.svdvals(TABLE.double())
    torch.testing.assert_close(own.full, whole, rtol=1e-5, atol=0)  # six digits are kept
    torch.testing.assert_close(own.columns, torch.linalg.svdvals(TABLE[:, :3].double()))
    table = chapter.language_table([own, kept], 3)
    assert table.loc["kept (90)", ["IA/K", "centred"]].tolist() == pytest.approx([0.5, 0.75])
    assert table.loc["kept (90)", "3 values"] == pytest.approx(7 / 12)
    assert table["3 columns"].isna().tolist() == [False, True]
    assert table.loc["tokens (200)", "IA/random"] == pytest.approx(1, abs=0.1)


def test_a_token_embedding_that_is_recorded_too_is_shown_once():
    assert len(chapter.token_spectra(EMBEDDING, [replace(KEPT, name="tokens")], 3)) == 1


def test_fields_and_language_models_are_drawn_in_three_views(make_record):
    fields = chapter.largest_fields(make_record("se", 4), 2)
    figure = chapter.beside_language([*fields, *chapter.token_spectra(EMBEDDING, [KEPT], 16)], 16)
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == [
        "full",
        "first 16 singular values",
        "first 16 columns",
    ]
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
