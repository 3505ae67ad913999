"""What a correlation over cells says of collapse's part, on runs whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from embedding_collapse.book.analysis.cause import FORMS, Gains, cells, correlation
from embedding_collapse.book.analysis.measures import rank_correlation
from embedding_collapse.lab.studies.decide import BASE, BOTH, FLIGHTS, ME4, SE4
from embedding_collapse.lab.studies.decide import cells as specs

MODELS = ("dnn", "dcnv2", "ipnn", "nfwfm", "xdeepfm", "finalmlp")


def made(**values: list[float]) -> list[Gains]:
    """A cell per model and entry; what isn't given is 0."""
    number = len(next(iter(values.values())))
    rows = [{name: entries[i] for name, entries in values.items()} for i in range(number)]
    zero = Gains("data", "", 4, 0.0, 0.0, 0.0, 0.0)
    return [zero._replace(model=MODELS[i % 3], **row) for i, row in enumerate(rows)]


def test_a_cell_holds_the_collapse_and_the_gains_of_its_size(make_record):
    records = []
    for (design, scale), auc, share in ((BASE, 0.7, 0.6), (SE4, 0.71, 0.4), (ME4, 0.74, 0.6)):
        for spec in specs([FLIGHTS], ["dnn"], [(design, scale)], range(2)):
            like = make_record(
                design, scale, spec.seed, auc=auc + 0.01 * spec.seed, abundance=share
            )
            records.append(replace(like, key=spec.key, spec=spec.written()))
    (cell,) = cells(records)
    assert (cell.data, cell.model, cell.scale) == ("us-flights", "dnn", 4)
    assert (cell.base, cell.fall, cell.gain_of_se, cell.gain_of_me) == pytest.approx(
        (0.6, 0.2, 0.01, 0.03)
    )


def test_a_cell_without_all_three_is_left_out_and_so_is_a_variant(make_record):
    variant = specs(BOTH, ["dcnv2-linear"], [BASE, SE4, ME4], [0])
    specs_ = specs(BOTH, ["dnn"], [BASE, ME4], [0]) + variant
    records = [
        replace(make_record(spec.design, spec.scale), key=spec.key, spec=spec.written())
        for spec in specs_
    ]
    assert cells(records) == []


def test_the_correlation_is_spearmans_and_its_interval_holds_it():
    random = np.random.default_rng(3)
    x, noise = random.normal(size=(2, 24))
    cells_ = made(base=list(x), gain_of_me=list(x + noise))
    cells_ = [cell._replace(data=f"data {i // 12}") for i, cell in enumerate(cells_)]
    result = correlation(cells_, "base", "gain_of_me")
    assert result.value == pytest.approx(spearmanr(x, x + noise).statistic)
    assert result.low < result.value < result.high and result.cells == 24


def test_of_few_pairs_there_is_no_interval():
    """A bootstrap over two or three of them leaves out the truth nearly always."""
    random = np.random.default_rng(3)
    cells_ = made(base=random.normal(size=24), gain_of_me=random.normal(size=24))
    cells_ = [cell._replace(data=f"data {i // 12}") for i, cell in enumerate(cells_)]
    few = [cell for cell in cells_ if (cell.data, cell.model) != ("data 1", "ipnn")]
    results = [correlation(some, "base", "gain_of_me") for some in (few[:12], few, cells_)]
    assert not np.isnan([result.value for result in results]).any()
    assert np.isnan([result.low for result in results]).tolist() == [True, False, False]


def test_the_interval_leaves_out_one_resample_in_forty_at_either_end():
    """Drawn here again, 1,500 times, which knows the lower end to 0.015, the upper to 0.003."""
    random = np.random.default_rng(3)
    x, noise = random.normal(size=(2, 24))
    cells_ = made(base=list(x), gain_of_me=list(x + noise))
    alone = [cell._replace(data=f"data {i}") for i, cell in enumerate(cells_)]
    result = correlation(alone, "base", "gain_of_me")
    draws = random.integers(24, size=(1500, 24))
    low, high = np.quantile([rank_correlation(x[d], (x + noise)[d]) for d in draws], [0.025, 0.975])
    assert result.low == pytest.approx(low, abs=0.04)
    assert result.high == pytest.approx(high, abs=0.01)


def test_cells_that_share_their_base_runs_are_drawn_together():
    """A second size of each model that says the same makes the interval no narrower."""
    random = np.random.default_rng(3)
    once = [
        cell._replace(data=f"data {i // 3}")
        for i, cell in enumerate(made(base=random.normal(size=9), gain_of_me=random.normal(size=9)))
    ]
    twice = once + [cell._replace(scale=10) for cell in once]
    results = [correlation(cells, "base", "gain_of_me")[:3] for cells in (once, twice)]
    assert results[0] == pytest.approx(results[1])


def test_within_models_a_difference_between_models_says_nothing():
    """Simpson's: models that collapse more gain more, while within each it is the other way."""
    within = np.tile(np.arange(4.0), (3, 1)).T.ravel()  # of each of three models, four cells
    between = np.tile([0.0, 10.0, 20.0], 4)
    cells_ = made(fall=list(between + within), gain_of_se=list(between - within))
    over_all = correlation(cells_, "fall", "gain_of_se")
    inside = correlation(cells_, "fall", "gain_of_se", within="model")
    assert over_all.value > 0.7
    assert inside.value == pytest.approx(-1)


def test_of_too_few_cells_or_without_an_order_there_is_no_correlation():
    few = made(base=[1.0, 2.0, 3.0, 4.0], fall=[1.0, 2.0, 3.0, 4.0])
    assert np.isnan(correlation(few, "base", "fall").value)
    assert np.isnan(correlation(made(base=[1.0, 2.0, 3.0, 4.0, 5.0]), "base", "fall").value)


def test_cells_whose_form_has_no_value_are_left_out(make_record):
    """Of one column nothing is left without its singular value."""
    form = "IA/K without the first singular value"
    records = []
    for size in (1, 2):
        for spec in specs([FLIGHTS], ["dnn"], [BASE, SE4, ME4], [0], embedding_size=size):
            spectrum = [[[1.0] * spec.width]]
            like = make_record(spec.design, spec.scale, spectra=spectrum)
            records.append(replace(like, key=spec.key, spec=spec.written()))
    assert len(cells(records)) == 2
    (cell,) = cells(records, form)
    assert cell.base == 1


def test_the_forms_of_collapse_tell_an_offset_from_few_directions(make_record):
    spectrum = [[[8.0, 1.0, 1.0, 1.0]]]
    record = replace(
        make_record(),
        spectra=spectrum,
        centred_spectra=[[[1.0, 1.0, 1.0, 1.0]]],
        weighted_spectra=[[[1.0, 0.5, 0.5, 0.0]]],
    )
    values = {name: form(record) for name, form in FORMS.items() if name != "IA against random"}
    assert values == pytest.approx(
        {
            "IA/K": 11 / 32,
            "IA/K, mean row taken off": 1.0,
            "IA/K without the first singular value": 1.0,
            "IA/K, rows weighted by frequency": 0.5,
            "share of directions above 1%": 1.0,
        }
    )


def test_a_direction_from_one_percent_of_the_largest_up_is_in_use(make_record):
    record = make_record(spectra=[[[1.0, 0.02, 0.005, 0.0]]])
    assert FORMS["share of directions above 1%"](record) == 0.5
