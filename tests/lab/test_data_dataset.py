import numpy as np
import pytest
import torch

from embedding_collapse.lab.data import Dataset, Field
from embedding_collapse.parameters import ParameterError

FIELDS = (Field("site", 3), Field("device", 2))


def parts(rows: int = 20) -> tuple[np.ndarray, np.ndarray]:
    ids = np.stack([np.arange(rows) % 3, np.arange(rows) % 2], axis=1).astype(np.int32)
    return ids, (np.arange(rows) % 2).astype(np.uint8)


def make(ids: np.ndarray, labels: np.ndarray) -> Dataset:
    return Dataset("small", ids, labels, FIELDS, "none")


def test_cardinalities_describe_the_joint_table():
    data = make(*parts())
    assert data.cardinalities == [3, 2]
    assert len(data) == 20


def test_split_is_the_papers_8_1_1_of_randperm_with_seed_0():
    data = make(*parts(103))
    order = torch.randperm(103, generator=torch.Generator().manual_seed(0))
    train, validation, test = data.split
    assert torch.equal(train, order[:82])
    assert torch.equal(validation, order[82:92])
    assert torch.equal(test, order[92:])


@pytest.mark.parametrize("bad", [2, -1])
def test_an_id_outside_its_field_names_field_and_value(bad):
    ids, labels = parts()
    ids[7, 1] = bad
    with pytest.raises(ValueError, match=f"'device' holds id {bad}; 0 to 1 are accepted"):
        make(ids, labels)


def test_a_label_other_than_0_and_1_is_named():
    ids, labels = parts()
    labels[3] = 2
    with pytest.raises(ValueError, match="label 2 found; 0 and 1 are accepted"):
        make(ids, labels)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_only_is_refused(only):
    ids, labels = parts()
    labels[:] = only
    with pytest.raises(
        ValueError, match=f"every label of the train split is {only}; both classes are needed"
    ):
        make(ids, labels)


def test_wrong_types_are_named():
    ids, labels = parts()
    with pytest.raises(ValueError, match="ids are int64 and labels uint8"):
        make(ids.astype(np.int64), labels)


def test_shapes_that_do_not_fit_are_named():
    ids, labels = parts()
    with pytest.raises(ValueError, match=r"\(20, 2\).*\(19,\) do not fit 2 fields"):
        make(ids, labels[:-1])
    with pytest.raises(ValueError, match=r"\(20, 1\).*do not fit 2 fields"):
        make(ids[:, :1], labels)


def test_too_few_rows_to_split_are_refused():
    with pytest.raises(ValueError, match="9 rows leave the validation split empty"):
        make(*parts(9))


def test_a_split_of_one_row_has_one_class():
    with pytest.raises(ValueError, match=r"every label of the validation split is [01]; both"):
        make(*parts(10))


def test_one_class_in_a_split_is_named_with_the_split():
    rows = 100
    ids, labels = np.zeros((rows, 2), np.int32), np.zeros(rows, np.uint8)
    train = torch.randperm(rows, generator=torch.Generator().manual_seed(0))[:80]
    labels[train[:40]] = 1
    with pytest.raises(ValueError, match="every label of the validation split is 0; both"):
        make(ids, labels)


# --- rows held out explicitly ---------------------------------------------------------------------


def held_out(rows: int, validation: int, test: int, **more) -> Dataset:
    return Dataset("small", *parts(rows), FIELDS, "none", held_out=(validation, test), **more)


def test_rows_held_out_lie_after_the_training_rows():
    data = held_out(20, 2, 5)
    assert data.split_sizes == (13, 2, 5)
    assert [rows.tolist() for rows in data.split] == [[*range(13)], [13, 14], [*range(15, 20)]]


@pytest.mark.parametrize(
    ("sizes", "share"), [((10, 10), "train"), ((0, 5), "validation"), ((30, 5), "train")]
)
def test_rows_held_out_that_leave_nothing_are_refused(sizes, share):
    message = rf"20 rows leave the {share} split empty; held out \({sizes[0]}, {sizes[1]}\)"
    with pytest.raises(ValueError, match=message):
        held_out(20, *sizes)


def test_a_truth_is_a_probability_for_each_test_row():
    assert held_out(20, 2, 5, truth=np.linspace(0, 1, 5)).truth[1] == 0.25
    with pytest.raises(ValueError, match=r"truth is float64 of shape \(4,\); .* \(5,\) is needed"):
        held_out(20, 2, 5, truth=np.linspace(0, 1, 4))
    with pytest.raises(ValueError, match="truth is float32"):
        held_out(20, 2, 5, truth=np.zeros(5, np.float32))
    for bad in (-0.5, 1.5, np.nan):
        with pytest.raises(ValueError, match=f"truth holds {bad}; probabilities are needed"):
            held_out(20, 2, 5, truth=np.array([0, 1, bad, 0, 0]))


def test_training_counts_are_those_of_the_training_rows_field_after_field():
    data = make(*parts(103))
    sites, devices = data.training_counts.split([3, 2])
    rows = data.split[0].numpy()
    assert sites.tolist() == [(data.ids[rows, 0] == site).sum() for site in range(3)]
    assert devices.sum() == len(rows)


def test_ids_of_one_field_are_rows_by_fields_all_the_same():
    with pytest.raises(ParameterError, match=r"ids of shape \(10,\); rows by fields are needed"):
        Dataset("one", np.zeros(10, np.int32), np.zeros(10, np.uint8), (Field("a", 1),), "none")
