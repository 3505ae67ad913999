"""Ours beside other libraries: time per step and memory on the same data, and from a file on disk.

    sh benchmarks/peers.sh FOLDER                                     # once: installs them, apart
    python benchmarks/peers.py --peers FOLDER [--official PATH]       # steps, data in memory
    python benchmarks/peers.py --peers FOLDER --from-file 300000      # to the end of an epoch

FuxiCTR ships blocks and a trainer: its models are composed of them here. DeepCTR-Torch and RecBole
bring models and trainers. All train with the paper's sizes, batches of 2048 and Adam with weight
decay 1e-6; each in its own training loop, in a process and with a Python of its own. PATH is a
checkout of the paper's code, as in `training.py`. What is not there is named and left out.

Steps are timed in the second epoch. All but ours then find their batches ready, in order; ours
shuffles and gathers them. Rounds go over all cells and contenders in turn. From the file, each
reads and encodes by the means that its documentation shows, trains DNN for an epoch and validates
it.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch
from encoding import GIB, INTEGERS, TOKENS, cpu_seconds, make_files, spawn
from torch import Tensor
from tqdm import tqdm

BATCH, RATE, DECAY = 2048, 1e-3, 1e-6
HIDDEN, DROPOUT, CROSS, MAPS = [400, 400], 0.2, 4, [16, 16]  # see `lab.models.Size`
SHAPES = {"mini": "synthetic-mini", "paper": "synthetic"}
MODULES = {
    "fuxictr": "fuxictr.pytorch.models",
    "deepctr-torch": "deepctr_torch.models",
    "recbole": "recbole.trainer",
}
STATUS = Path("/proc/self/status")
Epoch = Callable[[int], object]  # takes so many steps, at most as many as were asked for


class Job(NamedTuple):
    """What is timed: a model of M sets of width K, by whom, for so many steps."""

    who: str
    shape: str
    model: str
    sets: int
    width: int
    steps: int

    @property
    def cell(self) -> str:
        return f"{self.shape} {self.model} " + (
            f"K={self.width}" if self.sets == 1 else f"ME {self.sets}x"
        )


class Data(NamedTuple):
    """Ids `[rows, N]`, labels `[rows]` and each field's number of features."""

    ids: np.ndarray
    labels: np.ndarray
    cardinalities: list[int]

    @property
    def names(self) -> list[str]:
        return [f"f{i}" for i in range(len(self.cardinalities))]

    def batches(self, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Int64 ids `[B, N]` and float labels `[B]`."""
        rows = steps * BATCH
        yield from zip(
            torch.from_numpy(self.ids[:rows]).long().split(BATCH),
            torch.from_numpy(self.labels[:rows]).float().split(BATCH),
            strict=True,
        )


# --- an epoch of each, data in memory -------------------------------------------------------------


def ours(job: Job, data: Data) -> dict[str, float]:
    """`training.fit` measures itself; CPU time is with validation, on an eighth as many rows."""
    from embedding_collapse.lab.data import Dataset, Field
    from embedding_collapse.lab.device import precision_of
    from embedding_collapse.lab.models import Size, build
    from embedding_collapse.lab.training import Training, fit

    fields = tuple(map(Field, data.names, data.cardinalities))
    rows = math.ceil(job.steps * BATCH / 0.8)  # of which a tenth validates and a tenth tests
    ids, labels = data.ids[:rows], data.labels[:rows]
    dataset = Dataset("benchmark", ids, labels, fields, fingerprint="benchmark")
    model = build(job.model, data.cardinalities, Size(len(fields), job.sets, job.width))
    precision = precision_of("auto", torch.device("cpu")) if job.who == "ours, auto" else None
    run = fit(model, dataset, Training(2, BATCH, precision=precision), device="cpu")
    last = run.epochs[1]
    return {"seconds": last["seconds"], "cpu": last["cpu_seconds"]}


def official(job: Job, data: Data) -> Epoch:
    """The paper's model in the paper's loop; its folder is in PYTHONPATH."""
    from training import official_epoch, official_model

    from embedding_collapse.lab.models import Size

    size = Size(len(data.cardinalities), job.sets, job.width)
    model = official_model(job.model, data.cardinalities, size).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY)
    batches = list(data.batches(job.steps))
    return lambda steps: official_epoch(model, optimizer, batches[:steps])


def fuxictr(job: Job, data: Data) -> Epoch:
    from fuxictr.features import FeatureMap

    features = FeatureMap("benchmark", "")
    for name, size in zip(data.names, data.cardinalities, strict=True):
        features.features[name] = {"source": "", "type": "categorical", "vocab_size": size}
    features.labels, features.num_fields = ["label"], len(data.names)
    model = fuxictr_model(features, job.model, job.width, "")
    model._total_steps, model._eval_steps, model._stop_training = 0, math.inf, False
    model._max_gradient_norm = 10.0  # its default: it clips gradients
    batches = [
        dict(zip(data.names, ids.T.contiguous(), strict=True)) | {"label": labels}
        for ids, labels in data.batches(job.steps)
    ]
    return lambda steps: model.train_epoch(batches[:steps])


def fuxictr_model(features: Any, name: str, width: int, folder: str) -> Any:
    """A model of FuxiCTR's blocks and its trainer."""
    from fuxictr.pytorch.layers import (
        CompressedInteractionNet,
        CrossNetV2,
        FeatureEmbedding,
        InnerProductInteraction,
        MLP_Block,
    )
    from fuxictr.pytorch.models import BaseModel

    fields = features.num_fields
    interactions = {
        "ipnn": lambda: InnerProductInteraction(fields, output="inner_product"),
        "xdeepfm": lambda: CompressedInteractionNet(fields, MAPS),
        "dcnv2": lambda: CrossNetV2(fields * width, CROSS),
    }

    class Composed(BaseModel):
        def __init__(self) -> None:
            super().__init__(features, verbose=0, model_root=folder, metrics=["AUC"])
            self.embed = FeatureEmbedding(features, width)
            self.interact = interactions.get(name, torch.nn.Identity)()
            inputs = fields * width + math.comb(fields, 2) * (name == "ipnn")
            self.mlp = MLP_Block(
                inputs, HIDDEN, output_dim=1, dropout_rates=DROPOUT, batch_norm=True
            )
            self.compile("adam", "binary_crossentropy", RATE)
            # its regularizer would walk over all parameters once more: torch's is in its favour
            self.optimizer = torch.optim.Adam(self.parameters(), lr=RATE, weight_decay=DECAY)
            self.reset_parameters()

        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            x = self.embed(self.get_inputs(batch))  # [B, N, K]
            flat = x.flatten(1)
            if name == "ipnn":
                logits = self.mlp(torch.cat([flat, self.interact(x)], 1))
            elif name == "xdeepfm":
                logits = self.mlp(flat) + self.interact(x)
            else:
                logits = self.mlp(self.interact(flat))
            return {"y_pred": self.output_activation(logits)}

    return Composed()


def deepctr(job: Job, data: Data) -> Epoch:
    from deepctr_torch.models import basemodel

    def ready(dataset: Any, shuffle: bool, batch_size: int) -> list[tuple[Tensor, ...]]:
        """In place of its loader, which collates row by row."""
        return list(zip(*(part.split(batch_size) for part in dataset.tensors), strict=True))

    basemodel.DataLoader = ready
    model = deepctr_model(data.names, data.cardinalities, job.model, job.width)

    def train(steps: int) -> None:
        rows = steps * BATCH
        inputs = dict(zip(data.names, data.ids[:rows].T, strict=True))
        model.fit(inputs, data.labels[:rows].astype(np.float32), BATCH, epochs=1, verbose=0)

    return train


def deepctr_model(names: Sequence[str], cardinalities: Sequence[int], name: str, width: int) -> Any:
    """The library's own, without a linear part; its cross layers stand beside the MLP."""
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import DCN, PNN, WDL, xDeepFM

    features = [SparseFeat(*field, width) for field in zip(names, cardinalities, strict=True)]
    common = {"dnn_hidden_units": HIDDEN, "dnn_dropout": DROPOUT, "l2_reg_embedding": 0}
    more = common | {"dnn_use_bn": True, "l2_reg_linear": 0}
    if name == "dnn":
        model = WDL([], features, **more)
    elif name == "ipnn":
        model = PNN(features, **common)
    elif name == "xdeepfm":
        model = xDeepFM([], features, cin_layer_size=MAPS, cin_split_half=False, **more)
    else:
        crossed = {"cross_num": CROSS, "cross_parameterization": "matrix", "l2_reg_cross": 0}
        model = DCN([], features, **crossed, **more)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY)
    model.compile(optimizer, "binary_crossentropy", metrics=["auc"])
    return model


RECBOLE = {"dnn": "FNN", "ipnn": "PNN", "xdeepfm": "xDeepFM", "dcnv2": "DCNV2"}


def recbole(job: Job, data: Data) -> Epoch:
    from recbole.data.interaction import Interaction
    from recbole.utils import FeatureType, get_trainer

    class Fields:
        """What a model asks of a dataset."""

        field2type = dict.fromkeys(data.names, FeatureType.TOKEN)

        def fields(self, source: object = None) -> list[str]:
            return data.names

        def num(self, field: str) -> int:
            return data.cardinalities[data.names.index(field)]

    config = recbole_config(job.model, job.width, ".")
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(
        config, recbole_model(config, Fields())
    )
    batches = [
        Interaction(dict(zip(data.names, ids.T.contiguous(), strict=True)) | {"label": labels})
        for ids, labels in data.batches(job.steps)
    ]
    return lambda steps: trainer._train_epoch(batches[:steps], 0)


def recbole_config(name: str, width: int, folder: str) -> Any:
    from recbole.config import Config

    sys.argv = sys.argv[:1]  # it reads them
    own = {
        "embedding_size": width,
        "mlp_hidden_size": HIDDEN,
        "dropout_prob": DROPOUT,
        "cross_layer_num": CROSS,
        "cin_layer_size": MAPS,
        "direct": True,
        "reg_weight": 0.0,
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "train_batch_size": BATCH,
        "epochs": 1,
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "USER_ID_FIELD": None,
        "ITEM_ID_FIELD": None,
        "load_col": None,
        "LABEL_FIELD": "label",
        "train_neg_sample_args": None,
        "metrics": ["AUC"],
        "valid_metric": "AUC",
        "eval_args": {
            "split": {"RS": [0.8, 0.1, 0.1]},
            "group_by": None,
            "order": "RO",
            "mode": "labeled",
        },
        "data_path": folder,
        "checkpoint_dir": folder,
    }
    return Config(RECBOLE[name], "benchmark", config_dict=own)


def recbole_model(config: Any, dataset: Any) -> Any:
    from recbole.utils import get_model

    return get_model(config["model"])(config, dataset)


# --- from the file to the end of an epoch ---------------------------------------------------------


def ours_from_file(file: Path, folder: Path) -> float:
    """Into an empty cache; the test rows are scored as well. Each returns the validation AUC."""
    from embedding_collapse.lab.data import load
    from embedding_collapse.lab.models import Size, build
    from embedding_collapse.lab.training import Training, fit

    dataset = load("criteo", path=file, cache=folder, progress=False)
    model = build("dnn", dataset.cardinalities, Size(len(dataset.fields), 1, 10))
    return fit(model, dataset, Training(1, BATCH), device="cpu").epochs[0]["valid_auc"]


def fuxictr_from_file(file: Path, folder: Path) -> float:
    """As its scripts do: features with its settings for Criteo, Parquet, its loader and trainer."""
    from fuxictr.datasets.criteo import CustomizedFeatureProcessor
    from fuxictr.features import FeatureMap
    from fuxictr.preprocess import build_dataset
    from fuxictr.pytorch.dataloaders import RankDataLoader

    kinds = {"type": "categorical", "active": True}
    columns = [
        {"name": INTEGERS, "dtype": "float", "preprocess": "convert_to_bucket"} | kinds,
        {"name": TOKENS, "dtype": "str"} | kinds,
    ]
    processor = CustomizedFeatureProcessor(
        columns, {"name": "label", "dtype": "float"}, "criteo", str(folder)
    )
    train, valid, _ = build_dataset(
        processor, f"{file}.train.csv", f"{file}.valid.csv", sep="\t", min_categr_count=10
    )
    features = FeatureMap("criteo", processor.data_dir)
    features.load(processor.json_file, {})
    model = fuxictr_model(features, "dnn", 10, str(folder))
    batches, held_out = RankDataLoader(
        features, "train", train, valid, batch_size=BATCH, shuffle=True, data_format="parquet"
    )
    model.fit(batches, epochs=1, validation_data=held_out)
    return float(model._best_metric)


def deepctr_from_file(file: Path, folder: Path) -> float:
    """As its first example: pandas and scikit-learn's encoders, no rare bucket, one frame."""
    import pandas as pd
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import LabelEncoder

    parts = [pd.read_csv(f"{file}.{part}.csv", sep="\t") for part in ("train", "valid")]
    names, table = INTEGERS + TOKENS, pd.concat(parts, ignore_index=True)
    table[TOKENS] = table[TOKENS].fillna("-1")
    table[INTEGERS] = table[INTEGERS].fillna(-1)
    for name in names:
        table[name] = LabelEncoder().fit_transform(table[name])
    model = deepctr_model(names, [int(table[name].max()) + 1 for name in names], "dnn", 10)
    train, valid = table[: len(parts[0])], table[len(parts[0]) :]
    model.fit(
        {name: train[name].to_numpy() for name in names},
        train["label"].to_numpy(),
        BATCH,
        epochs=1,
        verbose=0,
    )
    scores = model.predict({name: valid[name].to_numpy() for name in names}, BATCH)
    return float(roc_auc_score(valid["label"], scores))


def recbole_from_file(file: Path, folder: Path) -> float:
    """As its quick start; every column is a token, no rare bucket."""
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_trainer, init_logger, init_seed

    os.chdir(folder)  # it leaves logs
    (folder / "benchmark").mkdir()
    os.link(f"{file}.inter", folder / "benchmark" / "benchmark.inter")
    config = recbole_config("dnn", 10, str(folder))
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    train, valid, _ = data_preparation(config, dataset := create_dataset(config))
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(
        config, recbole_model(config, dataset)
    )
    return float(trainer.fit(train, valid)[0])


IN_MEMORY: dict[str, Callable[[Job, Data], Any]] = {
    "ours": ours,
    "ours, auto": ours,
    "official": official,
    "fuxictr": fuxictr,
    "deepctr-torch": deepctr,
    "recbole": recbole,
}
FROM_FILE: dict[str, Callable[[Path, Path], float]] = {
    "ours": ours_from_file,
    "fuxictr": fuxictr_from_file,
    "deepctr-torch": deepctr_from_file,
    "recbole": recbole_from_file,
}


# --- in a process of its own ----------------------------------------------------------------------


def time_steps(job: Job, file: Path) -> dict[str, float]:
    """Seconds and CPU seconds of a step, and bytes that model and training took at most."""
    with np.load(file) as stored:
        data = Data(stored["ids"], stored["labels"], stored["cardinalities"].tolist())
    few = 3 * BATCH  # what libraries set up when first used is no part of the model
    small = Data(data.ids[:few, :4] % 9, data.labels[:few], [9] * 4)
    trained(job._replace(steps=2, width=4, sets=1), small)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak_memory()
    per_step = {name: value / job.steps for name, value in trained(job, data).items()}
    return per_step | {"memory": peak_memory() - before}


def trained(job: Job, data: Data) -> dict[str, float]:
    """Seconds and CPU seconds of an epoch that is not the first."""
    train = IN_MEMORY[job.who](job, data)
    if isinstance(train, dict):
        return train
    train(2)
    cpu, started = time.process_time(), time.perf_counter()
    train(job.steps)
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def peak_memory() -> int:
    """Bytes that this process took at most so far (Linux)."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def time_file(who: str, file: Path) -> dict[str, float]:
    """Seconds and CPU seconds to the end of an epoch, and its validation AUC."""
    if who in MODULES:
        __import__(MODULES[who])
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        cpu, started = cpu_seconds(), time.perf_counter()
        score = FROM_FILE[who](file, Path(folder))
        return {
            "seconds": time.perf_counter() - started,
            "cpu": cpu_seconds() - cpu,
            "auc": score,
        }


def work(task: str, path: str, results: TextIO) -> None:
    """Do one of the two, and write a line of JSON."""
    one, file = json.loads(task), Path(path)
    try:
        found: object = (
            time_file(one, file) if isinstance(one, str) else time_steps(Job(*one), file)
        )
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    print("\n" + json.dumps(found), file=results, flush=True)
    os._exit(0)  # without what libraries say when they end


def serve(who: str, results: TextIO) -> None:
    """Do the tasks that are read, each in a fork in which nothing has run but the imports."""
    __import__(MODULES.get(who, "embedding_collapse.lab.training"))
    some = torch.zeros(1, requires_grad=True)
    some.grad = torch.zeros(1)
    torch.optim.Adam([some]).step()  # which imports more, and starts no threads yet
    for line in sys.stdin:
        if not os.fork():
            work(*json.loads(line), results)
        if code := os.wait()[1]:
            print(json.dumps(f"killed by signal {code}"), file=results, flush=True)


# --- what is there, rounds and tables -------------------------------------------------------------


def contenders(
    peers: Path | None, path: str | None
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Whom to time, each with its Python and what goes before its modules' path; and who is not
    there, in words."""
    from embedding_collapse.lab.device import precision_of

    here = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), path]))
    found, lacking = {"ours": (sys.executable, here)}, []
    if precision_of("auto", torch.device("cpu")):
        found["ours, auto"] = found["ours"]
    else:
        lacking.append("ours, auto is left out: here it is float32 too")
    if path and (Path(path) / "torchfm" / "layer.py").is_file():
        found["official"] = (sys.executable, here)
    else:
        why = f"{path} holds no torchfm/layer.py" if path else "--official PATH was not given"
        lacking.append(f"official is left out: {why}")
    for who, module in MODULES.items():
        python = Path(peers or "", who, "bin", "python").absolute()
        if not peers:
            lacking.append(f"{who} is left out: --peers FOLDER was not given")
        elif not list(python.parents[1].glob(f"lib/python*/site-packages/{module.split('.')[0]}")):
            lacking.append(f"{who} is left out: {peers} has none; see peers.sh")
        else:
            found[who] = (str(python), "")
    return found, lacking


def run(who: tuple[str, str], task: object, file: Path) -> dict[str, float] | str:
    """A measurement in a process of its own, or why there is none."""
    command = [who[0], __file__, "--one", json.dumps(task), str(file)]
    code, said, peak = spawn(command, who[1])
    if code:
        return (said.strip().splitlines() or [f"exit code {code}"])[-1]
    found = json.loads(said.splitlines()[-1])
    return found if isinstance(found, str) else found | {"peak": peak}


class Server:
    """A process of one contender's Python, see `serve`."""

    def __init__(self, name: str, who: tuple[str, str], folder: str) -> None:
        self.process = subprocess.Popen(
            [who[0], str(Path(__file__).resolve()), "--serve", name],
            cwd=folder if name in MODULES else None,  # RecBole leaves logs
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": who[1]},
            text=True,
        )

    def run(self, job: Job, file: Path) -> dict[str, float] | str:
        """As `run`."""
        pipes = self.process.stdin, self.process.stdout
        assert pipes[0] and pipes[1]
        print(json.dumps([json.dumps(job), str(file)]), file=pipes[0], flush=True)
        for line in pipes[1]:
            if line.strip():
                return json.loads(line)
        return "its process ended"


def jobs_of(options: argparse.Namespace, whose: Sequence[str]) -> list[Job]:
    """In the order of the table; sets beside the paper's code alone, which alone has them."""
    return [
        Job(who, shape, model, sets, width, steps)
        for shape in options.shapes
        for model in options.models
        for sets, width in (*((1, width) for width in options.widths), (10, 10))
        for steps in [options.steps or steps_of(shape, model, width * sets)]
        for who in whose
        if sets == 1 or ("official" in whose and who in ("ours", "ours, auto", "official"))
        if who != "official" or model in ("dnn", "dcnv2")
    ]


def steps_of(shape: str, model: str, width: int) -> int:
    """Steps of an epoch: where a flush of blocked Adam ends it, many; where steps are long, few."""
    if shape == "mini":
        return 24 if width == 10 else 12
    light = model in ("dnn", "ipnn")
    return (64 if light else 16) if width == 10 else (16 if light else 6)


def rounds_of_steps(options: argparse.Namespace, who: dict[str, tuple[str, str]]) -> None:
    from training import make_dataset

    jobs = jobs_of(options, list(who))
    found: dict[Job, list[dict[str, float]]] = {job: [] for job in jobs}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for shape in options.shapes:
            most = max(job.steps for job in jobs)
            dataset = make_dataset(SHAPES[shape], math.ceil(most * BATCH / 0.8))
            np.savez(
                Path(folder, f"{shape}.npz"),
                ids=dataset.ids,
                labels=dataset.labels,
                cardinalities=dataset.cardinalities,
            )
        servers = {name: Server(name, at, folder) for name, at in who.items()}
        for job in tqdm(jobs * options.rounds, "measuring", leave=False):
            one = servers[job.who].run(job, Path(folder, f"{job.shape}.npz"))
            if isinstance(one, str):
                tqdm.write(f"{job.cell}, {job.who} failed: {one}")
            else:
                found[job].append(one)
            if options.json:
                options.json.write_text(json.dumps([[job, ones] for job, ones in found.items()]))
        for server in servers.values():
            server.process.communicate()
    titles = (
        "cell",
        "by",
        "samples/s (min to max)",
        "ms per step",
        "CPU ms",
        "memory, GB",
        "ours, with auto: is",
        "in CPU time",
    )
    print("|", " | ".join(titles), "|\n" + "|---" * len(titles) + "|")
    for job, ones in found.items():
        if ones:
            print(row(job, ones, found))


def row(job: Job, ones: list[dict[str, float]], found: dict[Job, list[dict[str, float]]]) -> str:
    """A row of the table: medians over rounds, their spread, and how many times as fast we are."""

    def median(of: list[dict[str, float]], name: str) -> float:
        return statistics.median(one[name] for one in of)

    def times(name: str) -> str:
        ratios = [
            f"{median(ones, name) / median(own, name):.2f}x"
            for mine in ("ours", "ours, auto")
            if not job.who.startswith("ours") and (own := found.get(job._replace(who=mine)))
        ]
        return ", ".join(ratios)

    speeds = [BATCH / one["seconds"] for one in ones]
    return (
        f"| {job.cell} | {job.who} | {statistics.median(speeds):,.0f} "
        f"({min(speeds):,.0f} to {max(speeds):,.0f}) | {1e3 * median(ones, 'seconds'):.1f} "
        f"| {1e3 * median(ones, 'cpu'):.1f} | {median(ones, 'memory') / 1e9:.2f} "
        f"| {times('seconds')} | {times('cpu')} |"
    )


def rounds_from_file(options: argparse.Namespace, who: dict[str, tuple[str, str]]) -> None:
    rows, whose = options.from_file, [name for name in FROM_FILE if name in who]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in whose}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = make_files(Path(folder), rows)
        cut_up(file, rows)
        for _ in range(options.rounds):
            for name in whose:
                one = run(who[name], name, file)
                if isinstance(one, str):
                    print(f"{name} failed: {one}")
                else:
                    found[name].append(one)
    if options.json:
        options.json.write_text(json.dumps(found))
    titles = (
        "by",
        "seconds (min to max)",
        "CPU seconds",
        "memory, GiB",
        "validation AUC",
        "ours is",
    )
    print("|", " | ".join(titles), "|\n" + "|---" * len(titles) + "|")
    for name, ones in found.items():
        if ones:
            middle = {key: statistics.median(one[key] for one in ones) for key in ones[0]}
            seconds = [one["seconds"] for one in ones]
            own = statistics.median(one["seconds"] for one in found["ours"])
            times = "" if name == "ours" else f"{middle['seconds'] / own:.1f}x"
            print(
                f"| {name} | {middle['seconds']:.1f} ({min(seconds):.1f} to {max(seconds):.1f}) "
                f"| {middle['cpu']:.1f} | {max(one['peak'] for one in ones) / GIB:.2f} "
                f"| {middle['auc']:.4f} | {times} |"
            )


def cut_up(file: Path, rows: int) -> None:
    """The first eight tenths and the next tenth with a header, and all of it as RecBole has it."""
    header, *lines = Path(f"{file}.csv").read_text().splitlines(keepends=True)
    parts = {"train": lines[: rows * 8 // 10], "valid": lines[rows * 8 // 10 : rows * 9 // 10]}
    for name, part in parts.items():
        Path(f"{file}.{name}.csv").write_text("".join([header, *part]))
    named = "\t".join(["label:float", *(f"{name}:token" for name in INTEGERS + TOKENS)])
    Path(f"{file}.inter").write_text("".join([named + "\n", *lines]))


def main() -> None:
    """Say what is lacking, measure what is there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="what peers.sh made")
    parser.add_argument("--official", metavar="PATH", help="a checkout of the paper's code")
    parser.add_argument("--from-file", type=int, metavar="ROWS", help="of a file made for it")
    for name, values in (("shapes", list(SHAPES)), ("models", ["dnn", "ipnn", "xdeepfm", "dcnv2"])):
        parser.add_argument(
            f"--{name}", nargs="+", choices=values, default=values, help="(default: all)"
        )
    parser.add_argument("--widths", nargs="+", type=int, default=[10, 100], help="K (10 100)")
    parser.add_argument("--rounds", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--steps", type=int, help="of an epoch; by default see `steps_of`")
    parser.add_argument("--folder", type=Path, help="for files; by default the system's")
    parser.add_argument("--json", type=Path, help="write every single measurement there")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one or options.serve:
        results = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # libraries print
        return work(*options.one, results) if options.one else serve(options.serve, results)
    who, lacking = contenders(options.peers, options.official)
    print(*lacking, sep="\n", end="\n" if lacking else "", flush=True)
    (rounds_from_file if options.from_file else rounds_of_steps)(options, who)


if __name__ == "__main__":
    main()
