"""Rows of a table that lie as they were drawn or set: never looked up, or hardly ever."""

import torch
from torch import Tensor

from .decomposition import singular_values
from .spectrum import draws_for, information_abundance, random_abundances

MOST_ENTRIES = 4_000_000  # of the rows that are looked at
PARTS = 64  # stretches of rows, evenly spread, in which those lie: rows are often sorted by use
FEWEST = 32  # rows: of fewer nothing can be told
AROUND = 3.0  # standard deviations: rows this far from the middle in their length belong together


def untrained(table: Tensor) -> tuple[float, Tensor]:
    """Find the rows of a table that look like its initialisation.

    Initial rows have independent entries of one law, around zero. So they are of about one length
    (of `K` normal entries the mean square varies by `sqrt(2 / K)` of itself, of uniform ones by
    `sqrt(0.8 / K)`), point in all directions alike, and add up to about nothing. The rows of the
    most common length are taken for initial ones if all of that holds of them. What training moved
    by less than it was drawn with can't be told from it, which is meant: such rows are hardly
    trained. So are rows that all hold one vector, as new ids may be given.

    Args:
        table: `[M, D, K]`, finite; of a large one `MOST_ENTRIES` are looked at. A row is that of
            all M sets.

    Returns:
        Their share of the rows, those of zeros or of one vector included, 0 where none can be told;
        and the other rows among those that were looked at, float64 `[M, n, K]`.
    """
    sample = _sample(table)
    rows = sample.transpose(0, 1).flatten(1)
    energy = rows.square().mean(-1)
    initial = (energy == 0) | _of_one_vector(rows)
    moved = ~initial
    if moved.sum() >= FEWEST:
        alike = _of_common_length(energy[moved].log(), rows.shape[1])
        alike[alike.clone()] = _along_nothing(rows[moved][alike])
        if _as_drawn(rows[moved][alike]):
            initial[moved] = alike
    return initial.double().mean().item(), sample[:, ~initial]


def _of_one_vector(rows: Tensor) -> Tensor:
    """Which rows are the same one, where it is that of `FEWEST` or more, and of not all others."""
    marks = torch.linspace(1, 2, rows.shape[1], dtype=rows.dtype, device=rows.device)
    _, places, counts = (rows * marks).sum(-1).unique(return_inverse=True, return_counts=True)
    same = places == counts.argmax()
    same &= (rows == rows[same][0]).all(-1)
    few = same.sum() < FEWEST or (~same).sum() < FEWEST
    return torch.zeros_like(same) if few else same


def _sample(table: Tensor) -> Tensor:
    sets, rows, width = table.shape
    most = max(1024, MOST_ENTRIES // (sets * width))
    if rows <= most:
        return table[:].cpu().double()
    part = most // PARTS
    starts = torch.linspace(0, rows - part, PARTS, dtype=torch.float64, device="cpu").long()
    parts = [table[:, start : start + part].cpu().double() for start in starts.tolist()]
    return torch.cat(parts, 1)


def _of_common_length(lengths: Tensor, width: int) -> Tensor:
    """Which logarithms of a mean square lie around their mode, found with a window as wide as the
    spread of normal rows."""
    spread = (2 / width) ** 0.5
    ordered = lengths.sort().values
    ends = torch.searchsorted(ordered, ordered + 4 * spread, right=True)
    first = int((ends - torch.arange(len(ordered), device=ordered.device)).argmax())
    middle = ordered[first : int(ends[first])].median()
    return (lengths - middle).abs() <= AROUND * spread


def _along_nothing(rows: Tensor) -> Tensor:
    """Which rows have no more than their share along the directions that stand out.

    Trained rows may be as long as the initial ones. Of independent entries no eigenvalue of the
    covariance lies beyond Marchenko and Pastur's edge, `(1 + sqrt(K / n))^2` times the variance,
    for which the median eigenvalue stands.
    """
    count, width = rows.shape
    values, directions = torch.linalg.eigh(rows.mT @ rows / count)
    edge = 1.1 * (1 + (width / count) ** 0.5) ** 2 * values.median()
    standing = directions[:, values > edge]
    number = standing.shape[1]
    if not 0 < number <= width // 2:
        return torch.ones(count, dtype=torch.bool, device=rows.device)
    along = (rows @ standing).square().sum(-1) / rows.square().sum(-1)
    return along <= number / width + 4 * (2 * number) ** 0.5 / width


def _as_drawn(rows: Tensor) -> bool:
    count, width = rows.shape
    if count < max(FEWEST, width):
        return False
    energy = rows.square().mean(-1)
    spread = energy.log().std().item() * width**0.5
    if not 0.5 * 0.8**0.5 < spread < 1.2 * 2**0.5:  # rows of unit length do not vary at all
        return False
    along_mean = (rows.mean(0).square().mean() / energy.mean()).item()
    chance = (1 + 5 * (2 / width) ** 0.5) / count
    if along_mean > 0.02 + chance:
        return False
    kurtosis = (rows.pow(4).mean() / rows.square().mean().square()).item()
    if not 1.6 < kurtosis < 3.5:  # 1.8 of uniform entries, 3 of normal ones
        return False
    random = random_abundances(count, width, draws_for(width)).mean()
    return bool(information_abundance(singular_values(rows)) >= 0.9 * random)
