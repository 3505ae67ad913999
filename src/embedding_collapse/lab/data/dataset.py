"""A dataset is integer ids and a label; everything downstream starts here."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from embedding_collapse.parameters import ParameterError

from .codebook import Codebook
from .spec import DataSpec
from .vocabulary import RARE

SPLIT_SEED = 0
SPLIT_SHARES = (0.8, 0.1, 0.1)
SHARES = ("train", "validation", "test")


@dataclass(frozen=True)
class Field:
    """One categorical field.

    Attributes:
        name: of the column.
        cardinality: how many ids there are, the rare bucket (id 0) included.
        values: strings `[cardinality - 1]`, what the ids from 1 up stand for; None where ids have
            no meaning (drawn data).
    """

    name: str
    cardinality: int
    values: pa.Array | None = field(default=None, repr=False, compare=False)

    def decode(self, number: int) -> str | None:
        """What an id stands for: the value as the data held it, "" for a blank.

        An integer that was binned is told as the whole numbers of its bin ("10 to 11"), any other
        number as the bin's least and greatest.

        Returns:
            None for the rare bucket, which stands for many values.

        Raises:
            ParameterError: an id that the field does not have.
            LookupError: the field's ids have no meaning.
        """
        if not 0 <= number < self.cardinality:
            raise ParameterError(
                f"id is {number!r}; field {self.name!r} has 0 to {self.cardinality - 1}"
            )
        if number == RARE:
            return None
        if self.values is None:
            raise LookupError(f"field {self.name!r} was drawn: its ids stand for nothing else")
        return self.values[int(number) - 1].as_py()


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
        notes: sentences about what reading the data brought up: rows rejected, columns guessed.
        spec: what it was loaded by; None for one that was made by hand.
        held_out: validation and test rows, of rows that lie as train, validation, test; None for
            the paper's split, which is random.
        order: int64 `[rows]`, row numbers in the order in which they train, validate and test; None
            where `held_out` or the paper's split says it. Test rows have to be in random order in
            either, see `metrics.grouped`.
        truth: float64 `[test rows]`, the probability that the label is 1, in the order of the
            split's test rows; None where nobody knows it.
        codebook: what gives other rows ids; None of data that were not read from a table.

    Raises:
        ParameterError: shapes that do not fit together, an id outside its field, a label other than
            0 or 1, one class only, or a truth that is no probability; the message names the field
            and the value.
    """

    name: str
    ids: np.ndarray
    labels: np.ndarray
    fields: tuple[Field, ...]
    fingerprint: str
    facts: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    spec: DataSpec | None = None
    held_out: tuple[int, int] | None = None
    order: np.ndarray | None = None
    truth: np.ndarray | None = None
    codebook: Codebook | None = None

    def __post_init__(self) -> None:
        if self.ids.ndim != 2:
            raise ParameterError(
                f"{self.name}: ids of shape {self.ids.shape}; rows by fields are needed"
            )
        rows, columns = self.ids.shape
        if self.ids.dtype != np.int32 or self.labels.dtype != np.uint8:
            raise ParameterError(
                f"{self.name}: ids are {self.ids.dtype} and labels {self.labels.dtype}; "
                "int32 and uint8 are needed"
            )
        if columns != len(self.fields) or self.labels.shape != (rows,):
            raise ParameterError(
                f"{self.name}: ids of shape {self.ids.shape} and labels of shape "
                f"{self.labels.shape} do not fit {len(self.fields)} fields"
            )
        for share, size in zip(SHARES, self.split_sizes, strict=True):
            if size <= 0:
                needed = "10 are needed" if self.held_out is None else f"held out {self.held_out}"
                raise ParameterError(
                    f"{self.name}: {rows} rows leave the {share} split empty; {needed}"
                )
        if self.truth is not None:
            self._check_truth(self.truth)
        lowest, highest = self.ids.min(axis=0), self.ids.max(axis=0)
        for column, low, high in zip(self.fields, lowest, highest, strict=True):
            if low < 0 or high >= column.cardinality:
                bad = low if low < 0 else high
                raise ParameterError(
                    f"{self.name}: field {column.name!r} holds id {bad}; "
                    f"0 to {column.cardinality - 1} are accepted"
                )
        if (label := self.labels.max()) > 1:
            raise ParameterError(f"{self.name}: label {label} found; 0 and 1 are accepted")
        for share, rows in zip(SHARES, self.split, strict=True):
            counts = np.bincount(self.labels[rows.numpy()], minlength=2)
            if counts.min() == 0:
                raise ParameterError(
                    f"{self.name}: every label of the {share} split is {counts.argmax()}; "
                    "both classes are needed"
                )

    def _check_truth(self, truth: np.ndarray) -> None:
        if truth.dtype != np.float64 or truth.shape != (self.split_sizes[2],):
            raise ParameterError(
                f"{self.name}: truth is {truth.dtype} of shape {truth.shape}; float64 of "
                f"shape {(self.split_sizes[2],)} is needed"
            )
        outside = ~((truth >= 0) & (truth <= 1))
        if outside.any():
            raise ParameterError(
                f"{self.name}: truth holds {truth[outside][0]}; probabilities are needed"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def cardinalities(self) -> list[int]:
        """Ids per field, the rare bucket included; their sum is D, the rows of the joint table."""
        return [column.cardinality for column in self.fields]

    @cached_property
    def training_counts(self) -> torch.Tensor:
        """int64 `[D]`: how often each feature occurs in the training rows, field after field."""
        rows = self.split[0].numpy()
        counts = [
            np.bincount(self.ids[rows, i], minlength=cardinality)
            for i, cardinality in enumerate(self.cardinalities)
        ]
        return torch.from_numpy(np.concatenate(counts))

    @property
    def split_sizes(self) -> tuple[int, int, int]:
        if self.held_out is None:
            return split_sizes(len(self))
        return len(self) - sum(self.held_out), *self.held_out

    @cached_property
    def split(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Row numbers (int64) of train, validation and test.

        In their order if they have one, or else as they lie if rows are held out; without either
        8:1:1 at random, as in the paper.
        """
        if self.order is not None:
            return torch.from_numpy(self.order).split(self.split_sizes)
        if self.held_out is None:
            return split_rows(len(self))
        return torch.arange(len(self)).split(self.split_sizes)


def split_sizes(rows: int) -> tuple[int, int, int]:
    """How many of the rows train, validate and test."""
    train, valid = int(rows * SPLIT_SHARES[0]), int(rows * SPLIT_SHARES[1])
    return train, valid, rows - train - valid


def split_rows(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row numbers (int64) of train, validation and test: the paper's split of so many rows."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return order.split(split_sizes(rows))
