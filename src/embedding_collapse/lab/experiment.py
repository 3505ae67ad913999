"""One run: a frozen spec goes in, a record comes out. Every run goes through this door."""

import contextlib
import statistics
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from embedding_collapse.files import set_aside
from embedding_collapse.parameters import ParameterError, at_home

from . import processes, records, store
from .checkpoint import Fit, save_tensors
from .data import Dataset, load_spec
from .device import choose_device
from .environment import environment
from .measured import measured
from .models import Recommender
from .records import Record
from .scoring import averaged
from .spec import Spec, build_model, check_memory
from .training import Training, fit, predict, tested


def output_folder(name: str) -> Path | None:
    """The folder of that name, made where it is missing; None for the empty name.

    A folder that is there may be one that cannot be written to: what it holds serves.

    Raises:
        ParameterError: not a name, or of no folder that is there or can be made.
    """
    if name == "":
        return None
    try:
        folder = at_home(name)
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
    output: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    weights: bool = True,
    wait: bool = True,
) -> Record:
    """Train and test one model, and record what came of it.

    Where `torch.distributed` is initialised its processes, all of which call this, train together
    and get the same record; see `processes`. The first alone keeps to `output`.

    Args:
        spec: the run.
        dataset: what `data.load_spec(spec.data)` returns, to load it once for many runs.
        output: folder of records. A spec that has its record there is not trained again; one
            whose training was interrupted goes on from its last epoch. The record lands there as
            `<key>.json`, the weights of the best epoch as `<key>.safetensors`, and beside these as
            `<data>.codebook` the values that the ids of a table stand for, also beside a record
            that is there. Several processes may
            share the folder. Where it cannot be written to, what it holds serves.
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

    Example:
        >>> import embedding_collapse
        >>> clicks = embedding_collapse.load_dataset("synthetic-mini", 2000, progress=False)
        >>> spec = embedding_collapse.Spec(clicks.spec, model="dnn", hidden=8, epochs=1)
        >>> record = embedding_collapse.run(spec, clicks, output="runs", progress=False)
        >>> record.label, sorted(record.test)
        ('base', ['auc', 'log_loss'])
    """
    dataset = load_spec(spec.data, progress=progress) if dataset is None else dataset
    if dataset.spec != spec.data:
        raise ParameterError(f"the dataset is {dataset.spec}; the run is of {spec.data}")
    where = choose_device(device)
    if processes.rank() > 0:
        return _follow(spec, dataset, where)
    return processes.from_first(_run(spec, dataset, output, where, progress, weights, wait))


def _follow(spec: Spec, dataset: Dataset, device: torch.device) -> Record:
    """Train along where the first process does; the record that it has in the end."""
    record: Record | None = processes.from_first(None)
    if record is None:
        check_memory(spec, dataset.cardinalities, device)
        if spec.members is None:
            _fit(spec, dataset, device, progress=False)
        else:
            for member in spec.runs:
                run(member, dataset, device=str(device), progress=False)
        record = processes.from_first(record)
    assert record is not None
    return record


def _run(
    spec: Spec,
    dataset: Dataset,
    output: str | Path | None,
    where: torch.device,
    progress: bool,
    weights: bool,
    wait: bool,
) -> Record:
    """As `run`, in the first process."""
    if output is None:
        return _train(spec, dataset, where, progress)
    output = at_home(output)
    weights = weights and spec.members is None  # an ensemble has none beside its members'
    stored = _stored(spec, dataset, output, weights)
    if stored is not None and dataset.codebook is not None and (weights or spec.members):
        with contextlib.suppress(OSError):  # of a folder that can only be read, all that is there
            store.keep_codebook(dataset.codebook, output)
    if stored is None:
        checkpoints = output / f"{spec.key}-{dataset.fingerprint[:12]}.checkpoint"
        # Whoever comes second waits, then finds the record. The lock dies with its process.
        with store.hold(checkpoints, wait):
            stored = _stored(spec, dataset, output, weights)
            if stored is None:
                stored = _train_and_store(
                    spec, dataset, where, progress, output, checkpoints, weights
                )
    store.clear_away(spec.key, output)
    return stored


def _stored(spec: Spec, dataset: Dataset, output: Path, weights: bool) -> Record | None:
    """The run's record, if all that is asked for is there and whole.

    Raises:
        ParameterError: the record is of other data.
    """
    record = records.find(output, spec.key)
    if record is not None:
        store.check_data(output, spec.key, record.dataset["fingerprint"], dataset.fingerprint)
        if weights and store.weights_lack(record, output):
            return None
    return record


def _train_and_store(
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
    if weights and dataset.codebook is not None:
        store.keep_codebook(dataset.codebook, output, checkpoints)
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
    processes.from_first(None)  # no record yet: all train
    check_memory(spec, dataset.cardinalities, device)
    if spec.members is not None:
        if checkpoints is not None:
            return _average(spec, dataset, device, progress, checkpoints.parent)
        with tempfile.TemporaryDirectory() as folder:
            return _average(spec, dataset, device, progress, Path(folder))
    model, fitted = _fit(spec, dataset, device, progress, checkpoints)
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
        placements=fitted.placements,
        **measured(spec, model, dataset),
        speed=dataset.split_sizes[0] / statistics.median(e["seconds"] for e in fitted.epochs),
        peak_memory=fitted.peak_memory,
        environment=environment(device),
        weights=kept,
        engine=fitted.engine,
    )


def _fit(
    spec: Spec,
    dataset: Dataset,
    device: torch.device,
    progress: bool,
    checkpoints: Path | None = None,
) -> tuple[Recommender, Fit]:
    """The spec's model, trained, and what came of it."""
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
    return model, fit(
        model, dataset, training, device=device, checkpoints=checkpoints, progress=label
    )


def _average(
    spec: Spec, dataset: Dataset, device: torch.device, progress: bool, folder: Path
) -> Record:
    """The record of an ensemble, whose members are run in that folder and leave their weights."""
    ids, rows = torch.from_numpy(dataset.ids).to(device), dataset.split[2].to(device)
    members, logits = [], []
    for member in spec.runs:
        members.append(run(member, dataset, output=folder, device=str(device), progress=progress))
        model = build_model(member, dataset.cardinalities)
        model.load_state_dict(load_file(store.weights_path(folder, member.key)))
        logits.append(predict(model.to(device), ids, rows))
    test, placements = tested(averaged(logits, spec.average), dataset)
    return replace(
        members[0],
        key=spec.key,
        spec=spec.written(),
        parameters={part: len(members) * n for part, n in members[0].parameters.items()},
        epochs=[],
        best_epoch=-1,
        test=test,
        placements=placements,
        environment=environment(device),
        weights=None,
        engine="; ".join(sorted({member.engine for member in members})),
        **{  # [N, M, K]: those of one run with as many sets
            name: np.concatenate([getattr(member, name) for member in members], axis=1).tolist()
            for name in ("spectra", "centred_spectra", "weighted_spectra")
        },
        joined_spectra=[],
        diversity=None,
        projected_abundance=None,
        projection_norms=None,
    )
