"""Chapter 4's tables and figures, on records whose numbers are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embedding_collapse.book import plots
from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.ledger import difference
from embedding_collapse.book.chapters import suppression as chapter
from embedding_collapse.lab.groups import Cell, by_cell, select
from embedding_collapse.lab.models import build
from embedding_collapse.lab.models.penalties import orthogonality
from embedding_collapse.lab.models.recommender import Size
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import random_abundance

RESULTS = Path(__file__).parents[2] / "results"
CARDINALITIES = [50, 3, 20]  # of `make_record`, whose base model has K = 4
NAMES = ["device", "site", "user"]  # its fields, by features


@pytest.fixture
def cells(make_record):
    """Base and SE 10x of the three models on two data sets."""
    return by_cell(
        make_record(
            "se",
            scale,
            seed,
            model=model,
            dataset=dataset,
            abundance=(0.8 if scale == 1 else 0.3) + seed * 1e-4,
            auc=0.7 + seed * 1e-5,
        )
        for dataset in ("synthetic", "synthetic-mini")
        for model in chapter.NAMES
        for scale in (1, 10)
        for seed in range(3)
    )


@pytest.mark.parametrize(("blocks", "expected"), [("orthogonal", 0), ("zero", 1)])
def test_blocks_deviate_by_nothing_where_orthogonal_and_by_one_where_zero(
    make_record, blocks, expected
):
    network = build("dcnv2-regularized", CARDINALITIES, Size(fields=3, sets=1, width=4))
    interaction = network.interaction
    with torch.no_grad():
        eye = torch.eye(4).repeat(3, 3) if blocks == "orthogonal" else torch.zeros(12, 12)
        interaction.weight[:] = eye
    penalty = network.penalty(interaction, torch.zeros(1, 2, 3, 4)).item()
    record = make_record(model="dcnv2-regularized", epochs=[{"penalty": penalty}])
    assert chapter.block_deviation(record) == pytest.approx([expected], abs=1e-6)
    assert network.penalty.func is orthogonality


def test_the_penalty_is_on_the_block_without_its_learned_factor():
    """As the chapter says of the learned scale: what the factor is does not matter to it."""
    network = build("dcnv2-regularized", CARDINALITIES, Size(fields=3, sets=1, width=4))
    before = network.penalty(network.interaction, torch.zeros(1, 2, 3, 4)).item()
    with torch.no_grad():
        network.interaction.scale.fill_(7.0)
    assert network.penalty(network.interaction, torch.zeros(1, 2, 3, 4)).item() == before


def test_other_models_have_no_deviation(make_record):
    for model in ("dcnv2", "dcnv2-aligned"):
        with pytest.raises(ValueError, match=f"{model} has no penalty on the blocks"):
            chapter.block_deviation(make_record(model=model))


def test_deviation_is_told_of_the_epoch_that_was_tested(make_record):
    each = 1e-5 * 4 * 3**2 * 4
    epochs = [{"penalty": value * each} for value in (0.9, 0.5, 0.1)]
    record = make_record(model="dcnv2-regularized", epochs=epochs, best_epoch=1)
    assert chapter.DEVIATION.value(record) == pytest.approx(0.5)


def test_deviations_have_a_panel_per_regularised_model_and_data_set(make_record):
    runs = [
        make_record(
            "se",
            scale,
            seed,
            model="dcnv2-regularized",
            dataset=dataset,
            epochs=[{"penalty": (seed + scale) * 1e-4}, {"penalty": seed * 1e-4}],
        )
        for dataset in ("synthetic", "synthetic-mini")
        for scale in (1, 10)
        for seed in range(2)
    ]
    figure = chapter.block_deviations(by_cell([*runs, make_record()]))
    assert [note.text for note in figure.layout.annotations] == [
        "regularised, synthetic",
        "regularised, synthetic-mini",
    ]
    first = [run for run in runs if run.spec["scale"] == 10][:2]
    line = next(trace for trace in figure.data if trace.name == "SE 10x")
    expected = np.mean([chapter.block_deviation(run) for run in first], axis=0)
    assert list(line.y) == pytest.approx(expected.tolist(), abs=1e-4)


def test_abundance_is_that_of_the_records_at_the_largest_size_beside_random_tables(make_record):
    runs = [
        make_record("se", scale, seed, model=model, abundance=[share, share + 0.1, share + 0.2])
        for scale in (4, 10)
        for model, share in (("dcnv2", 0.3), ("dnn", 0.5))
        for seed in range(2)
    ]
    figure = chapter.abundance(by_cell(runs))
    assert [trace.name for trace in figure.data] == ["DCNv2", "DNN", "random, K=40"]
    for trace, share in zip(figure.data, (0.3, 0.5), strict=False):
        assert list(trace.x) == NAMES
        assert list(trace.y) == pytest.approx([share + 0.1, share + 0.2, share])
    expected = [random_abundance(rows, 40) / 40 for rows in (3, 20, 50)]
    assert list(figure.data[-1].y) == pytest.approx(expected, abs=1e-4)


def test_accuracy_has_a_panel_per_data_set_ours_and_then_the_papers(cells):
    figure = chapter.accuracy(cells)
    assert [note.text for note in figure.layout.annotations] == [
        "synthetic",
        "synthetic-mini",
        "criteo, the paper",
        "avazu, the paper",
    ]
    assert sorted({trace.name for trace in figure.data}) == ["DCNv2", "DNN", "regularised"]
    lines = [trace for trace in figure.data if trace.name == "DCNv2" and trace.fill is None]
    assert {trace.line.color for trace in lines} == {plots.COLOURS["SE"]}
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(shown) == ["DCNv2", "DNN", "regularised"]


def test_what_decay_does_is_told_of_each_model_that_ran_without_it(cells, make_record):
    free = by_cell(
        make_record(
            "se",
            scale,
            seed,
            model=model,
            abundance=(0.9 if scale == 1 else 0.5) + seed * 1e-4,
            auc=0.71 + seed * 1e-5,
            key=f"free {model} {scale} {seed}",
        )
        for model in ("dcnv2", "dnn")
        for scale in (1, 10)
        for seed in range(3)
    )
    table = chapter.without_decay(cells, free)
    assert [words for _, words in table.index] == [
        "DNN SE 10x: without decay minus with it",
        "DNN without decay: SE 10x minus base",
        "DCNv2 SE 10x: without decay minus with it",
        "DCNv2 without decay: SE 10x minus base",
    ]
    wide = Cell("synthetic-mini", "dnn", "se", 10)
    fuller, emptied = (
        difference(free[wide], old, measures.FAIR_ABUNDANCE)
        for old in (cells[wide], free[wide._replace(scale=1)])
    )
    assert table["IA against random"].tolist()[:2] == [fuller, emptied]
    assert [round(effect.value, 4) for effect in table["test AUC"]] == [0.01, 0.0] * 2
    alone = {cell: runs for cell, runs in free.items() if cell.scale == 10 or cell.model == "dnn"}
    without = {cell: runs for cell, runs in cells.items() if cell != wide}
    assert [words for _, words in chapter.without_decay(without, alone).index] == [
        "DNN without decay: SE 10x minus base",
        "DCNv2 SE 10x: without decay minus with it",
    ]


def test_decay_shrinks_a_row_that_was_never_seen_and_spares_one_that_was():
    assert chapter.decayed(0.03, 0) == 0.03
    assert chapter.decayed(0.03, 1) == pytest.approx(0.029, abs=3e-4)  # nearly a full step
    assert abs(chapter.decayed(0.03, 60)) < 0.05 * 0.03
    seen, free = (chapter.decayed(0.03, 300, 1e-3, decay) for decay in (1e-6, 0.0))
    assert 0.99 * free < seen < free


def test_the_repositorys_runs_are_read_each_with_the_settings_of_its_cell():
    asked, cells, undecayed, stopped = chapter.runs_of(str(RESULTS / "decide"))
    assert [one.base.data.name for one in asked] == ["us-flights", "synthetic-mini"]
    assert {cell.design for cell in cells} == {"se"}
    assert {cell.model for cell in cells} == set(chapter.NAMES)
    for group, decay in ((cells, 1e-6), (undecayed, 0.0)):
        specs = [run.spec for runs in group.values() for run in runs]
        assert {(spec["weight_decay"], spec["dropout"]) for spec in specs} == {(decay, 0.2)}
    assert {len(run.epochs) for runs in stopped.values() for run in runs} == {chapter.STOPPED}
    assert {cell.model for cell in stopped} == set(chapter.NAMES)


def test_models_stopped_together_stand_beside_dcnv2_and_the_epochs_they_would_have_had(by_size):
    cells = {cell: runs for cell, runs in by_cell(by_size).items() if cell.design == "se"}
    here = select(cells, dataset="synthetic-mini")
    table = chapter.stopped_together(cells, here).loc["synthetic-mini"]
    wide = {cell.model: runs for cell, runs in here.items() if cell.scale == 10}
    assert table.loc["DCNv2", "minus DCNv2's"] == ""
    assert table.loc["DNN", "minus DCNv2's"] == difference(
        wide["dnn"], wide["dcnv2"], measures.ABUNDANCE
    )
    epochs = ", ".join(str(run.best_epoch + 1) for run in wide["dnn"])
    assert table.loc["DNN", "epochs when not stopped"] == epochs
    alone = select(here, ["dnn"], scale=10)  # of one size, and no DCNv2 beside it
    (row,) = chapter.stopped_together(cells, alone).to_dict("records")
    assert row["minus DCNv2's"] == "" and next(iter(row)) == "SE 10x"


def test_what_overfitting_size_adds_is_told_of_each_model(make_record):
    def runs(model, scale, fall):
        epochs = [{"valid_auc": 0.7, "valid_log_loss": 0.5}, {"valid_auc": 0.7 - fall}]
        return [
            replace(make_record("se", scale, seed, model=model), epochs=epochs) for seed in range(2)
        ]

    made = [*runs("dcnv2", 1, 0.01), *runs("dcnv2", 10, 0.03), *runs("dnn", 10, 0.04)]
    found = chapter.further_falls(by_cell(made))
    assert list(found.index) == ["DCNv2"]  # of DNN there is no base
    assert found.loc["DCNv2", "synthetic-mini"].value == pytest.approx(0.02)


def test_a_folder_without_the_regularised_model_is_refused():
    with pytest.raises(ParameterError, match="has no run of dcnv2-regularized; its blocks are"):
        chapter.runs_of(str(RESULTS / "05_multi_embedding"))


def test_overfitting_is_the_mean_over_seeds_by_epoch_where_all_models_ran(by_size):
    cells = {cell: runs for cell, runs in by_cell(by_size).items() if cell.design == "se"}
    fewer = {cell: runs for cell, runs in cells.items() if cell[:2] != ("synthetic", "dnn")}
    figure = chapter.overfitting(cells)
    assert len(chapter.overfitting(fewer).data) == len(figure.data) / 2
    apart = {cell: runs for cell, runs in fewer.items() if cell[:2] != ("synthetic-mini", "dcnv2")}
    assert len(chapter.overfitting(apart).data) == 0
    shown = [t for t in figure.data if t.visible]
    assert len(shown) == 2 * 2 * 3  # models, loss and AUC, sizes of SE
    (loss, auc) = (t for t in shown if t.name == "SE 4x" and t.xaxis in ("x", "x3"))
    assert list(loss.y) == pytest.approx([0.6, 0.5])
    assert list(auc.y) == pytest.approx([0.69, 0.79])  # of seeds 0, 1 and 2
    assert [t.name for t in shown if t.showlegend] == ["base", "SE 4x", "SE 10x"]
