"""A record, its weights and its codebook score rows that the run never saw, as the run would."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from embedding_collapse.files import DamagedError, store_json
from embedding_collapse.lab import scoring
from embedding_collapse.lab.data import codebook as codebooks
from embedding_collapse.lab.data import load, typed
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.metrics import auc
from embedding_collapse.lab.records import path_of
from embedding_collapse.lab.scoring import load_scorer
from embedding_collapse.lab.spec import Spec, build_model
from embedding_collapse.lab.store import codebook_path, weights_path
from embedding_collapse.lab.training import predict
from embedding_collapse.parameters import ParameterError

ROWS = 600
TINY = {"embedding_size": 3, "hidden": 8, "cross_layers": 2, "epochs": 1, "batch_size": 100}
HERE = {"device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    numbers = np.random.default_rng(0)
    shop, minutes = numbers.geometric(0.1, ROWS), np.round(numbers.lognormal(2, 1, ROWS), 2)
    minutes[numbers.random(ROWS) < 0.1] = np.nan
    bought = (shop % 3 + numbers.random(ROWS) > 1.5).astype(int)
    town = numbers.choice(["Ulm", "Bonn"], ROWS)
    return pd.DataFrame({"shop": shop, "town": town, "minutes": minutes, "bought": bought})


@pytest.fixture(scope="module")
def data(frame, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return load("table", frame=frame, label="bought", vocabulary="train", cache=cache)


@pytest.fixture(scope="module")
def ensemble(data, tmp_path_factory) -> Path:
    """Records of two runs of ME and of their ensemble, with weights; the path of the last."""
    folder = tmp_path_factory.mktemp("runs")
    spec = Spec(data.spec, **TINY, design="me", scale=2, members=2, average="probabilities")
    return path_of(folder, run(spec, data, output=folder, **HERE).key)


@pytest.fixture(scope="module")
def made(data, ensemble) -> tuple[Path, Spec]:
    """The path of a member's record, and its spec."""
    spec = Spec(data.spec, **TINY, design="me", scale=2)
    assert path_of(ensemble.parent, spec.key).is_file()
    return path_of(ensemble.parent, spec.key), spec


def test_the_test_rows_score_as_recorded(frame, data, made):
    path, spec = made
    test = data.split[2]
    logits = load_scorer(path, device="cpu").logits(frame.iloc[test.numpy()])
    model = build_model(spec, data.cardinalities)
    model.load_state_dict(load_file(weights_path(path.parent, spec.key)))
    assert torch.equal(logits, predict(model, torch.from_numpy(data.ids), test))
    record = run(spec, data, output=path.parent, **HERE)
    assert auc(logits, torch.from_numpy(data.labels)[test]) == record.test["auc"]


def test_a_folder_may_begin_with_the_home_folders_sign(frame, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    key = run(Spec(data.spec, **TINY), data, output="~/runs", **HERE).key
    assert load_scorer(f"~/runs/{key}.json", device="cpu").score(frame).shape == (ROWS,)
    assert [record.key for record in scoring.records.load_all("~/runs")] == [key]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_an_ensemble_scores_the_test_rows_as_recorded(frame, data, ensemble):
    test = data.split[2]
    logits = load_scorer(ensemble, device="cpu").logits(frame.iloc[test.numpy()])
    recorded = scoring.records.load(ensemble).test["auc"]
    assert auc(logits, torch.from_numpy(data.labels)[test]) == recorded


def test_scores_are_probabilities_in_the_order_of_the_rows(frame, made, tmp_path):
    scorer = load_scorer(made[0], device="cpu")
    frame.to_parquet(tmp_path / "rows.parquet")
    scores = scorer.score(tmp_path / "rows.parquet")
    assert scores.shape == (ROWS,) and scores.dtype == np.float64
    assert ((scores > 0) & (scores < 1)).all()
    assert np.array_equal(scores, torch.sigmoid(scorer.logits(frame).double()).numpy())
    one = scorer.score(frame.iloc[[17]])
    np.testing.assert_allclose(one, scores[[17]], rtol=1e-5)


def test_rows_of_new_values_blanks_and_other_types_score_as_their_ids_do(frame, data, made):
    scorer = load_scorer(made[0], device="cpu")
    new = frame[["minutes", "town", "shop"]][:4].astype({"shop": object, "town": "category"})
    new["town"] = ["Ulm", "Rome", None, "Bonn"]
    new["shop"] = ["1", "airport", None, "2"]
    new["minutes"] = [np.nan, 1e12, -1.0, 7.5]
    ids = scorer.codebook.number(new)
    assert ids[1:3, :2].tolist() == [[0, 0], [0, 0]]  # training had blank minutes alone
    assert ids[0, 2] == data.ids[frame["minutes"].isna(), 2][0] > 0
    expected = predict(scorer.models[0], torch.from_numpy(ids), torch.arange(4))
    assert torch.equal(scorer.logits(new), expected)


def test_the_dataset_does_where_there_is_no_codebook(frame, data, made, tmp_path):
    path, spec = made
    for one in (path, weights_path(path.parent, spec.key)):
        (tmp_path / one.name).write_bytes(one.read_bytes())
    record = tmp_path / path.name
    with pytest.raises(ParameterError, match=rf"{data.fingerprint[:12]}.codebook is not beside it"):
        load_scorer(record)
    scores = load_scorer(record, data, device="cpu").score(frame)
    assert np.array_equal(scores, load_scorer(path, device="cpu").score(frame))


def test_a_dataset_of_other_data_is_refused(frame, made, tmp_path):
    other = load("table", frame=frame[:300], label="bought", cache=tmp_path)
    with pytest.raises(ParameterError, match=r"trained on data of fingerprint .*; the dataset has"):
        load_scorer(made[0], other)


def copied(folder: Path, to: Path) -> None:
    for one in folder.iterdir():
        (to / one.name).write_bytes(one.read_bytes())


def test_a_codebook_of_another_version_or_of_other_data_is_refused(data, made, tmp_path):
    path, _ = made
    copied(path.parent, tmp_path)
    codebook = codebook_path(tmp_path, data.fingerprint)
    whole = data.codebook.written()
    for change, why in (
        ({"version": 2}, "is of version 2, where 3 is needed"),
        ({"fingerprint": data.fingerprint[:12] + "0"}, "is of other data"),
        ({"entries": [e | {"values": ["1"]} for e in whole["entries"]]}, "is of other data"),
    ):
        store_json(codebook, whole | change)
        with pytest.raises(ParameterError, match=f"{codebook.name} beside it {why}; the run again"):
            load_scorer(tmp_path / path.name)


def test_a_run_that_is_there_leaves_a_codebook_where_none_is_whole(data, made, tmp_path):
    path, spec = made
    copied(path.parent, tmp_path)
    codebook = codebook_path(tmp_path, data.fingerprint)
    whole = codebook.read_bytes()
    codebook.unlink()
    run(spec, data, output=tmp_path, weights=False, **HERE)
    assert not codebook.exists()  # nobody asks for what could score
    run(spec, data, output=tmp_path, **HERE)
    assert codebook.read_bytes() == whole
    codebook.write_bytes(whole[:-20])
    with pytest.warns(UserWarning, match=f"set aside as {codebook.name}.damaged: .*checksum"):
        run(spec, data, output=tmp_path, **HERE)
    assert codebook.read_bytes() == whole


def test_an_ensemble_that_is_there_leaves_a_codebook_too(data, ensemble, tmp_path):
    copied(ensemble.parent, tmp_path)
    codebook_path(tmp_path, data.fingerprint).unlink()
    run(Spec.read(scoring.records.load(ensemble).spec), data, output=tmp_path, **HERE)
    assert len(load_scorer(tmp_path / ensemble.name, device="cpu").models) == 2


def test_a_codebook_that_is_whole_is_not_written_again(data, made, tmp_path):
    path, spec = made
    copied(path.parent, tmp_path)
    codebook = codebook_path(tmp_path, data.fingerprint)
    before = codebook.stat().st_ino, codebook.stat().st_mtime_ns
    run(replace(spec, seed=2), data, output=tmp_path, **HERE)
    assert (codebook.stat().st_ino, codebook.stat().st_mtime_ns) == before


def test_rows_score_alike_some_at_a_time(frame, made, monkeypatch):
    at_once = load_scorer(made[0], device="cpu").logits(frame)
    monkeypatch.setattr(typed, "BATCH_ROWS", 50)
    monkeypatch.setattr(codebooks, "PART", 100)
    scorer, sizes = load_scorer(made[0], device="cpu"), []

    def counted(model, ids, rows):
        sizes.append(len(ids))
        return predict(model, ids, rows)

    monkeypatch.setattr(scoring, "predict", counted)
    torch.testing.assert_close(scorer.logits(frame), at_once)
    assert sizes == [100] * 6


def test_a_run_without_weights_leaves_no_codebook_and_cannot_score(data, tmp_path):
    spec = Spec(data.spec, **TINY)
    run(spec, data, output=tmp_path, weights=False, **HERE)
    path = path_of(tmp_path, spec.key)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ParameterError, match=r"cannot score: .* was made without weights"):
        load_scorer(path, data)


def test_runs_on_drawn_data_cannot_score(tmp_path):
    clicks = load("synthetic-mini", 1000)
    record = run(Spec(clicks.spec, **TINY), clicks, output=tmp_path, **HERE)
    with pytest.raises(ParameterError, match="of 'synthetic-mini'; runs on what is read"):
        load_scorer(path_of(tmp_path, record.key), clicks)


def test_what_is_not_there_or_has_changed_is_named(data, ensemble, tmp_path):
    with pytest.raises(ParameterError, match=r"runs/no.json'; there is no such file"):
        load_scorer("runs/no.json")
    copied(ensemble.parent, tmp_path)
    spec = Spec.read(scoring.records.load(ensemble).spec).runs[1]
    record, weights = path_of(tmp_path, spec.key), weights_path(tmp_path, spec.key)
    weights.write_bytes(b"other")
    with pytest.raises(ParameterError, match=f"{weights.name} is damaged"):
        load_scorer(record)
    record.unlink()
    with pytest.raises(ParameterError, match=f"{record.name}'; there is no such file"):
        load_scorer(tmp_path / ensemble.name)
    codebook_path(tmp_path, data.fingerprint).write_text("{}")
    with pytest.raises(DamagedError, match="codebook does not end with a checksum"):
        load_scorer(tmp_path / ensemble.name)


def test_a_column_that_is_missing_is_named(frame, made):
    with pytest.raises(ParameterError, match="it has no column 'minutes'; its columns are 'shop'"):
        load_scorer(made[0]).score(frame.drop(columns="minutes"))


def test_mean_probabilities_have_finite_logits_in_order():
    logits = torch.tensor([0.3, 5.0, -40.0, 40.0, -800.0, 800.0, -900.0, 900.0]).double()
    mean = scoring.averaged([logits, logits], "probabilities")
    torch.testing.assert_close(mean, logits)
    assert scoring.averaged([logits[:2], -logits[:2]], "probabilities").abs().max() < 1e-12
