import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import pytest
import torch
from elements import Elements
from figures import with_data  # of the book's extensions

from embedding_collapse.book import plots
from embedding_collapse.book.analysis import measures
from embedding_collapse.book.chapters import multi_embedding
from embedding_collapse.book.plots import scaling
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import information_abundance, random_spectrum

ALL = [
    multi_embedding.accuracy,
    plots.abundance_by_field,
    plots.spectra_by_field,
    multi_embedding.training_curves,
]
BY_SIZE = {"device": 3, "site": 20, "user": 50}  # the fields of `make_record`, by features


def test_whole_numbers_in_tables_have_commas():
    table = pd.DataFrame({"rows": [30_522, 7], "share": [0.125, np.nan], "yes": [True, False]})
    assert plots.rounded(table, 2).to_numpy().tolist() == [
        ["30,522", "0.12", True],
        ["7", "", False],
    ]


@pytest.fixture
def records(make_record: Callable[..., Record]) -> list[Record]:
    """Two seeds of base, SE 4x and ME 4x; no two fields, models or seeds have equal numbers."""
    models = {("se", 1): 0.40, ("se", 4): 0.45, ("me", 4): 0.55}
    return [
        make_record(
            *model,
            seed,
            auc=0.7 + share / 10 + seed / 100,
            log_loss=0.5 - share / 10 - seed / 100,
            abundance=[share + 0.1 * field + 0.03 * seed for field in range(3)],
        )
        for seed in range(2)
        for model, share in models.items()
    ]


def of(records: Iterable[Record], label: str) -> list[Record]:
    return [record for record in records if record.label == label]


def trace(figure: go.Figure, name: str, **properties: Any) -> go.Scatter:
    """The one trace with this name and these properties."""
    (found,) = figure.select_traces(properties | {"name": name})
    return found


def design(trace: go.Scatter) -> str:
    """What a trace is of: "base", "SE", "ME" or "random"."""
    return trace.name.replace(",", " ").split()[0]


# --- each figure's numbers ------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["base", "SE 4x", "ME 4x"])
@pytest.mark.parametrize(("axis", "metric"), [("y", "auc"), ("y2", "log_loss")])
def test_test_metrics_has_a_dot_per_seed_and_a_line_at_the_mean(records, label, axis, metric):
    figure = multi_embedding.accuracy(records)
    values = [record.test[metric] for record in of(records, label)]
    dots = trace(figure, label, yaxis=axis)
    assert list(dots.x) == [label, label]
    assert list(dots.y) == values
    mean = trace(figure, f"{label}, mean", yaxis=axis)
    assert list(mean.y) == pytest.approx([np.mean(values)])
    for seed, text in enumerate(dots.hovertext):
        assert text.startswith(f"seed {seed}<br>")
    assert len(figure.data) == 3 * 2 * 2


def test_test_metrics_titles_stand_over_their_panels(records):
    figure = multi_embedding.accuracy(records)
    left, right = sorted(figure.layout.annotations, key=lambda note: note.x)
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    assert (left.text, right.text) == ("test AUC", "test log-loss (nats per row)")


@pytest.mark.parametrize("label", ["base", "SE 4x", "ME 4x"])
def test_abundance_is_that_of_the_records_by_rising_cardinality(records, label):
    line = trace(plots.abundance_by_field(records), label)
    order = [1, 2, 0]  # user, device, site in the records
    values = np.array([r.relative_abundance[order].tolist() for r in of(records, label)])
    assert list(line.x) == list(BY_SIZE)
    assert list(line.customdata) == list(BY_SIZE.values())
    assert list(line.y) == pytest.approx(values.mean(0).tolist())
    assert (line.y + line.error_y.array).tolist() == pytest.approx(values.max(0).tolist())
    assert (line.y - line.error_y.arrayminus).tolist() == pytest.approx(values.min(0).tolist())
    assert values.max(0) - values.min(0) == pytest.approx(0.03)


def test_abundance_of_joined_sets_stands_beside_that_of_single_ones_where_there_are_several(
    records,
):
    figure = plots.abundance_by_field(records)
    joined = torch.tensor([record.joined_spectra for record in of(records, "ME 4x")])
    expected = information_abundance(joined.double()).mean(0)[[1, 2, 0]] / 16
    line = trace(figure, "ME 4x, sets joined")
    assert list(line.x) == list(BY_SIZE)
    assert list(line.y) == pytest.approx(expected.tolist())
    names = {trace.name for trace in figure.data}
    assert names == {"base", "SE 4x", "ME 4x", "ME 4x, sets joined", "random, K=4", "random, K=16"}


@pytest.mark.parametrize("width", [4, 16])
def test_abundance_of_random_tables_is_told_at_the_width_of_a_set_and_of_se(records, width):
    line = trace(plots.abundance_by_field(records), f"random, K={width}")
    expected = [
        information_abundance(random_spectrum(c, width)).item() / width for c in BY_SIZE.values()
    ]
    assert list(line.x) == list(BY_SIZE)
    assert list(line.y) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("field", list(BY_SIZE))
def test_each_button_shows_exactly_its_fields_spectra(records, field):
    figure = plots.spectra_by_field(records)
    cardinality = BY_SIZE[field]
    (menu,) = figure.layout.updatemenus
    (button,) = [b for b in menu.buttons if b.label == f"{field} ({cardinality})"]
    (change,) = button.args
    assert list(change) == ["visible"]
    assert len(change["visible"]) == len(figure.data)
    shown = [t for t, on in zip(figure.data, change["visible"], strict=True) if on]
    number = records[0].dataset["fields"].index(field)
    base, se, me = (of(records, label)[0] for label in ("base", "SE 4x", "ME 4x"))
    expected = {
        "base": base.spectra[number][0],
        "SE 4x": se.spectra[number][0],
        "ME 4x (one line per set)": me.spectra[number][0],
        "ME 4x, set 2": me.spectra[number][1],
        "ME 4x, set 3": me.spectra[number][2],
        "ME 4x, set 4": me.spectra[number][3],
        "random, K=4": random_spectrum(cardinality, 4).tolist(),
        "random, K=16": random_spectrum(cardinality, 16).tolist(),
    }
    assert [t.name for t in shown] == list(expected)
    for line, spectrum in zip(shown, expected.values(), strict=True):
        width = len(spectrum)
        assert list(line.y) == pytest.approx([s / spectrum[0] for s in spectrum], abs=1e-5)
        assert list(line.x) == pytest.approx([(k + 1) / width for k in range(width)], abs=1e-4)
        ia = sum(spectrum) / spectrum[0]
        assert f"IA {ia:.2f} of K={width}, effective rank " in line.hovertemplate


def test_buttons_go_from_few_features_to_many_and_share_out_the_traces(records):
    figure = plots.spectra_by_field(records)
    (menu,) = figure.layout.updatemenus
    assert [b.label for b in menu.buttons] == ["device (3)", "site (20)", "user (50)"]
    assert {b.method for b in menu.buttons} == {"restyle"}
    shown = np.array([button.args[0]["visible"] for button in menu.buttons])
    assert (shown.sum(0) == 1).all()
    assert [t.visible for t in figure.data] == shown[menu.active].tolist()


def test_spectra_start_at_1_and_fall(records):
    for line in plots.spectra_by_field(records).data:
        assert line.y[0] == 1
        assert (np.diff(line.y) <= 0).all()
        assert line.x[-1] == 1


def test_sets_of_a_model_share_one_entry_of_the_legend(records):
    figure = plots.spectra_by_field(records)
    shown = [t for t in figure.data if t.visible and t.showlegend is not False]
    assert [design(t) for t in shown] == ["base", "SE", "ME", "random", "random"]


@pytest.mark.parametrize("label", ["base", "SE 4x", "ME 4x"])
def test_training_curves_are_the_losses_along_the_way_and_the_auc_after_each_epoch(records, label):
    figure = multi_embedding.training_curves(records)
    losses = list(figure.select_traces({"name": label, "yaxis": "y"}))
    aucs = list(figure.select_traces({"name": label, "yaxis": "y2"}))
    for seed, (loss, auc) in enumerate(zip(losses, aucs, strict=True)):
        assert list(loss.x) == [0.5, 1, 1.5, 2]
        assert list(loss.y) == pytest.approx([0.62, 0.58, 0.52, 0.48])
        assert list(auc.x) == [1, 2]
        assert list(auc.y) == pytest.approx([0.7 - seed / 100, 0.8 - seed / 100])
        assert loss.hovertext == auc.hovertext == f"{label}, seed {seed}"
    assert [loss.showlegend for loss in losses] == [True, False]
    assert [auc.showlegend for auc in aucs] == [False, False]


# --- models side by side --------------------------------------------------------------------------


def test_points_hold_the_mean_over_seeds_and_the_reach_of_its_interval(by_size):
    found = plots.points(by_size, measures.AUC).set_index(["dataset", "model", "line", "scale"])
    point = found.loc["synthetic", "dnn", "ME", 4]
    assert point["mean"] == pytest.approx(0.841)
    assert point["reach"] == pytest.approx(4.302653 * 0.001 / 3**0.5)  # t of two degrees, 97.5%
    assert point["runs"] == 3
    for line in ("SE", "ME"):  # both begin at the base model
        assert found.loc["synthetic", "dnn", line, 1]["mean"] == pytest.approx(0.711)
    assert len(found) == 2 * 2 * 2 * 3


def test_points_of_one_seed_have_no_interval(by_size):
    found = plots.points([by_size[0]], measures.AUC)
    assert found["reach"].isna().all() and found["mean"].notna().all()


def test_ensembles_are_no_size_of_a_model_in_figures(records):
    """Their sets are of several runs; alone they leave a figure empty."""
    spec = records[0].spec | {"members": 2, "average": "logits"}
    ensemble = replace(records[0], spec=spec, joined_spectra=[])
    assert plots.points([ensemble], measures.AUC).empty
    beside, alone = (plots.abundance_by_field([*some, ensemble]) for some in (records, []))
    assert len(beside.data) == len(plots.abundance_by_field(records).data)
    assert not alone.data


def test_points_leave_out_what_a_run_does_not_have(by_size):
    found = plots.points(by_size, measures.DIVERSITY)
    assert set(found["scale"]) == {4, 10}  # one set is not diverse


def test_the_papers_points_are_its_table_with_the_interval_of_three_runs():
    found = plots.published_points().set_index(["dataset", "model", "line", "scale"])
    point = found.loc["criteo, the paper", "dcnv2", "SE", 10]
    assert point["mean"] == 0.81357
    assert point["reach"] == pytest.approx(4.302653 * 0.00004 / 3**0.5)
    assert len(found) == 2 * 6 * 2 * 5  # the base model begins both lines


def test_a_band_reaches_as_far_as_the_interval_to_either_side(by_size):
    found = plots.points(by_size, measures.ABUNDANCE)
    (shown,) = (
        of
        for key, of in found.groupby(["dataset", "model", "line"])
        if key == ("synthetic", "dcnv2", "SE")
    )
    band, line = scaling.with_band(shown, "SE", plots.COLOURS["SE"], "solid")
    assert list(line.x) == [1, 4, 10]
    assert list(line.y) == pytest.approx([0.581, 0.521, 0.401], abs=1e-4)
    assert list(band.x) == [1, 4, 10, 10, 4, 1] and band.fill == "toself"
    reach = float(line.text[0].split()[1])
    assert line.text[0] == f"± {reach:.5f} (95%, 3 runs)"
    assert band.y[0] == pytest.approx(0.581 - reach, abs=1e-4)
    assert band.y[-1] == pytest.approx(0.581 + reach, abs=1e-4)


def test_a_mean_without_a_deviation_is_told_without_one_and_its_size_once(by_size):
    shown = plots.points([by_size[0]], measures.AUC)
    _, line = scaling.with_band(shown, "SE", plots.COLOURS["SE"], "solid")
    assert set(line.text) == {""}
    assert line.hovertemplate == "SE, %{x}: %{y:.5f} %{text}<extra></extra>"  # the tick says "4x"


# --- a menu ---------------------------------------------------------------------------------------


def test_of_several_figures_one_is_shown_and_the_menu_has_those_with_traces():
    figures = {"a": go.Figure(go.Bar(y=[1])), "none": go.Figure(), "b": go.Figure(go.Bar(y=[2]))}
    figures["a"].update_yaxes(title="height")
    whole = plots.one_of(figures, "Which")
    assert [trace.visible for trace in whole.data] == [True, False]
    assert whole.layout.yaxis.title.text == "height"
    (menu,) = whole.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["a", "b"]
    assert not plots.one_of({"a": figures["a"]}, "Which").layout.updatemenus
    assert not plots.one_of({}, "Which").data


# --- colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", ALL)
def test_a_design_has_its_colour_in_every_figure(records, draw):
    figure = draw(records)
    for each in figure.data:
        drawn = each.line.color or each.marker.color or each.marker.line.color
        assert drawn == plots.COLOURS[design(each)]
    assert {design(each) for each in figure.data} >= {"base", "SE", "ME"}


def test_colours_are_of_the_design_whatever_its_scale_and_all_differ():
    assert plots.colour("SE 4x") == plots.colour("SE 10x")
    assert plots.colour("ME 4x") == plots.colour("ME 10x")
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS) == 4


# --- in the page ----------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch) -> Callable[..., dict[str, Any]]:
    """Shows a figure and returns the bundle that the notebook gets, by MIME type."""

    def show(figure: go.Figure, alt: str = "A figure", **options: Any) -> dict[str, Any]:
        bundles = []

        def display(bundle: dict[str, Any], *, raw: bool) -> None:
            assert raw
            bundles.append(bundle)

        monkeypatch.setattr("IPython.display.display", display)
        plots.show(figure, alt, **options)
        (bundle,) = bundles
        return bundle

    return show


def on_page(bundle: dict[str, Any]) -> Elements:
    """What building the book makes of a notebook's output."""
    notebook = json.loads(with_data(json.dumps({"cells": [{"outputs": [{"data": bundle}]}]})))
    return Elements(notebook["cells"][0]["outputs"][0]["data"]["text/html"])


def plain(name: str = "a line") -> go.Figure:
    return go.Figure(go.Scatter(x=[1, 2], y=np.array([3.0, 4.0]), name=name))


@pytest.mark.parametrize("draw", ALL)
def test_the_page_holds_the_figure_as_json_and_no_address_of_another_host(records, shown, draw):
    figure = draw(records)
    bundle = shown(figure)
    elements = on_page(bundle)
    assert elements.tags == ["div", "script", "noscript"]
    (_, box), (_, script), _ = elements.found
    assert box["class"] == "ec-figure"
    assert script == {"type": "application/json"}
    content = json.loads(elements.scripts[0])
    assert content["data"] == json.loads(plotly.io.to_json(figure, remove_uids=True))["data"]
    assert len(content["data"]) == len(figure.data)
    for text in (bundle["text/html"], json.dumps(content)):
        assert "http:" not in text
        assert "https:" not in text
        assert 'src="' not in text


@pytest.mark.parametrize("draw", ALL)
def test_a_notebook_holds_the_figure_once_and_jupyter_draws_what_the_page_does(
    records, shown, draw
):
    bundle = shown(draw(records))
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/html"}
    assert Elements(bundle["text/html"]).tags == ["div", "noscript"]
    drawn = json.loads(on_page(bundle).scripts[0])
    assert bundle["application/vnd.plotly.v1+json"] == drawn
    colours = drawn["layout"]["template"]["layout"]["colorway"]
    assert {*plots.COLOURS.values()} - {plots.COLOURS["random"]} <= set(colours)


@pytest.mark.parametrize("draw", ALL)
def test_the_same_records_are_the_same_output_and_others_are_another(records, shown, draw):
    assert shown(draw(records)) == shown(draw(records))
    assert shown(draw(records)) != shown(draw(records[3:]))  # another seed


@pytest.mark.parametrize(
    "name", ["</script><b>out</b>", "</SCRIPT >", "<!--<script>", "&lt;/script&gt;", "]]>"]
)
def test_nothing_in_a_figure_can_end_the_element_that_holds_it(shown, name):
    elements = on_page(shown(plain(name)))
    assert elements.tags == ["div", "script", "noscript"]
    assert "<" not in elements.scripts[0]
    assert json.loads(elements.scripts[0])["data"][0]["name"] == name


def test_the_alternative_text_is_escaped(shown):
    alt = """A "quoted" <b>text</b> & 'more' &amp; "><script>alert(1)</script>"""
    elements = on_page(shown(plain(), alt))
    assert elements.tags == ["div", "script", "noscript"]
    assert elements.found[0][1]["aria-label"] == alt
    assert elements.found[0][1]["role"] == "img"


def test_the_height_is_kept_free_in_the_page_and_set_in_the_figure(shown):
    figure = plain()
    elements = on_page(shown(figure, height=333))
    assert elements.found[0][1]["style"] == "min-height:333px"
    assert json.loads(elements.scripts[0])["layout"]["height"] == 333
    assert figure.layout.height is None  # what is shown is a copy


def test_a_figure_with_a_source_links_to_the_record_of_every_run(records, shown):
    page = shown(plain(), source=iter(records))["text/html"]
    elements = Elements(page)
    links = {attributes["href"] for tag, attributes in elements.found if tag == "a"}
    assert links == {f"../records/{record.key}.json" for record in records}
    assert "6 recorded runs" in page
    for label in ("base", "SE 4x", "ME 4x"):
        assert f"synthetic-mini, DCNv2 {label}: seed" in page
    assert "ec-source" not in shown(plain())["text/html"]
