"""Collapse measured while a model is trained."""

import json
import struct
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from blocked_adam import ExactBlockedAdam
from embedding_collapse import monitor as module
from embedding_collapse.collapse import MEASURES, measure
from embedding_collapse.decomposition import singular_values
from embedding_collapse.monitor import (
    CollapseMonitor,
    lightning_callback,
    transformers_callback,
)
from embedding_collapse.multi_embedding import MultiEmbedding
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import normalised_abundance


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(60, 8)
        self.output = nn.Linear(16, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.output(self.embedding(ids).flatten(1)).squeeze(1)


def train(model: nn.Module, monitor: CollapseMonitor, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        ids = torch.randint(0, 60, (64, 2), generator=generator)
        optimizer.zero_grad()
        model(ids).square().mean().backward()
        optimizer.step()
        monitor.step()


def tables_of(monitor: CollapseMonitor) -> list[str]:
    return [row["table"] for row in monitor.history]


def test_it_measures_the_tables_as_they_are_every_so_many_steps():
    model = Model()
    monitor = CollapseMonitor(model, every=3)
    before = singular_values(model.embedding.weight.detach())
    train(model, monitor, 7)
    history = pd.DataFrame(monitor.history)
    assert history["step"].tolist() == [0, 3, 6]
    assert history["table"].unique().tolist() == ["embedding.weight"]
    assert history["relative_abundance"][0] == pytest.approx(normalised_abundance(before).item())
    monitor.measure()
    after = singular_values(model.embedding.weight.detach())
    last = monitor.history[-1]
    assert last["step"] == 7
    assert last["against_random"] == pytest.approx(normalised_abundance(after, 60).item())
    assert last["against_random"] != history["against_random"][0]


def test_by_default_it_measures_only_as_often_as_its_budget_allows(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    model = Model()
    monitor = CollapseMonitor(model)
    measure = module.measure_sets

    def slow(*given):
        clock[0] += 0.01  # a measurement takes 10 ms
        return measure(*given)

    monkeypatch.setattr(module, "measure_sets", slow)
    for _ in range(1000):
        clock[0] += 0.02  # and a step of training 20 ms
        monitor.step()
        assert monitor.seconds <= 0.01 + monitor.budget * clock[0]
    assert len(monitor.history) == pytest.approx(11, abs=1)
    assert monitor.overhead < 0.0055


def test_the_first_measurement_does_not_count_in_the_seconds():
    monitor = CollapseMonitor(Model(), every=1)
    assert monitor.seconds == 0
    monitor.step()
    assert monitor.seconds > 0


def test_a_budget_of_zero_never_measures_again():
    monitor = CollapseMonitor(Model(), budget=0)
    assert not any(monitor.step() for _ in range(50))
    resumed = CollapseMonitor(Model(), budget=0, state=monitor.state_dict())
    assert not any(resumed.step() for _ in range(50))


def test_tables_are_given_by_name_or_found_with_fields_and_sets():
    table = torch.randn(30, 8)
    monitor = CollapseMonitor({"any name": table}, every=1)
    assert tables_of(monitor) == ["any name"]
    fields = CollapseMonitor({"joint": table}, field_dims={"a": 20, "b": 10})
    assert tables_of(fields) == ["a", "b"]
    sets = MultiEmbedding(lambda: (nn.Embedding(30, 8), nn.Flatten()), 3)
    each = [
        normalised_abundance(singular_values(one.detach())).item()
        for one in sets.stacked.embedding.weight
    ]
    (row,) = CollapseMonitor(sets).history
    assert row["relative_abundance"] == pytest.approx(sum(each) / 3)
    two = nn.ModuleDict({"user_emb": nn.Embedding(9, 4), "item_emb": nn.Embedding(9, 4)})
    assert tables_of(CollapseMonitor(two, exclude=["user*"])) == ["item_emb.weight"]
    with pytest.raises(ParameterError, match="nothing here looks like an embedding table"):
        CollapseMonitor(nn.Linear(3, 3))


def test_an_embedding_of_a_module_is_a_table_whatever_its_name():
    fields = {name: nn.Embedding(9, 4) for name in ("hour", "head")}
    bags = {"bag": nn.EmbeddingBag(9, 4), "wide": nn.Embedding(9, 1)}
    model = nn.ModuleDict({"fields": nn.ModuleDict(fields | bags), "fc": nn.Linear(4, 4)})
    expected = ["fields.hour.weight", "fields.head.weight", "fields.bag.weight"]
    assert tables_of(CollapseMonitor(model)) == expected
    assert tables_of(CollapseMonitor(model, exclude="*.h*")) == expected[2:]
    assert tables_of(CollapseMonitor(nn.Embedding(9, 4))) == ["weight"]


def test_it_measures_what_the_verdicts_go_by():
    """So that the curve of a table that all rows shift does not fall."""
    logged = {}
    table = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)) + 5
    monitor = CollapseMonitor({"t": table}, log=lambda numbers, step: logged.update(numbers))
    (row,) = monitor.history
    found = measure(table)
    assert row["against_random"] == pytest.approx(found.measures["against_random"]) and (
        row["against_random"] < 0.3
    )
    assert row["centred"] == pytest.approx(found.judged_by) and row["centred"] > 0.9
    assert logged["collapse/t/centred"] == row["centred"]


def test_arrays_and_a_pattern_alone_are_taken():
    assert tables_of(CollapseMonitor({"t": np.ones((9, 4), "f")})) == ["t"]
    two = nn.ModuleDict({"user_emb": nn.Embedding(9, 4), "item_emb": nn.Embedding(9, 4)})
    assert tables_of(CollapseMonitor(two, include="user*")) == ["user_emb.weight"]
    joint = CollapseMonitor({"t": torch.ones(50, 4)}, field_dims=[20, 30])
    assert tables_of(joint) == ["field 0", "field 1"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            torch.ones(9, 4),
            r'model_or_tables is Tensor; a module or tables by name, such as {"user"',
        ),
        (np.ones((9, 4)), "model_or_tables is ndarray; a module or tables by name"),
        ({"t": nn.Linear(9, 4)}, "t is Linear; a torch tensor or a numpy array of numbers"),
        ({"t": torch.ones(9, 4).to_sparse()}, "t is a tensor of layout sparse_coo; dense ones are"),
        ({"t": torch.ones(9, 4).long()}, "t is of int64; tables of floating point are measured"),
    ],
)
def test_what_is_no_table_is_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        CollapseMonitor(given)


def test_an_embedding_by_name_is_followed_while_it_changes():
    embedding = nn.Embedding(300, 8)
    monitor = CollapseMonitor({"t": embedding}, every=1)
    with torch.no_grad():
        embedding.weight[:, 2:] = 0
    monitor.step()
    first, last = (row["against_random"] for row in monitor.history)
    assert last < first / 2


@pytest.mark.parametrize("by_name", [False, True])
def test_rows_that_blocked_adam_has_yet_to_move_are_measured_where_they_belong(by_name):
    model = Model()
    model.embedding = nn.Embedding(60, 8, sparse=True)
    optimizer = ExactBlockedAdam(model.parameters(), lr=0.1, weight_decay=0.1)
    optimizer.attach(model.embedding)
    monitor = CollapseMonitor({"t": model.embedding} if by_name else model, every=100)
    for ids in torch.arange(10).view(5, 1, 2):  # the rows above 9 wait
        optimizer.zero_grad()
        model(ids).square().mean().backward()
        optimizer.step()
    behind = singular_values(model.embedding.weight.detach())
    (row,) = monitor.measure()
    optimizer.flush()
    after = singular_values(model.embedding.weight.detach())
    assert row["relative_abundance"] == pytest.approx(normalised_abundance(after).item())
    assert abs(row["relative_abundance"] - normalised_abundance(behind).item()) > 1e-3


def test_with_row_weights_it_measures_what_the_verdict_goes_by_then():
    counts, tables = torch.arange(1.0, 61), {"t": torch.randn(60, 8), "more": torch.randn(9, 8)}
    logged: dict[str, float] = {}
    monitor = CollapseMonitor(
        tables, every=1, row_weights=counts, log=lambda numbers, step: logged.update(numbers)
    )
    tables["t"][30:, 2:] = 0  # what is looked up most
    monitor.step()
    first, _, last, other = monitor.history
    judged_by = measure(tables["t"], counts).judged_by
    assert last["weighted"] == judged_by == logged["collapse/t/weighted"]
    assert last["weighted"] < last["centred"] < first["weighted"]
    assert "weighted" not in other and "collapse/more/weighted" not in logged
    tables["t"][0, 0] = torch.inf
    assert np.isnan(monitor.measure()[0]["weighted"])


def test_random_tables_with_rows_weighted_are_drawn_once_each(monkeypatch):
    drawn = []

    def draw(weights, width):
        drawn.append((len(weights), width))
        return torch.ones(1)

    monkeypatch.setattr(module, "weighted_random_abundances", draw)
    tables = {"t": torch.randn(60, 8), "other": torch.randn(9, 4)}
    counts = {"t": torch.ones(60), "other": torch.ones(9)}
    monitor = CollapseMonitor(tables, row_weights=counts)
    for _ in range(3):
        monitor.measure()
    assert drawn == [(60, 8), (9, 4)]


def test_a_table_tied_to_a_layer_that_comes_first_is_measured_once():
    model = nn.ModuleDict({"head": nn.Linear(4, 9, bias=False), "emb": nn.Embedding(9, 4)})
    model["again"] = nn.Embedding(9, 4)
    model["head"].weight = model["again"].weight = model["emb"].weight
    assert tables_of(CollapseMonitor(model)) == ["emb.weight"]


@pytest.mark.parametrize(
    ("row_weights", "message"),
    [
        (torch.ones(7), r"row_weights weighs no table \(row_weights \[7\]\)"),
        (-torch.ones(60), "the weights of embedding.weight must be finite, not negative"),
        ({"embedding.weight": torch.ones(7)}, "60 for embedding.weight"),
    ],
)
def test_row_weights_that_fit_no_table_are_refused(row_weights, message):
    with pytest.raises(ParameterError, match=message):
        CollapseMonitor(Model(), row_weights=row_weights)


def test_row_weights_that_weigh_several_tables_by_their_length_are_told_once():
    tables = {"a": torch.randn(60, 8), "b": torch.randn(60, 4)}
    with pytest.warns(UserWarning, match="row_weights weighs a, b alike") as told:
        monitor = CollapseMonitor(tables, row_weights=torch.ones(60))
        monitor.measure()
    assert [one.filename for one in told] == [__file__]


def test_measuring_changes_nothing_in_the_training():
    plain, watched = Model(), Model()
    nothing = CollapseMonitor({"other": torch.ones(5, 2)}, every=1000)
    train(plain, nothing, 5)
    train(watched, CollapseMonitor(watched, every=1), 5)
    assert torch.equal(plain.embedding.weight, watched.embedding.weight)


def test_a_table_that_is_no_longer_finite_does_not_end_the_training():
    model = Model()
    monitor = CollapseMonitor(model, every=1)
    with torch.no_grad():
        model.embedding.weight[3, 2] = torch.nan
    assert monitor.step()
    before, after = monitor.history
    assert before.keys() == after.keys()
    nan = [name for name, value in after.items() if value != value]
    assert nan == [*MEASURES, "centred"]
    assert not any(before[name] != before[name] for name in MEASURES)


@pytest.mark.parametrize(
    ("name", "value"), [("every", 0), ("every", 1.5), ("budget", 1), ("log", 3)]
)
def test_parameters_that_cannot_be_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} is {value}"):
        CollapseMonitor(Model(), **{name: value})


def test_a_tensorboard_writer_takes_every_measurement(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    model = Model()
    with SummaryWriter(tmp_path) as writer:
        monitor = CollapseMonitor(model, every=2, log=writer)
        train(model, monitor, 4)
    events = EventAccumulator(str(tmp_path)).Reload()
    written = events.Scalars("collapse/embedding.weight/relative_abundance")
    assert [event.step for event in written] == [0, 2, 4]
    values = [row["relative_abundance"] for row in monitor.history]
    assert [event.value for event in written] == pytest.approx(values, rel=1e-6)


NAME = "collapse/embedding.weight/relative_abundance"


def test_a_run_of_weights_and_biases_takes_every_measurement_offline(tmp_path):
    """Read back from the file that it is uploaded from."""
    wandb = pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    model = Model()
    with wandb.init(mode="offline", dir=tmp_path, project="a test") as run:
        monitor = CollapseMonitor(model, every=2, log=run.log)
        train(model, monitor, 4)
    wandb.teardown()  # or its process may still be writing
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    written = {}
    for record in map(Record.FromString, logged_in(path.read_bytes())):
        items = record.history.item
        row = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
        if row:
            written[row["_step"]] = row[NAME]
    assert list(written) == [0, 2, 4]
    assert list(written.values()) == [row["relative_abundance"] for row in monitor.history]


def logged_in(data: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format behind a header of its own, of 7 bytes."""
    at, record = 7, b""
    while at < len(data):
        if (room := 2**15 - at % 2**15) < 7:  # what fills up a block
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def test_mlflow_takes_every_measurement_offline(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs what mlflow alone has
    model = Model()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        monitor = CollapseMonitor(model, every=2, log=mlflow.log_metrics)
        train(model, monitor, 4)
    written = mlflow.MlflowClient().get_metric_history(run.info.run_id, NAME)
    assert [metric.step for metric in written] == [0, 2, 4]
    values = [row["relative_abundance"] for row in monitor.history]
    assert [metric.value for metric in written] == values


def test_an_interrupted_run_goes_on_with_its_steps_and_history(tmp_path):
    model, logged = Model(), []
    monitor = CollapseMonitor(model, every=2)
    train(model, monitor, 5)
    torch.save(monitor.state_dict(), tmp_path / "monitor.pt")
    state = torch.load(tmp_path / "monitor.pt", weights_only=True)
    again = CollapseMonitor(
        model, every=2, state=state, log=lambda numbers, step: logged.append(step)
    )
    train(model, again, 3)
    assert [row["step"] for row in again.history] == [0, 2, 4, 6, 8]
    assert logged == [6, 8]
    assert again.history[:3] == monitor.history


def test_it_measures_the_same_under_autocast():
    model = Model()
    with torch.autocast("cpu", torch.bfloat16):
        inside = CollapseMonitor(model)
    assert inside.history == CollapseMonitor(model).history


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of which there are many
def test_a_lightning_callback_measures_and_logs_and_goes_on_from_a_checkpoint(tmp_path):
    """Gradients of two batches make a step."""
    import pytorch_lightning as lightning
    from pytorch_lightning.loggers import CSVLogger

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Model()

        def training_step(self, batch: list, _: int) -> torch.Tensor:
            return self.model(batch[0]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.5)

    def fit(epochs: int, resumed: str | None = None):
        callback, logger = lightning_callback(every=2), CSVLogger(tmp_path)
        assert isinstance(callback, lightning.Callback)
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            callbacks=[callback],
            logger=logger,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            log_every_n_steps=1,
            accumulate_grad_batches=2,
        )
        ids = torch.utils.data.TensorDataset(torch.randint(0, 60, (320, 2)))
        batches = torch.utils.data.DataLoader(ids, batch_size=32)
        trainer.fit(Module(), batches, ckpt_path=resumed, weights_only=False)
        return trainer, callback.monitor.history, f"{logger.log_dir}/metrics.csv"

    trainer, begun, _ = fit(1)
    assert [row["step"] for row in begun] == [0, 2, 4, 5]
    assert {row["table"] for row in begun} == {"model.embedding.weight"}
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    _, history, path = fit(2, str(tmp_path / "saved.ckpt"))
    assert history[:4] == begun
    assert [row["step"] for row in history[4:]] == [6, 8, 10]
    name = "collapse/model.embedding.weight/relative_abundance"
    logged = pd.read_csv(path).dropna(subset=name)
    values = [row["relative_abundance"] for row in history[4:]]
    assert logged[name].tolist() == pytest.approx(values)


@pytest.mark.filterwarnings("ignore")
def test_a_lightning_callback_counts_steps_of_all_optimizers_and_begins_anew_with_another_trainer():
    import pytorch_lightning as lightning

    class Module(lightning.LightningModule):
        automatic_optimization = False

        def __init__(self) -> None:
            super().__init__()
            self.model = Model()

        def training_step(self, batch: list, _: int) -> None:
            self.model(batch[0]).square().mean().backward()
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()

        def configure_optimizers(self) -> list[torch.optim.Optimizer]:
            return [torch.optim.SGD([p], 0.5) for p in list(self.parameters())[:2]]

    callback = lightning_callback(every=5)
    quiet = dict.fromkeys(
        ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    trainer, another = (
        lightning.Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback], **quiet)
        for _ in range(2)
    )
    ids = torch.utils.data.TensorDataset(torch.randint(0, 60, (160, 2)))
    batches, module = torch.utils.data.DataLoader(ids, batch_size=32), Module()
    trainer.fit(module, batches)
    assert trainer.global_step == callback.monitor.steps == 10
    assert [row["step"] for row in callback.monitor.history] == [0, 6, 10]  # as soon as it is time
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, batches)
    assert [row["step"] for row in callback.monitor.history] == [0, 6, 10, 16, 20]  # it goes on
    another.fit(Module(), batches)
    assert [row["step"] for row in callback.monitor.history] == [0, 6, 10]


@pytest.mark.filterwarnings("ignore")
def test_a_transformers_callback_measures_and_goes_on_from_a_checkpoint(tmp_path):
    """Through the trainer's own log, which goes where its `report_to` says."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Module(Model):
        def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": super().forward(ids).square().mean()}

    rows = [{"ids": row} for row in torch.randint(0, 60, (160, 2))]

    def train_until(steps: int, resumed: str | None = None):
        torch.manual_seed(0)
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=steps,
            per_device_train_batch_size=16,
            gradient_accumulation_steps=2,
            save_steps=5,
            report_to="tensorboard",
            use_cpu=True,
            disable_tqdm=True,
            logging_steps=1000,
        )
        trainer = transformers.Trainer(Module(), arguments, train_dataset=rows)
        callback = transformers_callback(trainer, every=2)
        trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=resumed)
        return callback.monitor.history, trainer.state.log_history

    begun, _ = train_until(5)
    assert [row["step"] for row in begun] == [0, 2, 4, 5]
    history, log = train_until(8, str(tmp_path / "checkpoint-5"))
    assert [row["step"] for row in history] == [5, 6, 8]
    assert history[0] == begun[-1]
    logged = {row["step"]: row[NAME] for row in log if NAME in row}
    assert logged == {row["step"]: row["relative_abundance"] for row in begun[:3] + history}


class OneTrainer:
    """What the callback asks of Lightning's trainer."""

    is_global_zero, loggers = True, ()

    def __init__(self, global_step: int) -> None:
        self.global_step = global_step


def test_the_state_of_a_checkpoint_is_of_the_trainer_that_read_it_alone():
    pytest.importorskip("pytorch_lightning")
    callback, model = lightning_callback(), Model()
    callback.load_state_dict({"steps": 7, "history": []})
    callback.on_train_start(OneTrainer(7), model)
    assert callback.monitor.steps == 7
    callback.on_train_start(OneTrainer(0), model)
    assert callback.monitor.steps == 0


def test_without_lightning_it_says_what_to_install(monkeypatch):
    for name in module.LIGHTNING:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ParameterError, match="Lightning is not installed; pip install"):
        lightning_callback()


def test_without_transformers_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ParameterError, match="transformers is not installed; pip install"):
        transformers_callback(None)
