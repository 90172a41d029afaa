"""The y of SemiVAEClassifier: what means that there is no label, and what is refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from semivae.errors import DataWarning
from semivae.sklearn.indicators import read_indicators
from semivae.sklearn.regressor import read_numbers
from semivae.sklearn.targets import class_numbers, labelled, names_of, read_targets

NONE = -1


@pytest.mark.parametrize(
    ("y", "classes", "numbers"),
    [
        ([3, -1, 5, 3], [3, 5], [0, NONE, 1, 0]),
        ([3.0, -1.0, 5.0, np.nan], [3.0, 5.0], [0, NONE, 1, NONE]),
        (np.array([3, None, 5, np.nan, -1], dtype=object), [3, 5], [0, NONE, 1, NONE, NONE]),
        (np.array(["dog", None, "cat", np.nan, -1], dtype=object), ["cat", "dog"], [1, NONE, 0, NONE, NONE]),
        (np.array(["dog", "cat"]), ["cat", "dog"], [1, 0]),
        (np.array([True, False, None], dtype=object), [False, True], [1, 0, NONE]),
        (np.array([True, False]), [False, True], [1, 0]),
        (np.array([0, 255, 7], dtype=np.uint8), [0, 7, 255], [0, 2, 1]),
        (np.array(["None of these", "1"], dtype=object), ["1", "None of these"], [1, 0]),
    ],
    ids=str,
)
def test_marks_are_no_classes(y: Any, classes: list[Any], numbers: list[int]) -> None:
    found = read_targets(y)
    assert found.classes.tolist() == classes
    assert found.numbers.tolist() == numbers


def test_texts_that_may_mean_no_label_are_warned_of_in_an_array_of_objects() -> None:
    y = np.array(["None", "Unlabeled", "-1", "ham"], dtype=object)
    with pytest.warns(
        DataWarning, match="y: None, Unlabeled, -1 are read as classes; if they mean that there is no label"
    ):
        assert read_targets(y).numbers.tolist() == [1, 2, 0, 3]
    assert read_targets(y, unlabelled="Unlabeled").numbers.tolist() == [1, NONE, 0, 2], "the user has said which does"
    assert read_targets(y, unlabelled=None).numbers.tolist() == [1, 2, 0, 3]


def test_dates_are_refused() -> None:
    for days in (np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"), [date(2020, 1, 1), date(2020, 1, 2)]):
        with pytest.raises(ValueError, match=r"y holds dates, .*y\.astype\(str\)"):
            read_targets(days)


def test_pandas_own_types_keep_their_kind() -> None:
    pandas = pytest.importorskip("pandas")
    for kind, values in (("Int64", [3, None, 5]), ("boolean", [True, None, False])):
        found = read_targets(pandas.Series(values, dtype=kind))
        assert type(found.classes.tolist()[0]) is type(values[0]) and (found.numbers >= 0).tolist() == [
            True,
            False,
            True,
        ]


def test_another_mark_may_be_chosen() -> None:
    assert read_targets([-1, 1, -1], unlabelled=None).numbers.tolist() == [0, 1, 0]
    assert read_targets([-1, 1, 9], unlabelled=9).numbers.tolist() == [0, 1, NONE]
    assert read_targets(["a", "", "b"], unlabelled="").numbers.tolist() == [0, NONE, 1]
    assert labelled(np.array([1.0, np.nan]), None).tolist() == [True, False], "NaN always is one"


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([-1, -1], "holds no label"),
        ([2, -1, 2], "one class, 2; .*at least two classes"),
        ([0.5, 1.2, 3.7], "Unknown label type"),
        (["a", "b", ""], "empty texts; write None"),
        (np.array(["a", "b", -1]), "the text '-1'.*dtype=object"),
        (np.array(["a", "b", np.nan]), "the text 'nan'.*dtype=object"),
        (np.array(["a", 1, "b", None], dtype=object), "mixes classes of the types int, str"),
        ([0.0, 1.0, np.inf], "contains infinity"),
    ],
    ids=str,
)
def test_what_is_no_class_or_could_be_none_is_refused(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_targets(y)


def test_numbers_of_labels() -> None:
    classes = np.array([3, 5])
    assert class_numbers([5, 3, 5], classes).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="4 is no class; the classes are 3, 5"):
        class_numbers([4], classes)
    assert names_of(np.array([1.0, 2.0])) == ("1", "2")


def test_attributes_are_refused_with_advice() -> None:
    with pytest.raises(
        ValueError, match=r"should be a 1d array, got .*\(4, 2\).*learnt by SemiVAEMultilabelClassifier"
    ):
        read_targets(np.array([[0, 1], [1, 1], [0, 0], [1, 0]]))


class NAType:
    """Stands for pandas' NA, which is neither None nor a number, and equal to nothing."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize("missing", [None, np.nan, np.float32("nan"), NAType()], ids=["None", "nan", "nan32", "NA"])
def test_every_estimator_takes_each_mark_of_what_is_not_known(missing: Any) -> None:
    assert read_targets(np.array([3, missing, 5], dtype=object)).numbers.tolist() == [0, NONE, 1]
    assert read_indicators(np.array([[1, missing], [0, 1]], dtype=object)).values.tolist() == [[1, NONE], [0, 1]]
    numbers = read_numbers(np.array([1.5, missing, 2], dtype=object))
    assert numbers.dtype == np.float64 and np.array_equal(numbers, [1.5, np.nan, 2.0], equal_nan=True)
