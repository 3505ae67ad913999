import traceback

import numpy as np
import pytest

from embedding_collapse.parameters import (
    ParameterError,
    check_choice,
    check_flag,
    check_number,
    check_whole,
    first_line,
    numbers_between,
    whole_numbers,
)

NO_NUMBERS = [True, False, "1", None, [1], float("nan")]


def message(check, *args, **kwargs) -> str:
    with pytest.raises(ParameterError) as caught:
        check(*args, **kwargs)
    return str(caught.value)


def test_what_is_accepted_passes_in_silence():
    check_choice("model", "dnn", ["dnn", "dcnv2"])
    check_choice("model", "dnn", {"dnn": 1})
    check_whole("rows", 10, least=10)
    check_whole("seed", 2**70, least=0)
    for value in (0, 0.0, 0.999, 1 - 2**-53):
        check_number("dropout", value, 0, 1)
    check_number("learning_rate", 1e300, 0)


def test_an_unknown_choice_is_named_with_the_known_ones():
    expected = "model 'foo' is unknown; known: dnn, dcnv2"
    assert message(check_choice, "model", "foo", ["dnn", "dcnv2"]) == expected
    assert message(check_choice, "model", "foo", iter(["dnn", "dcnv2"])) == expected


@pytest.mark.parametrize("value", [None, 3, True, ["dnn"], "DNN", "dn"])
def test_a_choice_is_exactly_one_of_the_names(value):
    assert f"model {value!r} is unknown" in message(check_choice, "model", value, {"dnn": 1})


@pytest.mark.parametrize("value", [9, 0, -10, 10.0, 1e9, float("inf"), np.float64(12), *NO_NUMBERS])
def test_what_is_no_whole_number_or_too_small_is_named(value):
    expected = f"rows is {value!r}; whole numbers from 10 up are accepted"
    assert message(check_whole, "rows", value, least=10) == expected


@pytest.mark.parametrize("value", [True, False])
def test_a_truth_is_no_number_even_where_0_and_1_are_accepted(value):
    assert message(check_whole, "seed", value, least=0).startswith(f"seed is {value}; whole")
    assert message(check_number, "share", value, 0, 2).startswith(f"share is {value}; numbers")


@pytest.mark.parametrize("value", [-1e-9, 1, 1.0, 2, float("inf"), float("-inf"), *NO_NUMBERS])
def test_what_is_no_number_or_outside_its_range_is_named(value):
    expected = f"dropout is {value!r}; numbers from 0 to below 1 are accepted"
    assert message(check_number, "dropout", value, 0, 1) == expected


@pytest.mark.parametrize("value", [-0.5, float("inf"), *NO_NUMBERS])
def test_a_range_without_an_end_still_leaves_out_infinity(value):
    expected = f"learning_rate is {value!r}; numbers from 0 up are accepted"
    assert message(check_number, "learning_rate", value, 0) == expected


def test_it_is_a_value_error_that_a_notebook_shows_as_one_line():
    try:
        check_choice("model", "one\ntwo", ["dnn"])
    except ValueError as error:
        lines = error._render_traceback_()
        plain = traceback.format_exception_only(error)
    assert lines == [r"ParameterError: model 'one\ntwo' is unknown; known: dnn"]
    assert plain[0].strip().endswith(lines[0])


def test_whole_numbers_are_read_from_a_text():
    assert whole_numbers("thirds", "2, 3,100", least=2) == [2, 3, 100]
    assert whole_numbers("thirds", 7, least=2) == [7]  # as papermill hands over a single one
    assert message(whole_numbers, "thirds", "1,3", 2) == (
        "thirds is 1; whole numbers from 2 up are accepted"
    )
    for text in ("", "2,x", "2.5", "2,,3"):
        assert message(whole_numbers, "thirds", text, 1) == (
            f"thirds is {text!r}; whole numbers separated by commas are accepted"
        )


def test_numbers_in_a_text_come_out_sorted_and_once():
    assert numbers_between("eps", "0.5, 0.1,0.3,0.1", 0, 1) == [0.1, 0.3, 0.5]
    assert numbers_between("eps", 0.5, 0, 1) == [0.5]


@pytest.mark.parametrize("text", ["", "0.5,", "1", "0", "0.5,nan", "a", None, True, 2])
def test_a_text_of_other_numbers_is_told(text):
    assert message(numbers_between, "eps", text, 0, 1) == (
        f"eps is {text!r}; numbers above 0 and below 1, separated by commas, are accepted"
    )


@pytest.mark.parametrize("value", ["no", "False", 0, 1, None])
def test_a_flag_is_true_or_false_and_no_text(value):
    check_flag("weights", False)
    assert message(check_flag, "weights", value) == (
        f"weights is {value!r}; true or false is accepted"
    )


def test_an_error_without_a_word_is_told_by_its_type():
    assert first_line(ValueError("  one\ntwo")) == "one"
    assert first_line(AssertionError()) == "AssertionError"
