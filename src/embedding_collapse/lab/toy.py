"""The paper's toy experiment: what a third field does to the table of the first.

Three fields meet in a factorisation machine (FM). All pairs of the first two occur once; the third
field's feature and the label are drawn anew for each pair, so there is nothing to learn but noise.
All tables start from N(0, 1), those of fields 2 and 3 are frozen, and the first is trained by
full-batch gradient descent (Guo et al. 2024, appendix of version 1 on arXiv). With few features in
the third field, its table has low information abundance (IA), and the first loses some of its own.

The paper states neither K nor the loss: both are parameters here, 10 and logistic by default.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from embedding_collapse.decomposition import ratio, singular_values
from embedding_collapse.errors import DivergedError
from embedding_collapse.parameters import check_choice, check_number, check_whole
from embedding_collapse.spectrum import information_abundance

Slope = Callable[[Tensor, Tensor], Tensor]

# From logits h and labels y to dl/dh, which may take the logits' place.
LOSSES: dict[str, Slope] = {
    "logistic": lambda h, y: h.sigmoid_().sub_(y),
    "squared": lambda h, y: h.sub_(y).mul_(2),
}
TOGETHER = 8  # experiments at a time: their logits fit a processor's cache


class Curves(NamedTuple):
    """How the first table fares, for each cardinality of the third field (C) and seed (S).

    Attributes:
        steps: int64 `[T]`, the iterations at which E_1 was measured, from 0.
        spectra: float64 `[C, S, T, min(D_1, K)]`, its singular values, descending.
        inside: float64 `[C, S, T]`, the share of `||E_1||_F^2` in the span of E_3's rows; about
            `min(D_3, K) / K` for a table that knows nothing of E_3; 0 for a table of zeros.
    """

    steps: Tensor
    spectra: Tensor
    inside: Tensor

    @property
    def abundance(self) -> Tensor:
        """IA(E_1), float64 `[C, S, T]`."""
        return information_abundance(self.spectra)


class Draw(NamedTuple):
    """What one experiment is made of; with a leading dimension, what several are made of."""

    first: Tensor  # E_1 where training starts, [D_1, K]
    second: Tensor  # E_2 [D_2, K]
    third: Tensor  # E_3 [D_3, K]
    context: Tensor  # int64 [D_1, D_2], the third field's feature of each pair
    labels: Tensor  # float32 [D_1, D_2], 0 or 1


def run(
    third: int | Sequence[int] = (3, 100),
    width: int = 10,
    seeds: Iterable[int] = range(5),
    iterations: int = 5_000,
    *,
    every: int = 50,
    first: int = 100,
    second: int = 100,
    learning_rate: float = 1.0,
    loss: str = "logistic",
    spread: float = 1.0,
) -> Curves:
    """Run the experiment for each cardinality of the third field and each seed.

    A seed gives the same E_1, E_2, labels and uniform draws for every D_3, so that its curves can
    be compared in pairs.

    Args:
        third: D_3, one or several.
        width: K; not stated in the paper.
        seeds: of the draws.
        iterations: steps of gradient descent.
        every: how many steps lie between two measurements.
        first, second: D_1 and D_2.
        learning_rate: for the mean loss over the `D_1 * D_2` pairs.
        loss: "logistic", of labels 0 and 1, or "squared", `(h - y)^2`; not stated in the paper.
        spread: standard deviation of E_1's entries at the start; 1 in the paper.

    Returns:
        see `Curves`; C is 1 for a single number.

    Raises:
        ParameterError: a value of the wrong type or out of range.
        DivergedError: a table that is no longer finite.
    """
    thirds, seeds = [third] if isinstance(third, int) else list(third), list(seeds)
    check_whole("the number of seeds", len(seeds), least=1)
    check_whole("the number of values of third", len(thirds), least=1)
    for seed in seeds:
        check_whole("seed", seed, least=0, most=2**32 - 1)
    for size in thirds:
        check_whole("third", size, least=1)
    wholes = {"width": width, "every": every, "iterations": iterations, "first": first}
    for name, value in (wholes | {"second": second}).items():
        check_whole(name, value, least=1)
    check_number("learning_rate", learning_rate, 0)
    check_number("spread", spread, 0)
    check_choice("loss", loss, LOSSES)

    draws = [draw(first, second, size, width, seed, spread) for size in thirds for seed in seeds]
    steps = sorted({*range(0, iterations, every), iterations})
    spectra, inside = [], []
    for start in range(0, len(draws), TOGETHER):
        group = stack(draws[start : start + TOGETHER])
        tables = descend(group, steps, learning_rate, LOSSES[loss]).double()
        if not tables.isfinite().all():
            raise DivergedError(
                f"the first table is no longer finite; try a smaller learning_rate (now "
                f"{learning_rate:g})"
            )
        spectra.append(singular_values(tables))
        span = group.third.double()
        projector = (torch.linalg.pinv(span) @ span).unsqueeze(1)  # onto the rows of E_3
        squares = (part.square().sum((-2, -1)) for part in (tables @ projector, tables))
        inside.append(ratio(*squares))
    grid = (len(thirds), len(seeds))
    return Curves(
        torch.tensor(steps),
        torch.cat(spectra).unflatten(0, grid),
        torch.cat(inside).unflatten(0, grid),
    )


def draw(first: int, second: int, third: int, width: int, seed: int, spread: float) -> Draw:
    """One experiment's start: E_1 `[D_1, K]` times `spread`, E_2, E_3, contexts and labels."""
    generator = torch.Generator().manual_seed(seed)
    e1 = torch.randn(first, width, generator=generator) * spread
    e2 = torch.randn(second, width, generator=generator)
    labels = torch.randint(2, (first, second), generator=generator).float()
    # in float64, so that the product stays below `third`
    uniform = torch.rand(first, second, generator=generator, dtype=torch.float64)
    e3 = torch.randn(third, width, generator=generator)  # last: the rest is alike for every D_3
    return Draw(e1, e2, e3, (uniform * third).long(), labels)


def stack(draws: Sequence[Draw]) -> Draw:
    """Several draws as one; the smaller E_3 get rows of zeros, which no pair refers to."""
    most = max(len(draw.third) for draw in draws)
    padded = [
        draw._replace(third=torch.nn.functional.pad(draw.third, (0, 0, 0, most - len(draw.third))))
        for draw in draws
    ]
    return Draw(*map(torch.stack, zip(*padded, strict=True)))


def descend(draws: Draw, steps: Sequence[int], learning_rate: float, slope: Slope) -> Tensor:
    """E_1 of G experiments at each of the steps, the first being 0: `[G, T, D_1, K]`.

    In closed form: with the slopes `dl/dh` of all pairs as a D_1 x D_2 matrix S, and with their
    sums C over the pairs of each (x_1, x_3), `dL/dE_1 = (S E_2 + C E_3) / (D_1 D_2)`.
    """
    across, e2, e3 = draws.first.mT.contiguous(), draws.second, draws.third
    constant = (e3 @ e2.mT).gather(1, draws.context)  # e_2^T e_3 of every pair, [G, D_1, D_2]
    sums = e3.new_zeros(*draws.first.shape[:2], e3.shape[1])
    rate = learning_rate / draws.labels[0].numel()

    # E_1 lies across, [G, K, D_1]: products that end in K columns are slow
    tables = [draws.first]
    for begin, end in pairwise(steps):
        for _ in range(begin, end):
            logits = torch.baddbmm(constant, across.mT, e2.mT)
            logits += torch.bmm(across.mT, e3.mT).gather(2, draws.context)
            slopes = slope(logits, draws.labels)
            sums.zero_().scatter_add_(2, draws.context, slopes)
            across.baddbmm_(e2.mT, slopes.mT, alpha=-rate).baddbmm_(e3.mT, sums.mT, alpha=-rate)
        tables.append(across.mT.clone())
    return torch.stack(tables, 1)
