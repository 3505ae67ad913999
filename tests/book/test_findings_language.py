import pytest
import torch

from embedding_collapse.book.findings import language as beside
from embedding_collapse.book.language_model import TokenEmbedding, TokenSpectrum

TABLE = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
EMBEDDING = TokenEmbedding("tokens", TABLE, "a test", "0")
KEPT = TokenSpectrum("kept", "a record", "0", 90, 4, [4.0, 2.0, 1.0, 1.0], [2.0, 2.0, 1.0, 1.0])


def test_the_fields_are_the_largest_first(make_record):
    record = make_record("se", 4, abundance=[0.3, 0.4, 0.5])
    first, second = beside.largest_fields(record, 2)
    assert (first.name, first.rows, second.name) == ("user (50)", 50, "site (20)")
    assert first.full.tolist() == record.spectra[0][0]


def test_leading_values_are_of_the_whole_and_leading_columns_of_what_is_left(make_record):
    own, kept = beside.token_spectra(EMBEDDING, [KEPT], 3)
    assert own.name == "tokens (200)"
    whole = torch.linalg.svdvals(TABLE.double())
    torch.testing.assert_close(own.full, whole)
    torch.testing.assert_close(own.leading(3), whole[:3])
    torch.testing.assert_close(own.columns, torch.linalg.svdvals(TABLE[:, :3].double()))
    assert kept.columns is None
    table = beside.beside([own, kept], 3)
    assert table.loc["kept (90)", "IA/K"] == pytest.approx(0.5)
    assert table.loc["kept (90)", "IA/K, 3 values"] == pytest.approx(7 / 12)
    assert table["IA/K, 3 columns"].isna().tolist() == [False, True]
    assert table.loc["tokens (200)", "IA/random"] == pytest.approx(1, abs=0.1)


def test_what_is_shown_twice_is_shown_once():
    twin = EMBEDDING._replace(name="kept")
    assert len(beside.token_spectra(twin, [KEPT], 3)) == 1
    assert beside.sources(twin, [KEPT]).count("\n") == 0
    assert "**kept**, 90 tokens × 4, from a record: a record" in beside.sources(EMBEDDING, [KEPT])


def test_language_models_above_all_fields_or_not_are_told(make_record):
    tokens = beside.token_spectra(EMBEDDING, [], 3)
    for share, words in ((0.2, "lie above all"), (1.0, "do not lie above all")):
        spectra = [*beside.largest_fields(make_record("se", 4, abundance=share), 2), *tokens]
        told = beside.beside_told(beside.beside(spectra, 3), spectra)
        assert told.splitlines()[0].startswith("- **IA/K**")
        assert words in told.splitlines()[0]


def test_the_mean_row_comes_off():
    assert beside.without_mean(KEPT) == pytest.approx((2, 3))
