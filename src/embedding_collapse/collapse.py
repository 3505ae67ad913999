"""Has this table collapsed? Its measures; the verdict on them is `verdict`'s."""

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .decomposition import BLOCK_ROWS, singular_values, spectra
from .parameters import ParameterError
from .spectrum import (
    directions,
    effective_rank,
    information_abundance,
    stable_rank,
    weighted_random_abundances,
)
from .untrained import untrained
from .verdict import (
    COLLAPSED_IS,
    MANY_UNTRAINED,
    MUCH_OFFSET,
    PARTLY_IS,
    UNMEASURED_IS,
    Collapse,
    advise,
    band,
    judged,
    random_of_shape,
    too_small,
)

WIDE = 1000  # columns, which a small field of a usual table does not have
MOST_SETS = 1000  # of one table: more are no embedding sets
LONGEST, MUCH_ENERGY = 1e-3, 0.2  # of the rows; of their energy, which so few should not have
MEASURES = {  # and their titles
    "abundance": "IA",
    "relative_abundance": "IA/K",
    "against_random": "IA/random",
    "effective_rank": "effective rank",
    "stable_rank": "stable rank",
    "directions_90": "90% energy",
    "directions_99": "99% energy",
}


def measure(
    table: Tensor | np.ndarray | nn.Embedding | nn.EmbeddingBag,
    weights: Tensor | np.ndarray | None = None,
    *,
    name: str = "table",
) -> Collapse:
    """Has this table collapsed? Measure it and judge it.

    Args:
        table: `[D, K]`, a row per feature, or a module with such; or `[D, M, K]`, M embedding sets
            side by side, which in a module are `[M, D, K]`, as those of a `MultiEmbedding` are.
        weights: `[D]`, how often each row is looked up, to measure with rows weighted too.
        name: of the table, in what is said of it.

    Returns:
        Its measures, verdict and what to try. A table that cannot be measured, such as one with
        an entry that is not finite, says why in `note`, and its verdict is "not measured".

    Raises:
        ParameterError: no array of two or three dimensions; weights of another length, or that are
            no weights.

    Example:
        >>> import torch, embedding_collapse
        >>> numbers = torch.Generator().manual_seed(0)
        >>> flat = torch.randn(5000, 4, generator=numbers) @ torch.randn(4, 64, generator=numbers)
        >>> table = flat + 0.1 * torch.randn(5000, 64, generator=numbers)
        >>> collapse = embedding_collapse.measure(table)
        >>> collapse.verdict, round(collapse.measures["against_random"], 2)
        ('collapsed', 0.08)
    """
    values = off_mps(as_tensor("table", table))
    if values.ndim not in (2, 3):
        raise ParameterError(
            f"table has shape {tuple(values.shape)}; [D, K] and [D, M, K] are accepted"
        )
    if values.ndim == 2:
        values = values.unsqueeze(0)
    elif not isinstance(table, nn.Module):
        values = values.transpose(0, 1)
    if weights is not None:
        weights = off_mps(as_tensor("weights", weights))
        if weights.is_complex():
            raise ParameterError(f"weights are of {weights.dtype}; real numbers are needed")
        weights = weights.double()  # of some whole numbers torch can't tell whether they are finite
    return inspect_table(values, weights, name=name)


def as_tensor(name: str, array: Any) -> Tensor:
    """A tensor, an array of numbers or an embedding as a tensor without a gradient; a view where
    one can be had.

    Raises:
        ParameterError: anything else, or a sparse tensor.
    """
    kind = type(array).__name__
    if isinstance(array, nn.Embedding | nn.EmbeddingBag):
        array = array.weight
    if isinstance(array, Tensor):
        if array.layout is torch.strided:
            return array.detach()
        layout = str(array.layout).removeprefix("torch.")
        raise ParameterError(f"{name} is a tensor of layout {layout}; dense ones are accepted")
    if isinstance(array, np.ndarray):
        kind = f"an array of {array.dtype}"
        native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
        with warnings.catch_warnings(), contextlib.suppress(TypeError):
            warnings.simplefilter("ignore", UserWarning)  # that it may be read-only: it is read
            return torch.from_numpy(native)
    raise ParameterError(f"{name} is {kind}; a torch tensor or a numpy array of numbers is needed")


def off_mps(tensor: Tensor) -> Tensor:
    """A tensor of an Apple GPU on the CPU, as there is no float64 there; any other as it is."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def inspect_table(
    values: Tensor, weights: Tensor | None = None, *, name: str, known_by: str = "", note: str = ""
) -> Collapse:
    """Measure a table and judge it; one that cannot be measured says why.

    Args:
        values: `[M, D, K]`, one slice per embedding set.
        weights: `[D]`, how often each row is looked up; None weighs them equally.
        name, known_by, note: of the table, see `inspection.tables.Table`.

    Raises:
        ParameterError: weights of another length, or that are no weights.
    """
    sets, rows, width = values.shape
    unmeasured = Collapse(name, rows, width, sets, "", UNMEASURED_IS, _MEND, known_by)
    if problem := _problem(values):
        return replace(unmeasured, note=problem)
    if width > max(rows, WIDE):
        turned = f"wider than long ({rows:,} x {width:,}): transpose it if a feature is a column"
        note = f"{note}; {turned}" if note else turned
    if weights is not None:
        check_weights(weights, rows, name)
    try:
        plain, centred, offset = (part.cpu() for part in spectra(values))
    except ValueError as error:
        return replace(unmeasured, note=str(error))
    random = random_of_shape(rows, width)
    plain = _padded(plain, width)
    per_set = [measures_of(spectrum, random) for spectrum in plain]
    without = random_of_shape(max(1, rows - 1), width)  # the mean taken off takes a dimension
    joined = None
    if sets > 1:
        whole = _padded(singular_values(values, side_by_side=True), sets * width)
        joined = measures_of(whole, random_of_shape(rows, sets * width))
    share, trained = _trained(values)
    found = judged(
        replace(
            unmeasured,
            note=note,
            spectra=plain,
            random=random,
            band=band(rows, width),
            measures=_mean(per_set),
            centred=_mean([measures_of(one, without) for one in _padded(centred, width)]),
            offset=offset.mean().item(),
            untrained=share,
            trained=trained,
            per_set=per_set,
            joined=joined,
            weighted=None if weights is None else _weighted(values, weights),
        )
    )
    if (
        found.verdict in (COLLAPSED_IS, PARTLY_IS)
        and weights is None
        and found.offset < MUCH_OFFSET
    ):
        found = replace(found, longest=_longest(values))
    return replace(found, advice=advise(found))


def measure_sets(
    values: Tensor, weights: Tensor | None = None, random: Tensor | None = None
) -> dict[str, float]:
    """`measures_of` the sets of a table `[M, D, K]`, their mean, and what its verdict goes by.

    That is `centred`, IA/random with the mean of the rows taken off; and where `weights` `[D]` say
    how often each row is looked up, `weighted`, the same with rows weighted; `random` is what
    `weighted_random_abundances` gives for them, drawn anew where it is None.

    Raises:
        ValueError: as `decomposition.spectra` does.
    """
    rows, width = values.shape[1:]
    plain, centred = (_padded(part.cpu(), width) for part in spectra(values)[:2])
    shaped = random_of_shape(rows, width)
    most = information_abundance(random_of_shape(max(1, rows - 1), width)).item()
    share = _share(information_abundance(centred).mean().item(), most)
    means = _mean([measures_of(spectrum, shaped) for spectrum in plain]) | {"centred": share}
    if weights is not None:
        means["weighted"] = _weighted(values, weights, random)["against_random"]
    return means


def measures_of(spectrum: Tensor, random: Tensor) -> dict[str, float]:
    """What a spectrum `[K]` says, beside that of a random table of the shape.

    Returns:
        By the names of `MEASURES`: `abundance`, `relative_abundance` (IA / K), `against_random`
        (IA over the random table's), `effective_rank`, `stable_rank`, and `directions_90` and
        `directions_99`: how many singular directions hold that share of the energy, the sum of
        squares.
    """
    abundance = information_abundance(spectrum).item()
    return {
        "abundance": abundance,
        "relative_abundance": abundance / len(spectrum),
        "against_random": _share(abundance, information_abundance(random).item()),
        "effective_rank": effective_rank(spectrum).item(),
        "stable_rank": stable_rank(spectrum).item(),
        "directions_90": float(directions(spectrum, 0.9)),
        "directions_99": float(directions(spectrum, 0.99)),
    }


def _trained(values: Tensor) -> tuple[float, float | None]:
    """The share of rows that lie as they were drawn, and what IA/random the others have alone."""
    share, others = untrained(values)
    if share < MANY_UNTRAINED:
        return share, None
    if others.shape[1] < 2 or too_small(*others.shape[1:]):
        return share, None
    return share, _centred_share(others, others.shape[1])


def _longest(values: Tensor) -> dict[str, float] | None:
    """What the longest rows hold, and IA/random without them; see `Collapse.longest`."""
    _, rows, width = values.shape
    starts = range(0, rows, BLOCK_ROWS)
    blocks = (values[:, start : start + BLOCK_ROWS].double() for start in starts)
    energy = torch.cat([block.square().sum((0, 2)).cpu() for block in blocks])
    longest = energy.topk(max(1, round(LONGEST * rows)))
    held = (longest.values.sum() / energy.sum()).item()
    count = len(longest.indices)
    if not held >= MUCH_ENERGY or too_small(rows - count, width):  # of zeros it is NaN
        return None
    weights = torch.ones(rows, dtype=torch.float64, device="cpu")
    weights[longest.indices] = 0
    return {
        "rows": float(count),
        "first": float(longest.indices[0]),
        "energy": held,
        "against_random": _centred_share(values, rows - count, weights),
    }


def _centred_share(values: Tensor, rows: int, weights: Tensor | None = None) -> float:
    """IA/random with the mean of the rows taken off, of which so many count."""
    width = values.shape[-1]
    centred = _padded(spectra(values, weights).centred.cpu(), width)
    random = information_abundance(random_of_shape(rows - 1, width)).item()
    return (information_abundance(centred) / random).mean().item()


_MEND = "Mend what the note says and inspect it again."


def _problem(values: Tensor) -> str:
    """Why a table cannot be measured, or ""."""
    sets, rows, width = values.shape
    if 0 in values.shape:
        return f"the table is empty ({rows} x {width})"
    if values.is_meta:
        return (
            "its entries cannot be read: it is sparse or a meta tensor, many of its entries share "
            "memory or a byte, or they are of a type that torch lacks or that the file does not "
            "name, as numpy's don't bfloat16; save it dense, as float32, to have it measured"
        )
    if sets > MOST_SETS:
        return f"{sets:,} sets of {rows:,} x {width:,}; up to {MOST_SETS:,} sets are measured"
    kind = str(values.dtype).removeprefix("torch.")
    if values.is_complex() or values.dtype is torch.bool:
        return f"numbers of type {kind}; real numbers have a spectrum here"
    if not values.is_floating_point():
        return (
            f"whole numbers ({kind}): quantised with scales that the file does not tie to them, "
            "so it was not de-quantised; save it as float to have it measured"
        )
    try:
        values[:1, :1, :1].double()
    except NotImplementedError:
        return f"numbers of type {kind}, which torch cannot turn into others"
    return ""


def check_weights(weights: Tensor, rows: int, name: str) -> None:
    """Raise a `ParameterError` if these cannot be the weights of so many rows of that table."""
    if weights.shape != (rows,):
        raise ParameterError(f"weights have shape {tuple(weights.shape)}; {name} has {rows:,} rows")
    if not weights.isfinite().all() or (weights < 0).any() or weights.sum() == 0:
        raise ParameterError(
            f"the weights of {name} must be finite, not negative, and not all zero"
        )


def _weighted(values: Tensor, weights: Tensor, random: Tensor | None = None) -> dict[str, float]:
    """The centred measures with rows weighted, against random tables with rows weighted alike.

    Their `rows` are Kish's effective number, (sum w)^2 / sum w^2: a table in which few rows are
    looked up has few.
    """
    width = values.shape[-1]
    random = weighted_random_abundances(weights, width) if random is None else random
    weights = weights.double() / weights.max()  # squares of large ones would overflow
    rows = (weights.sum().square() / weights.square().sum()).item()
    per_set = []
    for spectrum in _padded(spectra(values, weights).centred, width):
        measures = measures_of(spectrum, spectrum)
        measures["against_random"] = _share(measures["abundance"], random.mean().item())
        per_set.append(measures)
    return _mean(per_set) | {"rows": float(round(rows))}


def _share(abundance: float, random: float) -> float:
    """IA/random; 0 where no table has any, such as one of which a single row counts."""
    return abundance / random if random else 0.0


def _padded(spectra: Tensor, width: int) -> Tensor:
    return F.pad(spectra, (0, width - spectra.shape[-1]))


def _mean(per_set: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in per_set) / len(per_set) for name in per_set[0]}
