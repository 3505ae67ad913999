"""A study is a named list of runs and the question that they answer."""

import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from embedding_collapse.files import DamagedError
from embedding_collapse.lab import records
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec
from embedding_collapse.parameters import ParameterError, check_choice


class Part(NamedTuple):
    """Some runs of a study, and the question that they answer.

    Attributes:
        name: of the part.
        question: what these runs are to decide.
        specs: the runs, in their order.
    """

    name: str
    question: str
    specs: Sequence[Spec]


@dataclass(frozen=True)
class Study:
    """A question, and the runs that are to answer it, in the order in which they are made.

    Attributes:
        name: of the study, and of its folder in `results/`.
        question: what it is to decide.
        readers: the notebooks that show what came of it, by the names of their files.
        parts: what it consists of; a run may belong to several.
    """

    name: str
    question: str
    readers: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def specs(self) -> list[Spec]:
        """Every run once; an ensemble's members come before it."""
        return with_members(self.parts)

    @property
    def command(self) -> str:
        """What makes the runs that are missing."""
        return f"python -m embedding_collapse study {self.name}"

    @property
    def folder(self) -> Path:
        """Where the repository keeps its records.

        Raises:
            ParameterError: the package runs without the repository.
        """
        return records.in_repository("results") / self.name

    def part(self, name: str) -> Part:
        """The part of that name.

        Raises:
            ParameterError: there is none.
        """
        by_name = {part.name: part for part in self.parts}
        check_choice("part", name, by_name)
        return by_name[name]

    def records(self, folder: Path | None = None, *, missing_ok: bool = False) -> list[Record]:
        """The records of all runs, in their order.

        Args:
            folder: where they lie; by default where the repository keeps them.
            missing_ok: leave out the runs that have none.

        Raises:
            ParameterError: runs without a whole record, unless that is allowed; the message says
                how many, the first, and what makes them. Or no folder is given, and the package
                runs without the repository.

        Warns:
            UserWarning: a damaged record, which is left out.
        """
        folder = folder or self.folder
        loaded, missing = [], []
        for spec in self.specs:
            try:
                loaded.append(records.load(records.path_of(folder, spec.key)))
            except FileNotFoundError:
                missing.append(f"{title(spec)} ({spec.key})")
            except DamagedError as error:
                missing.append(str(error))
                if missing_ok:
                    warnings.warn(f"left out: {error}", stacklevel=2)
        if missing and not missing_ok:
            raise ParameterError(
                f"{len(missing)} of {len(self.specs)} runs of the study {self.name} have no whole "
                f"record in {folder}, first {missing[0]}; `{self.command}` makes them"
            )
        return loaded

    def unmade_members(self, folder: Path, asked: Collection[Spec]) -> set[Spec]:
        """The runs whose weights an ensemble without a record needs; of those that have a record
        themselves, which would be trained again, only where that ensemble is asked for."""
        recorded = {spec for spec in self.specs if records.find(folder, spec.key) is not None}
        return {
            run
            for spec in self.specs
            if spec not in recorded
            for run in spec.runs
            if spec in asked or run not in recorded
        }


def with_members(parts: Iterable[Part]) -> list[Spec]:
    """Every run of the parts once, in their order; an ensemble's members come before it."""
    ordered: dict[str, Spec] = {}
    for part in parts:
        for spec in part.specs:
            for one in (*spec.runs, spec):
                ordered.setdefault(one.key, one)
    return list(ordered.values())


def title(spec: Spec) -> str:
    """A run in a few words."""
    return f"{spec.data.name}, {spec.model} {spec.label}, seed {spec.seed}"
