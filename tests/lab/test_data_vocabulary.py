import numpy as np

from embedding_collapse.lab.data.vocabulary import number_values


def test_kept_values_are_numbered_from_1_in_raw_order_and_rare_ones_share_0():
    numbering = number_values(np.array([10, 9, 0, 500, 11]))
    assert numbering.tolist() == [1, 0, 0, 2, 3]
    assert numbering.dtype == np.int32


def test_the_minimum_count_is_a_parameter():
    assert number_values(np.array([3, 4]), minimum=4).tolist() == [0, 1]
