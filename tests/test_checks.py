import functools
import pathlib

import numpy as np
import pytest

from cin_keras.checks import (
    check_bool,
    check_choice,
    check_int,
    check_labels,
    check_list,
    check_names,
    check_number,
    check_size,
    positive,
)


@pytest.mark.parametrize(
    "check, expected",
    [
        (lambda: check_number("a", np.float32(0.5), above=0), 0.5),
        (lambda: check_number("a", np.int64(1), least=0, most=1), 1),
        (lambda: check_int("n", np.int64(32), least=1), 32),
        (lambda: check_int("n", np.uint8(3), least=0, most=3), 3),
        (lambda: check_int("n", None, least=1, or_none=True), None),
        (lambda: check_bool("b", np.True_), True),
        (lambda: check_choice("c", None, (None, "a")), None),
        (lambda: check_size("s", np.int64(32)), (32, 32)),
        (lambda: check_size("s", [np.int32(3), 4]), (3, 4)),
        (lambda: check_size("s", np.array([3, 4])), (3, 4)),
        (lambda: check_list("l", np.array([1, 2])), (1, 2)),
        (lambda: check_labels("l", np.uint8([1, 0]), 2).tolist(), [1, 0]),
    ],
)
def test_numpys_numbers_are_numbers(check, expected):
    result = check()
    assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize("value", [True, np.True_, 2.0, "2", None, float("nan"), [2]])
def test_what_is_no_int(value):
    with pytest.raises(ValueError, match="`n` must be an int of at least 1. Received: n="):
        check_int("n", value, least=1, or_none=value is not None)
    with pytest.raises(ValueError, match="`n` must be an int from 1 to 3. Received: n="):
        check_int("n", value, least=1, most=3)
    if not isinstance(value, list):
        with pytest.raises(ValueError, match=r"`s` must be a positive int or \(height, width\)"):
            check_size("s", value)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), -1, 2])
def test_what_is_no_number_in_the_range(value):
    with pytest.raises(ValueError, match="`a` must be a number from 0 to 1. Received: a="):
        check_number("a", value, least=0, most=1)


@pytest.mark.parametrize("value", [0, 1.5])
def test_what_is_not_above_the_one_and_up_to_the_other(value):
    assert check_number("a", 1, above=0, most=1) == 1
    with pytest.raises(ValueError, match="`a` must be a number above 0 and of at most 1. Received"):
        check_number("a", value, above=0, most=1)


def test_a_number_without_a_range_is_finite():
    assert check_number("a", -5) == -5
    for value in (float("inf"), -float("inf"), float("nan"), True):
        with pytest.raises(ValueError, match="`a` must be a number that is finite"):
            check_number("a", value)


@pytest.mark.parametrize("value", ["no", 1, 0, None, [True]])
def test_what_is_no_bool(value):
    with pytest.raises(ValueError, match="`b` must be True or False. Received: b="):
        check_bool("b", value)


@pytest.mark.parametrize("value", ["c", 0, True, ["a"], np.zeros(2)])
def test_what_is_no_choice(value):
    with pytest.raises(ValueError, match="`c` must be None, 'a' or 'b'. Received: c="):
        check_choice("c", value, (None, "a", "b"))


@pytest.mark.parametrize("value", [0, -3, (3,), (3, 4, 5), (3, True), (0, 3), ["3", 4], "33"])
def test_what_is_no_size(value):
    with pytest.raises(ValueError, match="`s` must be a positive int or .*Received: s="):
        check_size("s", value)


@pytest.mark.parametrize("value", ["abc", b"abc", pathlib.Path("abc"), None, 3])
def test_what_is_no_list(value):
    with pytest.raises(ValueError, match="`l` must be a list. Received: l="):
        check_list("l", value)


@pytest.mark.parametrize("value", [{"a"}, frozenset("a"), {"a": 1}])
def test_what_has_no_order_is_refused_where_it_matters(value):
    assert check_list("l", value) == ("a",)
    for check in (check_names, functools.partial(check_list, in_order=True)):
        with pytest.raises(ValueError, match="`l` must be a list, which has an order. Received: l="):
            check("l", value)


@pytest.mark.parametrize(
    "labels, message",
    [
        ([], "at least one"),
        ([[0]], r"shape=\(1, 1\)"),
        ([0.0], "dtype=float64"),
        ([True], "dtype=bool"),
        (["0"], "one integer a sample"),
        ([0, 1, 2], r"`l` must lie in 0\.\.1 \(2 classes\). Received: 2 at index 2 \(1 such"),
        ([0, -1], "Received: -1 at index 1"),
        ([0], "one label for each of 2 samples. Received: 1 labels"),
    ],
)
def test_what_are_no_labels(labels, message):
    count = 2 if labels == [0] else None
    with pytest.raises(ValueError, match=message):
        check_labels("l", labels, 2, count)


def test_a_long_value_is_cut_off():
    with pytest.raises(ValueError) as error:
        check_int("n", "x" * 1000, least=1)
    assert len(str(error.value)) < 150


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_positive(text):
    assert positive(float)("0.5") == 0.5
    with pytest.raises(ValueError):
        positive(float)(text)
