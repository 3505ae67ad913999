"""Singular values, beside those of LAPACK in float64."""

import math
from collections.abc import Iterator

import pytest
import torch
from rounding import unit
from torch import Tensor

from embedding_collapse import decomposition
from embedding_collapse.decomposition import GRAM_LIMIT, singular_values, spectra
from embedding_collapse.spectrum import effective_rank, information_abundance, stable_rank

UNIT = unit(torch.float64)
MEASURES = [information_abundance, effective_rank, stable_rank]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(width: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(normal(width, width, seed=seed)).Q


def geometric(smallest: float, width: int = 10) -> Tensor:
    """A spectrum in equal ratios from 1 down to `smallest`."""
    return torch.logspace(0, math.log10(smallest), width, dtype=torch.float64)


def with_spectrum(values: Tensor, rows: int = 200) -> Tensor:
    """A table with these singular values, along no axis in particular."""
    width = len(values)
    return torch.linalg.qr(normal(rows, width, seed=1)).Q * values @ rotation(width)


def assert_spectra_agree(found: Tensor, true: Tensor, rows: int, squared: bool = False) -> None:
    """To the rounding of sums over so many rows and of a decomposition, each `10 K` at most.

    Through the Gram matrix that much of sigma_1^2 is off in a square, and over sigma in its root.
    """
    first = true.amax(-1, keepdim=True)
    allowed = (rows + 10 * true.shape[-1]) * UNIT * first
    if squared:
        allowed = allowed * torch.where(true > 0, first / true, 1)
    assert ((found - true).abs() <= allowed).all()


def lost_in_squares(rows: int, width: int) -> float:
    """What a Gram matrix may make of singular values that are zero, of the largest: their number
    times the root of the rounding of a square."""
    return width * math.sqrt((rows + 10 * width) * UNIT)


def relative_error(found: Tensor, true: Tensor) -> float:
    return ((found - true).abs() / true).max().item()


pytestmark = pytest.mark.rounding


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tables as small as these gain nothing by more, and wait for all of them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_qr(monkeypatch):
    """Whoever leaves the Gram matrix fails."""
    monkeypatch.setattr(decomposition, "_triangular_factor", None)


# --- singular values ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 5), (3, 8), (8, 8), (9, 8), (1000, 8)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_equal_to_svdvals_in_float64_whatever_the_tables_type(shape, dtype):
    table = normal(*shape).to(dtype)
    found = singular_values(table)
    assert found.dtype == torch.float64
    assert_spectra_agree(found, torch.linalg.svdvals(table.double()), shape[0], squared=True)


@pytest.mark.parametrize("smallest", [1, 0.1, 1e-2, 1e-3, 1.1 * GRAM_LIMIT])
def test_the_gram_matrix_keeps_six_digits_down_to_its_limit(smallest, no_qr):
    true = geometric(smallest)
    assert relative_error(singular_values(with_spectrum(true)), true) < 1e-6


@pytest.mark.parametrize("smallest", [0.9 * GRAM_LIMIT, 1e-6, 1e-8, 1e-10, 1e-12])
def test_below_the_limit_the_error_is_that_of_float64_and_not_of_the_gram_matrix(smallest):
    true = geometric(smallest)
    table = with_spectrum(true)
    found = singular_values(table)
    gram = torch.linalg.eigvalsh(table.mT @ table).flip(-1).clamp(min=0).sqrt()
    assert_spectra_agree(found, true, 200)
    assert relative_error(gram, true) > 10 * relative_error(found, true)
    if smallest <= 1e-10:  # nothing is left of the small ones in a Gram matrix
        assert relative_error(gram, true) > 0.9


@pytest.mark.parametrize("block_rows", [7, 13, 100])  # the first is less than K; 13 leaves 5 rows
def test_blocks_of_rows_change_nothing_in_the_gram_matrix(block_rows, monkeypatch, no_qr):
    monkeypatch.setattr(decomposition, "BLOCK_ROWS", block_rows)
    true = geometric(0.1)
    assert_spectra_agree(singular_values(with_spectrum(true)), true, 200, squared=True)


@pytest.mark.parametrize("block_rows", [7, 13, 100])
def test_blocks_of_rows_change_nothing_below_its_limit(block_rows, monkeypatch):
    monkeypatch.setattr(decomposition, "BLOCK_ROWS", block_rows)
    true = geometric(1e-10)
    assert_spectra_agree(singular_values(with_spectrum(true)), true, 200)


@pytest.mark.parametrize("smallest", [0.1, 1e-10])
@pytest.mark.parametrize("rows", [200, 7])
def test_tables_of_a_batch_do_not_meet(smallest, rows):
    """Even where one of them alone leaves the Gram matrix."""
    batch = normal(2, 3, rows, 10)
    batch[1, 2] = with_spectrum(geometric(smallest))[:rows]
    found = singular_values(batch)
    assert found.shape == (2, 3, min(rows, 10))
    for i, j in torch.cartesian_prod(torch.arange(2), torch.arange(3)):
        alone = torch.linalg.svdvals(batch[i, j])
        assert_spectra_agree(found[i, j], alone, rows, squared=smallest == 0.1)


def test_defined_for_tables_that_are_constant_zero_or_one_row():
    constant = singular_values(torch.full((100, 4), 3.0))
    assert_spectra_agree(constant, torch.tensor([60.0, 0, 0, 0], dtype=torch.float64), 100)
    assert information_abundance(constant).item() == pytest.approx(1)
    assert singular_values(torch.zeros(100, 4)).tolist() == [0, 0, 0, 0]
    assert singular_values(torch.tensor([[3.0, 4.0]])).tolist() == pytest.approx([5])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3), (0, 5, 3), (3,), ()])
def test_a_shape_without_a_spectrum_is_named(shape):
    with pytest.raises(ValueError, match=r"has no spectrum; .* at least one row and one") as caught:
        singular_values(torch.zeros(shape))
    assert f"of shape {shape} " in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_a_type_that_is_not_floating_is_named(dtype):
    with pytest.raises(ValueError, match=f"a table of {dtype} has no .*a floating type is needed"):
        singular_values(torch.ones(5, 2, dtype=dtype))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rows", [3, 100])
def test_entries_that_are_not_finite_are_counted_and_the_first_is_located(bad, rows):
    batch = normal(2, rows, 4)
    batch[1, 1, 2] = batch[1, 2, 0] = bad
    with pytest.raises(ValueError, match=r"holds 2 entries .*NaN or infinite.* at \(1, 1, 2\);"):
        singular_values(batch)


def test_finite_entries_whose_squares_overflow_are_not_called_infinite():
    with pytest.raises(ValueError, match="entries are too large: their squares overflow float64"):
        singular_values(normal(100, 4) * 1e200)


# --- sets side by side ---------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [200, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_sets_side_by_side_are_measured_as_one_table(rows, weighted, monkeypatch):
    monkeypatch.setattr(decomposition, "BLOCK_ROWS", 13)
    sets = normal(3, rows, 8)
    weights = torch.arange(1, rows + 1) if weighted else None
    whole = sets.transpose(0, 1).flatten(1)
    assert torch.equal(
        singular_values(sets, weights, side_by_side=True), singular_values(whole, weights)
    )


# --- rows that count for more ---------------------------------------------------------------------


@pytest.mark.parametrize("smallest", [0.1, 1e-10])  # on either side of the Gram matrix's limit
@pytest.mark.parametrize("rows", [200, 7])
def test_weighted_rows_are_those_of_the_scaled_table(smallest, rows, monkeypatch):
    monkeypatch.setattr(decomposition, "BLOCK_ROWS", 13)
    table = torch.stack([with_spectrum(geometric(smallest))[:rows], normal(rows, 10)])
    weights = normal(rows, seed=5).abs() + 0.1
    scaled = (weights / weights.mean()).sqrt().diag() @ table
    found, true = singular_values(table, weights), torch.linalg.svdvals(scaled)
    assert_spectra_agree(found, true, rows, squared=smallest == 0.1)


@pytest.mark.parametrize("weight", [1.0, 1e-300, 1e308])
def test_equal_weights_change_nothing(weight):
    table = normal(50, 6)
    weights = torch.full((50,), weight, dtype=torch.float64)
    found, true = singular_values(table, weights), singular_values(table)
    assert_spectra_agree(found, true, 50, squared=True)


def test_a_row_that_counts_twice_is_as_two_rows_and_one_that_counts_0_is_as_none():
    table = normal(6, 3)
    counts = torch.tensor([2, 1, 0, 3, 1, 1])  # integers, as counts are
    found = singular_values(table, weights=counts)
    whole = singular_values(table.repeat_interleave(counts, dim=0))
    assert_spectra_agree(found, whole * math.sqrt(6 / 8), 8, squared=True)
    for measure in MEASURES:
        assert measure(found).item() == pytest.approx(measure(whole).item())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], r"weights of shape \(2,\) for a table of 3 rows; one per row is needed"),
        ([[1.0], [1.0], [1.0]], r"weights of shape \(3, 1\) for a table of 3 rows"),
        ([1.0, -2.0, -1.0], r"hold 2 entries that are negative, .* the first -2.0 at 1"),
        ([1.0, 1.0, math.nan], r"hold 1 entries that are .*NaN or infinite, the first nan at 2"),
        ([math.inf, 1.0, 1.0], r"the first inf at 0"),
        ([0.0, 0.0, 0.0], "all weights are 0; at least one row has to count"),
    ],
)
def test_weights_that_cannot_be_are_named(weights, message):
    with pytest.raises(ValueError, match=message):
        singular_values(normal(3, 2), torch.tensor(weights))


# --- centred --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(300, 8), (3, 300, 8), (5, 8)])
@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-7])
def test_spectra_centred_are_those_of_the_table_without_its_mean(shape, smallest, monkeypatch):
    monkeypatch.setattr("embedding_collapse.decomposition.BLOCK_ROWS", 64)
    numbers = torch.Generator().manual_seed(0)
    scales = smallest ** torch.linspace(0, 1, 8, dtype=torch.float64)
    table = torch.randn(shape, generator=numbers, dtype=torch.float64) * scales + 5
    found = spectra(table)
    centred = torch.linalg.svdvals(table - table.mean(-2, keepdim=True))
    torch.testing.assert_close(found.plain, torch.linalg.svdvals(table), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found.centred, centred, rtol=1e-6, atol=1e-12)
    weights = torch.arange(shape[-2])
    repeated = spectra(table.repeat_interleave(weights, -2)).centred
    ratio = spectra(table, weights).centred / repeated[..., : found.plain.shape[-1]]
    mean = weights.double().mean().rsqrt().expand_as(ratio)
    if shape[-2] > 8:
        torch.testing.assert_close(ratio, mean, rtol=1e-6, atol=0)


def test_what_the_squares_of_an_offset_would_drown_is_measured_without_them():
    """A column that hardly varies around a large number, the smallest once it is centred."""
    table = normal(1000, 8)
    table[:, 0] = 1e3 + 1e-3 * table[:, 0]
    assert_spectra_agree(spectra(table).centred, torch.linalg.svdvals(table - table.mean(0)), 1000)
