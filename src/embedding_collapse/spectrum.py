"""Spectra of embedding tables, and the numbers that say how collapsed a table is.

A table `E` of shape `[D, K]` has singular values `sigma`, its spectrum. The paper's *information
abundance* (Guo et al. 2024, section 3) is `||sigma||_1 / ||sigma||_inf`: K when all directions
matter alike, 1 when one direction is all there is.

All functions take leading batch dimensions, and a spectrum may end in zeros (a field with fewer
features than dimensions): no measure here depends on them.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Squaring a table squares its condition number: an eigenvalue of the Gram matrix carries an
# absolute error near K * 1e-16 of the largest, so a singular value at 1e-4 of the largest
# (1e-8 when squared) still has six right digits or more. Below that line we leave the Gram matrix.
GRAM_LIMIT = 1e-4
BLOCK_ROWS = 4_096  # small enough for the processor's cache


def singular_values(
    table: Tensor, weights: Tensor | None = None, *, side_by_side: bool = False
) -> Tensor:
    """Singular values of tall tables, in float64.

    Through the K x K Gram matrix, accumulated in float64 over blocks of rows, where every singular
    value lies above `GRAM_LIMIT` times the largest; otherwise from the triangular factor of a QR
    decomposition, which keeps small singular values accurate.

    Args:
        table: `[..., D, K]`, any floating type.
        weights: `[D]`, how much each row counts, such as how often its feature occurs: a row is
            scaled by `sqrt(weight / mean weight)`, so that equal weights change nothing and a row
            of weight 2 counts as two rows of weight 1. Without them all rows count alike.
        side_by_side: take the M tables of `[M, D, K]` for one, `[D, M*K]`, which is never made.

    Returns:
        float64 `[..., min(D, K)]`, descending; of one table `[min(D, M*K)]`.

    Raises:
        ValueError: no rows or no columns, not a floating type, or an entry that is NaN or infinite;
            weights of another length, negative, not finite, or all zero.
    """
    _check_shape(table)
    several: tuple[int, ...] = table.shape[:-2]
    rows, width = table.shape[-2:]
    if side_by_side:
        several, width = (), len(table) * width
    scales = None if weights is None else _row_scales(weights.to(table.device), rows)
    if rows <= width:
        (whole,) = _blocks(table, scales, side_by_side, rows)
        _check_finite(whole.isfinite().all(), table)
        return torch.linalg.svdvals(whole)
    gram = table.new_zeros(*several, width, width, dtype=torch.float64)
    for block in _blocks(table, scales, side_by_side):
        gram += block.mT @ block
    _check_finite(gram.isfinite().all(), table)
    values = _roots(gram)
    if values is None:
        values = torch.linalg.svdvals(_triangular_factor(_blocks(table, scales, side_by_side)))
    return values


class Spectra(NamedTuple):
    """Of tables `[..., D, K]`, as they are and with the mean of their rows taken off.

    Attributes:
        plain, centred: singular values, float64 `[..., min(D, K)]`, descending.
        offset: `[...]`, the share of the energy `sum sigma^2` that the mean of the rows holds.
    """

    plain: Tensor
    centred: Tensor
    offset: Tensor


def spectra(table: Tensor, weights: Tensor | None = None) -> Spectra:
    """Singular values of tables as they are and centred, from one pass over the rows.

    A second one is taken where the smallest singular values would drown in the squares, see
    `GRAM_LIMIT`: taking the mean off leaves them the rounding of the largest of the plain ones.

    Args:
        table: `[..., D, K]`, any floating type.
        weights: `[D]`, see `singular_values`; the mean of the rows is then the weighted one.

    Raises:
        ValueError: as `singular_values` does.
    """
    _check_shape(table)
    rows, width = table.shape[-2:]
    scales = None if weights is None else _row_scales(weights.to(table.device), rows)

    def marks(start: int) -> Tensor | float:
        return 1.0 if scales is None else scales[start : start + BLOCK_ROWS]

    def blocks(mean: Tensor | float = 0.0) -> Iterator[Tensor]:
        starts = range(0, rows, BLOCK_ROWS)
        for start, block in zip(starts, _blocks(table, scales, size=BLOCK_ROWS), strict=True):
            yield block - marks(start) * mean

    if rows <= width:
        (whole,) = _blocks(table, scales, size=rows)
        every = 1.0 if scales is None else scales
        _check_finite(whole.isfinite().all(), table)
        mean = (every * whole).sum(-2, keepdim=True) / rows
        offset = _ratio(rows * mean.square().sum((-2, -1)), whole.square().sum((-2, -1)))
        centred = torch.linalg.svdvals(whole - every * mean)
        return Spectra(torch.linalg.svdvals(whole), centred, offset)
    gram = table.new_zeros(*table.shape[:-2], width, width, dtype=torch.float64)
    sums = table.new_zeros(*table.shape[:-2], 1, width, dtype=torch.float64)
    for start, block in zip(range(0, rows, BLOCK_ROWS), blocks(), strict=True):
        gram += block.mT @ block
        sums += (marks(start) * block).sum(-2, keepdim=True)
    _check_finite(gram.isfinite().all(), table)
    mean = sums / rows  # the weights' mean is 1
    offset = _ratio(rows * mean.square().sum((-2, -1)), gram.diagonal(dim1=-2, dim2=-1).sum(-1))
    plain = _roots(gram)
    centred_values = _roots(gram - rows * mean.mT @ mean, largest=plain)
    return Spectra(
        torch.linalg.svdvals(_triangular_factor(blocks())) if plain is None else plain,
        torch.linalg.svdvals(_triangular_factor(blocks(mean)))
        if plain is None or centred_values is None
        else centred_values,
        offset,
    )


def _check_shape(table: Tensor) -> None:
    if table.ndim < 2 or 0 in table.shape:
        raise ValueError(
            f"a table of shape {tuple(table.shape)} has no spectrum; [..., D, K] with "
            "at least one row and one column is needed"
        )
    if not table.is_floating_point():
        raise ValueError(f"a table of {table.dtype} has no spectrum; a floating type is needed")


def _roots(gram: Tensor, largest: Tensor | None = None) -> Tensor | None:
    """Singular values from a Gram matrix; None where some would drown, see `GRAM_LIMIT`.

    `largest` are the singular values of what was squared, where those aren't the matrix's own.
    """
    squares = torch.linalg.eigvalsh(gram).flip(-1)
    most = squares[..., :1] if largest is None else largest[..., :1].square()
    return squares.sqrt() if (squares[..., -1:] > GRAM_LIMIT**2 * most).all() else None


def _blocks(
    table: Tensor, scales: Tensor | None = None, side_by_side: bool = False, size: int = BLOCK_ROWS
) -> Iterator[Tensor]:
    """The table in float64, its rows scaled, one block of rows at a time."""
    for start in range(0, table.shape[-2], size):
        rows = slice(start, start + size)
        block = table[..., rows, :].double()
        block = block if scales is None else block * scales[rows]
        yield block.transpose(0, 1).flatten(1) if side_by_side else block


def _row_scales(weights: Tensor, rows: int) -> Tensor:
    """`sqrt(weight / mean weight)`, float64 `[D, 1]`."""
    if weights.shape != (rows,):
        raise ValueError(
            f"weights of shape {tuple(weights.shape)} for a table of {rows} rows; one "
            "per row is needed"
        )
    weights = weights.double()
    bad = (~(weights.isfinite() & (weights >= 0))).nonzero()
    if len(bad):
        first = int(bad[0])
        raise ValueError(
            f"weights hold {len(bad)} entries that are negative, NaN or infinite, the "
            f"first {weights[first].item()} at {first}"
        )
    if not weights.any():
        raise ValueError("all weights are 0; at least one row has to count")
    weights = weights / weights.max()  # else the mean of large ones overflows
    return (weights / weights.mean()).sqrt().unsqueeze(-1)


def _triangular_factor(blocks: Iterator[Tensor]) -> Tensor:
    """The `[..., K, K]` factor R of `table = Q R`, folding in one block of rows at a time."""
    factor = next(blocks)
    for block in blocks:
        factor = torch.cat([torch.linalg.qr(factor, mode="r").R, block], dim=-2)
    return torch.linalg.qr(factor, mode="r").R


def _check_finite(finite: Tensor, table: Tensor) -> None:
    if finite:
        return
    count, firsts = 0, []
    for number, block in enumerate(_blocks(table)):
        bad = ~block.isfinite()
        if bad.any():
            count += int(bad.sum())
            place = int(bad.flatten().byte().argmax())
            *batch, row, column = map(int, np.unravel_index(place, bad.shape))
            firsts.append((*batch, row + number * BLOCK_ROWS, column))
    if count == 0:
        raise ValueError("the table's entries are too large: their squares overflow float64")
    raise ValueError(
        f"the table holds {count} entries that are NaN or infinite, the first "
        f"at {min(firsts)}; finite entries are needed"
    )


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
    spectra = []
    for field, share in zip(fields, shares, strict=True):
        if centred:
            field = field.double()
            even = field.new_ones(len(field)) if share is None else share.to(field)
            field = field - torch.einsum("d,dmk->mk", even / even.sum(), field)
        spectra.append(singular_values(field.transpose(0, 1), share))
    width = table.shape[-1]
    return torch.stack([F.pad(values, (0, width - values.shape[-1])) for values in spectra])


def weighted_random_spectra(
    weights: Tensor, cardinalities: Sequence[int], width: int, draws: int = 4, seed: int = 0
) -> Tensor:
    """Mean spectra of tables with independent normal entries whose rows are weighted, per field.

    What frequency alone makes of a spectrum: where a few rows have most of the weight, even a
    random table looks narrow.

    Args:
        weights: `[D]`, see `singular_values`.
        cardinalities: features per field, N numbers with sum D.
        width: K, of the tables.
        draws: tables per field to average over.
        seed: of the draws.

    Returns:
        float64 `[N, K]`, descending; zeros where a field has fewer features than K.
    """
    generator = torch.Generator().manual_seed(seed)
    spectra = []
    for share in weights.cpu().split(list(cardinalities)):  # drawn on the CPU: the same everywhere
        tables = torch.randn(draws, len(share), width, generator=generator)
        values = singular_values(tables, share).mean(0)
        spectra.append(F.pad(values, (0, width - len(values))))
    return torch.stack(spectra)


def weighted_random_abundances(
    weights: Tensor, width: int, draws: int, seed: int = 0, exact: int = 16_384
) -> Tensor:
    """IA of so many random tables whose rows are weighted, each centred; float64 `[draws]`.

    The rows of the largest weights are drawn one by one. So many others together come as close to
    the same in all directions, their total weight, as the square root of their number tells.

    Args:
        weights: `[D]`, see `singular_values`.
        width: K, of the tables.
        draws: tables.
        seed: of the draws.
        exact: how many rows are drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = weights.detach().cpu().double().sort(descending=True).values
    weights = weights / weights.sum()
    head, tail = weights[:exact], weights[exact:].sum()
    rest = tail * torch.eye(width, dtype=torch.float64)
    abundances = []
    for _ in range(draws):
        rows = torch.randn(len(head), width, generator=generator, dtype=torch.float64)
        rows = rows - head @ rows  # the weighted mean; the others' is next to nothing
        squares = torch.linalg.eigvalsh(rows.mT @ (head[:, None] * rows) + rest)
        abundances.append(information_abundance(squares.clamp(min=0).sqrt()))
    return torch.stack(abundances)


def projected_abundance(table: Tensor, cardinalities: Sequence[int], projections: Tensor) -> Tensor:
    """IA of the sub-embeddings `E_i W_{i->j}^T` (Guo et al. 2024, section 3).

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
    spectra = field_spectra(table.flatten(1, 2), cardinalities)  # [N, M*(N-1), K]
    abundance = information_abundance(spectra).unflatten(1, table.shape[1:3]).transpose(0, 1)
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
    return _ratio(spectrum.sum(-1), spectrum.amax(-1))


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
    share = _ratio(spectrum, spectrum.sum(-1, keepdim=True))
    rank = (-torch.special.xlogy(share, share).sum(-1)).exp()
    return torch.where(spectrum.amax(-1) == 0, 0.0, rank)


def stable_rank(spectrum: Tensor) -> Tensor:
    """`||E||_F^2 / ||E||_2^2`, in [1, K] (0 for a table of zeros).

    Args:
        spectrum: singular values `[..., K]`.
    """
    return _ratio(spectrum, spectrum.amax(-1, keepdim=True)).square().sum(-1)


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


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """0 / 0 is 0: a table of zeros has rank 0, and every measure here extends the rank."""
    return torch.where(denominator == 0, 0.0, numerator / denominator)


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


def random_abundances(rows: int, width: int, draws: int, seed: int = 0) -> Tensor:
    """IA of so many random tables, each of its own, see `random_spectrum`; float64 `[draws]`."""
    return information_abundance(_random_values(rows, width, draws, seed))


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
