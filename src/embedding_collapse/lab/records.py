"""Records: everything that a figure needs to know of a run, one JSON file each."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from embedding_collapse.files import DamagedError, load_folder, load_json, store_json
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import normalised_abundance

from .environment import repository
from .metrics import Difference, Placements, auc_difference
from .models import MODELS

IN_WORDS = {"higher": "higher", "lower": "lower", "not told apart": "inside the noise"}


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        key: hash of the spec, and the name of the record's file.
        spec: the run's parameters, as in `experiment.Spec`.
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
        peak_memory: bytes; see `training.peak_memory`.
        environment: device, hardware, versions, git commit and time.
        centred_spectra: `[N][M][K]`, as `spectra`, the mean of a table's rows taken off each.
        weighted_spectra: `[N][M][K]`, rows weighted by how often they occur in training.
        weighted_random: `[N][K]`, that of random tables with such weights. All three are None in
            older records.
        weights: checksum of the file of weights beside the record; None where none was kept.
        engine: as in `checkpoint.Fit`; None in a record from before this was written down.
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
    centred_spectra: list[list[list[float]]] | None = None
    weighted_spectra: list[list[list[float]]] | None = None
    weighted_random: list[list[float]] | None = None
    weights: str | None = None
    engine: str | None = None

    @property
    def label(self) -> str:
        """What the run is called beside others of its model: "base", "SE 4x", "ME 10x"."""
        names = ("design", "scale", "members", "average")
        return design_label(*(self.spec.get(name) for name in names))

    @property
    def score_summary(self) -> Placements:
        """The placements, as `metrics.auc_difference` takes them."""
        return Placements(*(np.array(self.placements[part]) for part in Placements._fields))

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
    def joined_abundance(self) -> Tensor:
        """The same of a field's sets side by side as one table: `[N]`. Of one set, no other."""
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


def save(record: Record, folder: Path, **options: Any) -> None:
    """Add a record to a folder, in one atomic write; one that is there stays as it is.

    Args:
        record: the run's.
        folder: of records.
        options: of `files.write_atomically`.
    """
    store_json(path_of(folder, record.key), asdict(record), **{"replace": False} | options)


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
    check_name(path, record.key, record.spec)
    return record


def check_name(path: Path, key: str, spec: Mapping[str, Any]) -> None:
    """Raise a `DamagedError` unless a record is named after its key, and this is its spec's."""
    if not path.stem == key == key_of(spec):
        raise DamagedError(f"{path} holds run {key}, whose parameters are those of {key_of(spec)}")


def load_all(*folders: Path) -> list[Record]:
    """All records of the folders, folder by folder, ordered by name.

    Warns:
        UserWarning: a damaged record, which is left out, or a folder without records.
    """
    found = []
    for folder in folders:
        found += load_folder(folder, load)
    return found


def folder_of(name: str) -> Path:
    """A folder of records: from here, or from the repository that this package runs from.

    Raises:
        ParameterError: it is in neither.
    """
    here = Path(name).expanduser()
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


def in_common(records: Iterable[Record]) -> dict[str, Any]:
    """The parameters that all the runs share.

    Raises:
        ParameterError: there are no runs.
    """
    specs = [record.spec for record in records]
    if not specs:
        raise ParameterError("there are no records in the folders named")
    first, *others = specs
    return {k: v for k, v in first.items() if all(spec.get(k) == v for spec in others)}


def find(folder: Path, key: str) -> Record | None:
    """The record of that key, or None where there is none that is whole."""
    try:
        return load(path_of(folder, key))
    except (FileNotFoundError, DamagedError):
        return None


class Cell(NamedTuple):
    """What runs that differ in the seed alone have in common."""

    dataset: str
    model: str
    design: str
    scale: int

    @property
    def label(self) -> str:
        """See `Record.label`."""
        return design_label(self.design, self.scale)


def cell_of(record: Record) -> Cell:
    """The record's cell; at scale 1, where SE and ME are one, the design is "se"."""
    spec = record.spec
    design = "se" if spec["scale"] == 1 else spec["design"]
    return Cell(spec["dataset"], spec["model"], design, spec["scale"])


def by_cell(records: Iterable[Record]) -> dict[Cell, list[Record]]:
    """Records grouped by cell: by dataset, by model as in `models.MODELS`, base first, then by
    scale, SE before ME; in a group by seed.

    Raises:
        ParameterError: records of one cell that differ in more than the seed.
    """
    groups: dict[Cell, list[Record]] = {}
    for record in records:
        groups.setdefault(cell_of(record), []).append(record)
    for cell, group in groups.items():
        group.sort(key=lambda record: record.spec["seed"])
        first = group[0]
        for record in group:
            other = {
                name: (first.spec.get(name), record.spec.get(name))
                for name in first.spec | record.spec
                if name not in ("seed", "design") and record.spec.get(name) != first.spec.get(name)
            }
            if record.dataset["fingerprint"] != first.dataset["fingerprint"]:
                other["data"] = (first.dataset["fingerprint"], record.dataset["fingerprint"])
            if other:
                raise ParameterError(
                    f"runs of {cell.dataset}, {cell.model} {cell.label} differ in more than the "
                    f"seed, so that they can't be one group: {other}"
                )
    place = list(MODELS).index
    ordered = sorted(groups, key=lambda c: (c.dataset, place(c.model), c.scale, c.design == "me"))
    return {cell: groups[cell] for cell in ordered}


def by_label(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records of one model on one dataset, grouped and ordered as in `by_cell`, by label.

    Raises:
        ParameterError: records of several models or datasets, or what `by_cell` raises.
    """
    groups = by_cell(records)
    of_what = {cell[:2] for cell in groups}
    if len(of_what) > 1:
        raise ParameterError(f"records of {sorted(of_what)}; those of one model on one dataset are "
                         "needed")  # fmt: skip
    return {cell.label: group for cell, group in groups.items()}


def summary(records: Iterable[Record]) -> pd.DataFrame:
    """One row per cell: test AUC, log-loss and IA/K over fields (mean and standard deviation over
    seeds), ME's AUC minus SE's at the same scale and its 95% interval (see
    `metrics.auc_difference`), the parameter counts, and time and samples per second of training
    (medians)."""
    groups = by_cell(records)
    rows = {}
    for cell, group in groups.items():
        runs = table(group)
        row = {
            name: spread(runs[column])
            for name, column in (
                ("test AUC", "test_auc"),
                ("test log-loss", "test_log_loss"),
                ("mean IA/K", "mean_relative_abundance"),
            )
        }
        se = groups.get(cell._replace(design="se"))
        change = in_parts(auc_change(group, se)) if cell.design == "me" and se else ("", "", "")
        row["ME - SE, AUC"], row["its 95% interval"], _ = change
        rows[cell.dataset, cell.model, cell.label] = row | {
            "seeds": len(runs),
            "parameters": f"{runs['parameters'].iloc[0]:,}",
            "of these embedding": f"{runs['embedding_parameters'].iloc[0]:,}",
            "seconds": f"{runs['seconds'].median():.1f}",
            "samples/s": f"{runs['samples_per_second'].median():,.0f}",
        }
    found = pd.DataFrame(rows.values(), index=pd.MultiIndex.from_tuples(rows))
    if not found["ME - SE, AUC"].any():  # nothing to compare
        found = found.drop(columns=["ME - SE, AUC", "its 95% interval"])
    constant = [level for level in (0, 1) if found.index.get_level_values(level).nunique() == 1]
    return found.droplevel(constant)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds; with one seed the mean alone."""
    deviation = "" if len(values) < 2 else f" ± {np.std(values, ddof=1):.4f}"
    return f"{np.mean(values):.4f}{deviation}"


def auc_change(new: Sequence[Record], old: Sequence[Record]) -> Difference:
    """Mean test AUC of one group of runs minus that of another on the same data; see
    `metrics.auc_difference`."""
    mean_new, mean_old = (np.mean([r.test["auc"] for r in group]) for group in (new, old))
    return auc_difference(
        [r.score_summary for r in new], [r.score_summary for r in old], float(mean_new - mean_old)
    )


def told(change: Difference) -> str:
    """A difference with its interval, and whether it is outside the noise."""
    mean, interval, verdict = in_parts(change)
    return f"{mean} {interval} {verdict}" if interval else f"{mean} ({verdict})"


def in_parts(change: Difference) -> tuple[str, str, str]:
    """A difference, its interval ("" where one seed leaves that open), and whether it is outside
    the noise: what `told` says in one string."""
    mean = f"{change.mean:+z.4f}"
    if not np.isfinite(change.high - change.low):
        return mean, "", "noise not known"
    return mean, f"[{change.low:+z.4f}, {change.high:+z.4f}]", IN_WORDS[change.verdict]


def provenance(records: Sequence[Record], keys: bool = True) -> str:
    """Where the records come from, in a line of Markdown; what differs among them is all told.

    Args:
        records: at least one.
        keys: whether to name each run's key.
    """
    places, versions, commits, engines = [], [], [], []
    for record in records:
        environment = record.environment
        device, threads = environment["device"].upper(), environment["threads"]
        places.append(f"{device}: {environment['hardware']}, {threads} thread{'s'[: threads != 1]}")
        versions.append(", ".join(f"{n} {v}" for n, v in environment["versions"].items()))
        commits.append(f"source at commit {environment['commit'] or 'unknown'}")
        if record.engine not in (None, "loop"):
            engines.append(f"steps {record.engine}")
    parts = filter(None, (places, versions, commits, engines))
    found = "; ".join("; ".join(sorted(set(part))) for part in parts)
    last = max(record.environment["finished"] for record in records)
    text = f"{len(records)} runs on {found}; the last finished {last}."
    if keys:
        text += " Keys of the runs: " + ", ".join(f"`{record.key}`" for record in records)
    return text


def table(records: Iterable[Record]) -> pd.DataFrame:
    """One row per record: spec, test metrics, mean IA/K over fields, parameters and speed."""
    return pd.DataFrame(
        [
            record.spec
            | {
                "label": record.label,
                "test_auc": record.test["auc"],
                "test_log_loss": record.test["log_loss"],
                "mean_relative_abundance": record.relative_abundance.mean().item(),
                "parameters": sum(record.parameters.values()),
                "embedding_parameters": record.parameters["embedding"],
                "seconds": sum(epoch["seconds"] for epoch in record.epochs),
                "samples_per_second": record.speed,
                "epochs_run": len(record.epochs),
                "key": record.key,
            }
            for record in records
        ]
    )
