"""Which rows a batch touches, and where each of them occurs in it."""

from typing import NamedTuple

import torch
from torch import Tensor

from .choice import numba_runs, passes


class LookUps(NamedTuple):
    """A batch's n look-ups, grouped by row. Shapes depend on n alone, so nothing waits to know
    how many rows are different, and a CUDA graph can hold the grouping.

    Attributes:
        order: int64 `[..., n]`, positions in the batch, sorted by row; equal rows in their order.
        rows: int64 `[..., n]`, the different rows from low to high, then the table's length as
            often as it takes to fill up.
        starts: int64 `[..., n + 1]`: row k's positions are `order[starts[k] : starts[k + 1]]`.
        different: int64 `[...]`, how many rows are different.
    """

    order: Tensor
    rows: Tensor
    starts: Tensor
    different: Tensor

    def of_step(self, step: int) -> "LookUps":
        """Those of one batch, of several that were grouped together."""
        return LookUps(*(part[step] for part in self))


def group_look_ups(ids: Tensor, length: int) -> LookUps:
    """Group look-ups by row; the leading dimensions of ids stand for as many batches.

    Args:
        ids: whole numbers `[..., n]`, rows of the table.
        length: rows of the table, or any number above all ids.
    """
    n, before = ids.shape[-1], ids.shape[:-1]
    if n == 0:
        none = ids.long()
        return LookUps(none, none, none.new_zeros(*before, 1), none.new_zeros(before))
    if ids.device.type == "cpu" and n * length < 2**62 and numba_runs():
        return passes("compiled").group(ids, length)
    ids = ids.int() if length < 2**31 else ids.long()  # half the passes of a sort by radix
    places = torch.arange(n + 1, device=ids.device)
    ordered, order = (part.contiguous() for part in ids.sort(dim=-1, stable=True))
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    number = first.cumsum(-1)  # from 1: of each place, which of the different rows it holds
    starts = torch.searchsorted(number, (places + 1).expand(*before, -1).contiguous())
    rows = ordered.gather(-1, starts[..., :-1].clamp(max=n - 1)).long()
    count = number[..., -1]
    return LookUps(order, rows.where(places[:-1] < count[..., None], length), starts, count)
