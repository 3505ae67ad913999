import numpy as np

from embedding_collapse.lab.data.vocabulary import cardinality, number_values


def test_kept_values_are_numbered_from_1_in_raw_order_and_rare_ones_share_0():
    numbering = number_values(np.array([10, 9, 0, 500, 11]))
    assert numbering.tolist() == [1, 0, 0, 2, 3]
    assert numbering.dtype == np.int32
    assert cardinality(numbering) == 4


def test_the_rare_bucket_exists_even_where_nothing_is_rare():
    assert cardinality(number_values(np.array([10, 10]))) == 3


def test_a_field_of_rare_values_only_has_the_rare_bucket_alone():
    assert cardinality(number_values(np.array([1, 2]))) == 1
    assert cardinality(number_values(np.array([], dtype=int))) == 1


def test_the_minimum_count_is_a_parameter():
    assert number_values(np.array([3, 4]), minimum=4).tolist() == [0, 1]
