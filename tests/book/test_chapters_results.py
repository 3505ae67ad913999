"""Chapter 7: gains, the ledger and what else there is to see of a study."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sized import AUCS, runs_of_sizes

from embedding_collapse.book import plots
from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.settings import Setting, differences, first_question, lines
from embedding_collapse.book.analysis.settings import settings as settings_of
from embedding_collapse.book.chapters import results, robustness
from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies.decide import (
    BASE,
    DRAWN,
    FLIGHTS,
    ME4,
    ME10,
    SE4,
    SE10,
    cells,
)


@pytest.fixture
def runs(make_record):
    return runs_of_sizes(make_record)


def test_settings_are_the_studys_two_data_sets_first(runs):
    flights, drawn = settings_of(runs)
    assert (flights.name, drawn.name) == (
        "us-flights, 320,000 rows",
        "synthetic-mini, 1,000,000 rows",
    )
    assert len(flights.runs) == len(drawn.runs) == 30  # the one with another dropout left out


def test_lines_of_the_ledger_are_its_findings_word_for_word(runs):
    asked = settings_of(runs)
    table = lines(asked, (12, 1))
    assert list(table) == [one.name for one in asked]
    assert [row.partition(".")[0] for row in table.index] == ["1", "12"]
    for one in asked:
        for number, answer in zip((1, 12), table[one.name], strict=True):
            finding = one.findings[number - 1]
            assert answer == finding
            assert finding.claim.text in " ".join(table.index)


def test_gains_have_a_line_with_its_band_for_each_design_and_panel(runs):
    figure = results.gains(settings_of(runs))
    assert figure.layout.updatemenus[0].buttons[0].label == "DNN"
    shown = [line for line in figure.data if line.visible and line.mode == "lines+markers"]
    assert len(shown) == 2 * 4  # SE and ME, ours twice and the paper's twice
    se, me = shown[:2]
    assert list(se.x) == [1, 4, 10] and se.y[1] == pytest.approx(AUCS[SE4] + 1 / 2000)
    assert me.y[2] == pytest.approx(AUCS[ME10] + 1 / 2000)
    assert shown[5].y[-1] == pytest.approx(0.81287)  # the paper's ME 10x of DNN on Criteo


def test_differences_have_a_row_for_each_model_that_has_run(runs):
    found = differences(settings_of(runs))
    assert [model for _, model in found.index] == ["DNN", "DCNv2"] * 2
    for pair, (new, old) in {
        "SE 10x - base": (SE10, BASE),
        "ME 10x - base": (ME10, BASE),
        "ME 4x - SE 4x": (ME4, SE4),
        "ME 10x - SE 10x": (ME10, SE10),
    }.items():
        values = [effect.value for effect in found[pair]]
        assert values == pytest.approx([AUCS[new] - AUCS[old]] * 4)
    assert set(found["parameters, ME / SE"]) == {"1.00, 1.00"}
    one_size = [run for run in runs if run.spec["scale"] != 4]
    fewer = differences(settings_of(one_size), measures.LOG_LOSS)
    assert set(fewer["ME 4x - SE 4x"]) == {""} and len(fewer) == 4
    first, old = fewer["ME 10x - SE 10x"].iloc[0], runs[0].test["log_loss"]
    assert old > 0 and first.value == pytest.approx(0)  # all have the same


def test_validation_auc_is_drawn_by_epoch_for_each_size(runs):
    figure = results.learning(settings_of(runs))
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == ["DNN", "DCNv2"]
    shown = [line for line in figure.data if line.visible]
    assert [line.name for line in shown if line.showlegend] == [
        "base", "SE 4x", "ME 4x", "SE 10x", "ME 10x"
    ]  # fmt: skip
    assert len(shown) == 2 * 5
    base = [run for run in runs if run.spec["model"] == "dnn" and run.label == "base"][:3]
    aucs = [[epoch["valid_auc"] for epoch in run.epochs] for run in base]
    assert list(shown[0].y) == pytest.approx(np.mean(aucs, axis=0), abs=1e-5)
    assert list(shown[0].x) == [1, 2]


def test_where_a_model_has_no_run_the_panel_says_so_and_its_lines_keep_their_legend(runs):
    drawn = [run for run in runs if run.spec["dataset"] == DRAWN.name]
    few = [run for run in runs if run not in drawn or run.spec["model"] == "dnn"]
    figure = results.gains(settings_of(few))
    for button in figure.layout.updatemenus[0].buttons:
        shown = [
            trace
            for trace, visible in zip(figure.data, button.args[0]["visible"], strict=True)
            if visible
        ]
        unmade = [trace for trace in shown if trace.mode == "text"]
        assert len(unmade) == {"DNN": 0, "DCNv2": 1}.get(button.label, 2)
        assert all(trace.text == ("", "not run yet", "") for trace in unmade)
        assert all((trace.x[0], trace.x[-1]) == (1, 10) for trace in unmade)  # as far as the others
        assert [trace.name for trace in shown if trace.showlegend] == ["SE", "ME"]


def test_the_ledger_has_a_line_per_claim_with_verdict_effect_and_interval(runs):
    settings = settings_of(runs)
    page = plots.ledger_page(settings)
    lines = page.split("<tr>")[2:]
    assert len(lines) == len(settings[0].findings)
    assert ">test AUC, no gain<" in lines[2] and ">test AUC, higher · a control<" in lines[21]
    (beats,) = [line for line in lines if "beats single-embedding of the same size" in line]
    assert beats.count("✓ holds") == 2
    texts = re.findall(r"ec-effect'>([^<]*)<", beats)
    value, (low, high) = float(texts[0]), map(float, texts[1][1:-1].split(",\xa0"))
    assert low < value < high and value == pytest.approx(0.0225, abs=1e-4)
    table = plots.ledger_numbers(settings)
    made = [finding for one in settings for finding in one.findings if finding.effect]
    assert 0 < len(made) == len(table) < 2 * len(lines) and "not run" not in set(table["verdict"])


def test_a_mean_of_effects_of_opposite_signs_is_called_so(runs):
    worse = [
        replace(run, test=run.test | {"auc": run.test["auc"] - 0.05})
        if (run.spec["model"], run.spec["design"]) == ("dcnv2", "me")
        else run
        for run in runs
    ]
    for held, times in ((runs, 0), (worse, 1)):
        page = plots.ledger_page(settings_of(held)[:1])
        (beats,) = [line for line in page.split("<tr>") if "beats single-embedding of the" in line]
        assert beats.count("opposite signs") == times


def test_the_first_question_is_answered_for_each_model_wherever_two_seeds_are(runs):
    answers = first_question(settings_of(runs))
    assert len(answers) == 2 * 2 * 3
    of = {(one.where, one.model, one.pair): one for one in answers}
    one = of["us-flights, 320,000 rows", "dnn", "ME 4x - SE 4x"]
    assert one.effect.value == pytest.approx(0.02) and one.verdict == "holds"
    figure = results.against_rows(settings_of(runs), answers)
    assert [note.text for note in figure.layout.annotations][:2] == [
        "DNN, us-flights",
        "DNN, synthetic-mini",
    ]
    assert [(line.name, line.x) for line in figure.data[:3]] == [
        ("SE 4x - base", (320_000,)),
        ("ME 4x - base", (320_000,)),
        ("SE 4x - base", (1_000_000,)),
    ]
    assert figure.layout.xaxis.ticktext == ("320k",) and figure.layout.xaxis2.ticktext == ("1M",)
    (gain,) = figure.data[1].y
    expected = of["us-flights, 320,000 rows", "dnn", "ME 4x - base"].effect
    assert gain == pytest.approx(expected.value, abs=1e-5)
    figure = results.forest(answers)
    assert [len(trace.x) for trace in figure.data] == [4, 4, 4]
    assert figure.data[0].y[0] == "DNN, us-flights, 320,000"
    table = robustness.everywhere(answers[1:])
    assert table.loc["DNN, us-flights, 320,000", "ME 4x - SE 4x"] == one
    assert len(table) == 4 and "not run" in plots.answered(table).data


def test_controls_have_a_row_for_each_comparison_and_a_column_for_each_data_set(runs, make_record):
    assert results.controls(settings_of(runs)).empty
    equal = {"us-flights": {"K": 28, "auc": 0.82}, "synthetic-mini": {"K": 28, "auc": 0.81}}
    for data, hidden in ((FLIGHTS, {}), (DRAWN, {}), (DRAWN, {"hidden": 894})):
        size = hidden or {"embedding_size": equal[data.name]["K"]}
        for spec in cells([data], ["dcnv2"], [BASE], range(3), **size):
            like = make_record(seed=spec.seed, auc=equal[data.name]["auc"] + spec.seed / 2000)
            dataset = like.dataset | {"name": data.name, "rows": 920_000}
            runs.append(replace(like, key=spec.key, spec=spec.written(), dataset=dataset))
    found = results.controls(settings_of(runs))
    wider, deeper = found.index
    assert wider == ("24.", "DCNv2 ME 4x, K = 10 - base, K = 28") and deeper[0] == "24."
    first, second = found.loc[wider]
    assert first.value == pytest.approx(AUCS[ME4] - 0.82)
    assert second.value == pytest.approx(AUCS[ME4] - 0.81)
    assert found.loc[deeper].iloc[0] == "" and found.loc[deeper].iloc[1].value > 0


def test_two_files_of_one_kind_are_two_data_sets(make_record):
    bases = [Spec(DataSpec("table", label="y", content=hashed)) for hashed in ("ab12cd34", "ff00")]
    names = [Setting(base, [make_record(spec=base.written())], []).name for base in bases]
    assert [name.partition(",")[0] for name in names] == ["table ab12cd", "table ff00"]
