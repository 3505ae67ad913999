"""Rows that count by how often they occur: is a table collapsed where it is used?"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

from embedding_collapse.files import DamagedError, load_folder, load_json, set_aside, store_json
from embedding_collapse.lab.data import Dataset, load_spec
from embedding_collapse.lab.experiment import run as train
from embedding_collapse.lab.records import (
    Record,
    check_name,
    design_label,
    folder_of,
    load_all,
    path_of,
)
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.store import weights_path
from embedding_collapse.spectrum import (
    information_abundance,
    random_abundance,
    random_spectrum,
    singular_values,
)

DRAWS = 8  # of random tables whose rows are weighted


def by_frequency(table: Tensor, dataset: Dataset, seed: int = 0) -> pd.DataFrame:
    """IA of every field with all rows alike and with rows weighted by their frequency.

    Weighted, it is that of `diag(sqrt(p)) E` with the share p of training rows that each feature
    has; so rare rows hardly count, and the random table beside it has its rows weighted alike.

    Args:
        table: `[D, 1, K]`, the features of all fields stacked.
        dataset: that it was trained on.
        seed: of the random tables.

    Returns:
        A row per field, from few features to many: features; IA over K, `alike` and `weighted`;
        that of a random table, `random` and `random weighted`; and the two quotients
        `alike / random` and `weighted / random`.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = {}
    for field, part, weights in zip(
        dataset.fields,
        table.split(dataset.cardinalities),
        dataset.training_counts.split(dataset.cardinalities),
        strict=True,
    ):
        (features, _, width), own = part.shape, part[:, 0]
        random = [
            singular_values(torch.randn(features, width, generator=generator), weights)
            for _ in range(DRAWS)
        ]
        spectra = {
            "alike": singular_values(own),
            "weighted": singular_values(own, weights),
            "random": random_spectrum(features, width),
            "random weighted": torch.stack(random).mean(0),
        }
        rows[field.name] = {"features": features} | {
            name: information_abundance(spectrum).item() / width
            for name, spectrum in spectra.items()
        }
    fields = pd.DataFrame.from_dict(rows, orient="index").rename_axis("field")
    return fields.sort_values("features", kind="stable").assign(
        **{
            "alike / random": fields["alike"] / fields["random"],
            "weighted / random": fields["weighted"] / fields["random weighted"],
        }
    )


@dataclass(frozen=True)
class Weighting:
    """What weighting its rows makes of the tables of one run.

    Attributes:
        key, spec: of the run; see `records.Record`.
        dataset: its name and number of rows.
        fields: the table of `by_frequency`, column by column; `field` holds the names.
        in_blocks: see `in_blocks`, with blocks as wide as the base model's table.
        test: `auc` and `log_loss`, the same as in the run's record where the machine is.
        environment: where it was made; see `environment.environment`.
    """

    key: str
    spec: dict[str, Any]
    dataset: dict[str, Any]
    fields: dict[str, list]
    in_blocks: float
    test: dict[str, float]
    environment: dict[str, Any]

    @property
    def label(self) -> str:
        """See `records.Record.label`."""
        return design_label(self.spec["design"], self.spec["scale"])

    @property
    def frame(self) -> pd.DataFrame:
        """As `by_frequency` returns it."""
        return pd.DataFrame(self.fields).set_index("field")


def remake(run: Record, folder: Path, dataset: Dataset, device: str = "auto") -> Weighting:
    """Train a recorded run of SE once more, for its tables, and keep what `by_frequency` says.

    A record holds spectra and no tables. A run that is in the folder already is left out; what is
    damaged there is set aside, with a warning.

    Raises:
        ValueError: a dataset that is not the run's.
    """
    if dataset.fingerprint != run.dataset["fingerprint"]:
        raise ValueError(f"{dataset.name} is not the data of run {run.key}")
    path = path_of(folder, run.key)
    try:
        return _load(path)
    except FileNotFoundError:
        pass
    except DamagedError as error:
        warnings.warn(f"set aside as {set_aside(path).name}: {error}", stacklevel=2)
    spec = Spec.read(run.spec)
    with TemporaryDirectory() as weights:
        again = train(spec, dataset, output=Path(weights), device=device)
        table = load_file(weights_path(Path(weights), spec.key))["table"]
    fields = by_frequency(table, dataset).round(5).reset_index()
    weighting = Weighting(
        run.key,
        run.spec,
        {"name": dataset.name, "rows": len(dataset)},
        {str(column): fields[column].tolist() for column in fields},
        round(in_blocks(table, dataset.cardinalities, spec.width // spec.scale), 5),
        again.test,
        again.environment,
    )
    store_json(path, asdict(weighting))
    return weighting


def _load(path: Path) -> Weighting:
    kept = Weighting(**load_json(path))
    check_name(path, kept.key, kept.spec)
    return kept


def remake_all(
    runs: str = "results/grid",
    folder: str = "results/frequency",
    dataset: str = "synthetic-mini",
    model: str = "dcnv2",
    scale: int = 10,
) -> None:
    """`remake` the recorded runs of the base model and of SE at one scale, all seeds."""
    chosen = [
        run
        for run in load_all(folder_of(runs))
        if (run.spec["dataset"], run.spec["model"]) == (dataset, model)
        and run.spec["design"] == "se"
        and run.spec["scale"] in (1, scale)
    ]
    clicks = load_spec(Spec.read(chosen[0].spec).data)
    for run in sorted(chosen, key=lambda run: run.spec["scale"]):
        remake(run, Path(folder), clicks)


def recorded(folder: Path) -> dict[str, list[Weighting]]:
    """What `remake` has kept in a folder, by label: the base model first, in a group by seed.

    Warns:
        UserWarning: see `files.load_folder`.
    """
    runs = load_folder(folder, _load)
    groups: dict[str, list[Weighting]] = {}
    for run in sorted(runs, key=lambda run: (run.spec["scale"], run.spec["seed"])):
        groups.setdefault(run.label, []).append(run)
    return groups


def in_blocks(table: Tensor, cardinalities: Sequence[int], width: int) -> float:
    """IA against random of a table's columns, cut into blocks of that width, turned at random
    first: wide and narrow tables at one width. The mean over fields and blocks.

    Args:
        table: `[D, 1, K]`.
        cardinalities: features per field.
        width: of a block; it divides K.
    """
    generator = torch.Generator().manual_seed(0)
    wide = table.shape[-1]
    rotation = torch.linalg.qr(torch.randn(wide, wide, generator=generator)).Q
    turned = (table @ rotation).reshape(len(table), wide // width, width)
    shares = [
        information_abundance(singular_values(field.transpose(0, 1))).mean().item()
        / random_abundance(len(field), width)
        for field in turned.split(list(cardinalities))
    ]
    return float(np.mean(shares))
