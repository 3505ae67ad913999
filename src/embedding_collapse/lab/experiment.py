"""One run: a frozen spec goes in, a record comes out. Every run goes through this door."""

import dataclasses
import statistics
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import load_file
from torch import Tensor

from embedding_collapse.files import set_aside
from embedding_collapse.parameters import ParameterError, check_choice, check_number, check_whole
from embedding_collapse.spectrum import (
    field_spectra,
    partner_abundance,
    projected_abundance,
    weighted_random_spectra,
)
from embedding_collapse.subspace import diversity

from . import records, store
from .checkpoint import save_tensors
from .data import Dataset, DataSpec, load_spec
from .device import choose_device, memory
from .engine.loop import PRECISIONS
from .environment import environment
from .metrics import Placements
from .models import MODELS, Recommender, Size, build
from .records import Record, design_label, key_of
from .training import Training, fit, predict, tested

Design = Literal["se", "me"]
AVERAGES = ("logits", "probabilities")  # of an ensemble
MOST = 2**31 - 1  # that a size of a model may be; larger ones torch cannot even count


@dataclass(frozen=True)
class Spec:
    """The whole truth of a run; the defaults are the paper's.

    Attributes:
        data: what it trains on.
        model: one of `models.MODELS`.
        design: "se" scales the width of one embedding set, "me" the number of sets.
        scale: by how much; at 1 both designs are the same base model.
        embedding_size: K at scale 1; None is the paper's, 10, or 50 for NFwFM.
        hidden, cross_layers, dropout: see `models.Size`.
        epochs, batch_size, learning_rate, weight_decay, patience: see `training.fit`.
        seed: of the initial weights, the shuffling and dropout. Not of the data or its split.
        precision: of matrix products in training: "tf32", "bf16", or None for float32.
        members: M, for an ensemble: M runs that know nothing of each other, those of the seeds
            `seed * M` to `seed * M + M - 1`, whose predictions are averaged. None is one run.
        average: of an ensemble, whether "logits" or "probabilities" are averaged.

    Raises:
        ParameterError: a value of the wrong type or out of range; the message is one line that says
            what is accepted.
    """

    data: DataSpec = dataclasses.field(default=DataSpec())
    model: str = "dcnv2"
    design: Design = "se"
    scale: int = 1
    embedding_size: int | None = None
    hidden: int = 400
    cross_layers: int = 4
    dropout: float = 0.2
    epochs: int = 10
    batch_size: int = 2048
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    patience: int = 3
    seed: int = 0
    precision: str | None = None
    members: int | None = None
    average: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, DataSpec):
            raise ParameterError(f"data is {self.data!r}; a DataSpec is accepted")
        check_choice("model", self.model, MODELS)
        check_choice("design", self.design, get_args(Design))
        if self.embedding_size is None:  # written out, for the key and for whoever reads a record
            object.__setattr__(self, "embedding_size", MODELS[self.model].embedding_size)
        for name in ("scale", "embedding_size", "hidden", "cross_layers"):
            check_whole(name, getattr(self, name), least=1, most=MOST)
        for name, least in (("epochs", 1), ("patience", 1), ("batch_size", 2)):
            check_whole(name, getattr(self, name), least)
        if self.precision is not None:
            check_choice("precision", self.precision, PRECISIONS)
        check_whole("seed", self.seed, least=0, most=2**32 - 1)
        if self.members is not None:
            check_whole("members", self.members, least=2)
            check_whole("seed", self.seed, least=0, most=(2**32 - self.members) // self.members)
            check_choice("average", self.average, AVERAGES)
        elif self.average is not None:
            raise ParameterError(f"average is {self.average!r}; it is for ensembles, with members")
        check_number("dropout", self.dropout, 0, 1)
        check_number("learning_rate", self.learning_rate, 0)
        check_number("weight_decay", self.weight_decay, 0)
        for name in ("dropout", "learning_rate", "weight_decay"):  # 0 and 0.0 have one key
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def sets(self) -> int:
        """M, the number of embedding sets."""
        return self.scale if self.design == "me" else 1

    @property
    def width(self) -> int:
        """K of one set."""
        return self.embedding_size * (1 if self.design == "me" else self.scale)

    @property
    def label(self) -> str:
        return design_label(self.design, self.scale, self.members, self.average)

    @property
    def runs(self) -> list["Spec"]:
        """The runs whose predictions an ensemble averages."""
        first, alone = self.seed * self.members, replace(self, members=None, average=None)
        return [replace(alone, seed=first + member) for member in range(self.members)]

    @property
    def key(self) -> str:
        """See `records.key_of`; the data's parameters are among the others."""
        return key_of(self.written())

    def written(self) -> dict[str, Any]:
        """The parameters as a record holds them, the data's beside the others."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "data"}
        return self.data.written() | own

    @classmethod
    def read(cls, written: Mapping[str, Any], path: str | None = None) -> "Spec":
        """The spec that a record was written of.

        Args:
            written: `Record.spec`.
            path: where its data lie, if they were read.

        Raises:
            ParameterError: what is no spec, or of a parameter that is not known here.
        """
        own = dict(written)
        of_data = {name: own.pop(name) for name in DataSpec.names() if name in own}
        of_data["name"] = of_data.pop("dataset", None)
        try:
            return cls(data=DataSpec(**of_data, path=path), **own)
        except TypeError as error:
            raise ParameterError(f"not the parameters of a run: {error}") from None


def comparison(*, scale: int, seeds: int, **parameters: Any) -> list[Spec]:
    """The base model, SE and ME at the same total embedding size; for each seed in turn.

    Args:
        scale: of SE and ME, at least 2.
        seeds: how many, counted from 0.
        parameters: the rest of the specs.

    Raises:
        ParameterError: as `Spec` does.
    """
    check_whole("scale", scale, least=2)
    check_whole("seeds", seeds, least=1)
    return [
        Spec(design=design, scale=size, seed=seed, **parameters)
        for seed in range(seeds)
        for design, size in (("se", 1), ("se", scale), ("me", scale))
    ]


def output_folder(name: str) -> Path | None:
    """The folder of that name, made where it is missing; None for the empty name.

    A folder that is there may be one that cannot be written to: what it holds serves.

    Raises:
        ParameterError: not a name, or of no folder that is there or can be made.
    """
    if name == "":
        return None
    try:
        folder = Path(name).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError) as error:
        raise ParameterError(
            f"output is {name!r}; the name of a folder that can be written to is accepted ({error})"
        ) from None
    return folder


def run(
    spec: Spec,
    dataset: Dataset | None = None,
    *,
    output: Path | None = None,
    device: str = "auto",
    progress: bool = True,
    weights: bool = True,
    wait: bool = True,
) -> Record:
    """Train and test one model, and record what came of it.

    Args:
        spec: the run.
        dataset: what `data.load_spec(spec.data)` returns, to load it once for many runs.
        output: folder of records. A spec that has its record there is not trained again; one
            whose training was interrupted goes on from its last epoch. The record lands there as
            `<key>.json`, the weights of the best epoch as `<key>.safetensors`. Several processes
            may share the folder. Where it cannot be written to, what it holds serves.
        device: see `device.choose_device`.
        progress: show a bar.
        weights: keep the weights too. Where they are missing beside a record, or have changed,
            the run is trained again, and its new record replaces the old.
        wait: while another process trains this very run; else that is an error.

    Raises:
        filelock.Timeout: another process trains this run, and `wait` is off.
        ParameterError: a dataset that is not the spec's, or a stored record of other data, which
            the code that makes the data made before it was changed.
        OSError: the output cannot be written to; the message names a path. What had been trained
            is kept as far as it was stored.

    Warns:
        UserWarning: what is stored of the run is damaged, and set aside, or its weights are
            missing; it is trained again.
    """
    dataset = load_spec(spec.data, progress=progress) if dataset is None else dataset
    if dataset.spec != spec.data:
        raise ParameterError(f"the dataset is {dataset.spec}; the run is of {spec.data}")
    device = choose_device(device)
    if output is None:
        return _train(spec, dataset, device, progress)
    weights = weights and spec.members is None  # an ensemble has none beside its members'
    stored = _stored(spec, dataset, output, weights)
    if stored is None:
        checkpoints = output / f"{spec.key}-{dataset.fingerprint[:12]}.checkpoint"
        # Whoever comes second waits, then finds the record. The lock dies with its process.
        with store.hold(checkpoints, wait):
            stored = _stored(spec, dataset, output, weights)
            if stored is None:
                stored = _make(spec, dataset, device, progress, output, checkpoints, weights)
    store.clear_away(spec.key, output)
    return stored


def _stored(spec: Spec, dataset: Dataset, output: Path, weights: bool) -> Record | None:
    """See `store.recorded`; raises a ParameterError where a record is of other data."""
    record = records.find(output, spec.key)
    if record is not None and record.dataset["fingerprint"] != dataset.fingerprint:
        raise ParameterError(
            f"{records.path_of(output, spec.key)} was made on other data of the same description "
            f"(fingerprint {record.dataset['fingerprint'][:12]}, now "
            f"{dataset.fingerprint[:12]}); choose another output folder"
        )
    return store.recorded(spec.key, output, weights)


def _make(
    spec: Spec,
    dataset: Dataset,
    device: torch.device,
    progress: bool,
    output: Path,
    checkpoints: Path,
    weights: bool,
) -> Record:
    """Train a run and store it; whoever calls this holds its lock.

    The record comes last, and until then the run counts as interrupted.
    """
    old = store.make_room(spec.key, output, weights)
    beside = store.weights_path(output, spec.key) if weights else None
    record = _train(spec, dataset, device, progress, checkpoints, beside)
    if old is not None and record.test != old.test:
        path = records.path_of(output, spec.key)
        warnings.warn(
            f"{path}: trained again, the run ends with {record.test}, not {old.test}; the record "
            f"that said so is set aside as {set_aside(path).name}",
            stacklevel=3,
        )
    records.save(record, output, replace=old is not None, scratch=checkpoints)
    return record


def _train(
    spec: Spec,
    dataset: Dataset,
    device: torch.device,
    progress: bool,
    checkpoints: Path | None = None,
    weights: Path | None = None,
) -> Record:
    check_memory(spec, dataset.cardinalities, device)
    if spec.members is not None:
        if checkpoints is not None:
            return _average(spec, dataset, device, progress, checkpoints.parent)
        with tempfile.TemporaryDirectory() as folder:
            return _average(spec, dataset, device, progress, Path(folder))
    model = build_model(spec, dataset.cardinalities)
    training = Training(
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        patience=spec.patience,
        seed=spec.seed,
        precision=spec.precision,
    )
    label = f"{spec.model} {spec.label}, seed {spec.seed}" if progress else None
    fitted = fit(model, dataset, training, device=device, checkpoints=checkpoints, progress=label)
    kept = None if weights is None else save_tensors(weights, model.state_dict(), checkpoints)
    return Record(
        key=spec.key,
        spec=spec.written(),
        dataset={
            "name": dataset.name,
            "rows": len(dataset),
            "fingerprint": dataset.fingerprint,
            "fields": [field.name for field in dataset.fields],
            "cardinalities": dataset.cardinalities,
            "facts": dataset.facts,
        },
        parameters=model.parameter_counts(),
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        test=fitted.test,
        placements=_written(fitted.placements),
        **_measure(spec, model, dataset),
        speed=dataset.split_sizes[0] / statistics.median(e["seconds"] for e in fitted.epochs),
        peak_memory=fitted.peak_memory,
        environment=environment(device),
        weights=kept,
        engine=fitted.engine,
    )


def _average(
    spec: Spec, dataset: Dataset, device: torch.device, progress: bool, folder: Path
) -> Record:
    """The record of an ensemble, whose members are run in that folder and leave their weights."""
    members, logits = [], []
    for one in spec.runs:
        members.append(run(one, dataset, output=folder, device=str(device), progress=progress))
        model = build_model(one, dataset.cardinalities)
        model.load_state_dict(load_file(folder / f"{one.key}.safetensors"))
        ids = torch.from_numpy(dataset.ids)
        logits.append(predict(model.to(device), ids.to(device), dataset.split[2].to(device)))
    stacked = torch.stack(logits).double()
    by_name = {"logits": stacked.mean(0), "probabilities": stacked.sigmoid().mean(0).logit()}
    test, placements = tested(by_name[spec.average], dataset)
    first = members[0]
    return replace(
        first,
        key=spec.key,
        spec=spec.written(),
        parameters={part: spec.members * count for part, count in first.parameters.items()},
        epochs=[],
        best_epoch=-1,
        test=test,
        placements=_written(placements),
        environment=environment(device),
        weights=None,
        engine="; ".join(sorted({member.engine or "unknown" for member in members})),
        **{name: _side_by_side([getattr(member, name) for member in members]) for name in BY_SET},
        joined_spectra=[],
        diversity=None,
        projected_abundance=None,
        projection_norms=None,
    )


BY_SET = ("spectra", "centred_spectra", "weighted_spectra")  # of a record: [N][M][K]


def _side_by_side(spectra: Sequence[list]) -> list:
    """The members' spectra `[N][1][K]` as those of one run with as many sets."""
    return [[one for part in field for one in part] for field in zip(*spectra, strict=True)]


def _written(placements: Placements) -> dict[str, list[float]]:
    return {name: _rounded(torch.from_numpy(part)) for name, part in placements._asdict().items()}


@torch.no_grad()
def _measure(spec: Spec, model: Recommender, dataset: Dataset) -> dict[str, Any]:
    """What a record holds of the trained tables and projections."""
    table, cardinalities = model.table, dataset.cardinalities
    counts = dataset.training_counts.to(table.device)
    spectra = joined = field_spectra(table, cardinalities)
    if spec.sets > 1:
        joined = field_spectra(table.flatten(1).unsqueeze(1), cardinalities)
    # the sets of ME, or SE's table in blocks as wide as the base model's
    blocks = table.reshape(len(table), spec.scale, -1)
    found = {
        "spectra": _rounded(spectra),
        "joined_spectra": _rounded(joined.squeeze(1)),
        "centred_spectra": _rounded(field_spectra(table, cardinalities, centred=True)),
        "weighted_spectra": _rounded(field_spectra(table, cardinalities, weights=counts)),
        "weighted_random": _rounded(
            weighted_random_spectra(counts, cardinalities, table.shape[-1]), 4
        ),
        "diversity": _rounded(diversity(blocks, cardinalities), 4) if spec.scale > 1 else None,
        "projected_abundance": None,
        "projection_norms": None,
    }
    projections, parts = model.interaction.projections, model.interaction.sub_embeddings(table)
    if projections is not None:
        norms = projections.square().sum((2, 4)).sqrt().mT  # [M, j, i] to [M, i, j]
        abundance = projected_abundance(table, cardinalities, projections)
        found |= {
            "projected_abundance": _rounded(abundance, 4),
            "projection_norms": _rounded(norms, 4),
        }
    if parts is not None:
        found["projected_abundance"] = _rounded(partner_abundance(parts, cardinalities), 4)
    return found


def build_model(spec: Spec, cardinalities: Sequence[int]) -> Recommender:
    """The spec's model, freshly initialised for fields with that many features."""
    size = Size(
        fields=len(cardinalities),
        sets=spec.sets,
        width=spec.width,
        hidden=spec.hidden,
        dropout=spec.dropout,
        cross_layers=spec.cross_layers,
    )
    return build(spec.model, cardinalities, size, spec.seed)


def parameter_counts(spec: Spec, cardinalities: Sequence[int]) -> dict[str, int]:
    """How many parameters embedding, interaction and head would hold; takes no memory."""
    with torch.device("meta"):
        return build_model(spec, cardinalities).parameter_counts()


def check_memory(spec: Spec, cardinalities: Sequence[int], device: torch.device) -> None:
    """Raise a `ParameterError` where not even the parameters of a run fit into the memory there is.

    Training keeps each four times: itself, Adam's two moments and the best epoch's, all in float32.
    To find out by asking for memory could take all of it from whatever else runs on the machine.
    """
    count, there = sum(parameter_counts(spec, cardinalities).values()), memory(device)
    if there is not None and 16 * count > there:
        raise ParameterError(
            f"{spec.model} {spec.label} with embedding_size {spec.embedding_size}, hidden "
            f"{spec.hidden} and cross_layers {spec.cross_layers} has {count:,} parameters, which "
            f"take {16 * count / 1e9:,.0f} GB to train; {device.type} has {there / 1e9:,.0f} GB"
        )


def _rounded(values: Tensor, digits: int = 6) -> list:
    """Nested lists with that many significant digits; a float32 table holds six."""
    if values.ndim > 1:
        return [_rounded(part, digits) for part in values]
    return [float(f"{value:.{digits}g}") for value in values.tolist()]
