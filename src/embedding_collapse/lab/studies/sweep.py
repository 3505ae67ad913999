"""A grid of runs: every combination of models, sizes, seeds and datasets."""

from collections.abc import Sequence
from itertools import product
from typing import Any, get_args

from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.models import MODELS, PAPER
from embedding_collapse.lab.spec import Design, Spec
from embedding_collapse.parameters import ParameterError, check_choice, check_whole

BASE_SIZE = 10  # the paper's K, to which each model's own stands in a fixed proportion


def grid(
    *,
    datasets: Sequence[DataSpec],
    models: Sequence[str] = tuple(PAPER),
    designs: Sequence[Design] = ("se", "me"),
    scales: Sequence[int] = (1, 2, 3, 4, 10),
    seeds: Sequence[int] = (0, 1, 2),
    embedding_size: int | None = None,
    **parameters: Any,
) -> list[Spec]:
    """Every combination once; the defaults are the paper's grid. One seed after another, and for
    each, dataset by dataset, model by model.

    At scale 1, where SE and ME are one, there is one base run.

    Args:
        datasets: what to train on.
        models, designs, scales, seeds: see `spec.Spec`.
        embedding_size: K of the base model; models that the paper gives another K than 10 (NFwFM:
            50) get theirs in proportion.
        parameters: the rest of the specs.

    Raises:
        ParameterError: an empty list, or what `Spec` raises.
    """
    lists = {
        "datasets": datasets,
        "models": models,
        "designs": designs,
        "scales": scales,
        "seeds": seeds,
    }
    for name, values in lists.items():
        if not values:
            raise ParameterError(f"{name} is empty; at least one is needed")
    for design in designs:  # at scale 1 no spec would see it
        check_choice("design", design, get_args(Design))
    specs = {}
    for seed, dataset, model, scale, design in product(seeds, datasets, models, scales, designs):
        spec = Spec(
            data=dataset,
            model=model,
            design="se" if scale == 1 else design,
            scale=scale,
            seed=seed,
            embedding_size=in_proportion(model, embedding_size),
            **parameters,
        )
        specs[spec.key] = spec
    return list(specs.values())


def in_proportion(model: str, embedding_size: int | None) -> int | None:
    """A model's own embedding size where the others have that one: NFwFM's is five times it, as in
    the paper."""
    if embedding_size is None or model not in MODELS:
        return embedding_size
    check_whole("embedding_size", embedding_size, least=1)
    return embedding_size * MODELS[model].embedding_size // BASE_SIZE
