"""What stands behind chapter 7."""

from dataclasses import replace

import numpy as np
import pytest
from sized import AUCS, runs_of_sizes

from embedding_collapse.book.analysis.cause import Correlation
from embedding_collapse.book.analysis.settings import settings as settings_of
from embedding_collapse.book.chapters import robustness
from embedding_collapse.lab.studies.decide import BASE, DRAWN, ME4, cells


@pytest.fixture
def runs(make_record):
    return runs_of_sizes(make_record)


def test_data_sets_are_told_with_the_number_of_their_runs(runs):
    found = robustness.about(settings_of(runs))
    assert found["runs, controls apart"].tolist() == [30, 30]


def test_levels_have_a_row_for_each_data_set_and_a_column_for_each_size(runs):
    found = robustness.levels(settings_of(runs))
    assert found.shape == (2, 10)
    assert set(found["DCNv2 ME 4x"]) == {f"{AUCS[ME4] + 1 / 2000:.4f}"}


def test_models_are_held_against_averages_of_as_many_base_models_as_were_run(runs, make_record):
    assert robustness.ensembles(runs, settings_of(runs)).empty
    for spec in cells([DRAWN], ["dnn"], [BASE], range(3), members=4, average="logits"):
        like = make_record(seed=spec.seed, auc=0.825 + spec.seed / 2000)
        dataset = like.dataset | {"name": DRAWN.name, "rows": 920_000}
        runs.append(replace(like, key=spec.key, spec=spec.written(), dataset=dataset))
    found = robustness.ensembles(runs, settings_of(runs))
    assert list(found) == ["minus 4 models"]
    assert {size: effect.value for (_, size), effect in found["minus 4 models"].items()} == (
        pytest.approx({"DNN ME 4x": 0.005, "DNN ME 10x": 0.015, "DNN SE 10x": -0.01})
    )


def test_correlations_that_few_cells_allow_are_said_to_be_missing(runs):
    found = robustness.foretold(runs[:5])
    assert found.iloc[0].tolist() == ["5 cells needed", "5 cells needed", 2]
    assert robustness.foretold(runs[:-1]).iloc[0].tolist()[::2] == ["all alike", 8]


def test_a_correlation_without_an_interval_is_its_value_alone():
    assert robustness._in_words(Correlation(0.5, np.nan, np.nan, 8)) == "+0.50"


def test_results_stand_beside_the_papers(runs):
    ours = robustness.beside(runs[:-1], "us-flights")
    assert ours.loc[("DNN", "4x"), "ME - SE"] == "+0.02000"
    theirs = robustness.beside([], "criteo")
    assert theirs.loc[("DNN", "10x"), "ME - SE"] == f"{0.81287 - 0.81142:+.5f}"
    assert np.all(theirs.index.get_level_values(1) != "5x")
