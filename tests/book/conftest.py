"""What the tests of several chapters need."""

from collections.abc import Callable, Iterator

import pytest
from chapters import Kernel

from embedding_collapse.lab.records import Record


@pytest.fixture(scope="session")
def kernel() -> Iterator[Kernel]:
    """For the tests of chapters, one after the other."""
    made = Kernel()
    yield made
    made.end()


@pytest.fixture
def by_size(make_record: Callable[..., Record]) -> list[Record]:
    """Three seeds of two models on two datasets, SE and ME at 1x, 4x and 10x."""
    return [
        make_record(
            design,
            scale,
            seed,
            model=model,
            dataset=dataset,
            auc=0.7 + scale / 100 + seed / 1000 + (design == "me") / 10,
            abundance=0.6 - scale / 50 + seed / 1000,
        )
        for dataset in ("synthetic", "synthetic-mini")
        for model in ("dnn", "dcnv2")
        for design, scale in (("se", 1), ("se", 4), ("se", 10), ("me", 4), ("me", 10))
        for seed in range(3)
    ]
