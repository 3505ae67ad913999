"""How large should an embedding be? The Johnson-Lindenstrauss argument, and an experiment.

A random linear map into K dimensions keeps all distances among D points to within a factor of
`1 ± eps` once K is large enough; it need not grow with the dimension that the points come from,
only with `ln D` (Johnson & Lindenstrauss 1984). The paper's talk sizes embeddings by the rule
`K >= 8 eps^-2 ln D`. All functions of numbers take NumPy arrays too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

Numbers = float | np.ndarray
DATA = Path(__file__).with_name("data")
BLOCK_BYTES = 64 << 20  # of pairwise distances held at a time
PRACTICE = (10, 100)  # dimensions of an embedding in recommendation, as the talk has them
VOCABULARY = (1e5, 1e9)  # features of a recommender, as the talk has them


def bound(points: Numbers, distortion: Numbers) -> Numbers:
    """The talk's rule: `8 eps^-2 ln D` dimensions; `least` is the least whole K that satisfies it.

    Args:
        points: D, from 2 up.
        distortion: eps, above 0 and below 1.
    """
    return 8 * np.log(points) / distortion**2


def least(points: Numbers, distortion: Numbers) -> Numbers:
    """The least whole K that satisfies the rule: what every table and every figure shows of it."""
    return np.ceil(bound(points, distortion)).astype(int)


def bound_distortion(points: Numbers, width: Numbers) -> Numbers:
    """The eps that the rule allows D points in K dimensions; above 1 it promises nothing."""
    return np.sqrt(8 * np.log(points) / width)


def bound_points(width: Numbers, distortion: Numbers) -> Numbers:
    """How many points the rule allows in K dimensions at that eps."""
    return np.exp(width * distortion**2 / 8)


def union_bound(points: Numbers, distortion: Numbers) -> Numbers:
    """What the proof asks for, distances taken as they are: `2 ln D / (eps^2 - eps^3 / 3)`.

    From there on the chance that any of the D (D - 1) / 2 distances is off by more than eps is
    below one, so that a map which keeps them all exists.
    """
    return 2 * np.log(points) / (distortion**2 - distortion**3 / 3)


class Distortion(NamedTuple):
    """What random projections do to the distances among D points, a number per draw.

    Attributes:
        shortest, longest: the most that a distance shrinks and grows, new over old.
        typical: root mean square over pairs of (new over old - 1).
    """

    shortest: Tensor
    longest: Tensor
    typical: Tensor

    @property
    def worst(self) -> Tensor:
        """The least eps such that every distance is within `1 ± eps` of what it was."""
        return torch.maximum(1 - self.shortest, self.longest - 1)

    @property
    def worst_squared(self) -> Tensor:
        """The same of squared distances."""
        return torch.maximum(1 - self.shortest**2, self.longest**2 - 1)


def project(points: int, width: int, draws: int = 1, seed: int = 0) -> Distortion:
    """Project D points at random into K dimensions and measure all their distances.

    The points are the D unit vectors of R^D, one per feature ("one-hot"), each sqrt(2) from every
    other. Their images under a matrix of normal entries with variance 1 / K are its columns: a
    fresh embedding table is a random projection, and this draws one. A single distance of any
    other points would be distorted by the same law.

    The D (D - 1) / 2 distances are made a block at a time; the table is the largest thing in
    memory, D K numbers of four bytes.

    Args:
        points: D, from 2 up.
        width: K, from 1 up.
        draws: independent projections, from 1 up.
        seed: of all draws together.

    Returns:
        Three vectors `[draws]`, float64.
    """
    generator = torch.Generator().manual_seed(seed)
    distortions = [
        _distortion(torch.randn(points, width, generator=generator).div_(width**0.5))
        for _ in range(draws)
    ]
    return Distortion(*torch.tensor(distortions, dtype=torch.float64).T)


def _distortion(table: Tensor) -> tuple[float, float, float]:
    points = len(table)
    norms = table.square().sum(-1)
    rows = max(1, BLOCK_BYTES // (4 * points))
    shortest, longest, total = np.inf, 0.0, 0.0
    for start in range(0, points - 1, rows):
        # rows of this block against all that come after the block's first
        block, later = table[start : start + rows], table[start + 1 :]
        squares = norms[start : start + rows, None] + norms[start + 1 :] - 2 * block @ later.T
        ratios = (squares.clamp_(min=0) / 2).sqrt_()
        # row b meets column c where c >= b: start + 1 + c > start + b
        ratios = ratios[torch.ones_like(ratios, dtype=torch.bool).triu_()]
        shortest = min(shortest, ratios.min().item())
        longest = max(longest, ratios.max().item())
        total += (ratios - 1).square_().sum(dtype=torch.float64).item()
    return shortest, longest, (total / (points * (points - 1) / 2)) ** 0.5


def sweep(points: int, widths: Sequence[int], draws: int = 5, seed: int = 0) -> pd.DataFrame:
    """`project` for every K: the columns width, draw, worst and typical."""
    parts = []
    for width in widths:
        projected = project(points, width, draws, seed)
        parts.append(
            pd.DataFrame(
                {
                    "width": width,
                    "draw": range(draws),
                    "worst": projected.worst,
                    "typical": projected.typical,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def width_needed(widths: np.ndarray, distortion: np.ndarray, target: float) -> float:
    """The K at which a measured distortion comes down to `target`; NaN outside what was measured.

    Args:
        widths: `[n]`, ascending.
        distortion: `[n]`, falling with K, as `K^(-1/2)` or so: read off a line between logarithms.
        target: eps.
    """
    logs = np.log(distortion)[::-1]
    if not logs[0] <= np.log(target) <= logs[-1]:
        return float("nan")
    return float(np.exp(np.interp(np.log(target), logs, np.log(widths)[::-1])))


def looseness(measured: pd.DataFrame, points: int, distortions: Sequence[float]) -> pd.DataFrame:
    """How many dimensions the rule asks for, the proof, and the experiment, a row per eps.

    Args:
        measured: from `sweep`; the worst distortion, averaged over draws, is what counts.
        points: D of the sweep.
        distortions: the eps.

    Returns:
        The columns rule, proof, measured (NaN where the sweep's K don't reach that eps) and
        rule / measured.
    """
    worst = measured.groupby("width")["worst"].mean()
    rows = {
        eps: {
            "rule": least(points, eps),
            "proof": np.ceil(union_bound(points, eps)),
            "measured": width_needed(worst.index.to_numpy(), worst.to_numpy(), eps),
        }
        for eps in distortions
    }
    widths = pd.DataFrame.from_dict(rows, orient="index").rename_axis("eps")
    return widths.assign(**{"rule / measured": widths["rule"] / widths["measured"]})


def violations(
    points: int, distortions: Sequence[float], draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """In how many draws at the rule's K a distance, or its square, is off by more than eps.

    Returns:
        A row per eps, the columns K, distances and squared distances.
    """
    rows = {}
    for eps in distortions:
        width = int(least(points, eps))
        projected = project(points, width, draws, seed)
        rows[eps] = {
            "K": width,
            "distances": (projected.worst > eps).sum().item(),
            "squared distances": (projected.worst_squared > eps).sum().item(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("eps")


def criteo_fields() -> pd.DataFrame:
    """Criteo's 39 fields as the paper's talk shows them: field, embedding_dim and num_features."""
    return pd.read_csv(DATA / "criteo_fields.csv", comment="#")


def language_models() -> pd.DataFrame:
    """Language models by their published shape: model, tokens, width and source."""
    return pd.read_csv(DATA / "language_models.csv", comment="#")
