"""A recommender's tables beside the token embedding of a language model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from embedding_collapse.book.language_model import TokenEmbedding, TokenSpectrum
from embedding_collapse.lab.records import Record
from embedding_collapse.spectrum import (
    effective_rank,
    information_abundance,
    normalised_abundance,
    random_spectrum,
    singular_values,
)


class Spectrum(NamedTuple):
    """A spectrum to lay beside others.

    Attributes:
        name: of the table.
        of: "field" or "language model".
        rows: of the table.
        full: `[K]` singular values.
        columns: those of its leading columns alone; None where the table isn't at hand.
    """

    name: str
    of: str
    rows: int
    full: Tensor
    columns: Tensor | None

    def leading(self, count: int) -> Tensor:
        """Its first singular values: those of the best table of that rank (Eckart & Young)."""
        return self.full[:count]


def largest_fields(record: Record, count: int) -> list[Spectrum]:
    """The spectra of a run's fields with the most features, largest first."""
    cardinalities = record.dataset["cardinalities"]
    order = sorted(range(len(cardinalities)), key=cardinalities.__getitem__)[::-1][:count]
    return [
        Spectrum(
            f"{record.dataset['fields'][i]} ({cardinalities[i]:,})",
            "field",
            cardinalities[i],
            torch.tensor(record.spectra[i][0], dtype=torch.float64),
            torch.tensor(record.spectra[i][0], dtype=torch.float64),
        )
        for i in order
    ]


def token_spectra(
    embedding: TokenEmbedding, kept: Sequence[TokenSpectrum], width: int
) -> list[Spectrum]:
    """The spectra of a token embedding, also of its first `width` columns, and of recorded ones."""
    table = embedding.table
    own = Spectrum(
        f"{embedding.name} ({len(table):,})",
        "language model",
        len(table),
        singular_values(table),
        singular_values(table[:, :width]),
    )
    others = [
        Spectrum(
            f"{each.name} ({each.tokens:,})",
            "language model",
            each.tokens,
            torch.tensor(each.spectrum, dtype=torch.float64),
            None,
        )
        for each in kept
        if each.name != embedding.name
    ]
    return [own, *others]


def sources(embedding: TokenEmbedding, kept: Sequence[TokenSpectrum]) -> str:
    """Which token embeddings are shown and where they come from, as a Markdown list."""
    tokens, width = embedding.table.shape
    lines = [f"- **{embedding.name}**, {tokens:,} tokens × {width}: {embedding.source}"]
    lines += [
        f"- **{each.name}**, {each.tokens:,} tokens × {each.width}, from a record: {each.source}"
        for each in kept
        if each.name != embedding.name
    ]
    return "\n".join(lines)


def beside(spectra: Sequence[Spectrum], count: int) -> pd.DataFrame:
    """A row per spectrum: IA over K; IA and effective rank over those of a random table; IA over
    `count` of the first so many singular values, and of the first so many columns."""
    rows = {}
    for each in spectra:
        width = len(each.full)
        random = random_spectrum(each.rows, width)
        rows[each.name] = {
            "rows": each.rows,
            "K": width,
            "IA/K": normalised_abundance(each.full).item(),
            "IA/random": (information_abundance(each.full) / information_abundance(random)).item(),
            "erank/random": (effective_rank(each.full) / effective_rank(random)).item(),
            f"IA/K, {count} values": normalised_abundance(each.leading(count)).item(),
            f"IA/K, {count} columns": np.nan
            if each.columns is None
            else normalised_abundance(each.columns).item(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def beside_told(table: pd.DataFrame, spectra: Sequence[Spectrum]) -> str:
    """In which readings every language model lies above every field, in Markdown sentences."""
    models = table.loc[[each.name for each in spectra if each.of == "language model"]]
    fields = table.loc[[each.name for each in spectra if each.of == "field"]]
    lines = []
    for column in table.columns[2:]:
        low, high = models[column].min(), fields[column].max()
        word = "lie above" if low > high else "do not lie above"
        lines.append(
            f"- **{column}**: the language models ({low:.2f} to {models[column].max():.2f}) "
            f"{word} all of the fields ({fields[column].min():.2f} to {high:.2f})."
        )
    return "\n".join(lines)


def without_mean(spectra: TokenSpectrum) -> tuple[float, float]:
    """IA of a token embedding as it is, and once its mean row is taken off."""
    return tuple(
        information_abundance(torch.tensor(values, dtype=torch.float64)).item()
        for values in (spectra.spectrum, spectra.centred_spectrum)
    )
