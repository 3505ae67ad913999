"""A sweep runs what is missing, survives what fails, and on Ray gives the same records."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from filelock import FileLock

from embedding_collapse.cli import main
from embedding_collapse.errors import message
from embedding_collapse.lab import experiment, records
from embedding_collapse.lab.data import DataSpec, describe, load
from embedding_collapse.lab.models import PAPER
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec
from embedding_collapse.lab.studies import executors, run_all, running, title
from embedding_collapse.lab.studies.progress import cost
from embedding_collapse.lab.studies.sweep import grid
from embedding_collapse.parameters import ParameterError

FLIGHTS, MINI = DataSpec("us-flights"), DataSpec("synthetic-mini")
TINY = {
    "datasets": [DataSpec("synthetic-mini", 1500)],
    "models": ["dnn"],
    "scales": [1, 2],
    "seeds": [0],
    "embedding_size": 2,
    "hidden": 8,
    "epochs": 1,
    "batch_size": 400,
}


def sweep_here(specs: list[Spec], folder: Path, **options):
    return run_all(specs, folder, device="cpu", tell=lambda line: None, **options)


# --- the grid -------------------------------------------------------------------------------------


def test_the_papers_grid_is_six_models_of_nine_sizes_and_three_seeds():
    specs = grid(datasets=[MINI])
    assert len(specs) == 6 * (5 + 4) * 3 == len({spec.key for spec in specs})
    assert {spec.model for spec in specs} == set(PAPER)
    assert {spec.label for spec in specs} == {"base"} | {
        f"{design} {scale}x" for design in ("SE", "ME") for scale in (2, 3, 4, 10)
    }


def test_a_grid_has_one_base_run_whatever_the_designs():
    for designs in (["se", "me"], ["me", "se"], ["me"], ["se"]):
        (base,) = grid(datasets=[FLIGHTS], models=["dnn"], designs=designs, scales=[1], seeds=[5])
        assert base == Spec(FLIGHTS, model="dnn", design="se", scale=1, seed=5)


def test_a_grid_names_each_run_once():
    specs = grid(datasets=[FLIGHTS] * 2, models=["dnn", "dnn"], scales=[2, 2], seeds=[1, 1])
    assert [spec.label for spec in specs] == ["SE 2x", "ME 2x"]


def test_a_grid_does_all_of_a_seed_then_keeps_to_a_dataset_and_starts_with_small_models():
    specs = grid(datasets=[FLIGHTS, MINI], models=["dnn", "ipnn"], scales=[1, 4], seeds=[0, 1])
    assert [spec.seed for spec in specs] == [0] * 12 + [1] * 12
    assert [spec.data.name for spec in specs[:12]] == ["us-flights"] * 6 + ["synthetic-mini"] * 6
    assert [(spec.model, spec.label) for spec in specs[:6]] == [
        (model, label) for model in ("dnn", "ipnn") for label in ("base", "SE 4x", "ME 4x")
    ]


@pytest.mark.parametrize(("asked", "dnn", "nfwfm"), [(None, 10, 50), (10, 10, 50), (3, 3, 15)])
def test_a_grids_embedding_size_is_in_the_papers_proportion(asked, dnn, nfwfm):
    specs = grid(datasets=[FLIGHTS], models=["dnn", "nfwfm"], embedding_size=asked)
    assert {(spec.model, spec.embedding_size) for spec in specs} == {("dnn", dnn), ("nfwfm", nfwfm)}


def test_a_grid_hands_the_other_parameters_to_every_run():
    specs = grid(datasets=[DataSpec("synthetic-mini", 1500)], epochs=7, dropout=0.5)
    assert {(spec.data.rows, spec.epochs, spec.dropout) for spec in specs} == {(1500, 7, 0.5)}


@pytest.mark.parametrize("name", ["datasets", "models", "designs", "scales", "seeds"])
def test_an_empty_list_is_refused_by_name(name):
    with pytest.raises(ParameterError, match=f"^{name} is empty; at least one is needed"):
        grid(**{"datasets": [FLIGHTS]} | {name: []})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"models": ["dnn", "foo"]}, "model 'foo' is unknown"),
        ({"scales": [0]}, "scale is 0"),
        ({"embedding_size": -1}, "embedding_size is -"),
        ({"embedding_size": "4"}, "embedding_size is '4'"),
        ({"designs": ["foo"], "scales": [1]}, "design 'foo' is unknown"),
    ],
)
def test_a_grid_with_a_value_that_cannot_be_is_refused_whole(changed, message):
    with pytest.raises(ParameterError, match=message):
        grid(**{"datasets": [FLIGHTS]} | changed)


def test_a_run_that_is_larger_in_any_way_costs_more():
    small = cost(Spec())
    for larger in ({"epochs": 20}, {"scale": 2}, {"scale": 2, "design": "me"}):
        assert cost(Spec(**larger)) > small
    assert cost(Spec(scale=10)) > cost(Spec(scale=10, design="me"))


def test_a_run_is_described_by_what_sets_it_apart():
    spec = Spec(FLIGHTS, model="ipnn", design="me", scale=4, seed=7)
    assert title(spec) == "us-flights, ipnn ME 4x, seed 7"


# --- one after another ----------------------------------------------------------------------------


def test_a_sweep_leaves_a_record_per_run_in_the_order_of_the_specs(tmp_path):
    specs = grid(**TINY)
    done = sweep_here(specs, tmp_path)
    assert [record.key for record in done.records] == [spec.key for spec in specs]
    assert (done.trained, done.failures) == (3, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{spec.key}.json" for spec in specs
    )


def test_a_second_sweep_trains_nothing_and_gives_the_same_records(tmp_path, monkeypatch):
    specs = grid(**TINY)
    first = sweep_here(specs, tmp_path)
    monkeypatch.setattr(experiment, "fit", lambda *_, **__: pytest.fail("trained again"))
    second = sweep_here(specs, tmp_path)
    assert (second.trained, second.failures) == (0, [])
    assert second.records == first.records


def test_a_larger_sweep_trains_only_what_is_missing(tmp_path):
    first = sweep_here(grid(**TINY | {"scales": [1]}), tmp_path)
    second = sweep_here(grid(**TINY | {"scales": [2, 1]}), tmp_path)
    assert (first.trained, second.trained) == (1, 2)
    assert second.records[-1] == first.records[0]


def test_a_run_that_fails_is_told_of_and_the_others_go_on(tmp_path):
    # float32 holds no such weights: the loss after the first step is not a number
    specs = grid(**TINY | {"scales": [1]})
    bad = replace(specs[0], learning_rate=1e38)
    later = grid(**TINY | {"scales": [2], "designs": ["me"]})
    done = sweep_here([*specs, bad, *later], tmp_path)
    ((failed, reason),) = done.failures
    assert failed == bad
    assert reason.startswith("DivergedError: the training loss is not finite at step ")
    assert [record.key for record in done.records] == [specs[0].key, later[0].key]
    assert done.trained == 2


def test_a_dataset_that_does_not_load_is_a_failure_of_its_runs(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("colour,bought\nred,1\nblue,0\n")
    gone = describe("table", path=path, label="bought")
    path.unlink()
    specs = grid(**TINY | {"datasets": [gone], "scales": [1]}) + grid(**TINY | {"scales": [1]})
    done = sweep_here(specs, tmp_path)
    assert [failure.spec for failure in done.failures] == specs[:1]
    assert [record.key for record in done.records] == [specs[1].key]


def test_a_worker_in_another_folder_finds_data_that_a_relative_path_names(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text("colour,bought\n" + "red,1\nblue,0\n" * 200)
    monkeypatch.chdir(tmp_path)
    (spec,) = grid(
        **TINY | {"datasets": [describe("table", path="rows.csv", label="bought")], "scales": [1]}
    )
    (tmp_path / "elsewhere").mkdir()
    load_one = running._load

    def elsewhere(data: DataSpec, **options):
        monkeypatch.chdir(tmp_path / "elsewhere")
        return load_one(data, cache=tmp_path / "cache", **options)

    monkeypatch.setattr(running, "_load", elsewhere)
    assert sweep_here([spec], tmp_path / "runs").trained == 1


def test_a_damaged_record_is_set_aside_and_its_run_made_again(tmp_path):
    specs = grid(**TINY | {"scales": [1]})
    whole = sweep_here(specs, tmp_path).records
    path = records.path_of(tmp_path, specs[0].key)
    path.write_text("null")
    with pytest.warns(UserWarning, match=r"set aside as .*\.json\.damaged: ") as said:
        again = sweep_here(specs, tmp_path)
    assert len(said) == 1
    assert again.trained == 1
    assert [record.test for record in again.records] == [record.test for record in whole]


def test_nothing_is_trained_on_other_data_than_the_records_were_made_on(
    tmp_path, monkeypatch, capsys
):
    """Such as a table that a later version encodes otherwise. The records that are there are shown
    all the same."""
    first = sweep_here(grid(**TINY), tmp_path)
    load_one = running._load

    def encoded_anew(data: DataSpec, **options):
        return replace(load_one(data, **options), fingerprint="0" * 64)

    monkeypatch.setattr(running, "_load", encoded_anew)
    monkeypatch.setattr(experiment, "fit", lambda *_, **__: pytest.fail("trained"))
    done = sweep_here(grid(**TINY | {"seeds": [0, 1]}), tmp_path)
    assert (done.records, done.trained, len(done.failures)) == (first.records, 0, 3)
    assert "was made on other data of the same description" in done.failures[0].reason
    rest = [f"--{name.replace('_', '-')}={TINY[name]}" for name in ("hidden", "epochs")]
    rest += ["--dataset=synthetic-mini", "--rows=1500", "--models=dnn", "--scales=1,2"]
    rest += ["--embedding-size=2", "--batch-size=400", "--seeds=0,1", "--device=cpu"]
    assert main(["sweep", *rest, "--no-weights", f"--output={tmp_path}"]) == 1
    assert "mean IA/K" in capsys.readouterr().out


def test_records_whose_weights_are_asked_for_tell_the_data_too(tmp_path, monkeypatch):
    sweep_here(grid(**TINY), tmp_path)
    load_one = running._load
    monkeypatch.setattr(
        running, "_load", lambda *a, **o: replace(load_one(*a, **o), fingerprint="0" * 64)
    )
    monkeypatch.setattr(experiment, "fit", lambda *_, **__: pytest.fail("trained"))
    specs = grid(**TINY | {"seeds": [0, 1]})
    done = sweep_here(specs, tmp_path, weights=specs)
    assert (done.records, done.trained, len(done.failures)) == ([], 0, len(specs))


def test_records_of_different_data_of_one_description_are_refused_before_training(tmp_path):
    specs = grid(**TINY | {"seeds": [0, 1]})
    one, other, *_ = sweep_here(specs[:2], tmp_path).records
    records.save(
        replace(other, dataset=other.dataset | {"fingerprint": "0"}), tmp_path, replace=True
    )
    with pytest.raises(ParameterError, match=rf"{one.key}.json was made on other data of the same"):
        sweep_here(specs, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_that_another_is_at_comes_last(tmp_path, monkeypatch):
    specs = grid(**TINY | {"scales": [1], "seeds": [0, 1, 2]})
    folder = tmp_path / f"{specs[0].key}-{load('synthetic-mini', 1500).fingerprint[:12]}.checkpoint"
    folder.mkdir()
    lock, fit, trained = FileLock(folder / "lock"), experiment.fit, []

    def fit_then_release(model, dataset, training, **options):
        trained.append(training.seed)
        lock.release()
        return fit(model, dataset, training, **options)

    monkeypatch.setattr(experiment, "fit", fit_then_release)
    lock.acquire()
    done = sweep_here(specs, tmp_path)
    assert trained == [1, 2, 0]
    assert [record.key for record in done.records] == [spec.key for spec in specs]


def test_a_damaged_record_of_another_run_never_stops_a_sweep(tmp_path):
    (tmp_path / "0123456789ab.json").write_text("{")
    assert sweep_here(grid(**TINY | {"scales": [1]}), tmp_path).trained == 1
    assert (tmp_path / "0123456789ab.json").read_text() == "{"


def test_a_sweep_makes_the_weights_that_are_missing_and_keeps_to_the_others(tmp_path):
    specs = grid(**TINY)
    first = sweep_here(specs, tmp_path, weights=specs).records
    (tmp_path / f"{specs[1].key}.safetensors").unlink()
    with pytest.warns(UserWarning, match=rf"{specs[1].key}\.safetensors: No such file"):
        second = sweep_here(specs, tmp_path, weights=specs)
    assert (second.trained, second.failures) == (1, [])
    assert [one == other for one, other in zip(first, second.records, strict=True)] == [
        True,
        False,
        True,
    ]
    assert len(list(tmp_path.iterdir())) == 2 * len(specs)


def test_a_sweep_clears_away_what_kills_left_of_recorded_runs_and_of_no_others(tmp_path):
    specs = grid(**TINY)
    sweep_here(specs[:2], tmp_path)
    left = [tmp_path / f"{spec.key}-data.checkpoint" for spec in specs]
    for folder in left:
        folder.mkdir()
    sweep_here(specs[:1], tmp_path)
    assert [folder.exists() for folder in left] == [False, True, True]
    sweep_here(specs[:2], tmp_path)
    assert [folder.exists() for folder in left] == [False, False, True]


# --- Ray ------------------------------------------------------------------------------------------


def test_without_ray_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # the sweep sets it; this takes it back
    with pytest.raises(ParameterError, match=r"on Ray needs ray, not .* pip install .*\[ray\]"):
        sweep_here(grid(**TINY), tmp_path, ray_address="local")


SIZE = {"embedding_size": 4, "hidden": 32, "epochs": 6, "batch_size": 64}
ON_RAY = grid(
    datasets=[DataSpec("synthetic-mini", 10_000)], models=["dcnv2"], scales=[2], seeds=[0], **SIZE
)


@contextmanager
def sweep_on_ray(folder: Path, said: Path) -> Iterator[subprocess.Popen]:
    """`ON_RAY`, two runs at a time, in a process of its own; what it says is shown where the test
    fails."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SIZE.items()]
    command = [
        sys.executable,
        "-m",
        "embedding_collapse",
        "sweep",
        "--dataset=synthetic-mini",
        "--rows=10000",
        "--models=dcnv2",
        "--scales=2",
        "--seeds=0",
        *options,
        f"--output={folder}",
        "--ray=2",
        "--device=cpu",
        "--no-weights",
    ]
    with said.open("w") as output:
        driver = subprocess.Popen(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=output, stderr=output
        )
    try:
        yield driver
    except BaseException:
        print(said.read_text())
        raise
    finally:
        end(driver)


@pytest.mark.parametrize("lost", [2, executors.STARTS])
def test_on_a_busy_machine_ray_is_started_again_a_few_times(monkeypatch, lost):
    """Its own patience is half a minute, and no option; what it raises then is of no type."""
    ray = pytest.importorskip("ray")
    begun, ended = [], []

    def init(**options):
        begun.append(options)
        if len(begun) <= lost:
            raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(1))
    monkeypatch.setattr(ray, "cluster_resources", dict)
    if lost == executors.STARTS:
        with pytest.raises(TimeoutError, match="in 5 tries") as caught:
            executors.OnRay("local")
        assert "did not start" in message(caught.value) and "--workers" in str(caught.value)
    else:
        with executors.OnRay("local"):
            assert len(begun) == 3 and len(ended) == 2 and begun[0] == begun[2]


@pytest.mark.slow
def test_on_ray_killed_workers_and_drivers_cost_no_epoch_and_leave_no_process(tmp_path):
    """One of two runs loses its worker, and then both their driver."""
    folder, said = tmp_path / "ray", tmp_path / "said.txt"
    with sweep_on_ray(folder, said) as driver:
        paused, late, begun = worker_with_a_checkpoint(driver, folder)
        worker, early, before = worker_with_a_checkpoint(driver, folder, other_than=late)
        worker.kill()
        wait_until(lambda: "(1 of 2 runs" in said.read_text(), driver)
        family = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait()
        with suppress(psutil.NoSuchProcess):  # a raylet quick enough has ended it, paused as it was
            paused.resume()
        assert psutil.wait_procs(family, timeout=300)[1] == []  # those at work find out themselves

    recovered = records.load(records.path_of(folder, early))
    assert recovered.epochs[: len(before)] == before  # to the second: not trained again
    assert 0 < len(before) < len(recovered.epochs)
    resumed = {record.key: record for record in with_one_thread(ON_RAY, folder)}
    assert resumed.keys() == {spec.key for spec in ON_RAY}
    assert resumed[late].epochs[: len(begun)] == begun
    assert {path.suffix for path in folder.iterdir()} == {".json"}
    for record in with_one_thread(ON_RAY, tmp_path / "here"):
        assert resumed[record.key].test == record.test
        assert losses(resumed[record.key]) == losses(record)


@pytest.mark.slow
def test_a_cluster_that_loses_a_machine_makes_every_run_all_the_same(tmp_path):
    """Two machines of a core each are two raylets here; one is killed with a run that it has."""
    from ray.cluster_utils import Cluster

    specs = [
        replace(spec, epochs=30) for spec in grid(**TINY | {"scales": [1], "seeds": [0, 1, 2]})
    ]
    quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 2}
    cluster = Cluster(True, head_node_args={"num_cpus": 1, "_system_config": quick})
    machine = cluster.add_node(num_cpus=1)

    def lose() -> None:
        (raylet,) = machine.all_processes["raylet"]
        deadline = time.monotonic() + 900  # a busy machine starts Ray slowly
        while not at_work(psutil.Process(raylet.process.pid), tmp_path):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        cluster.remove_node(machine, allow_graceful=False)

    losing = threading.Thread(target=lose, daemon=True)
    losing.start()
    try:
        done = run_all(specs, tmp_path, ray_address=cluster.address, device="cpu")
        losing.join()
        assert machine not in cluster.list_all_nodes()
    finally:
        cluster.shutdown()
    assert (done.trained, done.failures) == (len(specs), [])
    assert [record.key for record in done.records] == [spec.key for spec in specs]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


def at_work(raylet: psutil.Process, folder: Path) -> bool:
    """Whether one of its workers has a run."""
    locks = list(folder.glob("*.checkpoint/lock"))
    family = raylet.children(recursive=True) if locks else []
    return any(holds(worker, lock) for worker in family for lock in locks)


def test_what_a_run_elsewhere_warns_of_comes_back_with_it(tmp_path):
    """From whichever process: on Ray the same comes back, see above."""
    (spec,) = grid(**TINY | {"scales": [1]})
    records.path_of(tmp_path, spec.key).write_text("{")
    with pytest.warns(UserWarning) as said:
        (record,) = sweep_here([spec], tmp_path, workers=1).records
    assert record.key == spec.key
    (text,) = [str(one.message) for one in said if one.category is UserWarning]
    assert text.startswith(
        f"synthetic-mini, dnn base, seed 0: set aside as {spec.key}.json.damaged: "
    )


def worker_with_a_checkpoint(
    driver: subprocess.Popen, folder: Path, other_than: str = ""
) -> tuple[psutil.Process, str, list]:
    """A worker, paused once its run, which it holds the lock of, has an epoch behind it.

    Returns:
        The worker, the key of its run, and the epochs of its checkpoint.
    """
    working: list[tuple[psutil.Process, Path]] = []

    def one_is_at_work() -> bool:
        for state in folder.glob("*.checkpoint/checkpoint.json"):
            for worker in psutil.Process(driver.pid).children(recursive=True):
                if key_of(state) != other_than and holds(worker, state.with_name("lock")):
                    working.append((worker, state))
                    return True
        return False

    wait_until(one_is_at_work, driver)
    ((worker, state),) = working
    worker.suspend()
    return worker, key_of(state), json.loads(state.read_text())["epochs"]


def key_of(state: Path) -> str:
    return state.parent.name.partition("-")[0]


def wait_until(happened: Callable[[], bool], driver: subprocess.Popen) -> None:
    deadline = time.monotonic() + 900  # a busy machine starts Ray slowly
    while not happened():
        assert driver.poll() is None, "the sweep has ended"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def holds(process: psutil.Process, lock: Path) -> bool:
    try:
        return str(lock) in [file.path for file in process.open_files()]
    except psutil.Error:  # it has ended meanwhile
        return False


def with_one_thread(specs: list[Spec], folder: Path) -> list[Record]:
    """As on Ray: with more threads, sums would differ in their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return sweep_here(specs, folder).records
    finally:
        torch.set_num_threads(threads)


def losses(record: Record) -> list[float]:
    return [epoch["train_loss"] for epoch in record.epochs]


def end(driver: subprocess.Popen) -> None:
    """Whatever is left of a sweep that did not end by itself."""
    if driver.poll() is None:
        for process in psutil.Process(driver.pid).children(recursive=True):
            process.kill()
        driver.kill()
        driver.wait()
