"""Singular values of embedding tables: in float64, in one pass over blocks of rows, however large.

All functions take leading batch dimensions.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .parameters import count

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

    if rows <= width:
        (whole,) = _blocks(table, scales, size=rows)
        every = 1.0 if scales is None else scales
        _check_finite(whole.isfinite().all(), table)
        mean = (every * whole).sum(-2, keepdim=True) / rows
        offset = ratio(rows * mean.square().sum((-2, -1)), whole.square().sum((-2, -1)))
        centred = torch.linalg.svdvals(whole - every * mean)
        return Spectra(torch.linalg.svdvals(whole), centred, offset)
    shares = repeat(1.0) if scales is None else scales.split(BLOCK_ROWS)
    gram = table.new_zeros(*table.shape[:-2], width, width, dtype=torch.float64)
    sums = table.new_zeros(*table.shape[:-2], 1, width, dtype=torch.float64)
    for block, share in zip(_blocks(table, scales), shares, strict=False):
        gram += block.mT @ block
        sums += (block if scales is None else share * block).sum(-2, keepdim=True)
    _check_finite(gram.isfinite().all(), table)
    mean = sums / rows  # the weights' mean is 1
    offset = ratio(rows * mean.square().sum((-2, -1)), gram.diagonal(dim1=-2, dim2=-1).sum(-1))
    plain = _roots(gram)
    centred = None if plain is None else _roots(gram - rows * mean.mT @ mean, largest=plain)
    if plain is None:
        plain = torch.linalg.svdvals(_triangular_factor(_blocks(table, scales)))
    if centred is None:
        pairs = zip(_blocks(table, scales), shares, strict=False)
        centred = torch.linalg.svdvals(_triangular_factor(b - share * mean for b, share in pairs))
    return Spectra(plain, centred, offset)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """0 / 0 is 0: a table of zeros has rank 0, and every measure here extends the rank."""
    return torch.where(denominator == 0, 0.0, numerator / denominator)


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
    table: Tensor, scales: Tensor | None = None, side_by_side: bool = False, size: int | None = None
) -> Iterator[Tensor]:
    """The table in float64, its rows scaled, so many at a time or `BLOCK_ROWS`."""
    size = size or BLOCK_ROWS
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
    bad_entries, firsts = 0, []
    for number, block in enumerate(_blocks(table)):
        bad = ~block.isfinite()
        if bad.any():
            bad_entries += int(bad.sum())
            place = int(bad.flatten().byte().argmax())
            *batch, row, column = map(int, np.unravel_index(place, bad.shape))
            firsts.append((*batch, row + number * BLOCK_ROWS, column))
    if bad_entries == 0:
        raise ValueError("the table's entries are too large: their squares overflow float64")
    first = min(firsts) if table.shape[:-2].numel() > 1 else min(firsts)[-2:]
    are = count(bad_entries, "entry that is", "entries that are")
    raise ValueError(
        f"the table holds {are} NaN or infinite, the first at {first}; finite entries are needed"
    )
