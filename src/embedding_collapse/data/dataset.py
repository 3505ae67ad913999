"""A dataset is integer ids and a label; everything downstream starts here."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

SPLIT_SEED = 0
SPLIT_SHARES = (0.8, 0.1, 0.1)
SHARES = ("train", "validation", "test")


@dataclass(frozen=True)
class Field:
    """One categorical field: its name and how many ids it has, the rare bucket (id 0) included."""

    name: str
    cardinality: int


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of categorical ids with a binary label.

    Attributes:
        name: what `load` was asked for.
        ids: int32 `[rows, N]`; column i holds ids of field i, `0 <= id < fields[i].cardinality`.
            Id 0 is the field's rare bucket. May be a memory map.
        labels: uint8 `[rows]`, 0 or 1.
        fields: the N fields, in the order of the columns.
        fingerprint: hash of whatever determined the content.
        facts: what is known of the data beyond its ids (the generator's best possible AUC, say).

    Raises:
        ValueError: shapes that do not fit together, an id outside its field, a label other than
            0 or 1, or one class only; the message names the field and the value.
    """

    name: str
    ids: np.ndarray
    labels: np.ndarray
    fields: tuple[Field, ...]
    fingerprint: str
    facts: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows, columns = self.ids.shape
        if self.ids.dtype != np.int32 or self.labels.dtype != np.uint8:
            raise ValueError(
                f"{self.name}: ids are {self.ids.dtype} and labels {self.labels.dtype}; "
                "int32 and uint8 are needed"
            )
        if columns != len(self.fields) or self.labels.shape != (rows,):
            raise ValueError(
                f"{self.name}: ids of shape {self.ids.shape} and labels of shape "
                f"{self.labels.shape} do not fit {len(self.fields)} fields"
            )
        for share, size in zip(SHARES, self.split_sizes, strict=True):
            if size == 0:
                raise ValueError(
                    f"{self.name}: {rows} rows leave the {share} split empty; 10 are needed"
                )
        lowest, highest = self.ids.min(axis=0), self.ids.max(axis=0)
        for column, low, high in zip(self.fields, lowest, highest, strict=True):
            if low < 0 or high >= column.cardinality:
                bad = low if low < 0 else high
                raise ValueError(
                    f"{self.name}: field {column.name!r} holds id {bad}; "
                    f"0 to {column.cardinality - 1} are accepted"
                )
        counts = np.bincount(self.labels, minlength=2)
        if len(counts) > 2:
            raise ValueError(f"{self.name}: label {self.labels.max()} found; 0 and 1 are accepted")
        for share, rows in zip(SHARES, self.split, strict=True):
            counts = np.bincount(self.labels[rows], minlength=2)
            if counts.min() == 0:
                raise ValueError(
                    f"{self.name}: every label of the {share} split is {counts.argmax()}; "
                    "both classes are needed"
                )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def cardinalities(self) -> list[int]:
        """Ids per field, the rare bucket included; their sum is D, the rows of the joint table."""
        return [column.cardinality for column in self.fields]

    @property
    def offsets(self) -> torch.Tensor:
        """int32 `[N]`: where each field starts in the joint table of D rows."""
        return torch.tensor([0, *self.cardinalities[:-1]], dtype=torch.int64).cumsum(0).int()

    @property
    def split_sizes(self) -> tuple[int, int, int]:
        rows = len(self.labels)
        train, valid = int(rows * SPLIT_SHARES[0]), int(rows * SPLIT_SHARES[1])
        return train, valid, rows - train - valid

    @cached_property
    def split(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Row numbers (int64) of train, validation and test: 8:1:1 at random, as in the paper."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(SPLIT_SEED))
        return order.split(self.split_sizes)
