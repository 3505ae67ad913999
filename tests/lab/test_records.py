from dataclasses import asdict, replace
from pathlib import Path

import pytest
from harm import each_harm

from embedding_collapse.files import DamagedError, load_json, store_json
from embedding_collapse.lab import records
from embedding_collapse.lab.contrast import Group, contrast
from embedding_collapse.lab.groups import by_label, differences, still_rising, summary
from embedding_collapse.lab.records import find, load, load_all, path_of, provenance, save
from embedding_collapse.lab.studies import index
from embedding_collapse.spectrum import random_spectrum

# --- files ----------------------------------------------------------------------------------------


def test_a_record_is_read_back_as_it_was(tmp_path, make_record):
    record = make_record("me", 4, seed=2, auc=0.1 + 0.2)
    save(record, tmp_path / "new" / "folder")
    path = path_of(tmp_path / "new" / "folder", record.key)
    assert path.name == f"{record.key}.json"
    assert load(path) == record


def test_a_record_with_a_number_that_is_not_finite_is_not_saved(tmp_path, make_record):
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(make_record(auc=float("nan")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_all_records_of_a_folder_are_loaded_in_order_of_their_names(tmp_path, make_record):
    saved = [make_record(seed=seed) for seed in range(5)]
    for record in saved:
        save(record, tmp_path)
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / ".hidden.json.123").write_text("a write that was killed")
    assert load_all(tmp_path) == sorted(saved, key=lambda record: record.key)


@each_harm
def test_a_damaged_record_is_an_error_alone_and_left_out_with_a_warning_among_others(
    tmp_path, make_record, harm
):
    whole, damaged = make_record(seed=0), make_record(seed=1)
    for record in (whole, damaged):
        save(record, tmp_path)
    path = path_of(tmp_path, damaged.key)
    harm(path)
    with pytest.raises(DamagedError, match=str(path)):
        load(path)
    with pytest.warns(UserWarning, match=f"left out: .*{path.name}") as said:
        assert load_all(tmp_path) == [whole]
    assert len(said) == 1
    assert said[0].filename == __file__  # it points at who asked for the records
    assert find(tmp_path, damaged.key) is None


def without_spectra(parts: dict) -> dict:
    return {name: part for name, part in parts.items() if name != "spectra"}


@pytest.mark.parametrize("change", [without_spectra, lambda parts: parts | {"luck": 1}])
def test_what_is_whole_and_no_record_is_refused(tmp_path, make_record, change):
    record = make_record()
    path = path_of(tmp_path, record.key)
    store_json(path, change(asdict(record)))
    with pytest.raises(DamagedError, match=f"{path} is not a record: "):
        load(path)


def test_a_record_is_that_of_the_run_that_it_is_named_after(tmp_path, make_record):
    """Also where somebody who changes the parameters, or renames the file, mends the checksum."""
    record, other = make_record(seed=0), make_record(seed=1)
    path = path_of(tmp_path, record.key)
    for content in (asdict(other), asdict(record) | {"spec": other.spec}):
        store_json(path, content)
        with pytest.raises(DamagedError, match=f"{path} holds run .* are those of {other.key}"):
            load(path)
    store_json(path, asdict(record))
    assert load(path) == record


RESULTS = Path(records.__file__).parents[3] / "results"


def test_whatever_is_stored_in_the_repository_is_whole_and_has_its_key():
    others = set(index.OTHERS)
    runs = [path for path in RESULTS.glob("*/*.json") if path.parent.name not in others]
    assert len(runs) > 300
    for path in runs:
        assert load(path).key == path.stem
    for path in {*RESULTS.rglob("*.json")} - {*runs}:
        load_json(path)


def test_a_record_that_is_there_is_never_overwritten(tmp_path, make_record):
    first, second = make_record(auc=0.7), make_record(auc=0.8)
    assert first.key == second.key
    save(first, tmp_path)
    save(second, tmp_path)
    assert load_all(tmp_path) == [first]


def test_a_record_is_found_by_its_key(tmp_path, make_record):
    record = make_record()
    assert find(tmp_path, record.key) is None
    assert find(tmp_path / "none", record.key) is None
    save(record, tmp_path)
    assert find(tmp_path, record.key) == record


def test_records_of_several_folders_are_loaded_folder_by_folder(tmp_path, make_record):
    first, second, both = (make_record(seed=seed) for seed in range(3))
    for folder, saved in (("b", [first, both]), ("a", [second, both])):
        for record in saved:
            save(record, tmp_path / folder)
    loaded = load_all(tmp_path / "b", tmp_path / "a")
    assert loaded == [*sorted([first, both], key=lambda r: r.key), second]  # of copies the first
    assert load_all() == []


# --- what a record says ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("design", "scale", "label"),
    [("se", 1, "base"), ("me", 1, "base"), ("se", 4, "SE 4x"), ("me", 10, "ME 10x")],
)
def test_a_label_says_design_and_scale(make_record, design, scale, label):
    assert make_record(design, scale).label == label


def test_relative_abundance_is_the_mean_over_sets_of_IA_by_K(make_record):
    spectra = [[[2.0, 2.0], [4.0, 0.0]], [[3.0, 1.5], [0.0, 0.0]], [[5.0, 5.0], [1.0, 1.0]]]
    record = make_record(spectra=spectra)
    # IA is 2 and 1; 1.5 and 0 (a table of zeros); 2 and 2
    assert record.relative_abundance.tolist() == pytest.approx([1.5 / 2, 0.75 / 2, 2 / 2])


def test_abundance_against_random_tables_is_one_for_a_random_table(make_record):
    """Also where a field has fewer features than K, so that IA / K would be small."""
    random = [random_spectrum(rows, 4).tolist() for rows in (50, 3, 20)]  # the fields' features
    record = make_record(spectra=[[spectrum, spectrum] for spectrum in random])
    assert record.abundance_against_random.tolist() == pytest.approx([1, 1, 1])
    assert record.relative_abundance[1] < 0.6


def test_weighted_abundance_is_held_against_random_tables_weighted_alike(make_record):
    narrow = [[1.0, 1 / 3, 1 / 3, 1 / 3]] * 3  # IA / K = 0.5, as the record's own fields have
    record = make_record(abundance=0.5, weighted_random=narrow)
    assert record.weighted_against_random.tolist() == pytest.approx([1, 1, 1])


def test_records_are_grouped_by_label_base_first_and_se_before_me(make_record):
    me, base, se, again = (
        make_record("me", 4),
        make_record(),
        make_record("se", 4),
        make_record("me", 4, seed=1),
    )
    groups = by_label([me, base, se, again])
    assert list(groups) == ["base", "SE 4x", "ME 4x"]
    assert groups == {"base": [base], "SE 4x": [se], "ME 4x": [me, again]}
    assert list(summary([me, base, se, again]).index) == ["base", "SE 4x", "ME 4x"]


# --- tables ---------------------------------------------------------------------------------------


def test_the_summary_gives_mean_and_sample_deviation_over_seeds(make_record):
    records = [
        make_record("se", 4, seed, auc=auc, log_loss=loss, abundance=abundance, speed=speed)
        for seed, (auc, loss, abundance, speed) in enumerate(
            [(0.70, 0.5, 0.3, 1000.0), (0.71, 0.5, 0.4, 3000.0), (0.75, 0.5, 0.8, 1234.4)]
        )
    ]
    row = summary(records).loc["SE 4x"].to_dict()
    assert row == {
        "test AUC": "0.7200 ± 0.0265",  # sqrt((0.02² + 0.01² + 0.03²) / 2)
        "test log-loss": "0.5000 ± 0.0000",
        "mean IA/K": "0.5000 ± 0.2646",
        "seeds": 3,
        "parameters": "2,368",
        "of these embedding": "1,168",
        "seconds": "4.0",
        "samples/s": "1,234",
    }


def test_the_summary_of_no_records_is_empty():
    assert summary([]).empty


def test_the_seconds_of_the_summary_are_those_of_the_median_run(make_record):
    epochs = [[make_record().epochs[0] | {"seconds": seconds}] for seconds in (1.0, 2.0, 9.0)]
    records = [make_record("se", 4, seed, epochs=own) for seed, own in enumerate(epochs)]
    assert summary(records).loc["SE 4x", "seconds"] == "2.0"


def test_the_summary_has_a_row_per_model_in_order_and_no_deviation_for_a_single_seed(make_record):
    found = summary(
        [make_record("me", 4), make_record(seed=0), make_record(seed=1), make_record("se", 4)]
    )
    assert found.index.tolist() == ["base", "SE 4x", "ME 4x"]
    assert found["seeds"].tolist() == [2, 1, 1]
    assert found["test AUC"].tolist() == ["0.7000 ± 0.0000", "0.7000", "0.7000"]
    assert "nan" not in found.to_string()


def test_a_run_counts_once_however_often_and_under_whichever_design_it_is_there(make_record):
    """At scale 1 SE and ME are one model, under two keys."""
    records = [make_record(), make_record("me"), make_record(), make_record(seed=1)]
    assert by_label(records)["base"] == [records[0], records[3]]
    assert summary(records)["seeds"].tolist() == [2]


def test_runs_of_one_name_on_other_data_are_no_copies(tmp_path, make_record):
    one = make_record()
    other = replace(one, dataset=one.dataset | {"fingerprint": "other"})
    for folder, record in (("a", one), ("b", other)):
        save(record, tmp_path / folder)
    assert load_all(tmp_path / "a", tmp_path / "b") == [one, other]


def test_me_is_not_held_against_se_of_other_settings_or_other_data(make_record):
    me, se = make_record("me", 4), make_record("se", 4, auc=0.6)
    assert summary([me, se]).loc["ME 4x", "ME - SE, AUC"] == "+0.1000"
    for changes in (
        {"spec": se.spec | {"dropout": 0.5}},
        {"dataset": se.dataset | {"fingerprint": "other"}},
        {"placements": {part: values[:1] for part, values in se.placements.items()}},
    ):
        assert "ME - SE, AUC" not in summary([me, replace(se, **changes)])


def test_differences_are_those_of_every_design_from_base_and_of_me_from_se(make_record):
    aucs = {("se", 1): 0.6, ("se", 4): 0.62, ("me", 4): 0.65, ("me", 10): 0.7}
    made = [
        make_record(*cell, seed, auc=auc + seed / 1000)
        for cell, auc in aucs.items()
        for seed in range(3)
    ]
    found = {one.label: one.auc for one in differences(made)}
    expected = {"SE 4x - base": 0.02, "ME 4x - base": 0.05, "ME 4x - SE 4x": 0.03}
    expected["ME 10x - base"] = 0.1  # beside which no SE is
    assert {label: effect.value for label, effect in found.items()} == pytest.approx(expected)
    by_hand = contrast(
        [
            Group(sign, [run.test["auc"] for run in runs], [run.score_summary for run in runs])
            for sign, runs in ((1, by_label(made)["ME 4x"]), (-1, by_label(made)["SE 4x"]))
        ]
    )
    assert found["ME 4x - SE 4x"] == by_hand


def test_nothing_is_held_against_base_of_other_settings_or_other_data(make_record):
    me, base = make_record("me", 4), make_record(auc=0.6)
    assert [one.label for one in differences([me, base])] == ["ME 4x - base"]
    for changes in (
        {"spec": base.spec | {"dropout": 0.5}},
        {"dataset": base.dataset | {"fingerprint": "other"}},
    ):
        assert differences([me, replace(base, **changes)]) == []


def test_runs_that_were_best_at_the_last_epoch_allowed_are_told(make_record):
    last, before = (replace(make_record(), best_epoch=epoch) for epoch in (9, 8))
    assert last.spec["epochs"] == 10
    told = "still rising: in 1 of 2 runs the last of 10 epochs was the best; more might change the "
    assert still_rising([last, before]) == f"{told}order"
    assert still_rising([before]) == ""
    assert still_rising([replace(before, epochs=[], best_epoch=-1)]) == ""  # an ensemble


def test_an_ensemble_is_a_row_of_its_own_beside_its_members(make_record):
    member = make_record()
    spec = member.spec | {"members": 2, "average": "logits"}
    ensemble = replace(member, spec=spec, epochs=[])
    found = summary([ensemble, member, make_record(seed=1)])
    assert found["seconds"].to_dict() == {"base": "4.0", "2 of base, logits": ""}
    assert found["samples/s"]["2 of base, logits"] == "" != found["samples/s"]["base"]
    assert by_label([ensemble, member]) == {"base": [member]}  # of which it is no size


# --- provenance -----------------------------------------------------------------------------------


def test_provenance_names_runs_hardware_versions_commit_time_and_keys(make_record):
    records = [make_record(seed=0), make_record(seed=1)]
    line = provenance(records)
    assert "\n" not in line
    for part in (
        "2 runs on CPU: Abacus™ 3000, 2 threads;",
        "torch 2.6.0",
        "embedding-collapse 0.1.0",
        "commit 0123456789ab;",
        "finished 2024-07-01.",
        f"`{records[0].key}`, `{records[1].key}`",
    ):
        assert part in line


def test_provenance_says_how_a_gpu_took_the_steps_and_why_another_way(make_record):
    how = ("loop", "captured", "loop (fallback: table is off by 1)")
    line = provenance([make_record(seed=seed, engine=engine) for seed, engine in enumerate(how)])
    assert "0123456789ab; steps captured; steps loop (fallback: table is off by 1); the" in line
    assert "steps" not in provenance([make_record(), make_record(seed=1, engine="loop")])


def test_provenance_names_every_machine_once_and_says_where_the_commit_is_unknown(make_record):
    records = [make_record(seed=seed) for seed in range(4)]
    for record in records[2:]:
        record.environment.update(device="cuda", hardware="Loom 9")
    records[0].environment["commit"] = None
    line = provenance(records)
    assert "CPU: Abacus™ 3000, 2 threads; CUDA: Loom 9, 2 threads; " in line
    assert line.count("Abacus") == line.count("Loom") == 1
    assert "commits 0123456789ab, unknown;" in line
