import shutil
from dataclasses import replace

import pytest
import torch
from harm import each_harm

from embedding_collapse.book.analysis import frequency
from embedding_collapse.lab import data, experiment, records
from embedding_collapse.lab.spec import Spec
from embedding_collapse.spectrum import information_abundance, normalised_abundance

SPEC = Spec(
    data.DataSpec(rows=2000),
    scale=2,
    embedding_size=2,
    hidden=8,
    cross_layers=1,
    epochs=2,
    batch_size=256,
)


@pytest.fixture(scope="module")
def clicks():
    return data.load_spec(SPEC.data)


@pytest.fixture(scope="module")
def run(clicks):
    return experiment.run(SPEC, clicks, device="cpu", progress=False)


def test_weighted_abundance_is_that_of_the_rows_the_model_is_fed(clicks):
    table = torch.randn(sum(clicks.cardinalities), 1, 4, generator=torch.Generator().manual_seed(0))
    frame = frequency.by_frequency(table, clicks)
    assert frame["features"].is_monotonic_increasing
    rows = clicks.split[0].numpy()
    start = 0
    for i, field in enumerate(clicks.fields):
        part = table[start : start + field.cardinality, 0].double()
        start += field.cardinality
        fed = torch.linalg.svdvals(part[clicks.ids[rows, i]])
        found = frame.loc[field.name]
        assert found["weighted"] * 4 == pytest.approx(information_abundance(fed).item())
        alike = normalised_abundance(torch.linalg.svdvals(part)).item()
        if field.cardinality >= 4:
            assert found["alike"] == pytest.approx(alike)
    # the table is random itself
    assert frame["weighted / random"].mean() == pytest.approx(1, abs=0.1)
    assert (frame["random weighted"] < frame["random"]).all()


def test_a_recorded_run_trained_again_has_the_tables_of_its_record(clicks, run, tmp_path):
    frequency.remake(run, tmp_path, clicks, device="cpu")
    ((label, (kept,)),) = frequency.recorded(tmp_path).items()
    assert label == "SE 2x"
    assert kept.test == run.test
    alike = dict(zip(run.dataset["fields"], run.relative_abundance.tolist(), strict=True))
    assert kept.frame["alike"].to_dict() == pytest.approx(alike, abs=2e-5)
    assert 0 < kept.in_blocks < 1.2


def test_what_is_kept_is_not_made_again_and_other_data_are_refused(clicks, run, tmp_path):
    made = frequency.remake(run, tmp_path, clicks, device="cpu")
    assert frequency.remake(run, tmp_path, clicks) == made  # to the second at which it was made
    other = replace(run, dataset=run.dataset | {"fingerprint": "another"})
    with pytest.raises(ValueError, match="synthetic-mini is not the data of run"):
        frequency.remake(other, tmp_path, clicks)


@each_harm
def test_what_is_damaged_is_left_out_with_a_word(tmp_path, harm):
    stored = records.folder_of("results/frequency")
    for path in stored.glob("*.json"):
        shutil.copy(path, tmp_path)
    whole = frequency.recorded(tmp_path)
    damaged = records.path_of(tmp_path, whole["base"][0].key)
    harm(damaged)
    with pytest.warns(UserWarning, match=f"left out: .*{damaged.name}"):
        left = frequency.recorded(tmp_path)
    assert left == whole | {"base": whole["base"][1:]}


def test_what_is_damaged_is_made_again(clicks, run, tmp_path):
    path = records.path_of(tmp_path, run.key)
    path.write_text("{}")
    with pytest.warns(UserWarning, match=f"set aside as {path.name}.damaged: "):
        made = frequency.remake(run, tmp_path, clicks, device="cpu")
    assert made.test == run.test
    assert frequency.recorded(tmp_path) == {"SE 2x": [made]}


def test_the_records_of_a_folder_are_made_by_name(clicks, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records.save(run, tmp_path / "runs")
    frequency.remake_all("runs", "made", scale=2)
    assert [path.stem for path in (tmp_path / "made").iterdir()] == [run.key]


def test_the_repositorys_records_belong_to_runs_of_the_grid():
    kept = frequency.recorded(records.folder_of("results/frequency"))
    assert list(kept) == ["base", "SE 10x"]
    for group in kept.values():
        assert [each.spec["seed"] for each in group] == [0, 1, 2]
        for each in group:
            run = records.load(records.path_of(records.folder_of("results/grid"), each.key))
            alike = dict(zip(run.dataset["fields"], run.relative_abundance.tolist(), strict=True))
            assert each.frame["alike"].to_dict() == pytest.approx(alike, abs=0.02)
            assert each.test["auc"] == pytest.approx(run.test["auc"], abs=0.001)


def test_blocks_of_a_random_table_are_random_and_those_of_a_line_are_lines():
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(500, 1, 20, generator=generator)
    assert frequency.in_blocks(wide, [100, 400], 5) == pytest.approx(1, abs=0.05)
    line = wide[..., :1] * torch.randn(20, generator=generator)
    narrow = frequency.in_blocks(line, [100, 400], 5)
    assert narrow == pytest.approx(1 / 5, abs=0.03)
