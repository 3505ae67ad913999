"""From raw ids to a vocabulary: the paper's minimum count, with one rare bucket per field."""

import numpy as np

RARE = 0  # the id of the rare bucket, in every field
MINIMUM_COUNT = 10  # the paper's, on Criteo


def number_values(counts: np.ndarray, minimum: int = MINIMUM_COUNT) -> np.ndarray:
    """Number the values of one field, the rare ones sharing id 0.

    Args:
        counts: integers `[V]`, how many rows hold each raw id.
        minimum: the fewest rows with which a value keeps an id of its own, at least 1.

    Returns:
        int32 `[V]`, raw id -> new id. Values with `minimum` rows or more are numbered from 1 in
        the order of their raw ids; all others get `RARE`.
    """
    kept = counts >= minimum
    return np.where(kept, np.cumsum(kept), RARE).astype(np.int32)
