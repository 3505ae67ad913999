"""A bottleneck to hold: the spectrum of what two fields make of each other, one being narrowed."""

from typing import NamedTuple

import plotly.graph_objects as go
import torch
from torch import Tensor

from embedding_collapse.book.plots.style import AMBER, PINK, SKY
from embedding_collapse.decomposition import singular_values
from embedding_collapse.spectrum import information_abundance

from .training import LiveFigure

ROWS = 100  # of either table
START = {"rank": 3, "rest": 0, "width": 10, "seed": 0}
NAMES = ("E₁, free", "E₂, held", "E₁E₂ᵀ, every pair")
COLOURS = (SKY, PINK, AMBER)


class Product(NamedTuple):
    """Singular values, each float64 `[K]`, descending.

    Attributes:
        one, two: of E_1, and of E_2 as it is held.
        before: of E_2 as it was drawn.
        both: of `E_1 E_2^T`.
        bound: what none of these exceeds, `sigma_1(E_1) sigma_k(E_2)`.
    """

    one: Tensor
    two: Tensor
    before: Tensor
    both: Tensor
    bound: Tensor


def product(width: int, rank: int, rest: float, seed: int) -> Product:
    """Two tables of normal numbers; directions of the second beyond `rank` are scaled by `rest`."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(ROWS, width, generator=generator).double() for _ in range(2))
    left, before, right = torch.linalg.svd(second, full_matrices=False)
    held = before.clone()
    held[rank:] *= rest
    of_first = singular_values(first)
    both = torch.linalg.svdvals(first @ ((left * held) @ right).T)[:width]
    return Product(of_first, held, before, both, of_first[0] * held)


def end() -> tuple[go.Figure, list[list[list[str]]]]:
    """The three spectra at the start, each over its largest, and a table."""
    spectra = product(**START)
    shown = [spectra.one, spectra.two, spectra.both]
    figure = go.Figure()
    places = [str(k + 1) for k in range(START["width"])]
    for number, (name, values, colour) in enumerate(zip(NAMES, shown, COLOURS, strict=True), 1):
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        heights = (values / values[0]).round(decimals=3).tolist()
        figure.add_bar(x=places, y=heights, marker={"color": colour}, name=name, **axes)
        first = (number - 1) / 3
        figure.layout[f"xaxis{number}"] = {"domain": [first, first + 0.28]}
        figure.layout[f"yaxis{number}"] = {"range": [0, 1.05]}
    rows = [
        [
            name,
            str(int((values > 1e-6 * values[0]).sum())),
            f"{information_abundance(values):.2f}",
            f"{values[0]:.1f}",
            f"{values[-1]:.1f}",
        ]
        for name, values in zip(NAMES, shown, strict=True)
    ]
    return figure, [[["", "rank", "IA", "largest singular value", "smallest"], *rows]]


FIGURE = LiveFigure(
    name="bottleneck",
    title="A bottleneck to hold",
    hint="turn the rank of E₂ down, then let a little of the other directions through. How many of "
    "E₁'s ten directions take part in the product?",
    alt="Singular values of a table that is free, of one of rank three, and of their product",
    sliders={
        "rank": ("Rank of E₂", list(range(1, 11))),
        "rest": ("Of the rest remains", [0, 0.01, 0.03, 0.1, 0.3, 1]),
        "seed": ("Seed", list(range(10))),
    },
    start={name: START[name] for name in ("rank", "rest", "seed")},
    end=end,
    content={"colours": COLOURS, "width": START["width"]},
)
