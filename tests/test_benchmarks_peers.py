"""Beside other libraries: what is not there is named, and what is timed is the same."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import peers

    return peers


def libraries(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name / "lib/python3.11/site-packages" / name.replace("-", "_")).mkdir(
            parents=True
        )


def test_who_is_not_there_is_named_and_left_out(peers, tmp_path):
    libraries(tmp_path, "fuxictr", "deepctr-torch")
    (tmp_path / "recbole").mkdir()
    found, lacking = peers.contenders(tmp_path, None)
    assert {"ours", "fuxictr", "deepctr-torch"} <= set(found)
    assert not {"recbole", "official"} & set(found)
    assert found["fuxictr"][0] == str(tmp_path / "fuxictr/bin/python")
    assert found["ours"][0] == sys.executable
    assert "official is left out: --official PATH was not given" in lacking
    assert f"recbole is left out: {tmp_path} has none; see peers.sh" in lacking


def test_a_folder_that_is_no_checkout_of_the_papers_code_is_named(peers, tmp_path):
    _, lacking = peers.contenders(None, str(tmp_path))
    assert f"official is left out: {tmp_path} holds no torchfm/layer.py" in lacking
    assert sum("--peers FOLDER was not given" in line for line in lacking) == 3


def test_a_row_says_how_many_times_as_fast_ours_is(peers):
    job = peers.Job("fuxictr", "mini", "dnn", 1, 10, 4)
    times = [{"seconds": 0.2 + change, "cpu": 0.4, "memory": 5e8} for change in (-0.1, 0, 0.1)]
    own = [{"seconds": 0.1, "cpu": 0.2, "memory": 1e8}]
    found = {job: times, job._replace(who="ours"): own}
    told = "| mini dnn K=10 | fuxictr | 10,240 (6,827 to 20,480) | 200.0 | 400.0 | 0.50 |"
    assert peers.row(job, times, found) == told + " 2.00x | 2.00x |"
    found[job._replace(who="ours, auto")] = [{"seconds": 0.05, "cpu": 0.1, "memory": 1e8}]
    assert peers.row(job, times, found) == told + " 2.00x, 4.00x | 2.00x, 4.00x |"


def test_every_contender_gets_the_same_batches(peers):
    import numpy as np

    data = peers.Data(np.arange(9000, dtype=np.int32).reshape(4500, 2), np.ones(4500), [9000] * 2)
    first, second = data.batches(2)
    assert first[0].shape == (peers.BATCH, 2) and second[0][0, 0] == 2 * peers.BATCH


def test_ours_trains_on_as_many_steps_as_the_others_however_long_the_file(peers, monkeypatch):
    import numpy as np

    from embedding_collapse.lab import training

    fit, trained = training.fit, []

    def watched(model, dataset, *given, **options):
        trained.append(-(-dataset.split_sizes[0] // given[0].batch_size))
        return fit(model, dataset, *given, **options)

    monkeypatch.setattr(training, "fit", watched)
    rows = 20 * peers.BATCH
    data = peers.Data(
        np.zeros((rows, 2), dtype=np.int32), (np.arange(rows) % 2).astype(np.uint8), [3] * 2
    )
    assert peers.ours(peers.Job("ours", "mini", "dnn", 1, 4, 2), data)["seconds"] > 0
    assert trained == [2]
