"""Classes as users write them: by name, by number, and where the two could be taken for each other."""

from __future__ import annotations

import numpy as np
import pytest

from semivae.data.formats.label_files import class_number, label_numbers, ordered_classes
from semivae.errors import DataError


def test_names_come_before_numbers() -> None:
    assert [class_number(written, ("cat", "dog")) for written in (" dog ", "0", "1", "2", "-1", "cow")] == [
        1, 0, 1, None, None, None,
    ]  # fmt: skip
    assert class_number("1", ("0", "1", "2")) == 1


def test_classes_that_are_called_by_other_numbers_go_by_their_names_alone() -> None:
    assert [class_number(written, ("1", "2", "3")) for written in ("0", "1", "3")] == [None, 0, 2]
    assert class_number("1", ("01", "02")) is None
    for classes in (("1.0", "2.0"), ("-1", "0", "1"), ("0.5", "1.5")):
        assert class_number("0" if "0" not in classes else "2", classes) is None
    with pytest.raises(DataError, match="unknown classes: 0, the first in row 0; the classes are 1, 2, 3"):
        label_numbers(np.array([0, 1, 2]), ("1", "2", "3"), "labels.npy")


def test_the_order_of_classes_is_fixed() -> None:
    assert ordered_classes({"10", "9", "1"}) == ("1", "9", "10")
    for names in (["01", "1", "02", "2"], ["2", "02", "1", "01"]):
        assert ordered_classes(names) == ("01", "1", "02", "2")
    assert ordered_classes(["b", "a", "1"]) == ("1", "a", "b")
    assert ordered_classes(["10.5", "-10", "9", "-2", "1e1"]) == ("-10", "-2", "9", "1e1", "10.5")
    assert ordered_classes(["10", "9", "1_1"]) == ("10", "1_1", "9")
