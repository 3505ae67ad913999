"""Spectra of embedding tables, and the numbers that say how collapsed a table is.

A table `E` of shape `[D, K]` has singular values `sigma`, its spectrum. The paper's *information
abundance* (Guo et al. 2024, section 3) is `||sigma||_1 / ||sigma||_inf`: K when all directions
matter alike, 1 when one direction is all there is.

All functions take leading batch dimensions, and a spectrum may end in zeros (a field with fewer
features than dimensions): no measure here depends on them.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .decomposition import ratio, singular_values, spectra

DRAWN = 16_384  # rows of a weighted random table


def field_spectra(
    table: Tensor,
    cardinalities: Sequence[int],
    *,
    weights: Tensor | None = None,
    centred: bool = False,
) -> Tensor:
    """Spectra of every field of a joint table, per set.

    Args:
        table: `[D, M, K]`, the features of all fields stacked.
        cardinalities: features per field, N numbers with sum D.
        weights: `[D]`, how much each row counts among those of its field; see `singular_values`.
        centred: take the mean of a field's rows (their weighted mean, with weights) off each first.

    Returns:
        float64 `[N, M, K]`, descending along K; zeros where a field has fewer features than K.

    Raises:
        ValueError: cardinalities that do not add up to D, or what `singular_values` raises.
    """
    if sum(cardinalities) != len(table):
        raise ValueError(
            f"cardinalities add up to {sum(cardinalities)}; the table has {len(table)} rows"
        )
    fields = table.split(list(cardinalities))
    shares = [None] * len(fields) if weights is None else weights.split(list(cardinalities))
    padded = []
    for field, share in zip(fields, shares, strict=True):
        sets = field.transpose(0, 1)
        values = spectra(sets, share).centred if centred else singular_values(sets, share)
        padded.append(F.pad(values, (0, table.shape[-1] - values.shape[-1])))
    return torch.stack(padded)


def weighted_random_spectra(weights: Tensor, cardinalities: Sequence[int], width: int) -> Tensor:
    """Mean spectra of four random tables whose rows are weighted, per field.

    What frequency alone makes of a spectrum: where a few rows have most of the weight, even a
    random table looks narrow.

    Args:
        weights: `[D]`, see `singular_values`.
        cardinalities: features per field, N numbers with sum D.
        width: K, of the tables.

    Returns:
        float64 `[N, K]`, descending; zeros where a field has fewer features than K.
    """
    generator = torch.Generator().manual_seed(0)
    padded = []
    for share in weights.cpu().split(list(cardinalities)):  # drawn on the CPU: the same everywhere
        tables = torch.randn(4, len(share), width, generator=generator, device="cpu")
        values = singular_values(tables, share).mean(0)
        padded.append(F.pad(values, (0, width - len(values))))
    return torch.stack(padded)


def weighted_random_abundances(weights: Tensor, width: int) -> Tensor:
    """IA of random tables whose rows are weighted, each centred; float64, one number per table.

    The rows of the `DRAWN` largest weights are drawn one by one. So many others together come as
    close to the same in all directions, their total weight, as the square root of their number
    tells.

    Args:
        weights: `[D]`, see `singular_values`.
        width: K, of the tables.
    """
    generator = torch.Generator().manual_seed(0)
    weights = weights.detach().cpu().double().sort(descending=True).values
    weights = weights / weights[0]  # else the sum of large ones overflows
    weights = weights / weights.sum()
    head, tail = weights[:DRAWN], weights[DRAWN:].sum()
    rest = tail * torch.eye(width, dtype=torch.float64, device="cpu")
    abundances = []
    for _ in range(draws_for(width)):
        rows = torch.randn(len(head), width, generator=generator, dtype=torch.float64, device="cpu")
        rows = rows - head @ rows  # the weighted mean; the others' is next to nothing
        squares = torch.linalg.eigvalsh(rows.mT @ (head[:, None] * rows) + rest)
        abundances.append(information_abundance(squares.clamp(min=0).sqrt()))
    return torch.stack(abundances)


def projected_abundance(table: Tensor, cardinalities: Sequence[int], projections: Tensor) -> Tensor:
    """IA of the sub-embeddings `E_i W_{i->j}^T` (Guo et al. 2024, section 4).

    Args:
        table: `[D, M, K]`, the features of all fields stacked.
        cardinalities: features per field, N numbers with sum D.
        projections: `[M, N, K, N, K]`; the block of rows j and columns i projects field i before
            it meets field j.

    Returns:
        float64 `[M, N, N]`, by set, i and j.
    """
    fields = table.double().split(list(cardinalities))
    grams = torch.stack([torch.einsum("dmk,dml->mkl", field, field) for field in fields], 1)
    blocks = projections.double().permute(0, 3, 1, 2, 4)  # [M, i, j, K, K]
    projected = blocks @ grams.unsqueeze(2) @ blocks.mT
    # Of the squares, small values drown; but they add next to nothing to a sum of singular values.
    values = torch.linalg.eigvalsh(projected).clamp(min=0).sqrt()
    return information_abundance(values)


def partner_abundance(table: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """IA of sub-embeddings that are tables of their own, as in FFM.

    Args:
        table: `[D, M, N-1, K]`, the features of all fields stacked, by partner in the order of the
            fields, a field itself left out.
        cardinalities: features per field, N numbers with sum D.

    Returns:
        float64 `[M, N, N]`, by set, field and partner; 0 on the diagonal.
    """
    each = field_spectra(table.flatten(1, 2), cardinalities)  # [N, M*(N-1), K]
    abundance = information_abundance(each).unflatten(1, table.shape[1:3]).transpose(0, 1)
    fields = len(cardinalities)
    others = ~torch.eye(fields, dtype=torch.bool, device=abundance.device)
    pairs = abundance.new_zeros(len(abundance), fields, fields)
    pairs[:, others] = abundance.flatten(1)
    return pairs


def information_abundance(spectrum: Tensor) -> Tensor:
    """IA, the paper's measure: `||sigma||_1 / ||sigma||_inf`, in [1, K] (0 for a table of zeros).

    Args:
        spectrum: singular values `[..., K]`.

    Returns:
        `[...]`; see `normalised_abundance` to compare tables of different shape.
    """
    return ratio(spectrum.sum(-1), spectrum.amax(-1))


def normalised_abundance(spectrum: Tensor, rows: int | None = None) -> Tensor:
    """IA / K, or IA against that of a random table of the same shape; about 1 without collapse.

    Args:
        spectrum: singular values `[..., K]`.
        rows: D, the rows of the table; without it IA is divided by K, which a table with few rows
            cannot reach.
    """
    width = spectrum.shape[-1]
    most = width if rows is None else random_abundance(rows, width)
    return information_abundance(spectrum) / most


def effective_rank(spectrum: Tensor) -> Tensor:
    """`exp(H(sigma / ||sigma||_1))`, in [1, K] (0 for a table of zeros).

    H is Shannon's entropy. Roy & Vetterli 2007; used as RankMe by Garrido et al. 2023.

    Args:
        spectrum: singular values `[..., K]`.
    """
    share = ratio(spectrum, spectrum.sum(-1, keepdim=True))
    rank = (-torch.special.xlogy(share, share).sum(-1)).exp()
    return torch.where(spectrum.amax(-1) == 0, 0.0, rank)


def stable_rank(spectrum: Tensor) -> Tensor:
    """`||E||_F^2 / ||E||_2^2`, in [1, K] (0 for a table of zeros).

    Args:
        spectrum: singular values `[..., K]`.
    """
    return ratio(spectrum, spectrum.amax(-1, keepdim=True)).square().sum(-1)


def directions(spectrum: Tensor, energy: float) -> Tensor:
    """How many directions hold that share of the energy `sum sigma^2`, the largest first.

    Args:
        spectrum: singular values `[..., K]`.
        energy: a share, from 0 to 1.

    Returns:
        int64 `[...]`; 0 for a table of zeros.
    """
    held = spectrum.double().square().sort(-1, descending=True).values.cumsum(-1)
    most = held[..., -1:]
    enough = held >= energy * most * (1 - 1e-12)  # rounding must not ask for one more
    return torch.where(most[..., 0] > 0, enough.int().argmax(-1) + 1, 0)


@lru_cache(maxsize=4096)
def random_abundance(rows: int, width: int) -> float:
    """IA of `random_spectrum`: the most that a table of that shape may be expected to have."""
    return information_abundance(random_spectrum(rows, width)).item()


def draws_for(width: int) -> int:
    """How many random tables of that width a mean is taken over: wide ones hardly vary."""
    return max(1, min(16, 4096 // width))


def random_spectrum(rows: int, width: int, draws: int = 16, seed: int = 0) -> Tensor:
    """Mean spectrum of `rows x width` tables with independent normal entries: no collapse at all.

    Drawn without ever making the table: the triangular factor of a normal matrix has independent
    normal entries above its diagonal and chi-distributed ones on it (Bartlett 1933), so the cost
    depends on the smaller side alone and a billion rows are as quick as ten.

    Args:
        rows: D, at least 1.
        width: K, at least 1.
        draws: matrices to average over, at least 1.
        seed: of the draws.

    Returns:
        float64 `[width]`, descending, ending in zeros where rows < width.
    """
    if min(rows, width, draws) < 1:
        raise ValueError(
            f"no mean over {draws} random tables of shape {rows} x {width}; all three "
            "must be at least 1"
        )
    values = _random_values(rows, width, draws, seed).mean(0)
    return F.pad(values, (0, width - len(values)))


def random_abundances(rows: int, width: int, draws: int) -> Tensor:
    """IA of so many random tables, each of its own, see `random_spectrum`; float64 `[draws]`."""
    return information_abundance(_random_values(rows, width, draws, seed=0))


def _random_values(rows: int, width: int, draws: int, seed: int) -> Tensor:
    """Singular values of random tables, float64 `[draws, min(D, K)]`."""
    small, large = min(rows, width), max(rows, width)
    generator = np.random.default_rng(seed)
    factors = np.triu(generator.standard_normal((draws, small, small)), k=1)
    diagonal = np.arange(small)
    factors[:, diagonal, diagonal] = np.sqrt(
        generator.chisquare(large - diagonal, size=(draws, small))
    )
    drawn = torch.from_numpy(factors)
    # Squares are good enough for random matrices, whose small values are not that small.
    return torch.linalg.eigvalsh(drawn.mT @ drawn).flip(-1).clamp(min=0).sqrt()


def rounded(values: Tensor, digits: int = 6) -> list:
    """Numbers as nested lists, to that many significant digits; a float32 table holds six."""
    if values.ndim > 1:
        return [rounded(part, digits) for part in values]
    return [float(f"{value:.{digits}g}") for value in values.tolist()]
