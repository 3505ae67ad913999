"""Records: everything that a figure needs to know of a run, one JSON file each."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embedding_collapse.files import DamagedError, load_folder, load_json, store_json
from embedding_collapse.parameters import ParameterError, at_home, count
from embedding_collapse.spectrum import information_abundance, normalised_abundance

from .environment import repository
from .metrics import Placements


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        key: hash of the spec, and the name of the record's file.
        spec: the run's parameters, as in `spec.Spec`.
        dataset: name, rows, fingerprint, field names and cardinalities, facts.
        parameters: how many the embedding, the interaction and the head hold.
        epochs: as in `checkpoint.Fit`.
        best_epoch: the one that was tested, counted from 0.
        test: `auc` and `log_loss` (nats per row); where the dataset's truth is known also
            `expected_auc` and `excess_log_loss`, see `metrics`.
        placements: `positive` and `negative`, a summary of the test rows' scores for paired tests;
            see `metrics.grouped`.
        spectra: `[N][M][K]` singular values per field and set, of the best epoch.
        joined_spectra: `[N][M*K]`, the sets of a field side by side as one table.
        diversity: `[N]`, see `subspace.diversity`; between the sets of ME, or between the blocks
            that SE's table is cut into, each as wide as the base model's. None at scale 1.
        projected_abundance: `[M][N][N]`, IA of field i's sub-embedding for field j, see
            `spectrum.projected_abundance` (and `partner_abundance`, for FFM); None for a model
            that has no sub-embeddings.
        projection_norms: `[M][N][N]`, `||W_{i->j}||_F` of the first cross layer; None where nothing
            is projected.
        speed: samples per second in training, evaluation left out; the epochs' median.
        peak_memory: bytes; see `device.peak_memory`.
        environment: device, hardware, processes and the threads of each, versions, git commit and
            time.
        centred_spectra: `[N][M][K]`, as `spectra`, the mean of a table's rows taken off each.
        weighted_spectra: `[N][M][K]`, rows weighted by how often they occur in training.
        weighted_random: `[N][K]`, that of random tables with such weights.
        weights: checksum of the file of weights beside the record; None where none was kept.
        engine: as in `checkpoint.Fit`.
    """

    key: str
    spec: dict[str, Any]
    dataset: dict[str, Any]
    parameters: dict[str, int]
    epochs: list[dict[str, Any]]
    best_epoch: int
    test: dict[str, float]
    placements: dict[str, list[float]]
    spectra: list[list[list[float]]]
    joined_spectra: list[list[float]]
    diversity: list[float] | None
    projected_abundance: list[list[list[float]]] | None
    projection_norms: list[list[list[float]]] | None
    speed: float
    peak_memory: int | None
    environment: dict[str, Any]
    centred_spectra: list[list[list[float]]]
    weighted_spectra: list[list[list[float]]]
    weighted_random: list[list[float]]
    weights: str | None
    engine: str

    @property
    def test_auc(self) -> float:
        """The expected AUC where the truth is known, else that of the labels."""
        return self.test.get("expected_auc", self.test["auc"])

    @property
    def label(self) -> str:
        """What the run is called beside others of its model: "base", "SE 4x", "ME 10x"."""
        ensemble = self.spec["members"], self.spec["average"]
        return design_label(self.spec["design"], self.spec["scale"], *ensemble)

    @property
    def still_rising(self) -> bool:
        """Whether the last epoch that was allowed had the best validation AUC, so that training had
        not ended by itself."""
        return bool(self.epochs) and self.best_epoch + 1 == self.spec["epochs"]

    @property
    def score_summary(self) -> Placements:
        """The placements, as `contrast.contrast` takes them."""
        return Placements(*(np.array(self.placements[part]) for part in Placements._fields))

    @property
    def abundance(self) -> Tensor:
        """IA of every field in every set, `[N, M]`."""
        return information_abundance(torch.tensor(self.spectra, dtype=torch.float64))

    @property
    def relative_abundance(self) -> Tensor:
        """IA / K of every field, the mean over its sets: `[N]`, 1 where nothing has collapsed."""
        return normalised_abundance(torch.tensor(self.spectra, dtype=torch.float64)).mean(1)

    @property
    def abundance_against_random(self) -> Tensor:
        """IA against that of a random table of the same shape: `[N]`, the mean over sets.

        Unlike IA / K it does not fall by itself where a field has fewer features than K.
        """
        spectra = torch.tensor(self.spectra, dtype=torch.float64)
        pairs = zip(spectra, self.dataset["cardinalities"], strict=True)
        return torch.stack([normalised_abundance(field, rows).mean() for field, rows in pairs])

    @property
    def weighted_abundance(self) -> Tensor:
        """IA / K of every field with its rows weighted by how often they occur: `[N]`, the mean
        over sets."""
        spectra = torch.tensor(self.weighted_spectra, dtype=torch.float64)
        return normalised_abundance(spectra).mean(1)

    @property
    def weighted_against_random(self) -> Tensor:
        """The same against random tables with such weights."""
        random = torch.tensor(self.weighted_random, dtype=torch.float64)
        return self.weighted_abundance / normalised_abundance(random)

    @property
    def joined_abundance(self) -> Tensor:
        """IA / K of a field's sets side by side as one table: `[N]`. Of one set, no other."""
        return normalised_abundance(torch.tensor(self.joined_spectra, dtype=torch.float64))


def design_label(
    design: str, scale: int, members: int | None = None, average: str | None = None
) -> str:
    """ "base" at scale 1, where SE and ME are one; else design and scale, "ME 4x"; of an ensemble
    "4 of base, logits"."""
    label = "base" if scale == 1 else f"{design.upper()} {scale}x"
    return label if members is None else f"{members} of {label}, {average}"


def key_of(spec: Mapping[str, Any]) -> str:
    """Hash of a run's parameters as they are written: the same on every machine.

    What is None is left out, so that a parameter added later, None by default, leaves the keys of
    older records as they are.
    """
    text = json.dumps({k: v for k, v in spec.items() if v is not None}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def path_of(folder: Path, key: str) -> Path:
    """Where the record of that key lies in a folder of records."""
    return folder / f"{key}.json"


def save(
    record: Record, folder: Path, *, replace: bool = False, scratch: Path | None = None
) -> None:
    """Add a record to a folder, in one atomic write; one that is there stays as it is, unless it is
    to be replaced. See `files.write_atomically`."""
    path = path_of(folder, record.key)
    store_json(path, asdict(record), replace=replace, scratch=scratch)


def load(path: Path) -> Record:
    """Read one record.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not as it was written, or not the record of the run that it is named
            after.
        OSError: it cannot be read.
    """
    try:
        record = Record(**load_json(path))
    except TypeError as error:
        raise DamagedError(f"{path} is not a record: {error}") from error
    of_spec = key_of(record.spec)
    if not path.stem == record.key == of_spec:
        raise DamagedError(
            f"{path} holds run {record.key}, whose parameters are those of {of_spec}"
        )
    return record


def load_all(*folders: str | Path) -> list[Record]:
    """All records of the folders, folder by folder, ordered by name; of copies the first.

    Warns:
        UserWarning: a damaged record, which is left out, or a folder without records.

    Example:
        >>> import embedding_collapse
        >>> clicks = embedding_collapse.load_dataset("synthetic-mini", 2000, progress=False)
        >>> for seed in (0, 1):
        ...     spec = embedding_collapse.Spec(clicks.spec, hidden=8, epochs=1, seed=seed)
        ...     made = embedding_collapse.run(spec, clicks, output="seeds", progress=False)
        >>> sorted(record.spec["seed"] for record in embedding_collapse.load_records("seeds"))
        [0, 1]
    """
    every: list[Record] = []
    for folder in folders:  # in a comprehension, a warning's place would be one frame further up
        every += load_folder(at_home(folder), load)
    first: dict[tuple[str, str], Record] = {}
    for record in every:  # else a copy would count as a run with another seed
        first.setdefault((record.key, record.dataset["fingerprint"]), record)
    return list(first.values())


def load_named(folders: str) -> list[Record]:
    """All records of folders whose names commas separate; see `folder_of` and `load_all`.

    Raises:
        ParameterError: a folder that is not there, or no record in any.
    """
    names = [name.strip() for name in folders.split(",")]
    records = load_all(*(folder_of(name) for name in names if name))
    if not records:
        raise ParameterError(
            f"folders is {folders!r}, with no record; folders of runs are accepted"
        )
    return records


def folder_of(name: str) -> Path:
    """A folder of records: from here, or from the repository that this package runs from.

    Raises:
        ParameterError: it is in neither.
    """
    here = at_home(name)
    return here if here.is_dir() else in_repository(name)


def in_repository(name: str) -> Path:
    """A folder of the repository that this package runs from.

    Raises:
        ParameterError: the package runs from elsewhere, or the repository has no such folder.
    """
    root = repository()
    if root is None:
        raise ParameterError(
            f"there is no folder {name!r} here, and this package is installed in "
            f"{Path(__file__).parents[1]}, without the repository that may have it"
        )
    if not (root / name).is_dir():
        raise ParameterError(f"there is no folder {name!r}, neither here nor in the repository")
    return root / name


def find(folder: Path, key: str) -> Record | None:
    """The record of that key, or None where there is none that is whole."""
    try:
        return load(path_of(folder, key))
    except (FileNotFoundError, DamagedError):
        return None


def threads_of(environment: Mapping[str, Any]) -> str:
    """How many there were, of how many processes if of several: "2 processes of 1 thread"."""
    threads, processes = environment["threads"], environment.get("processes", 1)
    text = count(threads, "thread")
    return text if processes == 1 else f"{processes} processes of {text}"


def provenance(records: Sequence[Record], keys: bool = True) -> str:
    """Where the records come from, in a line of Markdown; what differs among them is all said.

    Args:
        records: at least one.
        keys: whether to name each run's key.
    """
    places, versions, commits, engines = set(), set(), set(), set()
    for record in records:
        environment = record.environment
        device = environment["device"].upper()
        places.add(f"{device}: {environment['hardware']}, {threads_of(environment)}")
        versions.add(", ".join(f"{n} {v}" for n, v in environment["versions"].items()))
        commits.add(environment["commit"] or "unknown")
        if record.engine != "loop":
            engines.add(f"steps {record.engine}")
    source = f"source at commit{'s' if len(commits) > 1 else ''} {', '.join(sorted(commits))}"
    sources = "; ".join([*sorted(places), *sorted(versions), source, *sorted(engines)])
    last = max(record.environment["finished"] for record in records)
    text = f"{len(records)} runs on {sources}; the last finished {last[:10]}."
    if keys:
        text += " Keys of the runs: " + ", ".join(f"`{record.key}`" for record in records)
    return text
