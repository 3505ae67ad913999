"""A spec determines a run; a run leaves a record; a record is not made twice."""

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace

import filelock
import pytest
import torch
from safetensors.torch import load_file

from embedding_collapse.decomposition import singular_values
from embedding_collapse.lab import experiment, records
from embedding_collapse.lab import spec as spec_module
from embedding_collapse.lab.data import DataSpec, load
from embedding_collapse.lab.experiment import output_folder, run
from embedding_collapse.lab.metrics import auc, log_loss
from embedding_collapse.lab.spec import (
    Spec,
    build_model,
    check_memory,
    parameter_counts,
)
from embedding_collapse.lab.training import Training
from embedding_collapse.parameters import ParameterError
from embedding_collapse.subspace import diversity


@pytest.fixture(scope="module")
def clicks():
    return load("synthetic-mini", 1500)


TINY = {
    "data": DataSpec("synthetic-mini", 1500),
    "embedding_size": 3,
    "hidden": 8,
    "cross_layers": 2,
    "epochs": 2,
    "batch_size": 200,
}


def test_se_scales_the_width_and_me_the_number_of_sets():
    assert (Spec(scale=4).sets, Spec(scale=4).width) == (1, 40)
    assert (Spec(scale=4, design="me").sets, Spec(scale=4, design="me").width) == (4, 10)


def test_a_key_follows_from_the_parameters_alone():
    assert Spec().key == Spec().key != Spec(seed=1).key
    # Stored records are found by their keys, so a key must never change unnoticed.
    assert Spec(DataSpec("us-flights"), scale=10, design="me").key == "7bdd85d3f01f"


def test_the_embedding_size_is_the_papers_unless_given():
    assert Spec().embedding_size == Spec(model="finalmlp").embedding_size == 10
    assert Spec(model="nfwfm").embedding_size == 50
    assert Spec(model="nfwfm", scale=2).width == 100
    assert Spec(model="nfwfm", embedding_size=10).embedding_size == 10
    assert Spec(model="nfwfm") == Spec(model="nfwfm", embedding_size=50)
    assert Spec(model="nfwfm").key == Spec(model="nfwfm", embedding_size=50).key


def test_equal_specs_have_equal_keys():
    """Also where one of them comes from the command line, which makes a number of every 0."""
    whole, number = Spec(dropout=0, weight_decay=0), Spec(dropout=0.0, weight_decay=0.0)
    assert whole == number
    assert whole.key == number.key


def test_a_key_leaves_out_what_is_none():
    @dataclasses.dataclass(frozen=True)
    class Later(Spec):
        added: int | None = None

    assert Later().key == Spec().key  # so records outlive the parameters that are added
    assert Later(added=1).key != Spec().key
    assert Spec().key != Spec(DataSpec(rows=200_000)).key


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale": "abc"}, "scale is 'abc'; whole numbers from 1 to 2147483647"),
        ({"scale": 0}, "scale is 0; whole numbers from 1 to 2147483647"),
        ({"scale": True}, "scale is True; whole numbers from 1 to 2147483647"),
        ({"model": "foo"}, "model 'foo' is unknown; known: dnn, ipnn, nfwfm"),
        ({"data": "synthetic-mini"}, "data is 'synthetic-mini'; a DataSpec is accepted"),
        ({"batch_size": 1}, "batch_size is 1; whole numbers from 2 up"),
        ({"epochs": 1.5}, "epochs is 1.5; whole numbers from 1 up"),
        ({"dropout": 1.0}, "dropout is 1.0; numbers from 0 to below 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; numbers from 0 up"),
    ],
)
def test_a_parameter_that_cannot_be_is_named_with_what_is_accepted(changed, message):
    with pytest.raises(ParameterError, match=message):
        Spec(**changed)


def test_a_record_holds_what_the_run_was_and_what_came_of_it(clicks, tmp_path):
    spec = Spec(**TINY, design="me", scale=2)
    record = run(spec, clicks, output=tmp_path, device="cpu", progress=False)
    assert Spec.read(record.spec) == spec
    assert record.dataset["fingerprint"] == clicks.fingerprint
    assert 0 < record.test["auc"] < 1 and record.speed > 0
    assert record.environment["versions"]["torch"] == torch.__version__
    assert len(record.epochs) == 2
    table = load_file(tmp_path / f"{spec.key}.safetensors")["table"]
    field = table[: clicks.cardinalities[0], 1]
    torch.testing.assert_close(
        torch.tensor(record.spectra[0][1], dtype=torch.float64),
        singular_values(field),
        rtol=1e-5,
        atol=1e-9,
    )
    assert len(record.joined_spectra[0]) == 6


def test_a_run_is_trained_as_its_spec_says(clicks, monkeypatch):
    class Asked(Exception):
        pass

    def fit(model, dataset, training, **_):
        raise Asked(training)

    monkeypatch.setattr(experiment, "fit", fit)
    others = {"learning_rate": 0.5, "weight_decay": 0.25, "patience": 7, "seed": 5}
    with pytest.raises(Asked) as asked:
        run(Spec(**TINY, **others, precision="bf16"), clicks, device="cpu", progress=False)
    expected = Training(epochs=2, batch_size=200, precision="bf16", **others)
    assert asked.value.args == (expected,)


def test_speed_is_that_of_the_median_epoch(clicks):
    record = run(Spec(**TINY | {"epochs": 3}), clicks, device="cpu", progress=False)
    _, middle, _ = sorted(epoch["seconds"] for epoch in record.epochs)
    assert record.speed == pytest.approx(clicks.split_sizes[0] / middle)


def test_a_stored_record_is_read_not_trained_again(clicks, tmp_path, monkeypatch):
    spec = Spec(**TINY)
    first = run(spec, clicks, output=tmp_path, device="cpu", progress=False)
    monkeypatch.setattr(experiment, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert run(spec, clicks, output=tmp_path, device="cpu", progress=False) == first
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".json", ".safetensors"]


def test_without_weights_a_record_is_all_that_is_left(clicks, tmp_path):
    spec = Spec(**TINY)
    run(spec, clicks, output=tmp_path, device="cpu", progress=False, weights=False)
    assert [path.name for path in tmp_path.iterdir()] == [f"{spec.key}.json"]


def shape(values: list) -> list[int]:
    return list(torch.tensor(values).shape)


@pytest.mark.parametrize(("design", "scale", "sets"), [("se", 1, 1), ("se", 2, 1), ("me", 2, 2)])
def test_a_dcnv2s_record_has_projections_by_set_and_pair_of_fields(
    clicks, tmp_path, design, scale, sets
):
    spec = Spec(**TINY, design=design, scale=scale)
    record = run(spec, clicks, output=tmp_path, device="cpu", progress=False)
    fields = len(clicks.fields)
    assert shape(record.projection_norms) == [sets, fields, fields]
    assert shape(record.projected_abundance) == [sets, fields, fields]
    tensors = load_file(tmp_path / f"{spec.key}.safetensors")
    table, width = tensors["table"][:, -1], spec.width
    weight = tensors["interaction.weight"][0, -1]  # x -> W x: columns of field i, rows of j
    for i, j in ((0, 0), (0, 3), (3, 0)):
        block = weight[j * width : (j + 1) * width, i * width : (i + 1) * width].double()
        assert record.projection_norms[-1][i][j] == pytest.approx(block.norm().item(), rel=1e-3)
        field = table.split(clicks.cardinalities)[i].double()
        values = torch.linalg.svdvals(field @ block.T)
        expected = (values.sum() / values[0]).item()
        assert record.projected_abundance[-1][i][j] == pytest.approx(expected, rel=1e-3)


def test_a_model_that_projects_no_fields_has_no_projections_on_record(clicks):
    for model in ("dnn", "dcnv2-sfg"):  # one has none; one projects what is no embedding any more
        record = run(Spec(**TINY, model=model), clicks, device="cpu", progress=False)
        assert record.projection_norms is None
        assert record.projected_abundance is None


def test_a_table_that_is_narrower_than_its_spec_has_no_blocks_to_be_diverse(clicks):
    spec = Spec(**TINY, model="dcnv2-lifted", design="se", scale=4)
    record = run(spec, clicks, device="cpu", progress=False)
    assert record.diversity is None
    assert {len(spectrum) for (spectrum,) in record.spectra} <= set(range(1, 11))


def test_diversity_is_none_of_a_base_model_and_a_number_per_field_of_se_and_me(clicks, tmp_path):
    found, tables = {}, {}
    tiny = TINY | {"embedding_size": min(clicks.cardinalities)}
    for spec in (Spec(**tiny, scale=1), Spec(**tiny, scale=2), Spec(**tiny, design="me", scale=2)):
        record = run(spec, clicks, output=tmp_path, device="cpu", progress=False)
        found[spec.label] = record.diversity
        tables[spec.label] = load_file(tmp_path / f"{spec.key}.safetensors")["table"]
    assert found["base"] is None
    few = [rows <= tiny["embedding_size"] for rows in clicks.cardinalities]
    assert 0 < sum(few) < len(few)
    # SE's one table in two blocks as wide as the base model's
    tables["SE 2x"] = torch.stack(tables["SE 2x"][:, 0].chunk(2, dim=1), dim=1)
    for label in ("SE 2x", "ME 2x"):
        expected = diversity(tables[label], clicks.cardinalities).tolist()
        assert found[label] == pytest.approx(expected, rel=1e-3, abs=1e-12)
        assert [value == pytest.approx(0, abs=1e-12) for value in found[label]] == few


def test_an_interrupted_run_goes_on_from_its_last_epoch(clicks, tmp_path, monkeypatch):
    spec = Spec(**TINY)
    whole = run(spec, clicks, device="cpu", progress=False)

    class PowerCut(Exception):
        pass

    def cut(*_, **__):
        raise PowerCut

    with monkeypatch.context() as patch:  # both epochs are trained, then the record is lost
        patch.setattr(experiment, "measured", cut)
        with pytest.raises(PowerCut):
            run(spec, clicks, output=tmp_path, device="cpu", progress=False)
    state = json.loads(next(tmp_path.glob("*.checkpoint/checkpoint.json")).read_text())
    resumed = run(spec, clicks, output=tmp_path, device="cpu", progress=False)
    assert resumed.epochs == state["epochs"]  # to the second: none was trained again
    assert resumed.test == whole.test and resumed.spectra == whole.spectra
    assert records.load_all(tmp_path) == [resumed]


RUN = """
import dataclasses, json, pathlib, sys
from embedding_collapse.lab.data import DataSpec, load
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.spec import Spec
dataset = load("synthetic-mini", 1500)
print("ready", flush=True)
sys.stdin.readline()
spec = Spec.read(json.loads(sys.argv[1]))
record = run(spec, dataset, output=pathlib.Path(sys.argv[2]), device="cpu", progress=False)
print(json.dumps(dataclasses.asdict(record)))
"""


def test_two_processes_at_the_same_run_train_once_and_return_the_same_record(clicks, tmp_path):
    spec = Spec(**TINY | {"epochs": 20, "patience": 20})
    with subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(spec.written()), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        ours = run(spec, clicks, output=tmp_path, device="cpu", progress=False)
        theirs = json.loads(other.stdout.read())
    assert dataclasses.asdict(ours) == theirs  # to the second: only one of them trained
    assert records.load_all(tmp_path) == [ours]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_who_does_not_wait_is_told_at_once_that_another_is_at_it(clicks, tmp_path):
    spec = Spec(**TINY)
    folder = tmp_path / f"{spec.key}-{clicks.fingerprint[:12]}.checkpoint"
    folder.mkdir()
    with filelock.FileLock(folder / "lock"), pytest.raises(filelock.Timeout):
        run(spec, clicks, output=tmp_path, device="cpu", progress=False, wait=False)
    assert run(spec, clicks, output=tmp_path, device="cpu", progress=False, wait=False)


def test_without_an_output_folder_nothing_is_left_behind(clicks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(Spec(**TINY), clicks, device="cpu", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_spec_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Spec().scale = 2


def test_a_dataset_that_is_not_the_specs_is_refused(clicks):
    for other in (DataSpec("synthetic-mini", 1600), DataSpec("us-flights", 1500)):
        with pytest.raises(
            ValueError, match=r"the dataset is DataSpec\(name='synthetic-mini', rows=1500"
        ):
            run(Spec(**TINY | {"data": other}), clicks, progress=False)


def test_a_record_of_other_data_under_the_same_name_is_not_taken(clicks, tmp_path):
    spec = Spec(**TINY)
    run(spec, clicks, output=tmp_path, device="cpu", progress=False)
    changed = dataclasses.replace(clicks, fingerprint="another")
    with pytest.raises(ValueError, match=r"was made on other data .* now another"):
        run(spec, changed, output=tmp_path, device="cpu", progress=False)


def test_parameters_are_counted_without_making_them(clicks):
    spec = Spec(**TINY, scale=3, design="me")
    sizes = clicks.cardinalities
    assert parameter_counts(spec, sizes) == build_model(spec, sizes).parameter_counts()


def test_a_run_needs_memory_for_its_parameters_four_times_in_float32(clicks, monkeypatch):
    spec, sizes, device = Spec(**TINY), clicks.cardinalities, torch.device("cpu")
    needed = 4 * 4 * sum(parameter_counts(spec, sizes).values())
    monkeypatch.setattr(spec_module, "memory", lambda device: needed)
    check_memory(spec, sizes, device)
    monkeypatch.setattr(spec_module, "memory", lambda device: needed - 1)
    with pytest.raises(ParameterError, match="parameters, which take"):
        check_memory(spec, sizes, device)


@pytest.mark.parametrize("name", [5, None, "/proc/none/here"])
def test_an_output_folder_that_cannot_be_is_refused_at_once(name):
    with pytest.raises(ParameterError, match=r"output is .*; the name of a folder"):
        output_folder(name)


def test_an_output_folder_is_made_and_an_empty_name_is_none(tmp_path):
    assert output_folder("") is None
    assert output_folder(str(tmp_path / "new" / "folder")).is_dir()
    assert not list((tmp_path / "new" / "folder").iterdir())


# --- ensembles ------------------------------------------------------------------------------------


def test_an_ensemble_averages_the_predictions_of_runs_of_its_own(clicks, tmp_path):
    options = {"device": "cpu", "progress": False}
    ensemble = Spec(**TINY, members=2, average="logits", seed=1)
    assert [one.seed for one in ensemble.runs] == [2, 3]
    alone = [run(Spec(**TINY, seed=seed), clicks, output=tmp_path, **options) for seed in (2, 3)]
    record = run(ensemble, clicks, output=tmp_path, **options)
    assert record.label == "2 of base, logits" and record.key == ensemble.key
    assert Spec.read(record.spec) == ensemble
    test, logits = clicks.split[2], []
    for member in alone:
        model = build_model(Spec.read(member.spec), clicks.cardinalities)
        model.load_state_dict(load_file(tmp_path / f"{member.key}.safetensors"))
        logits.append(model.eval()(torch.from_numpy(clicks.ids)[test]).detach().double())
    labels = torch.from_numpy(clicks.labels)[test]
    assert record.test["auc"] == auc((logits[0] + logits[1]) / 2, labels)
    other = run(replace(ensemble, average="probabilities"), clicks, output=tmp_path, **options)
    mean = (logits[0].sigmoid() + logits[1].sigmoid()) / 2
    assert other.test["log_loss"] == pytest.approx(log_loss(mean.logit(), labels), rel=1e-12)
    assert shape(record.spectra)[1] == 2 and record.spectra[0][1] == alone[1].spectra[0][0]
    assert sum(record.parameters.values()) == 2 * sum(alone[0].parameters.values())


def test_ensembles_of_other_seeds_share_no_run():
    seeds = [
        one.seed for seed in range(3) for one in Spec(members=4, average="logits", seed=seed).runs
    ]
    assert seeds == list(range(12))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"members": 1, "average": "logits"}, "members is 1; whole numbers from 2 up"),
        ({"members": 2}, "average is None beside members; logits or probabilities is needed"),
        ({"average": "logits"}, "average is 'logits'; it is for ensembles, with members"),
        ({"members": 2, "average": "logits", "seed": 2**31}, "seed is 2147483648; whole numbers"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused(changed, message):
    with pytest.raises(ParameterError, match=message):
        Spec(**changed)
