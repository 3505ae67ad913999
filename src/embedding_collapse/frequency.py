"""Rows that count by how often they occur: is a table collapsed where it is used?"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .data import Dataset
from .metrics import welch
from .records import told
from .spectrum import (
    information_abundance,
    random_spectrum,
    singular_values,
)

DRAWS = 8  # of random tables whose rows are weighted


def counts(dataset: Dataset) -> list[Tensor]:
    """How often each feature occurs in the training rows: per field an integer `[D_i]`."""
    rows = dataset.split[0].numpy()
    return [
        torch.from_numpy(np.bincount(dataset.ids[rows, i], minlength=cardinality))
        for i, cardinality in enumerate(dataset.cardinalities)
    ]


def by_frequency(table: Tensor, dataset: Dataset, seed: int = 0) -> pd.DataFrame:
    """IA of every field with all rows alike and with rows weighted by their frequency.

    Weighted, it is that of `diag(sqrt(p)) E` with the share p of training rows that each feature
    has; so rare rows hardly count, and the random table beside it has its rows weighted alike.

    Args:
        table: `[D, 1, K]`, the features of all fields stacked.
        dataset: that it was trained on.
        seed: of the random tables.

    Returns:
        A row per field: features; IA over K, `alike` and `weighted`; that of a random table,
        `random` and `random weighted`; and the two quotients `alike / random` and
        `weighted / random`.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = {}
    for field, part, weights in zip(
        dataset.fields, table.split(dataset.cardinalities), counts(dataset), strict=True
    ):
        (features, _, width), own = part.shape, part[:, 0]
        random = [
            singular_values(torch.randn(features, width, generator=generator), weights)
            for _ in range(DRAWS)
        ]
        spectra = {
            "alike": singular_values(own),
            "weighted": singular_values(own, weights),
            "random": random_spectrum(features, width),
            "random weighted": torch.stack(random).mean(0),
        }
        rows[field.name] = {"features": features} | {
            name: information_abundance(spectrum).item() / width
            for name, spectrum in spectra.items()
        }
    found = pd.DataFrame.from_dict(rows, orient="index").rename_axis("field")
    return found.assign(
        **{
            "alike / random": found["alike"] / found["random"],
            "weighted / random": found["weighted"] / found["random weighted"],
        }
    )


def weighting_told(frames: dict[str, list[pd.DataFrame]]) -> str:
    """What weighting changes, in Markdown sentences.

    Args:
        frames: from `by_frequency`, by label, a frame per seed; the base model first.
    """
    base, label = frames
    lines = []
    for name, words in (("alike", "all rows alike"), ("weighted", "rows by frequency")):
        for column, reading in ((name, "IA/K"), (f"{name} / random", "IA against random")):
            old, new = ([frame[column].mean() for frame in frames[each]] for each in (base, label))
            lines.append(
                f"- **{reading}, {words}**: {np.mean(old):.3f} in {base}, {np.mean(new):.3f} in "
                f"{label}; difference {told(welch(new, old))}."
            )
    return "\n".join(lines)
