"""The paper's toy experiment: what a third field does to the table of the first.

Three fields meet in a factorisation machine (FM). All pairs of the first two occur once; the third
field's feature and the label are drawn anew for each pair, so there is nothing to learn but noise.
All tables start from N(0, 1), those of fields 2 and 3 are frozen, and the first is trained by
full-batch gradient descent (Guo et al. 2024, appendix of version 1 on arXiv). With few features in
the third field, its table has low information abundance (IA), and the first loses some of its own.

The paper states neither K nor the loss: both are parameters here, 10 and logistic by default.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .parameters import check_choice, check_number, check_whole
from .spectrum import information_abundance, singular_values

# From logits h and labels y to dl/dh; each may be written into the tensor of logits.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "logistic": lambda h, y: h.sigmoid_().sub_(y),
    "squared": lambda h, y: h.sub_(y).mul_(2),
}
TOGETHER = 8  # experiments at a time: their logits fit a processor's cache


class Curves(NamedTuple):
    """How the first table fares, for each cardinality of the third field (C) and seed (S).

    Attributes:
        steps: int64 `[T]`, the iterations at which IA was measured, from 0.
        abundance: float64 `[C, S, T]`, IA(E_1).
        before, after: float32 `[C, S, D_1, K]`, E_1 at the first and the last iteration.
        third: C tensors, float32 `[S, D_3, K]`: E_3, which does not change.
    """

    steps: Tensor
    abundance: Tensor
    before: Tensor
    after: Tensor
    third: list[Tensor]


class _Case(NamedTuple):
    """What one experiment is made of."""

    first: Tensor  # E_1 [D_1, K], where training starts
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
) -> Curves:
    """Run the experiment for each cardinality of the third field and each seed.

    One seed gives the same E_1, E_2, labels and uniform draws for every D_3, so that curves of one
    seed can be compared in pairs.

    Args:
        third: D_3, one or several.
        width: K; not stated in the paper.
        seeds: of the draws.
        iterations: steps of gradient descent.
        every: how many steps lie between two measurements of IA.
        first, second: D_1 and D_2.
        learning_rate: of the mean loss over the `D_1 * D_2` pairs.
        loss: "logistic", of labels 0 and 1, or "squared", `(h - y)^2`; not stated in the paper.

    Returns:
        see `Curves`; C is 1 for a single number.

    Raises:
        ParameterError: a value of the wrong type or out of range.
    """
    thirds = [third] if isinstance(third, int) else list(third)
    seeds = list(seeds)
    check_whole("the number of third cardinalities", len(thirds), least=1)
    check_whole("the number of seeds", len(seeds), least=1)
    for each in thirds:
        check_whole("third", each, least=1)
    for each in seeds:
        check_whole("seed", each, least=0, most=2**63 - 1)
    sizes = {"width": width, "iterations": iterations, "every": every, "first": first,
             "second": second}  # fmt: skip
    for name, value in sizes.items():
        check_whole(name, value, least=1)
    check_number("learning_rate", learning_rate, 0)
    check_choice("loss", loss, LOSSES)

    cases = [_draw(first, second, size, width, seed) for size in thirds for seed in seeds]
    steps = sorted({*range(0, iterations, every), iterations})
    abundance, after = [], []
    for group in _in_groups(cases, TOGETHER):
        curve = []
        for table in _descend(group, steps, learning_rate, LOSSES[loss]):
            curve.append(information_abundance(singular_values(table)))
        abundance.append(torch.stack(curve, -1))
        after.append(table)
    grid = (len(thirds), len(seeds))
    return Curves(
        steps=torch.tensor(steps),
        abundance=torch.cat(abundance).unflatten(0, grid),
        before=torch.stack([case.first for case in cases]).unflatten(0, grid),
        after=torch.cat(after).unflatten(0, grid),
        third=[torch.stack([case.third for case in of]) for of in _in_groups(cases, len(seeds))],
    )


def _in_groups(cases: Sequence[_Case], size: int) -> list[Sequence[_Case]]:
    return [cases[start : start + size] for start in range(0, len(cases), size)]


def _draw(first: int, second: int, third: int, width: int, seed: int) -> _Case:
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn(first, width, generator=generator)
    two = torch.randn(second, width, generator=generator)
    labels = torch.randint(2, (first, second), generator=generator)
    # float64 below 1, so the product stays below `third`
    uniform = torch.rand(first, second, generator=generator, dtype=torch.float64)
    three = torch.randn(third, width, generator=generator)  # last: the rest is alike for all D_3
    return _Case(one, two, three, (uniform * third).long(), labels.float())


def _descend(
    cases: Sequence[_Case],
    steps: Sequence[int],
    learning_rate: float,
    slope: Callable[[Tensor, Tensor], Tensor],
) -> Iterator[Tensor]:
    """E_1 of all cases, `[G, D_1, K]`, at each of the steps (0 first); the tensor is reused.

    No automatic differentiation: with residuals `r = dl/dh` of all pairs as a D_1 x D_2 matrix R,
    and their sums C over the pairs of each (x_1, x_3), `dL/dE_1 = (R E_2 + C E_3) / (D_1 D_2)`.
    """
    one = torch.stack([case.first for case in cases])
    two = torch.stack([case.second for case in cases])
    labels = torch.stack([case.labels for case in cases])
    context = torch.stack([case.context for case in cases])
    most = max(len(case.third) for case in cases)  # rows of padding that no pair refers to
    three = one.new_zeros(len(cases), most, one.shape[-1])
    for row, case in enumerate(cases):
        three[row, : len(case.third)] = case.third
    constant = (three @ two.mT).gather(1, context)  # e_2^T e_3 of every pair, [G, D_1, D_2]
    sums = one.new_zeros(*one.shape[:2], most)
    rate = learning_rate / labels[0].numel()

    yield one
    for begin, end in zip(steps, steps[1:], strict=False):
        for _ in range(begin, end):
            logits = torch.baddbmm(constant, one, two.mT)
            logits += torch.bmm(one, three.mT).gather(2, context)
            residuals = slope(logits, labels)
            sums.zero_().scatter_add_(2, context, residuals)
            one.baddbmm_(residuals, two, alpha=-rate).baddbmm_(sums, three, alpha=-rate)
        yield one
