"""The y of an estimator: which examples have a label, which classes there are, and how frequent they are."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from semivae.data.formats.frame_cells import is_missing
from semivae.data.formats.label_files import class_doubts
from semivae.errors import DataWarning

WRITTEN = ("-1", "nan", "None", "<NA>")  # what NumPy makes of the marks in an array of texts


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels of n examples, some of which may have none.

    Attributes:
        classes: the classes in order, [K].
        numbers: their numbers, int64 [n]; -1 where there is no label.
    """

    classes: NDArray[Any]
    numbers: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which examples have a label, [n]."""
        return self.numbers >= 0

    @property
    def names(self) -> tuple[str, ...]:
        """The classes as texts."""
        return names_of(self.classes)


def read_targets(y: Any, unlabelled: Any = -1) -> Targets:
    """Returns what the y of `fit` says.

    Args:
        y: a label for each example, [n]. None, NaN, pandas' NA and NaT, and `unlabelled` mean that there is none.
        unlabelled: the mark of examples without a label; None: there is no further mark.

    Raises:
        ValueError: no class labels, or fewer than two classes; or texts that may mean that there is no label.
    """
    if (shape := np.asarray(y, dtype=object).shape)[1:] and shape[1] > 1:
        raise ValueError(
            f"y should be a 1d array, got an array of shape {shape} instead; several yes-or-no labels of each "
            "example are learnt by SemiVAEMultilabelClassifier"
        )
    if not isinstance(getattr(y, "dtype", np.dtype(object)), np.dtype):  # pandas' own types: numbers or marks
        y = np.asarray(y, dtype=object)
    labels = column_or_1d(y, warn=True, dtype=None)
    known = labelled(labels, unlabelled)
    found = _plain(labels[known])
    if not len(found):
        raise ValueError("y holds no label, but unlabelled marks alone; label some examples of at least two classes")
    _refuse_doubtful(found, labels.dtype, unlabelled)
    check_classification_targets(found)
    classes, places = np.unique(found, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y holds one class, {classes.tolist()[0]!r}; a classifier needs labelled examples of at least two classes"
        )
    numbers = np.full(len(labels), -1, dtype=np.int64)
    numbers[known] = places
    return Targets(classes, numbers)


def labelled(y: NDArray[Any], unlabelled: Any) -> NDArray[np.bool_]:
    """Returns which entries of y are labels, [n]."""
    if y.dtype.kind in "OUS":
        return np.fromiter((not _is_mark(value, unlabelled) for value in y), np.bool_, len(y))
    known = ~np.isnan(y) if y.dtype.kind == "f" else np.ones(len(y), np.bool_)
    if isinstance(unlabelled, int | float | np.number) and y.dtype.kind != "b":
        known &= y != unlabelled
    return known


def class_numbers(y: Any, classes: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the numbers of labels [n] among the classes.

    Raises:
        ValueError: a label is no class.
    """
    place = {value: number for number, value in enumerate(classes.tolist())}
    values = np.asarray(y).tolist()
    if unknown := [value for value in values if value not in place]:
        raise ValueError(f"{unknown[0]!r} is no class; the classes are {', '.join(map(repr, place))}")
    return np.array([place[value] for value in values], dtype=np.int64)


def names_of(classes: NDArray[Any]) -> tuple[str, ...]:
    """Returns classes as texts; whole numbers without a point."""
    if classes.dtype.kind == "f":
        return tuple(f"{value:.0f}" for value in classes)
    return tuple(str(value) for value in classes.tolist())


def _is_mark(value: Any, unlabelled: Any) -> bool:
    if is_missing(value):
        return True
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return isinstance(unlabelled, int | float | np.number) and bool(value == unlabelled)
    return isinstance(value, str) and isinstance(unlabelled, str) and value == unlabelled


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels that stood among None or NaN as numbers, where all of them are."""
    if labels.dtype.kind != "O" or not len(labels):
        return labels
    if all(isinstance(label, bool | np.bool_) for label in labels):
        return labels.astype(np.bool_)
    if all(isinstance(label, int | np.integer) for label in labels):
        return labels.astype(np.int64)
    if all(isinstance(label, int | float | np.number) for label in labels):
        return labels.astype(np.float64)
    return labels


def _refuse_doubtful(labels: NDArray[Any], given: np.dtype[Any], unlabelled: Any) -> None:
    """Raises ValueError for what is no class, and for texts that were most likely meant as: no label."""
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError("y contains infinity, which is no class")
    if np.issubdtype(labels.dtype, np.datetime64) or (
        labels.dtype.kind == "O" and any(isinstance(label, date) for label in labels)
    ):
        raise ValueError("y holds dates, but classes are numbers or texts; give y.astype(str)")
    if labels.dtype.kind not in "OUS":
        return
    if len(kinds := {type(label).__name__ for label in labels}) > 1:
        raise ValueError(f"y mixes classes of the types {', '.join(sorted(kinds))}; give them one type")
    texts = {str(label) for label in labels}
    if "" in texts:
        raise ValueError(
            "y holds empty texts; write None where there is no label, or say unlabelled='' if that is what they mean"
        )
    doubtful = [text for text in WRITTEN if text in texts and (text != "-1" or unlabelled == -1)]
    if given.kind in "US" and doubtful:
        raise ValueError(
            f"y holds the text {doubtful[0]!r}, which NumPy makes of a mark among texts; give an array of objects, "
            "np.array(labels, dtype=object), with None where there is no label"
        )
    advice = None if unlabelled is None or isinstance(unlabelled, str) else "write None there, or unlabelled=TEXT"
    for doubt in class_doubts(sorted(texts), "y", advice):
        warnings.warn(doubt, DataWarning, stacklevel=5)  # where `fit` is called
