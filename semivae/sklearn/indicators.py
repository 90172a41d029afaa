"""The y of a multi-label estimator: an indicator matrix, some of whose entries may be unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from semivae.data.formats.frame_cells import is_missing
from semivae.variables import VOID

ADVICE = "write 1 where a label holds, 0 where it does not, and -1 or NaN where nobody knows"


@dataclass(frozen=True, eq=False)
class Indicators:
    """Yes-or-no labels of n examples.

    Attributes:
        values: 1, 0, or `VOID` where it is unknown, int8 [n, K].
        names: of the labels, [K]: texts, or numbers from 0.
    """

    values: NDArray[np.int8]
    names: NDArray[Any]


def read_indicators(y: Any) -> Indicators:
    """Returns what the y of `fit` says.

    Args:
        y: an array, nested lists, a sparse matrix or a DataFrame of [n, K]; -1, NaN and None mean: unknown.

    Raises:
        ValueError: another shape, other values, or no known label.
    """
    columns = getattr(y, "columns", None)
    array = np.asarray(y.toarray() if issparse(y) else y, dtype=object)
    if array.ndim != 2:
        continuous = next((entry for entry in array.ravel() if _is_continuous(entry)), None)
        if continuous is not None:
            _value(continuous)  # refuses it
        raise ValueError(
            f"y should be an indicator matrix (n, K), got an array of shape {array.shape}; for one class of each "
            "example use SemiVAEClassifier, for lists of labels scikit-learn's MultiLabelBinarizer"
        )
    if not array.shape[1]:
        raise ValueError("y has no column; it needs one for each label")
    values = np.array([_value(entry) for entry in array.ravel()], dtype=np.int8).reshape(array.shape)
    if not (values != VOID).any():
        raise ValueError(f"y holds no known label; {ADVICE}")
    names = np.arange(array.shape[1]) if columns is None else np.array([str(name) for name in columns], dtype=object)
    if len(set(names.tolist())) < len(names):
        raise ValueError("y has two columns of one name; give each its own")
    return Indicators(values, names)


def _is_continuous(entry: Any) -> bool:
    """Whether it is a number that is not whole; infinity is not either."""
    return isinstance(entry, float | np.floating) and entry == entry and entry % 1.0 != 0.0


def _value(entry: Any) -> int:
    """1, 0 or `VOID`. Raises ValueError for all else."""
    if is_missing(entry):
        return VOID
    if isinstance(entry, bool | int | float | np.bool_ | np.number) and entry in (0, 1, VOID):
        return int(entry)
    if _is_continuous(entry):
        raise ValueError(f"Unknown label type: continuous. y holds {entry}; {ADVICE}")
    raise ValueError(f"y holds {entry!r}; {ADVICE}")
