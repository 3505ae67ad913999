import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from embedding_collapse.files import checksum
from embedding_collapse.lab.data import Dataset, drawn, load
from embedding_collapse.lab.data import synthetic as law_of
from embedding_collapse.lab.metrics import auc, expected_auc

MINI = law_of.LAWS["synthetic-mini"]()
ROWS = 40_000  # three blocks


def digest(data: Dataset) -> str:
    return hashlib.sha256(data.ids.astype("<i4").tobytes() + data.labels.tobytes()).hexdigest()


def finished(folder) -> list:
    return [path for path in folder.iterdir() if path.name.startswith("synthetic")]


@pytest.fixture(scope="module")
def tables() -> law_of.Tables:
    with ThreadPoolExecutor(1) as pool:
        return law_of.make_tables(MINI, 0, pool)


@pytest.fixture(scope="module")
def raw(tables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, labels and logits of 196,608 rows, before the minimum count."""
    blocks = [law_of.draw_rows(MINI, tables, 0, block, MINI.block) for block in range(12)]
    ids, labels, logits = zip(*blocks, strict=True)
    return np.concatenate(ids), np.concatenate(labels), np.concatenate(logits, axis=1)


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Dataset:
    return load("synthetic-mini", cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Dataset:
    return load("synthetic", ROWS, cache=tmp_path_factory.mktemp("cache"))


# --- what is kept of a drawing --------------------------------------------------------------------


@pytest.mark.parametrize("changed", [{"version": MINI.version + 1}, {"loyalty": 0.25}])
def test_another_law_or_version_of_the_code_draws_anew(tmp_path, monkeypatch, changed):
    before = load("synthetic-mini", 1000, cache=tmp_path)
    other = replace(MINI, **changed)
    monkeypatch.setitem(law_of.LAWS, "synthetic-mini", lambda: other)
    after = load("synthetic-mini", 1000, cache=tmp_path)
    assert after.fingerprint != before.fingerprint
    assert len(finished(tmp_path)) == 2


def test_what_is_kept_is_that_of_the_laws_version(tmp_path):
    """Where this fails on purpose, the version in `synthetic.py` is to be raised."""
    load("synthetic-mini", 1000, cache=tmp_path)
    (folder,) = finished(tmp_path)
    load("synthetic-mini", 1000, held_out=(100, 100), cache=tmp_path)
    (other,) = set(finished(tmp_path)) - {folder}
    kept = {
        path.name: checksum(path)
        for path in sorted([*folder.iterdir(), other / "truth.npy"])
        if path.name != "checksums.json"
    }
    assert MINI.version == 1
    assert kept == {
        "about.json": "9bd2ec294acb94fbe7c4b7f78cdb5de8",
        "ids.npy": "6fce75159cd1261430019b0d38276a2e",
        "labels.npy": "d9579ce46abd6e44ec04480bfea2a956",
        "truth.npy": "d6822ebb6e29676a899ca3939d57f444",
    }


# --- the same rows everywhere ---------------------------------------------------------------------


def test_rows_of_the_full_law_are_the_same_on_every_machine(full):
    assert digest(full) == "809574b67c466e11f786ad94e0ba87f4e3c7d984336c285da4ec2b9934ad6ff0"


def test_rows_of_the_mini_law_are_the_same_on_every_machine(tmp_path):
    assert (
        digest(load("synthetic-mini", ROWS, cache=tmp_path))
        == "1d9ae2ee0cdd554b16f40682539b9e8da20e2dd8813dea95e0b1b7ed79f52702"
    )


def test_workers_do_not_change_the_rows(tmp_path):
    one, three = (load("synthetic-mini", ROWS, cache=tmp_path / str(n), workers=n) for n in (1, 3))
    assert digest(one) == digest(three)
    assert one.facts == three.facts


def test_a_raw_row_depends_on_seed_and_row_number_only(tables, raw):
    ids, labels, _ = law_of.draw_rows(MINI, tables, 0, 2, 100)
    start = 2 * MINI.block
    assert np.array_equal(ids, raw[0][start : start + 100])
    assert np.array_equal(labels, raw[1][start : start + 100])


# --- the law --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1457, 67_854])
def test_alias_table_holds_the_zipf_law_to_rounding(size):
    table = law_of.zipf_table(size, 1.0)
    slot = 1 / size
    held = table.threshold * (slot / law_of.ONE)
    got = held + np.bincount(table.alias, slot - held, minlength=size)
    expected = 1 / (np.arange(size) + 2)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-4)


def test_ids_follow_zipf_up_to_the_groups_favourites(raw):
    counts = np.bincount(raw[0][:, -1])[:300]
    slope, _ = np.polyfit(np.log(np.arange(300) + 2), np.log(counts), 1)
    assert -1.15 < slope < -0.85


def test_fields_of_one_group_are_correlated_and_those_of_two_are_not(raw):
    def information(first: int, second: int) -> float:
        """Mutual information (nats) among the 31 most common ids, less its bias."""
        joint = np.histogram2d(raw[0][:, first], raw[0][:, second], bins=[range(32)] * 2)[0]
        rows = joint.sum()
        joint /= rows
        apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
        seen = joint > 0
        return (joint[seen] * np.log(joint[seen] / apart[seen])).sum() - 30**2 / 2 / rows

    assert min(information(6, 9), information(7, 10), information(8, 11)) > 0.02
    assert max(information(6, 10), information(8, 10), information(9, 11)) < 0.002


def test_logit_is_intercept_biases_and_inner_products_of_all_pairs_in_a_space(tables, raw):
    ids, _, (logit, linear) = raw
    for row in range(5):
        rows = np.stack([t[i] for t, i in zip(tables.features, ids[row], strict=True)])
        rows = rows.astype(np.float64)
        products = rows[:, 2:] @ rows[:, 2:].T
        assert linear[row] == pytest.approx(MINI.intercept + rows[:, 0].sum(), abs=1e-5)
        assert logit[row] - linear[row] == pytest.approx(np.triu(products, 1).sum(), abs=1e-5)


def test_each_field_takes_part_in_two_or_three_of_the_six_spaces(tables):
    for table in tables.features:
        spaces = np.abs(table[:, 2:]).max(axis=0).reshape(6, 4) > 0
        assert (spaces.all(axis=1) == spaces.any(axis=1)).all()
        assert spaces.all(axis=1).sum() in (2, 3)


def test_labels_are_drawn_with_the_probability_of_the_logit(raw):
    _, labels, (logit, _) = raw
    p = 1 / (1 + np.exp(-logit))
    for low, high in ((-9, -3), (-3, -1), (-1, 1), (1, 9)):
        part = (low <= logit) & (logit < high)
        error = np.sqrt((p[part] * (1 - p[part])).sum())
        assert abs(labels[part].sum() - p[part].sum()) < 4 * error


def test_sigmoid_without_libm_is_the_sigmoid():
    x = np.linspace(-29, 29, 1001)
    np.testing.assert_allclose(law_of.sigmoid(x), 1 / (1 + np.exp(-x)), rtol=1e-11)
    assert 0 < law_of.sigmoid(np.array([-1e9]))[0] < 1e-12


def test_normals_have_mean_0_and_variance_1():
    x = law_of.normals(law_of.words(0, 9, 200_000))
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01


# --- the statistics that fix it -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mini", "full"])
def test_click_rate_and_aucs_are_those_of_real_click_logs(name, request):
    facts = request.getfixturevalue(name).facts
    assert facts["click_rate"] == pytest.approx(0.255, abs=0.015)
    assert facts["linear_auc"] == pytest.approx(0.79, abs=0.005)
    assert 0.82 < facts["best_auc"] < 0.87


def test_aucs_are_those_of_the_ranking(mini, raw):
    _, labels, logits = raw
    for score, fact in zip(logits, ("best_auc", "linear_auc"), strict=True):
        ranked = labels[np.argsort(score)].astype(np.int64)
        auc = (np.cumsum(1 - ranked) * ranked).sum() / (ranked.sum() * (1 - ranked).sum())
        assert mini.facts[fact] == pytest.approx(auc, abs=2e-3)  # 196,608 of the 200,000 rows


def test_click_rate_is_that_of_the_labels(mini):
    assert mini.facts["click_rate"] == pytest.approx(mini.labels.mean())


def test_full_law_has_the_39_cardinalities_of_the_talk():
    law = law_of.LAWS["synthetic"]()
    assert len(law.sizes) == 39
    assert sum(law.sizes) == 1_327_180


def test_mini_law_spans_the_same_spread():
    assert len(MINI.sizes) == 12
    assert (min(MINI.sizes), max(MINI.sizes)) == (3, 4951)


# --- the minimum count ----------------------------------------------------------------------------


def test_values_have_ten_rows_or_are_in_the_rare_bucket(mini):
    for column, size in zip(mini.ids.T, mini.cardinalities, strict=True):
        counts = np.bincount(column, minlength=size)
        assert len(counts) == size
        assert counts[1:].min() >= 10


def test_kept_ids_are_the_raw_ids_renumbered_in_order(mini, raw):
    raw_ids, new_ids = raw[0][:, -1], mini.ids[: len(raw[0]), -1]
    kept = new_ids > 0
    pairs = np.unique(np.stack([raw_ids[kept], new_ids[kept]], axis=1), axis=0)
    assert (np.diff(pairs, axis=0) > 0).all()
    assert 0 < (~kept).mean() < 0.2


# --- rows held out, and their truth ---------------------------------------------------------------

HELD_OUT = (1_000, 20_000)  # one block and two


def draw_held_out(folder, rows: int = 2_000, held_out=HELD_OUT) -> Dataset:
    return load("synthetic-mini", rows, held_out=held_out, cache=folder)


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Dataset:
    return draw_held_out(tmp_path_factory.mktemp("cache"))


def test_held_out_rows_are_those_of_the_first_blocks(known, raw):
    _, labels, logits = raw
    train, validation, test = (part.numpy() for part in known.split)
    block = MINI.block
    assert (len(train), len(validation), len(test)) == (2_000, *HELD_OUT)
    assert np.array_equal(known.labels[test], labels[:20_000])
    assert np.array_equal(known.truth, law_of.sigmoid(logits[0, :20_000]))
    assert np.array_equal(known.labels[validation], labels[2 * block : 2 * block + 1_000])
    assert np.array_equal(known.labels[train], labels[3 * block : 3 * block + 2_000])


def test_more_training_rows_leave_the_held_out_rows_as_they_are(known, tmp_path):
    """A value's id does depend on the rows, which decide whether it is rare."""
    more = draw_held_out(tmp_path, 40_000)
    assert np.array_equal(more.truth, known.truth)
    assert np.array_equal(more.labels[-21_000:], known.labels[-21_000:])
    assert np.array_equal(more.labels[:2_000], known.labels[:2_000])
    assert sum(more.cardinalities) > sum(known.cardinalities)
    assert more.fingerprint != known.fingerprint


def test_values_are_counted_on_all_rows_drawn(known):
    for column, size in zip(known.ids.T, known.cardinalities, strict=True):
        assert np.bincount(column, minlength=size)[1:].min() >= 10


def test_facts_of_held_out_rows_are_expected_aucs(known, raw):
    truth = torch.from_numpy(known.truth)
    logits = torch.from_numpy(raw[2][:, :20_000])
    assert known.facts["best_auc"] == expected_auc(logits[0], truth)
    assert known.facts["linear_auc"] == expected_auc(logits[1], truth)
    assert known.facts["click_rate"] == known.labels.mean()
    # one standard deviation of an AUC of 20,000 rows is about 0.003
    assert known.facts["best_auc"] == pytest.approx(
        auc(logits[0], torch.from_numpy(raw[1][:20_000])), abs=0.012
    )


def test_held_out_rows_come_from_the_cache(known, tmp_path, monkeypatch):
    first = draw_held_out(tmp_path)
    monkeypatch.setattr(drawn, "draw_rows", None)  # drawing again would fail
    again = draw_held_out(tmp_path)
    assert digest(first) == digest(again) == digest(known)
    assert np.array_equal(first.truth, again.truth)
    assert (again.held_out, again.facts) == (HELD_OUT, known.facts)


def test_other_rows_held_out_are_another_file(known, tmp_path):
    draw_held_out(tmp_path)
    other = draw_held_out(tmp_path, held_out=(1_000, 10_000))
    assert len(finished(tmp_path)) == 2
    assert other.fingerprint != known.fingerprint
    assert np.array_equal(other.truth, known.truth[:10_000])  # fewer are the first of more


def test_a_damaged_truth_is_drawn_anew(known, tmp_path):
    draw_held_out(tmp_path)
    path = finished(tmp_path)[0] / "truth.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"0")
    with pytest.warns(UserWarning, match="is damaged .*truth.npy changed"):
        again = draw_held_out(tmp_path)
    assert np.array_equal(again.truth, known.truth)


def test_without_rows_held_out_the_name_in_the_cache_is_as_it_ever_was(tmp_path):
    """Records tell their data by it."""
    data = load("synthetic-mini", 1000, cache=tmp_path)
    assert data.fingerprint.startswith("413cc7c60194f700")
    assert data.truth is None


# --- the cache ------------------------------------------------------------------------------------


def test_a_second_load_maps_the_same_files(tmp_path, monkeypatch):
    first = load("synthetic-mini", 1000, cache=tmp_path)
    monkeypatch.setattr(drawn, "draw_rows", None)  # drawing again would fail
    second = load("synthetic-mini", 1000, cache=tmp_path)
    assert digest(first) == digest(second)
    assert isinstance(second.ids, np.memmap)


def test_writing_to_a_dataset_does_not_reach_the_cache(tmp_path):
    first = load("synthetic-mini", 1000, cache=tmp_path)
    before = digest(first)
    first.ids[:] = 0
    assert digest(load("synthetic-mini", 1000, cache=tmp_path)) == before


def test_the_environment_names_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBEDDING_COLLAPSE_CACHE", str(tmp_path / "there"))
    load("synthetic-mini", 1000)
    assert len(finished(tmp_path / "there")) == 1


def test_a_draw_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(drawn, "draw_rows", fail)
        load("synthetic-mini", 1000, cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]
    assert len(load("synthetic-mini", 1000, cache=tmp_path)) == 1000


@pytest.mark.parametrize("part", ["ids.npy", "labels.npy", "about.json"])
@pytest.mark.parametrize("change", [b"", None, -1, +1])
def test_a_damaged_file_is_drawn_anew_and_said_to_be(tmp_path, part, change):
    before = digest(load("synthetic-mini", 1000, cache=tmp_path))
    path = finished(tmp_path)[0] / part
    if change is None:
        path.unlink()
    else:
        whole = path.read_bytes()
        path.write_bytes(b"" if change == b"" else whole[:-1] if change < 0 else whole + b"0")
    with pytest.warns(UserWarning, match="is damaged .*; building it anew"):
        again = load("synthetic-mini", 1000, cache=tmp_path)
    assert digest(again) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["locks", finished(tmp_path)[0].name]


def test_two_at_once_do_no_harm(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: load("synthetic-mini", ROWS, cache=tmp_path), range(2)))
    assert digest(both[0]) == digest(both[1])
    assert len(finished(tmp_path)) == 1


def test_progress_is_quiet_when_turned_off(tmp_path, capsys):
    load("synthetic-mini", 1000, cache=tmp_path, progress=False)
    assert capsys.readouterr() == ("", "")
