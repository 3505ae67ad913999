"""The opening's figures: the paper's numbers, and what is in use of a table."""

import numpy as np
import pytest
import torch

from embedding_collapse.book import plots
from embedding_collapse.book.chapters import opening
from embedding_collapse.spectrum import information_abundance, random_spectrum


@pytest.fixture
def records(make_record):
    """Two seeds of base and SE 4x."""
    return [
        make_record(
            "se", scale, seed, abundance=[share + field / 10 + seed / 50 for field in range(3)]
        )
        for seed in range(2)
        for scale, share in ((1, 0.4), (4, 0.45))
    ]


def test_directions_in_use_are_the_mean_over_seeds_of_the_largest_field(records):
    figure = opening.directions_in_use(records)
    base, random, se, _ = figure.data
    spectra = torch.tensor([r.spectra[0][0] for r in records if r.label == "SE 4x"])
    assert list(se.y) == pytest.approx((spectra / spectra[:, :1]).mean(0).tolist(), abs=1e-4)
    shares = [r.relative_abundance[0].item() for r in records if r.label == "SE 4x"]
    assert se.name == f"SE 4x: 16 dimensions, {16 * np.mean(shares):.1f} directions in use"
    expected = random_spectrum(50, 4)
    assert list(random.y) == pytest.approx((expected / expected[0]).tolist(), abs=1e-4)
    ratio = information_abundance(torch.tensor(se.y)) / information_abundance(torch.tensor(base.y))
    assert figure.layout.title.text == f"4 times the dimensions, {ratio:.1f} times the directions"


def test_the_slider_shows_one_size_at_a_time(records):
    figure = opening.directions_in_use(records)
    (slider,) = figure.layout.sliders
    shown = [step.args[0]["visible"] for step in slider.steps]
    assert shown == [[True, True, False, False], [False, False, True, True]]
    assert [trace.visible for trace in figure.data] == shown[slider.active]


def test_gains_are_counted_from_each_models_base():
    figure = opening.gains(plots.published_points(), "dataset")
    assert len(figure.data) == 2 * 2 * 6  # data sets, designs, models
    (wide,) = [
        line
        for line in figure.data
        if line.xaxis == "x" and line.hovertemplate.startswith("DNN, SE")
    ]
    assert list(wide.x) == [1, 2, 3, 4, 10]
    assert wide.y[0] == 0 and wide.y[-1] == pytest.approx(0.81142 - 0.81228)
    assert sum(bool(line.showlegend) for line in figure.data) == 2
    assert "10x" in figure.layout.xaxis.ticktext and "%{x}x" not in wide.hovertemplate


def test_with_a_panel_per_model_data_sets_are_told_by_dashes():
    figure = opening.gains(plots.published_points(), "model")
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["DNN", "IPNN", "NFwFM", "xDeepFM", "DCNv2", "FinalMLP"]
    of_dnn = [line for line in figure.data if line.hovertemplate.startswith("DNN")]
    looks = {(line.name, line.line.dash) for line in of_dnn}
    assert len(looks) == len({dash for _, dash in looks}) * 2 == 4
    assert {line.xaxis for line in of_dnn} == {"x"}
    assert sum(bool(line.showlegend) for line in figure.data) == 4
