"""Scores of new rows, from a run's record and what lies beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from embedding_collapse.files import load_json
from embedding_collapse.parameters import ParameterError, at_home

from . import records, store
from .data import Dataset
from .data.codebook import VERSION, Codebook
from .data.spec import READ
from .device import choose_device
from .models import Recommender
from .records import Record
from .spec import Spec, build_model
from .training import predict


@dataclass(frozen=True)
class Scorer:
    """A trained model, or the members of an ensemble, and what turns rows into their ids.

    Attributes:
        models: one, or an ensemble's.
        average: of an ensemble, what is averaged; see `spec.Spec`.
        codebook: of the data that they were trained on.
        device: where they are.
    """

    models: tuple[Recommender, ...]
    average: str | None
    codebook: Codebook
    device: torch.device

    def logits(self, rows: Any, *, progress: bool = False) -> Tensor:
        """Logits `[rows]`, in the order of the rows; see `score`."""
        parts = []
        for ids in self.codebook.parts(rows, progress=progress):
            there = torch.from_numpy(ids).to(self.device)
            every = torch.arange(len(ids), device=self.device)
            logits = [predict(model, there, every) for model in self.models]
            parts.append(averaged(logits, self.average))
        return torch.cat(parts)

    def score(self, rows: Any, *, progress: bool = False) -> np.ndarray:
        """Probabilities that the label is 1, float64 `[rows]`, in the order of the rows.

        Values become ids as in training: what was never seen or was rare there is in its field's
        rare bucket, a number in the bin of the training rows. A value that cannot be used counts as
        a blank. Notes in the log say how many of these there are, of which fields clearly more
        values are new than in training, and where rows fall into a bucket that nothing trained.

        Args:
            rows: a DataFrame or whatever `load_dataset` takes as a frame, or the path of a Parquet
                or text file; with the columns that were fields in training, in any order. Others,
                such as the label, are not read.
            progress: show a bar where reading takes more than a few seconds.

        Raises:
            ParameterError: a column is missing, a row of a text file has too few or too many, there
                are no rows, or what is given is no table.
        """
        return torch.sigmoid(self.logits(rows, progress=progress).double()).cpu().numpy()


def load_scorer(
    record: str | Path, dataset: Dataset | None = None, *, device: str = "auto"
) -> Scorer:
    """What scores new rows as a run's model does.

    Args:
        record: path of the run's record, `<key>.json`. Its weights and the codebook of its data lie
            beside it, as `run` left them; the data themselves are not needed. The record of an
            ensemble needs those of its members there.
        dataset: the data that the run was trained on, where the codebook is not there: earlier
            versions left none. `run`, given run and data again, leaves one.
        device: see `device.choose_device`.

    Raises:
        ParameterError: a record that is not there, made without weights, or of data that were not
            read from a table; weights that are not there or have changed since; no codebook, or one
            of another version or other data, or a dataset of another fingerprint.
        DamagedError: a record or a codebook that has changed since it was written.

    Example:
        >>> import embedding_collapse, pandas
        >>> visits = pandas.DataFrame({"shop": list("abcd") * 50, "bought": [0, 0, 1, 1] * 50})
        >>> data = embedding_collapse.load_dataset("table", frame=visits, label="bought")
        >>> spec = embedding_collapse.Spec(data.spec, model="dnn", hidden=8, epochs=1)
        >>> made = embedding_collapse.run(spec, data, output="runs", device="cpu", progress=False)
        >>> scorer = embedding_collapse.load_scorer(f"runs/{made.key}.json", device="cpu")
        >>> scorer.score(pandas.DataFrame({"shop": ["a", "never seen", None]})).shape
        (3,)
    """
    path, where = at_home(record), choose_device(device)
    one = _record(path)
    spec = Spec.read(one.spec)
    codebook = _codebook(one, path, dataset)
    models = []
    for own in spec.runs or [spec]:
        beside = records.path_of(path.parent, own.key)
        if lack := store.weights_lack(_record(beside), path.parent):
            raise ParameterError(f"record is {str(path)!r}, which cannot score: {lack}")
        model = build_model(own, codebook.cardinalities)
        model.load_state_dict(load_file(store.weights_path(path.parent, own.key)))
        models.append(model.to(where))
    return Scorer(tuple(models), spec.average, codebook, where)


def _record(path: Path) -> Record:
    try:
        return records.load(path)
    except FileNotFoundError:
        raise ParameterError(f"record is {str(path)!r}; there is no such file") from None


def _codebook(record: Record, path: Path, dataset: Dataset | None) -> Codebook:
    """That of the data which a run was trained on."""
    said, trained_on = f"record is {str(path)!r}", record.dataset["fingerprint"]
    if record.spec["dataset"] not in READ:
        raise ParameterError(
            f"{said}, of {record.spec['dataset']!r}; runs on what is read from a table can score: "
            f"{', '.join(READ)}"
        )
    if dataset is None:
        beside = store.codebook_path(path.parent, trained_on)
        try:
            written = load_json(beside)
        except FileNotFoundError:
            raise ParameterError(
                f"{said}, and {beside.name} is not beside it, which says what its ids stand for; "
                "the dataset that it was trained on is needed then"
            ) from None
        if why := _foreign(written, record):
            raise ParameterError(
                f"{said}, and {beside.name} beside it {why}; the run again, once that file is "
                "gone, leaves another"
            )
        return Codebook.read(written)
    if dataset.fingerprint != trained_on or dataset.codebook is None:
        raise ParameterError(
            f"{said}, trained on data of fingerprint {trained_on[:12]}; the dataset has "
            f"{dataset.fingerprint[:12]}"
        )
    return dataset.codebook


def _foreign(written: Mapping[str, Any], record: Record) -> str | None:
    """Why a written codebook is not that of a run; None where it is."""
    if (version := written.get("version")) != VERSION:
        return f"is of version {version}, where {VERSION} is needed"
    sizes = [len(entry["values"]) + 1 for entry in written["entries"]]
    data = record.dataset
    same = (written["fingerprint"], sizes) == (data["fingerprint"], data["cardinalities"])
    return None if same else "is of other data"


def averaged(logits: Sequence[Tensor], average: str | None) -> Tensor:
    """The logits `[rows]`, float64, of an ensemble whose members have these.

    Args:
        logits: of each member.
        average: whether "logits" or "probabilities" are averaged; None of a run by itself, whose
            logits stay as they are.
    """
    if average is None:
        return logits[0]
    stacked = torch.stack(list(logits)).double()
    if average == "logits":
        return stacked.mean(0)
    # finite also where no float64 lies between all probabilities and 1
    yes, no = (F.logsigmoid(sign * stacked).logsumexp(0) for sign in (1, -1))
    return yes - no
