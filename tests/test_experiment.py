"""A spec determines a run; a run leaves a record; a record is not made twice."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from embedding_collapse import experiment, records
from embedding_collapse.data import load
from embedding_collapse.experiment import (
    Spec,
    build_model,
    comparison,
    output_folder,
    parameter_counts,
    run,
)
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import singular_values


@pytest.fixture(scope="module")
def flights():
    return load("flights", 1500)


TINY = {"dataset": "flights", "rows": 1500, "embedding_size": 3, "hidden": 8, "cross_layers": 2,
        "epochs": 2, "batch_size": 200}  # fmt: skip


def test_se_scales_the_width_and_me_the_number_of_sets():
    assert (Spec(scale=4).sets, Spec(scale=4).width) == (1, 40)
    assert (Spec(scale=4, design="me").sets, Spec(scale=4, design="me").width) == (4, 10)
    assert [s.label for s in comparison(scale=4, seeds=2)] == ["base", "SE 4x", "ME 4x"] * 2


def test_a_key_follows_from_the_parameters_alone():
    assert Spec().key == Spec().key != Spec(seed=1).key
    # Stored records are found by their keys, so a key must never change unnoticed.
    assert Spec(dataset="flights", scale=10, design="me").key == "04f7c2c9d9cb"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale": "abc"}, "scale is 'abc'; whole numbers from 2 up"),
        ({"scale": 0}, "scale is 0; whole numbers from 2 up"),
        ({"scale": True}, "scale is True; whole numbers from 2 up"),
        ({"seeds": 0}, "seeds is 0; whole numbers from 1 up"),
        ({"model": "foo"}, "model 'foo' is unknown; known: dnn, ipnn, nfwfm"),
        ({"dataset": "foo"}, "dataset 'foo' is unknown; known: synthetic, synthetic-mini, flights"),
        ({"rows": 3}, "rows is 3; whole numbers from 10 up"),
        ({"rows": "all"}, "rows is 'all'; whole numbers from 0 up"),
        ({"rows": False}, "rows is False; whole numbers from 0 up"),
        ({"seeds": 1, "batch_size": 1}, "batch_size is 1; whole numbers from 2 up"),
        ({"epochs": 1.5}, "epochs is 1.5; whole numbers from 1 up"),
        ({"dropout": 1.0}, "dropout is 1.0; numbers from 0 to below 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; numbers from 0 up"),
    ],
)
def test_a_parameter_that_cannot_be_is_named_with_what_is_accepted(changed, message):
    with pytest.raises(ParameterError, match=message):
        comparison(**({"scale": 4, "seeds": 1} | changed))


def test_a_record_holds_what_the_run_was_and_what_came_of_it(flights, tmp_path):
    spec = Spec(**TINY, design="me", scale=2)
    record = run(spec, flights, output=tmp_path, device="cpu", progress=False)
    assert Spec(**record.spec) == spec
    assert record.dataset["fingerprint"] == flights.fingerprint
    assert 0 < record.test["auc"] < 1 and record.speed > 0
    assert record.environment["versions"]["torch"] == torch.__version__
    assert len(record.epochs) == 2
    table = load_file(tmp_path / f"{spec.key}.safetensors")["table"]
    field = table[: flights.cardinalities[0], 1]
    torch.testing.assert_close(
        torch.tensor(record.spectra[0][1], dtype=torch.float64), singular_values(field), rtol=1e-5,
        atol=1e-9,
    )  # fmt: skip
    assert len(record.joined_spectra[0]) == 6


def test_a_stored_record_is_read_not_trained_again(flights, tmp_path, monkeypatch):
    spec = Spec(**TINY)
    first = run(spec, flights, output=tmp_path, device="cpu", progress=False)
    monkeypatch.setattr(experiment, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert run(spec, flights, output=tmp_path, device="cpu", progress=False) == first
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".json", ".safetensors"]


def test_an_interrupted_run_goes_on_from_its_last_epoch(flights, tmp_path, monkeypatch):
    spec = Spec(**TINY)
    whole = run(spec, flights, device="cpu", progress=False)

    class PowerCut(Exception):
        pass

    def cut(*_, **__):
        raise PowerCut

    with monkeypatch.context() as patch:  # both epochs are trained, then the record is lost
        patch.setattr(experiment, "field_spectra", cut)
        with pytest.raises(PowerCut):
            run(spec, flights, output=tmp_path, device="cpu", progress=False)
    state = json.loads(next(tmp_path.glob("*.checkpoint/checkpoint.json")).read_text())
    resumed = run(spec, flights, output=tmp_path, device="cpu", progress=False)
    assert resumed.epochs == state["epochs"]  # to the second: none was trained again
    assert resumed.test == whole.test and resumed.spectra == whole.spectra
    assert records.load_all(tmp_path) == [resumed]


def test_without_an_output_folder_nothing_is_left_behind(flights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(Spec(**TINY), flights, device="cpu", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_spec_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Spec().scale = 2


def test_a_dataset_that_is_not_the_specs_is_refused(flights):
    for other in ({"rows": 1600}, {"dataset": "synthetic-mini"}):
        with pytest.raises(ValueError, match=r"the dataset is 'flights' with 1500 rows; the spec"):
            run(Spec(**TINY | other), flights, progress=False)


def test_a_record_of_other_data_under_the_same_name_is_not_taken(flights, tmp_path):
    spec = Spec(**TINY)
    run(spec, flights, output=tmp_path, device="cpu", progress=False)
    changed = dataclasses.replace(flights, fingerprint="another")
    with pytest.raises(ValueError, match=r"was made on other data .* now another"):
        run(spec, changed, output=tmp_path, device="cpu", progress=False)


def test_parameters_are_counted_without_making_them(flights):
    spec = Spec(**TINY, scale=3, design="me")
    sizes = flights.cardinalities
    assert parameter_counts(spec, sizes) == build_model(spec, sizes).parameter_counts()


@pytest.mark.parametrize("name", [5, None, "/proc/none/here"])
def test_an_output_folder_that_cannot_be_is_refused_at_once(name):
    with pytest.raises(ParameterError, match=r"output is .*; the name of a folder"):
        output_folder(name)


def test_an_output_folder_is_made_and_an_empty_name_is_none(tmp_path):
    assert output_folder("") is None
    assert output_folder(str(tmp_path / "new" / "folder")).is_dir()
    assert not list((tmp_path / "new" / "folder").iterdir())
