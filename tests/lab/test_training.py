"""Training: deterministic, interruptible, and clear about what went wrong."""

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from embedding_collapse.errors import DivergedError
from embedding_collapse.lab import training
from embedding_collapse.lab.checkpoint import Fit
from embedding_collapse.lab.data import Dataset, Field
from embedding_collapse.lab.device import choose_device
from embedding_collapse.lab.engine.loop import StepByStep
from embedding_collapse.lab.metrics import auc, excess_log_loss, expected_auc, log_loss
from embedding_collapse.lab.models import Recommender, Size, build, fused
from embedding_collapse.lab.training import Training, fit, predict


def tiny_dataset(rows: int = 2000, seed: int = 0) -> Dataset:
    """Two fields; the label follows their first feature, so there is something to learn."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, (5, 30), (rows, 2)).astype(np.int32)
    labels = (generator.random(rows) < 0.2 + 0.6 * (ids[:, 0] == 1)).astype(np.uint8)
    return Dataset("tiny", ids, labels, (Field("a", 5), Field("b", 30)), "tiny")


def tiny_model(dataset: Dataset, sets: int = 2, **size: float) -> Recommender:
    return build("dcnv2", dataset.cardinalities, Size(2, sets, 3, **{"hidden": 8, **size}))


def fit_tiny(
    model: Recommender,
    dataset: Dataset,
    device: str = "cpu",
    checkpoints: Path | None = None,
    progress: str | None = None,
    **changed,
) -> Fit:
    training = Training(**({"epochs": 3, "batch_size": 100, "learning_rate": 0.01} | changed))
    return fit(model, dataset, training, device=device, checkpoints=checkpoints, progress=progress)


def test_it_learns_what_can_be_learnt():
    dataset = tiny_dataset(4000)
    model = tiny_model(dataset)
    run = fit_tiny(model, dataset, epochs=8)
    assert run.test["auc"] > 0.65  # the best possible is about 0.7
    assert run.test["log_loss"] < 0.57  # 0.50 is possible, 0.63 the entropy of the label


def test_a_known_truth_is_tested_on_too():
    plain = tiny_dataset()
    truth = 0.2 + 0.6 * (plain.ids[-500:, 0] == 1)
    dataset = Dataset(
        "tiny", plain.ids, plain.labels, plain.fields, "tiny", held_out=(200, 500), truth=truth
    )
    model = tiny_model(dataset)
    run = fit_tiny(model, dataset)
    test = dataset.split[2]
    logits = predict(model, torch.from_numpy(dataset.ids), test)
    assert run.test == {
        "auc": auc(logits, torch.from_numpy(dataset.labels)[test]),
        "log_loss": log_loss(logits, torch.from_numpy(dataset.labels)[test]),
        "expected_auc": expected_auc(logits, torch.from_numpy(truth)),
        "excess_log_loss": excess_log_loss(logits, torch.from_numpy(truth)),
    }
    assert fit_tiny(tiny_model(plain), plain).test.keys() == {"auc", "log_loss"}


def test_the_same_run_twice_gives_the_same_bits():
    dataset = tiny_dataset()
    first, second = tiny_model(dataset), tiny_model(dataset)
    runs = [fit_tiny(model, dataset, seed=5) for model in (first, second)]
    assert runs[0].test["auc"] == runs[1].test["auc"]
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_seed_matters_and_the_global_random_state_does_not():
    dataset = tiny_dataset()
    losses = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        losses.append(fit_tiny(tiny_model(dataset), dataset, epochs=1, seed=seed).epochs[0])
    assert losses[0]["train_loss"] == losses[1]["train_loss"] != losses[2]["train_loss"]


def test_the_global_random_state_is_left_alone():
    dataset = tiny_dataset()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit_tiny(tiny_model(dataset), dataset, epochs=1)
    assert torch.rand(1) == expected


def test_runs_in_threads_of_one_process_end_as_each_does_alone():
    dataset = tiny_dataset(500)

    def losses(seed: int) -> list[float]:
        run = fit_tiny(tiny_model(dataset), dataset, batch_size=20, epochs=2, seed=seed)
        return [epoch["train_loss"] for epoch in run.epochs]

    alone = list(map(losses, range(3)))
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(losses, range(3))) == alone


@pytest.fixture
def epochs_seen(monkeypatch) -> list[tuple[torch.Tensor, bool]]:
    """Of every epoch, the rows in their order and whether the model was in training mode."""
    seen = []

    class Watched(StepByStep):
        def epoch(self, order, losses, penalties):
            seen.append((order.clone(), self.model.training))
            return super().epoch(order, losses, penalties)

    monkeypatch.setattr(training, "StepByStep", Watched)
    return seen


def test_every_epoch_takes_all_training_rows_in_an_order_of_its_own(epochs_seen):
    dataset = tiny_dataset(300)
    fit_tiny(tiny_model(dataset), dataset, epochs=3)
    train = dataset.split[0]
    orders = [order for order, _ in epochs_seen]
    assert all(torch.equal(order.sort().values, train.sort().values) for order in orders)
    for one, other in combinations([train, *orders], 2):
        assert not torch.equal(one, other)


def test_every_epoch_trains_in_training_mode_though_each_ends_with_an_evaluation(epochs_seen):
    dataset = tiny_dataset(300)
    fit_tiny(tiny_model(dataset), dataset, epochs=3)
    assert [mode for _, mode in epochs_seen] == [True] * 3


def test_a_run_cut_short_and_resumed_equals_one_that_was_not(tmp_path):
    dataset = tiny_dataset()
    whole, first, second = (tiny_model(dataset) for _ in range(3))
    expected = fit_tiny(whole, dataset, epochs=4)
    begun = fit_tiny(first, dataset, epochs=2, checkpoints=tmp_path)
    resumed = fit_tiny(second, dataset, epochs=4, checkpoints=tmp_path)
    assert resumed.epochs[:2] == begun.epochs  # to the second: these were not trained again
    assert [e["train_loss"] for e in resumed.epochs] == [e["train_loss"] for e in expected.epochs]
    assert resumed.test["auc"] == expected.test["auc"]
    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1  # older epochs are cleared away


def test_the_best_epoch_is_tested_and_patience_ends_the_run():
    dataset = tiny_dataset(300)
    model = tiny_model(dataset, hidden=64)
    run = fit_tiny(model, dataset, epochs=60, patience=2, learning_rate=0.03)
    aucs = [epoch["valid_auc"] for epoch in run.epochs]
    assert len(aucs) == run.best_epoch + 3 < 60
    assert max(aucs) == aucs[run.best_epoch]
    ids, labels = torch.from_numpy(dataset.ids), torch.from_numpy(dataset.labels)
    valid = dataset.split[1]
    assert auc(predict(model, ids, valid), labels[valid]) == max(aucs)


def test_of_epochs_that_are_as_good_the_first_is_the_best(monkeypatch):
    monkeypatch.setattr(training, "auc", lambda logits, labels: 0.5)
    dataset = tiny_dataset(300)
    run = fit_tiny(tiny_model(dataset), dataset, epochs=9, patience=2)
    assert run.best_epoch == 0 and len(run.epochs) == 3


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where():
    dataset = tiny_dataset()
    model = tiny_model(dataset)
    with torch.no_grad():
        model.head.output.bias.fill_(float("nan"))
    with pytest.raises(
        DivergedError, match=r"not finite at step 0 of epoch 0; .* nan\. Try a smaller learning"
    ):
        fit_tiny(model, dataset)


def test_a_run_that_diverges_is_stopped_where_compiled_code_takes_its_steps_too(monkeypatch):
    monkeypatch.setattr(fused, "WORTH_FUSING", 0)
    dataset = tiny_dataset(300)
    with pytest.raises(DivergedError, match=r"not finite at step 1 of epoch 0; .* nan\. Try"):
        fit_tiny(tiny_model(dataset), dataset, learning_rate=1e5)


def test_no_batch_of_one_row_meets_batch_norm():
    dataset = tiny_dataset(130)  # 104 training rows: 103 and a remainder of one, cut in order
    run = fit_tiny(tiny_model(dataset), dataset, batch_size=103, epochs=1)
    assert len(run.epochs) == 1
    with pytest.raises(ValueError, match="batch size 1 cuts 104 training rows"):
        fit_tiny(tiny_model(dataset), dataset, batch_size=1)


def test_the_progress_bar_tells_loss_auc_and_speed(capsys):
    dataset = tiny_dataset()
    fit_tiny(tiny_model(dataset), dataset, epochs=2, progress="dcnv2 base")
    shown = capsys.readouterr().err
    assert "dcnv2 base" in shown
    assert "loss=" in shown and "valid AUC=0." in shown and "rows/s" in shown


def test_a_device_that_is_not_there_is_an_error_that_lists_the_others():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match=r"device 'abacus' cannot be used here .*'auto', 'cpu'"):
        choose_device("abacus")


@pytest.mark.parametrize(
    ("worth", "numba", "kind"),
    [(1, True, "uncaptured"), (10**9, True, "loop"), (1, False, "loop")],
)
def test_on_a_cpu_large_tables_are_trained_by_blocked_adam_where_numba_is(
    worth, numba, kind, monkeypatch
):
    monkeypatch.setattr(training, "WORTH_BLOCKING", worth)
    monkeypatch.setattr(training, "numba_runs", lambda: numba)
    dataset = tiny_dataset(500)
    assert fit_tiny(tiny_model(dataset), dataset, epochs=1).engine == kind
    forced = fit_tiny(tiny_model(dataset), dataset, epochs=1, engine=kind == "loop").engine
    assert forced == ("uncaptured" if kind == "loop" else "loop")
