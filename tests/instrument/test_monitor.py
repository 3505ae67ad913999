"""Collapse measured while a model is trained."""

import sys

import pandas as pd
import pytest
import torch
from torch import nn

from embedding_collapse import monitor as module
from embedding_collapse.collapse import MEASURES
from embedding_collapse.monitor import CollapseMonitor, lightning_callback
from embedding_collapse.multi_embedding import MultiEmbedding
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import normalised_abundance, singular_values


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

    def slow(values):
        clock[0] += 0.01  # a measurement takes 10 ms
        return measure(values)

    monkeypatch.setattr(module, "measure_sets", slow)
    for _ in range(1000):
        clock[0] += 0.02  # and a step of training 20 ms
        monitor.step()
        assert monitor.seconds <= 0.01 + monitor.budget * clock[0]
    assert len(monitor.history) == pytest.approx(11, abs=1)
    assert monitor.overhead < 0.0055


def test_a_budget_of_zero_never_measures_again():
    monitor = CollapseMonitor(Model(), budget=0)
    assert not any(monitor.step() for _ in range(50))


def test_tables_are_given_by_name_or_found_with_fields_and_sets():
    table = torch.randn(30, 8)
    monitor = CollapseMonitor({"any name": table}, every=1)
    assert tables_of(monitor) == ["any name"]
    fields = CollapseMonitor({"joint": table}, field_dims={"a": 20, "b": 10})
    assert tables_of(fields) == ["a", "b"]
    sets = MultiEmbedding(lambda: (nn.Embedding(30, 8), nn.Flatten()), 3)
    each = [normalised_abundance(singular_values(one.detach())).item()
            for one in sets.stacked.embedding.weight]  # fmt: skip
    (row,) = CollapseMonitor(sets).history
    assert row["relative_abundance"] == pytest.approx(sum(each) / 3)
    two = nn.ModuleDict({"user_emb": nn.Embedding(9, 4), "item_emb": nn.Embedding(9, 4)})
    assert tables_of(CollapseMonitor(two, exclude=["user*"])) == ["item_emb.weight"]
    with pytest.raises(ParameterError, match="nothing here looks like an embedding table"):
        CollapseMonitor(nn.Linear(3, 3))


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
    assert [name for name, value in after.items() if value != value] == list(MEASURES)  # NaN
    assert not any(before[name] != before[name] for name in MEASURES)


@pytest.mark.parametrize(("name", "value"), [("every", 0), ("every", 1.5), ("budget", 1)])
def test_parameters_that_cannot_be_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} is {value}"):
        CollapseMonitor(Model(), **{name: value})


def test_a_tensorboard_writer_takes_every_measurement(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    model = Model()
    with SummaryWriter(tmp_path) as writer:
        monitor = CollapseMonitor(model, every=2, writer=writer)
        train(model, monitor, 4)
    events = EventAccumulator(str(tmp_path)).Reload()
    written = events.Scalars("collapse/embedding.weight/relative_abundance")
    assert [event.step for event in written] == [0, 2, 4]
    values = [row["relative_abundance"] for row in monitor.history]
    assert [event.value for event in written] == pytest.approx(values, rel=1e-6)


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of which there are many
def test_a_lightning_callback_measures_and_logs(tmp_path):
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

    callback = lightning_callback(every=2)
    assert isinstance(callback, lightning.Callback)
    logger = CSVLogger(tmp_path)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[callback], logger=logger,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        log_every_n_steps=1,
    )  # fmt: skip
    ids = torch.utils.data.TensorDataset(torch.randint(0, 60, (160, 2)))
    trainer.fit(Module(), torch.utils.data.DataLoader(ids, batch_size=32))
    history = pd.DataFrame(callback.monitor.history)
    assert history["step"].tolist() == [0, 2, 4, 5]
    assert history["table"].unique().tolist() == ["model.embedding.weight"]
    logger.save()
    name = "collapse/model.embedding.weight/relative_abundance"
    logged = pd.read_csv(f"{logger.log_dir}/metrics.csv").dropna(subset=name)
    assert logged[name].tolist() == pytest.approx(history["relative_abundance"].tolist())


def test_without_lightning_it_says_what_to_install(monkeypatch):
    for name in module.LIGHTNING:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ParameterError, match="Lightning is not installed; pip install"):
        lightning_callback()
