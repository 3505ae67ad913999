"""How far rounding can carry two computations of the same thing apart.

Through a model, forwards and backwards, nobody can say beforehand: there it is measured, by how far
a result moves when every weight moves by a rounding (`nudged`, `Apart`, `outside`). Through a step
of Adam it can be derived, entry by entry (`widened`, `beyond`).
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

UNITS = {None: 2**-24, "tf32": 2**-11, "bf16": 2**-9}  # a product's rounding, relative, at most
REORDERED = 2**-20  # a float32 sum in another order, relative
FACTOR = 8  # how many times as far as the farthest nudge two sides may be
ROUNDINGS = 16  # of an entry in a step of Adam: up to eight on either side
TINY = 2**-62  # moments below it vanish beside Adam's eps, and their squares may underflow


# --- measured -------------------------------------------------------------------------------------


class Apart:
    """How far results were apart at most: by name, the largest entry and the norm of a difference."""

    def __init__(self) -> None:
        self.most: dict[str, Tensor] = {}

    def add(self, ones: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
        """Results by name, and others of the same names."""
        for name, other in others.items():
            here = size_of(ones[name].to(other) - other)
            self.most[name] = torch.maximum(here, self.most.get(name, here))


def size_of(values: Tensor) -> Tensor:
    """Largest entry and norm, `[2]`."""
    values = values if values.is_floating_point() else values.double()
    orders = (math.inf, 2)
    return torch.stack(
        [torch.linalg.vector_norm(values, order, dtype=torch.float64).cpu() for order in orders]
    )


def outside(
    found: Apart, nudges: Apart, sizes: Mapping[str, Tensor], rounding: float
) -> str | None:
    """The first result that is further apart than nudges explain, in words.

    Args:
        found: of two sides.
        nudges: of one side, as it is and nudged.
        sizes: of that side's results, see `size_of`.
        rounding: relative, of what results are stored in.
    """
    for name, apart in found.most.items():
        allowed = FACTOR * (nudges.most[name] + rounding * sizes[name])
        if not (apart <= allowed).all():
            return f"{name} is off by {apart[0]:.1e}, rounding explains {allowed[0]:.1e}"
    return None


@contextlib.contextmanager
def nudged(model: nn.Module, rows: Tensor, unit: float, seed: int) -> Iterator[None]:
    """Every weight moved by that much of itself, up or down by chance; of the table, those rows."""
    table = model.table.detach()
    dense = [p.detach() for p in model.parameters() if p is not model.table]
    generator = torch.Generator(rows.device).manual_seed(seed)

    def nudge(values: Tensor) -> Tensor:
        up = torch.randint(0, 2, values.shape, generator=generator, device=values.device).bool()
        return torch.where(up, values * (1 + unit), values * (1 - unit))

    looked_up, kept = table[rows], [p.clone() for p in dense]
    table[rows] = nudge(looked_up)
    for p in dense:
        p.copy_(nudge(p))
    try:
        yield
    finally:
        table[rows] = looked_up
        for p, value in zip(dense, kept, strict=True):
            p.copy_(value)


# --- derived --------------------------------------------------------------------------------------


def widened(
    bounds: Sequence[Tensor], parts: Sequence[Tensor], off: Tensor | float, steps: int,
    group: Mapping[str, Any],
) -> list[Tensor]:  # fmt: skip
    """Bounds of what two computations of Adam's steps are apart, after one more step.

    With m, v Adam's moments, r = sqrt(v), g the gradient, and a difference d between two m:

    - m is linear in g. r is a norm of (sqrt(beta2) r, sqrt(1 - beta2) g), so it moves by no more than
      they do.
    - For q = m' / (r' + eps), corrected for bias: q2 - q1 = (d m' - q1 d r') / (r2' + eps), exactly.
    - All that rounds is no larger than `most` times r: by Cauchy and Schwarz, of m as of
      (1 - beta1) g. And a step is no longer than `most` times the learning rate.

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
    """Where two sides are further apart than the bound, in words."""
    apart = (ones - others).abs()
    if (apart <= bound).all():
        return None
    worst = (apart / bound).nan_to_num(math.inf).argmax()
    return (
        f"{name} is off by {apart.flatten()[worst]:.1e}, "
        f"rounding explains {bound.flatten()[worst]:.1e}"
    )
