"""How far rounding can carry two computations of the same thing apart.

Through a model, forwards and backwards, nobody can say beforehand: there it is measured, by how far
a result moves when weights, and what goes into products, move by a rounding (`nudged`,
`NudgedProducts`, `Apart`, `outside`). Through a step of Adam it can be derived, entry by entry
(`widened`, `beyond`).
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from embedding_collapse.lab.models import Recommender

from .products import PRODUCTS

UNITS = {None: 2**-24, "tf32": 2**-11, "bf16": 2**-9}  # a product's rounding, relative, at most
REORDERED = 2**-17  # a float32 sum of 2^14 terms in another order: that root of roundings
FACTOR = 8  # how many times as far as the farthest nudge two sides may be; 2.6 times was seen
ROUNDINGS = 16  # of an entry in a step of Adam: up to eight on either side
TINY = 2**-62  # moments below it vanish beside Adam's eps, and their squares may underflow


# --- measured -------------------------------------------------------------------------------------


class Apart:
    """How far results were from others of the same names, at most.

    Of a difference: its largest entry; its norm; and its part along the other result, where chance
    averages out and a wrong scale or sign does not.

    Attributes:
        most: `[3]` by name.
        sizes: the same of the others themselves.
        counts: their entries, by name.
    """

    def __init__(self) -> None:
        self.most: dict[str, Tensor] = {}
        self.sizes: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, ones: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
        """Results by name, and others."""
        for name, other in others.items():
            other = other.double()
            self.counts[name] = other.numel()
            change = ones[name].to(other) - other
            norm = torch.linalg.vector_norm(other)
            along = (change * other).sum().abs() / norm if norm else norm
            for kept, values, last in ((self.most, change, along), (self.sizes, other, norm)):
                here = torch.stack([values.abs().max(), torch.linalg.vector_norm(values), last])
                kept[name] = torch.maximum(here.cpu(), kept.get(name, here.cpu()))


def outside(sides: Apart, nudges: Apart, unit: float) -> str | None:
    """The first result that is further apart than nudges explain, in words.

    A result that nudges move by half of itself is rounding alone, as the gradient of a bias is
    before batch norm, which hides it. There an order of magnitude has to do: compiled code was seen
    to be ten times as far as the farthest nudge. The part along itself is one number, which a few
    nudges may all leave small: by chance it is the norm over the root of the number of entries.

    Args:
        sides: how far two of them are apart.
        nudges: of one side, as it is and nudged.
        unit: of a rounding, relative: results that nudges leave alone may still be one apart.
    """
    for name, apart in sides.most.items():
        size = sides.sizes[name]
        explained = nudges.most[name] + unit * size
        explained[2] = explained[2].maximum(explained[1] / math.sqrt(sides.counts[name]))
        explained *= torch.where(explained > size / 2, FACTOR**2, FACTOR)
        agreed = (apart <= explained) | ~size.isfinite()
        for place, kind in enumerate(("at most", "in norm", "along itself")):
            if not agreed[place]:
                return disagreement(f"{name} {kind}", apart[place], explained[place])
    return None


def disagreement(name: str, apart: Tensor, explained: Tensor) -> str:
    """What is said of a disagreement."""
    return f"{name} is off by {apart:.1e}, rounding explains {explained:.1e}"


@contextlib.contextmanager
def nudged(model: Recommender, rows: Tensor, unit: float, seed: int) -> Iterator[None]:
    """Every weight moved by that much of itself, up or down by chance; of the table, those rows."""
    table = model.table.detach()
    dense = [p.detach() for p in model.parameters() if p is not model.table]
    generator = torch.Generator(rows.device).manual_seed(seed)
    looked_up, kept = table[rows], [p.clone() for p in dense]
    table[rows] = moved(looked_up, unit, generator)
    for p in dense:
        p.copy_(moved(p, unit, generator))
    try:
        yield
    finally:
        table[rows] = looked_up
        for p, value in zip(dense, kept, strict=True):
            p.copy_(value)


class NudgedProducts(TorchDispatchMode):
    """While it is entered, what goes into a product of matrices is moved by that much of itself.

    Args:
        unit: how much.
        generator: says what moves up and what down; None moves all down, as a unit does that cuts
            digits off.
    """

    def __init__(self, unit: float, generator: torch.Generator | None) -> None:
        super().__init__()
        self.unit, self.generator = unit, generator

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        if operation.overloadpacket in PRODUCTS:
            *before, one, other = arguments
            two = (moved(values, self.unit, self.generator) for values in (one, other))
            arguments = (*before, *two)
        return operation(*arguments, **(options or {}))


def moved(values: Tensor, unit: float, generator: torch.Generator | None) -> Tensor:
    """Values moved by that much of themselves: up or down by chance, or all down."""
    exact = values.to(torch.promote_types(values.dtype, torch.float32))
    down = exact * (1 - unit)
    if generator is not None:
        up = torch.randint(0, 2, values.shape, generator=generator, device=values.device).bool()
        down = down.where(~up, exact * (1 + unit))
    return down.to(values.dtype)


# --- derived --------------------------------------------------------------------------------------


def widened(
    bounds: Sequence[Tensor],
    parts: Sequence[Tensor],
    off: Tensor | float,
    steps: int,
    group: Mapping[str, Any],
) -> list[Tensor]:
    """Bounds of what two computations of Adam's steps are apart, after one more step.

    With m, v Adam's moments, r = sqrt(v), g the gradient, and d m the difference of two m:

    - m is linear in g. r is the norm of (sqrt(beta2) r, sqrt(1 - beta2) g): it moves by no more
      than they do.
    - For q = m' / (r' + eps), corrected for bias, q2 - q1 is (d m' - q1 d r') / (r2' + eps).
    - m and (1 - beta1) g, whose sums round, are no larger than `most` times r, by Cauchy and
      Schwarz; so no step is longer than `most` times the learning rate.

    Args:
        bounds: of weights, m and r, before the step; zeros at first.
        parts: weights, m and v of one side, after it.
        off: what the two gradients are apart at most.
        steps: how many have been taken, this one included.
        group: of the optimizer: lr, betas, eps, weight_decay.
    """
    of_w, of_m, of_r = bounds
    w, m, v = parts
    r, (beta1, beta2) = v.sqrt(), group["betas"]
    unit = ROUNDINGS * torch.finfo(w.dtype).eps / 2
    most = (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))
    first, second = 1 - beta1**steps, math.sqrt(1 - beta2**steps)
    off = off + group["weight_decay"] * of_w
    of_m = beta1 * of_m + (1 - beta1) * off + unit * 2 * most * r + TINY
    of_r = math.sqrt(beta2) * of_r + math.sqrt(1 - beta2) * off + unit * r + TINY
    q = (m / first).abs() / (r / second + group["eps"])
    of_q = (of_m / first + q * of_r / second) / ((r - of_r).clamp(min=0) / second + group["eps"])
    of_w = of_w + group["lr"] * of_q.clamp(max=2 * most) + unit * (w.abs() + group["lr"] * q)
    return [of_w, of_m, of_r]


def beyond(ones: Tensor, others: Tensor, bound: Tensor, name: str) -> str | None:
    """Where two sides are further apart than the bound, in words; the others where finite."""
    apart = (ones - others).abs()
    agreed = (apart <= bound) | ~others.isfinite()
    if agreed.all():
        return None
    worst = (apart / bound).nan_to_num(math.inf).where(~agreed, 0).argmax()
    return disagreement(name, apart.flatten()[worst], bound.flatten()[worst])
