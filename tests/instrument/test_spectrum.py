import math

import pytest
import torch
from test_decomposition import (  # noqa: F401
    MEASURES,
    UNIT,
    assert_spectra_agree,
    geometric,
    lost_in_squares,
    normal,
    one_thread,
    rotation,
    with_spectrum,
)

from embedding_collapse import spectrum
from embedding_collapse.spectrum import (
    directions,
    effective_rank,
    field_spectra,
    information_abundance,
    projected_abundance,
    random_spectrum,
    singular_values,
    stable_rank,
    weighted_random_abundances,
    weighted_random_spectra,
)

pytestmark = pytest.mark.rounding


# --- fields ---------------------------------------------------------------------------------------


def test_field_spectra_are_those_of_each_field_and_set_with_zeros_for_what_is_not_there():
    cardinalities = [2, 40, 1, 4]
    table = normal(47, 3, 4).float()
    spectra = field_spectra(table, cardinalities)
    assert spectra.shape == (4, 3, 4)
    start = 0
    for found, rows in zip(spectra, cardinalities, strict=True):
        for m in range(3):
            true = torch.linalg.svdvals(table[start : start + rows, m].double())
            assert_spectra_agree(found[m, : len(true)], true, rows, squared=True)
            assert not found[m, len(true) :].any()
        start += rows


def test_field_spectra_of_a_models_parameter_are_those_of_its_values():
    """To rounding: of what has a gradient LAPACK finds the singular vectors too, another way."""
    table = normal(8, 2, 3)
    found = field_spectra(torch.nn.Parameter(table), [2, 6]).detach()
    assert_spectra_agree(found, field_spectra(table, [2, 6]), 6, squared=True)


def test_cardinalities_that_do_not_add_up_are_named():
    with pytest.raises(ValueError, match="cardinalities add up to 6; the table has 7 rows"):
        field_spectra(normal(7, 1, 2), [2, 4])


# --- projected fields -----------------------------------------------------------------------------


def test_projected_abundance_is_that_of_each_fields_table_times_its_block():
    cardinalities, sets, width = [7, 30, 2], 2, 4
    table = normal(39, sets, width)
    fields = len(cardinalities)
    projections = normal(sets, fields * width, fields * width, seed=1)
    blocks = projections.view(sets, fields, width, fields, width)
    found = projected_abundance(table, cardinalities, blocks)
    assert found.shape == (sets, fields, fields)
    parts = table.split(cardinalities)
    for m, i, j in torch.cartesian_prod(*map(torch.arange, found.shape)):
        # As the model has it, x -> W x: the rows of field j, the columns of field i.
        block = projections[m, j * width : (j + 1) * width, i * width : (i + 1) * width]
        values = torch.linalg.svdvals(parts[i][:, m] @ block.T)
        true = (values.sum() / values[0]).item()
        assert found[m, i, j].item() == pytest.approx(true, abs=lost_in_squares(30, width))


def test_an_orthogonal_projection_keeps_a_fields_abundance():
    cardinalities = [50, 20]
    table = normal(70, 2, 5) * geometric(0.01, 5)
    blocks = torch.stack([rotation(5, seed) for seed in range(8)]).view(2, 2, 2, 5, 5)
    found = projected_abundance(table, cardinalities, 3 * blocks.transpose(2, 3))
    spectra = field_spectra(table, cardinalities)
    own = information_abundance(spectra).T  # [M, N]
    allowed = 5 * (50 + 10 * 5) * UNIT * (spectra[..., 0] / spectra[..., -1]).max().item()
    torch.testing.assert_close(found, own.unsqueeze(2).expand(2, 2, 2), rtol=0, atol=allowed)


def test_a_projection_onto_one_direction_collapses_every_field_and_zeros_have_no_abundance():
    table, narrow = normal(40, 1, 3), torch.zeros(1, 1, 3, 1, 3, dtype=torch.float64)
    assert projected_abundance(table, [40], narrow).item() == 0
    narrow[0, 0, 0, 0] = torch.tensor([1.0, 2.0, 3.0])
    found = projected_abundance(table, [40], narrow).item()
    assert found == pytest.approx(1, abs=lost_in_squares(40, 3))


# --- measures -------------------------------------------------------------------------------------


def test_measures_of_a_spectrum_worked_out_by_hand():
    values = torch.tensor([4.0, 3.0, 1.0, 0.0])
    assert information_abundance(values).item() == pytest.approx(8 / 4)
    assert stable_rank(values).item() == pytest.approx(26 / 16)
    # H(1/2, 3/8, 1/8) = 1/2 ln 2 + 3/8 ln(8/3) + 1/8 ln 8
    entropy = 0.5 * math.log(2) + 0.375 * math.log(8 / 3) + 0.125 * math.log(8)
    assert effective_rank(values).item() == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_count_the_directions_where_all_matter_alike(measure):
    for rank in range(6):
        flat = torch.zeros(5, dtype=torch.float64)
        flat[:rank] = 0.3
        assert measure(flat).item() == pytest.approx(rank)


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_lie_between_1_and_K_and_take_batches(measure):
    spectra = normal(50, 4, 6).abs().sort(descending=True).values
    values = measure(spectra)
    assert values.shape == (50, 4)
    assert (values > 1).all()
    assert (values < 6).all()
    assert values[7, 2].item() == pytest.approx(measure(spectra[7, 2]).item())


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_do_not_depend_on_trailing_zeros(measure):
    values = torch.tensor([4.0, 3.0, 1.0])
    padded = torch.nn.functional.pad(values, (0, 5))
    assert measure(padded).item() == pytest.approx(measure(values).item())


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("scale", [1e-30, 0.01, 100, 1e25])
def test_measures_do_not_change_when_a_table_is_scaled(measure, scale):
    """Nor in float32, where the squares of such entries are 0 or infinite."""
    values = geometric(0.1)
    table = with_spectrum(values)
    assert measure(singular_values(scale * table)) == pytest.approx(measure(values))
    assert measure((scale * values).float()) == pytest.approx(measure(values))


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_do_not_change_when_a_table_is_rotated(measure):
    table = normal(50, 6) * geometric(0.1, 6)
    before = measure(singular_values(table)).item()
    assert measure(singular_values(table @ rotation(6))).item() == pytest.approx(before)
    assert measure(singular_values(rotation(50) @ table)).item() == pytest.approx(before)


@pytest.mark.parametrize("measure", MEASURES)
def test_zero_tables_measure_0_and_constant_ones_and_single_rows_1(measure):
    assert measure(singular_values(torch.zeros(100, 4))).item() == 0
    batch = torch.stack([torch.zeros(100, 4), torch.full((100, 4), -0.2)])
    assert measure(singular_values(batch)).tolist() == pytest.approx([0, 1], abs=1e-9)
    assert measure(singular_values(normal(1, 4))).item() == pytest.approx(1)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_spectrum_that_is_not_known_is_not_measured_as_that_of_a_zero_table(measure):
    assert measure(torch.tensor([math.nan, 1.0])).isnan()


# --- random tables --------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "width"), [(1, 6), (3, 8), (8, 8), (9, 8), (300, 8)])
def test_a_random_spectrum_is_the_mean_over_real_random_tables(rows, width):
    found = random_spectrum(rows, width, draws=10_000)
    small = min(rows, width)
    tables = min(10_000, 1_000_000 // (rows * width))
    true = singular_values(normal(tables, rows, width)).mean(0)
    torch.testing.assert_close(found[:small], true, rtol=0.05, atol=0)
    assert found.shape == (width,)
    assert not found[small:].any()


def test_a_billion_rows_are_a_flat_spectrum():
    values = random_spectrum(10**9, 10)
    assert values.tolist() == pytest.approx([math.sqrt(10**9)] * 10, rel=1e-3)
    assert information_abundance(values).item() == pytest.approx(10, rel=1e-3)


def test_a_random_spectrum_depends_on_its_seed_alone():
    first = random_spectrum(20, 5, seed=3)
    torch.rand(1)
    assert torch.equal(random_spectrum(20, 5, seed=3), first)
    assert not torch.equal(random_spectrum(20, 5, seed=4), first)


@pytest.mark.parametrize("size", [{"rows": 0}, {"width": 0}, {"rows": -1}, {"draws": 0}])
def test_random_tables_that_cannot_be_are_named(size):
    asked = {"rows": 5, "width": 3, "draws": 2} | size
    with pytest.raises(ValueError, match="must be at least 1") as caught:
        random_spectrum(**asked)
    assert f"{asked['rows']} x {asked['width']}" in str(caught.value)


@pytest.mark.parametrize(
    ("spectrum", "energy", "count"),
    [
        ([1, 1, 1, 1], 0.5, 2),
        ([1.0] * 10, 0.9, 9),  # a sum that rounds must not ask for one more
        ([0.1, 3, 0.2], 0.9, 1),  # in any order
        ([3, 4], 1, 2),
        ([0, 0], 0.9, 0),
        ([5, 0, 0], 1, 1),
    ],
)
def test_directions_that_hold_a_share_of_the_energy(spectrum, energy, count):
    assert directions(torch.tensor(spectrum, dtype=torch.float64), energy).item() == count


def test_directions_are_counted_along_the_last_dimension():
    assert directions(torch.eye(3).cumsum(0), 0.9).tolist() == [1, 2, 3]


# --- fields weighted and centred ------------------------------------------------------------------


def test_a_weight_counts_as_that_many_rows_of_its_field():
    """So the spectra are those of the table in which each row stands as often as it occurs."""
    table, weights = normal(9, 2, 3), torch.tensor([1, 2, 3, 0, 4, 1, 1, 2, 5])
    repeated = [
        part.repeat_interleave(share, 0)
        for part, share in zip(table.split([5, 4]), weights.split([5, 4]), strict=True)
    ]
    found = field_spectra(table, [5, 4], weights=weights)
    for field, (rows, of_field) in enumerate(zip(repeated, found, strict=True)):
        scale = math.sqrt([5, 4][field] / len(rows))
        expected = torch.linalg.svdvals(rows.transpose(0, 1)) * scale
        assert_spectra_agree(of_field, expected, rows.shape[0], squared=True)


@pytest.mark.parametrize("weights", [None, torch.tensor([1, 2, 3, 0, 4, 1, 1, 2, 5])])
def test_centred_spectra_do_not_see_a_shared_offset(weights):
    table = normal(9, 2, 3)
    moved = table + torch.tensor([3.0, -2.0, 7.0])
    plain, shifted = (
        field_spectra(t, [5, 4], weights=weights, centred=True) for t in (table, moved)
    )
    # an entry of the moved table is at most 10 large, and a singular value sums 15 such errors
    assert_spectra_agree(shifted, plain, 10 * 15, squared=True)
    assert (field_spectra(moved, [5, 4]) > shifted)[..., 0].all()


def test_frequency_alone_narrows_a_random_table():
    even, skewed = torch.ones(1000), 1 / torch.arange(1, 1001).float() ** 2
    one, other = (
        information_abundance(weighted_random_spectra(w, [1000], 20)).item() for w in (even, skewed)
    )
    assert one == pytest.approx(spectrum.random_abundance(1000, 20), rel=0.02)
    assert other < 0.5 * one
    few = weighted_random_spectra(even[:5], [3, 2], 4)
    assert few.shape == (2, 4) and (few[0] > 0).sum() == 3 and (few[1] > 0).sum() == 2


def test_rows_of_a_random_table_that_are_not_drawn_one_by_one_count_together(monkeypatch):
    """Of 16 tables the mean is known to 2%; the largest weights alone have 27% less."""
    weights = torch.arange(1, 5001).double() ** -0.7
    every = weighted_random_abundances(weights, 64).mean()
    monkeypatch.setattr(spectrum, "DRAWN", 500)
    some = weighted_random_abundances(weights, 64).mean()
    assert some.item() == pytest.approx(every.item(), rel=0.1)


def test_random_tables_are_drawn_on_the_cpu_whatever_torchs_default_device_is():
    weights = torch.arange(1, 101).double()
    spectra, abundances = weighted_random_spectra, weighted_random_abundances
    expected = spectra(weights, [60, 40], 4), abundances(weights, 4)
    with torch.device("meta"):
        found = spectra(weights, [60, 40], 4), abundances(weights, 4)
    assert all(map(torch.equal, found, expected))
