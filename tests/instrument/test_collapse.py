"""Measures of a table."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from embedding_collapse.collapse import inspect_table, measure, measure_sets, measures_of
from embedding_collapse.inspection.report import inspect
from embedding_collapse.monitor import CollapseMonitor
from embedding_collapse.multi_embedding import MultiEmbedding
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import (
    effective_rank,
    information_abundance,
    normalised_abundance,
    random_spectrum,
    singular_values,
    stable_rank,
)
from embedding_collapse.verdict import FEW_IS, UNMEASURED_IS, Collapse


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def inspected(values: Tensor, weights: Tensor | None = None) -> Collapse:
    values = values if values.ndim == 3 else values[None]
    return inspect_table(values, weights, name="t")


def test_an_embedding_is_measured_as_its_weight_is():
    module = nn.EmbeddingBag.from_pretrained(normal(300, 8))
    assert measure(module).measures == measure(normal(300, 8)).measures
    with pytest.raises(ParameterError, match="table is Linear; a torch tensor"):
        measure(nn.Linear(3, 2))


def test_measures_are_those_of_the_spectrum():
    table = normal(500, 12) * torch.linspace(1, 0.01, 12)
    found, sigma = inspected(table), singular_values(table)
    for name, expected in {
        "abundance": information_abundance(sigma),
        "relative_abundance": normalised_abundance(sigma),
        "against_random": normalised_abundance(sigma, 500),
        "effective_rank": effective_rank(sigma),
        "stable_rank": stable_rank(sigma),
    }.items():
        assert found.measures[name] == pytest.approx(expected.item())
    torch.testing.assert_close(found.spectra[0], sigma)
    torch.testing.assert_close(found.random, random_spectrum(500, 12))


@pytest.mark.parametrize(
    ("spectrum", "ninety", "ninety_nine"),
    [
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 9, 10),
        ([10, 1, 1], 1, 2),
        ([3, 0, 0], 1, 1),
        ([0, 0], 0, 0),
    ],
)
def test_directions_hold_a_share_of_the_energy(spectrum, ninety, ninety_nine):
    values = torch.tensor(spectrum, dtype=torch.float64)
    found = measures_of(values, torch.ones(len(spectrum), dtype=torch.float64))
    assert (found["directions_90"], found["directions_99"]) == (ninety, ninety_nine)


def test_a_random_table_of_few_rows_is_random_without_their_mean_too():
    """Of 12 directions that takes one, 8% of IA; the mean over 16 tables is known to 1%."""
    table = normal(32, 12, 64)
    for centred in (inspected(table).centred["against_random"], measure_sets(table)["centred"]):
        assert centred == pytest.approx(1, abs=0.04)


def test_sets_are_measured_each_their_mean_and_joined():
    sets = normal(3, 200, 8)
    found = inspected(sets)
    each = [information_abundance(singular_values(one)).item() for one in sets]
    assert [one["abundance"] for one in found.per_set] == pytest.approx(each)
    assert found.measures["abundance"] == pytest.approx(sum(each) / 3)
    side_by_side = torch.cat(list(sets), 1)
    joined = information_abundance(singular_values(side_by_side)).item()
    assert found.joined["abundance"] == pytest.approx(joined)
    assert inspected(sets[:1]).joined is None


def test_weights_count_rows_as_often_as_they_say():
    table, counts = normal(40, 6), torch.arange(40)
    found = inspected(table, counts)
    repeated = inspected(table.repeat_interleave(counts, 0)).centred["abundance"]
    assert found.weighted["abundance"] == pytest.approx(repeated)
    assert found.weighted["rows"] == round(counts.sum().item() ** 2 / (counts**2).sum().item())
    assert found.measures == inspected(table).measures  # which stay unweighted
    equal = inspected(table, torch.full((40,), 3.0)).weighted
    assert equal["abundance"] == pytest.approx(found.centred["abundance"])
    assert equal["rows"] == 40


def test_weights_matter_by_their_ratios():
    table, counts = normal(40, 6), torch.arange(40).double()
    small, large = (inspected(table, factor * counts).weighted for factor in (1, 1e200))
    assert large == pytest.approx(small)


@pytest.mark.parametrize("table", [normal(2000, 32), torch.full((2000, 32), 0.1)])
def test_a_single_row_that_counts_is_measured_and_tells_nothing(table):
    """A random table weighted alike has no information abundance to compare with."""
    found = inspected(table, torch.zeros(2000).index_fill(0, torch.tensor([5]), 1.0))
    assert (found.weighted["against_random"], found.weighted["rows"]) == (0, 1)
    assert found.verdict == FEW_IS


@pytest.mark.parametrize(
    "weights", [torch.ones(39), -torch.ones(40), torch.zeros(40), torch.full((40,), torch.nan)]
)
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ParameterError, match="weights"):
        inspected(normal(40, 6), weights)


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (torch.empty(0, 8), r"the table is empty \(0 x 8\)"),
        (torch.full((5, 4), torch.nan), "20 entries that are NaN or infinite, the first at"),
        (
            torch.tensor([[1.0, 2.0], [torch.inf, 4.0], [5.0, 6.0]]),
            r"1 entry that is .* at \(1, 0\)",
        ),
        (torch.ones(9, 4, dtype=torch.int8), "whole numbers .int8.*so it was not de-quantised"),
    ],
    ids=["empty", "nan", "inf", "int8"],
)
def test_what_cannot_be_measured_says_why(values, note):
    found = inspected(values)
    assert found.verdict == UNMEASURED_IS
    assert re.search(note, found.note)
    assert found.spectra is None and found.measures == {}


def test_one_row_half_and_bfloat16_are_measured():
    assert inspected(normal(1, 8)).verdict == FEW_IS
    assert inspected(normal(1, 8)).measures["abundance"] == pytest.approx(1)
    table = normal(300, 8)
    whole = inspected(table).measures["abundance"]
    for dtype in (torch.float16, torch.bfloat16, torch.float8_e4m3fn):
        assert inspected(table.to(dtype)).measures["abundance"] == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (torch.full((3, 50, 8), torch.nan), r"holds 1,200 entries .*, the first at \(0, 0, 0\)"),
        (torch.ones(3, 50, 8, dtype=torch.int8), r"whole numbers \(int8\)"),
        (torch.ones(50, 8, dtype=torch.bool), "numbers of type bool; real numbers have"),
        (torch.ones(50, 8, dtype=torch.complex64), "numbers of type complex64; real numbers have"),
        (torch.empty(50, 8, device="meta"), "its entries cannot be read"),
        (torch.empty(50, 8, dtype=torch.float4_e2m1fn_x2), "which torch cannot turn into others"),
        (normal(1001, 2, 2), "1,001 sets of 2 x 2; up to 1,000 sets are measured"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype} {value.ndim}d",
)
def test_a_table_that_cannot_be_measured_says_why(values, note):
    found = inspected(values)
    assert found.verdict == UNMEASURED_IS and re.search(note, found.note)
    assert found.joined is None and found.per_set == []


@pytest.mark.parametrize("rows", [300, 6])
def test_eight_bits_are_measured_as_the_numbers_that_they_are(rows):
    for kind in (torch.float8_e4m3fn, torch.float8_e5m2):
        table = normal(rows, 8).to(kind)
        torch.testing.assert_close(inspected(table).spectra, inspected(table.float()).spectra)


def test_sets_side_by_side_are_one_wide_table():
    sets = normal(3, 5000, 4)
    whole = inspected(sets.transpose(0, 1).flatten(1))
    assert inspected(sets).joined == pytest.approx(whole.measures)


def test_the_first_entry_that_is_not_finite_is_found_in_whatever_block_it_lies(monkeypatch):
    monkeypatch.setattr("embedding_collapse.decomposition.BLOCK_ROWS", 7)
    table = normal(2, 40, 3)
    table[1, 3, 2] = table[0, 38, 1] = torch.inf
    note = "the table holds 2 entries that are NaN or infinite, the first at (0, 38, 1)"
    assert inspected(table).note.startswith(note)


# --- one table ------------------------------------------------------------------------------------


def test_a_table_is_measured_as_inspection_does_whatever_holds_it():
    table = normal(300, 8)
    expected = inspected(table).measures
    weight = nn.Parameter(table)
    read_only, other_order = table.numpy().copy(), table.numpy().astype(">f4")
    read_only.flags.writeable = False
    for form in (table, weight, read_only, other_order, table.T.contiguous().numpy().T):
        assert measure(form).measures == pytest.approx(expected)


def test_rows_come_first_in_a_table_of_several_sets_however_few_they_are():
    sets = normal(6, 20, 4)  # D = 6, M = 20
    found = measure(sets)
    assert (found.rows, found.sets, found.width) == (6, 20, 4)
    assert found.measures == inspected(sets.transpose(0, 1)).measures


def test_an_embedding_of_several_sets_has_them_first():
    model = MultiEmbedding(lambda: (nn.Embedding(20, 4), nn.Flatten()), 3)
    found = measure(model.stacked.embedding)
    assert (found.rows, found.sets, found.width) == (20, 3, 4)
    weight = model.stacked.embedding.weight.detach()
    assert found.measures == inspected(weight).measures


def test_weights_of_rows_may_be_an_array_of_counts():
    table, counts = normal(50, 4), np.arange(50)
    assert measure(table, counts).weighted == inspected(table, torch.arange(50)).weighted


@pytest.mark.parametrize("kind", [np.uint16, np.uint32, np.uint64, bool])
def test_weights_of_rows_may_be_real_numbers_of_any_type(kind):
    table, counts = normal(50, 4), np.arange(50) % 2
    assert measure(table, counts.astype(kind)).weighted == measure(table, counts).weighted
    with pytest.raises(ParameterError, match=r"weights are of torch\.complex64; real numbers"):
        measure(table, counts.astype(np.complex64))


class OnMps(Tensor):
    """What stands for a tensor of an Apple GPU, of which there is none here."""

    device = property(lambda self: torch.device("mps"))

    def cpu(self) -> Tensor:
        return self.as_subclass(Tensor)

    def double(self) -> Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")


def test_tables_of_an_apple_gpu_are_measured_on_the_cpu():
    embedding, counts = nn.Embedding(50, 4), torch.arange(50)
    expected = measure(embedding, counts)
    there = counts.as_subclass(OnMps)
    embedding.weight = nn.Parameter(embedding.weight.detach().as_subclass(OnMps))
    (inspected,) = inspect(embedding, row_weights=there).tables
    for found in (measure(embedding, there), inspected):
        assert (found.measures, found.weighted) == (expected.measures, expected.weighted)
    (row,) = CollapseMonitor(embedding, row_weights=there).history
    assert row["weighted"] == expected.judged_by


def test_what_a_table_is_called_stands_in_what_is_said_of_it():
    with pytest.raises(ParameterError, match=r"weights have shape \(3,\); users has 50 rows"):
        measure(normal(50, 4), torch.ones(3), name="users")


def test_a_table_that_is_not_finite_says_so_and_has_no_measures():
    found = measure(torch.full((9, 4), torch.nan))
    assert (found.verdict, found.measures) == (UNMEASURED_IS, {})
    assert "NaN" in found.note


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[1.0, 2.0]], "table is list; a torch tensor or a numpy array of numbers is needed"),
        (np.array([["a"]]), "table is an array of <U1; a torch tensor or a numpy array of numbers"),
        (
            torch.ones(5, 2).to_sparse(),
            "table is a tensor of layout sparse_coo; dense ones are acc",
        ),
        (torch.ones(5), r"table has shape \(5,\); \[D, K\] and \[D, M, K\] are accepted"),
        (torch.ones(1, 1, 1, 1), r"table has shape \(1, 1, 1, 1\); "),
    ],
)
def test_what_is_no_table_is_refused(table, message):
    with pytest.raises(ParameterError, match=message):
        measure(table)


def test_torchs_default_device_changes_nothing():
    table = normal(1000, 2) @ normal(2, 8)
    table[7] *= 1000
    found = inspected(table)
    with torch.device("meta"):
        again = inspected(table)
    assert found.longest is not None and again.longest == found.longest
    assert again.measures == found.measures and again.verdict == found.verdict


def test_a_table_that_lies_the_other_way_round_is_told():
    """Its verdict says nothing of features then; a usual table's small field is no such thing."""
    table = torch.randn(1001, 16, generator=torch.Generator().manual_seed(0))
    assert "transpose it" in measure(table.T).note and "16 x 1,001" in measure(table.T).note
    assert not measure(table).note and not measure(table[:3]).note
