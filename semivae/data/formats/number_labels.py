"""Numbers as labels: what arrays and cells hold, as float32 in their unit, with NaN for what is not known."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from semivae.data.inputs.pixels import Array
from semivae.errors import DataError
from semivae.text import count_of

LARGEST = 1e30  # in absolute value: its square must be finite in float64, and its differences in float32
PRECISE = 1e-4  # of the deviation: coarser steps of float32 are warned of
MANY_CLASSES = 100  # different whole numbers, from which on they look like a number rather than classes
TENTHS = 10  # parts of equal size by the number
FEW_NUMBERS = 20  # different whole numbers, up to which they look like classes rather than a number


def are_numbers(array: Array) -> bool:
    """Returns whether labels are read as numbers unless the recipe says otherwise: floats.

    Of several columns, floats in [0, 1], and -1 or NaN for unknown, are taken for attributes.
    """
    several = array.ndim == 2 and array.shape[1] > 1
    if array.dtype.kind != "f" or not several:
        return bool(array.dtype.kind == "f")
    return not bool((((array >= 0) & (array <= 1)) | (array == -1) | np.isnan(array)).all())


def number_values(array: Array, what: str) -> Tensor:
    """Returns numbers of any real type, [n], [n, 1] or [n, K], as float32 [n] or [n, K]. NaN stays: it is not known.

    Raises:
        DataError: another type or shape, infinite or huge numbers; `what` names the array.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or not array.size:
        raise DataError(f"{what} has shape {list(array.shape)}; one number, or one row of numbers, for each example is "
                        "expected")  # fmt: skip
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"{what} has type {array.dtype}; numbers as labels are floats or integers")
    array = array.astype(np.float64)  # half precision does not hold the largest number
    bad = np.argwhere(np.isinf(array) | (np.abs(array) > LARGEST))
    if len(bad):
        value = array[tuple(bad[0])]
        unit = "" if np.isinf(value) else f"give numbers in a unit in which they are below {LARGEST:g}, and "
        raise DataError(f"{what} holds {value:g} in row {bad[0][0]}; {unit}write NaN where it is not known")
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def number_doubts(values: Tensor, what: str) -> list[str]:
    """Warnings of numbers that may be meant as classes, and of such that float32 cannot tell apart.

    Args:
        values: float [n] or [n, K].
        what: names them.
    """
    found = []
    for place, column in enumerate(values.double().reshape(len(values), -1).T):
        known = column[~column.isnan()]
        if len(known) < 2:
            continue
        which = what if values.dim() == 1 else f"{what}[{place}]"
        different = known.unique()
        if len(different) <= FEW_NUMBERS < len(known) and bool((different == different.round()).all()):
            found.append(
                f"{which} holds {count_of(len(different), 'whole number', 'different whole numbers')} and is read as a "
                "number; save classes as integers, or write source.kinds: {y: classes}"
            )
        step = float(known.abs().max()) * torch.finfo(torch.float32).eps
        if step > PRECISE * float(known.std()):
            found.append(
                f"{which} lies around {float(known.mean()):.6g} with a deviation of {float(known.std()):.2g}, which "
                "32-bit floats tell apart badly; subtract a constant"
            )
    return found


def look_like_numbers(classes: Collection[str], examples: int, what: str) -> list[str]:
    """A warning where a hundred classes or more, or most of the examples' own, are all numbers.

    Args:
        classes: their names.
        examples: how many have a class.
        what: names the label.
    """
    many = min(MANY_CLASSES, max(FEW_NUMBERS, examples // 3))
    if len(classes) <= many or not all(map(_is_number, classes)):
        return []
    return [
        f"{what} holds {len(classes):,} different numbers, which are read as classes; if they measure something, such "
        "as an age or a price, write source.kinds: {y: numbers}, and variables.y.family: gaussian"
    ]


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def strata(values: Tensor, without: Tensor, count: int) -> Tensor:
    """Returns which of `count` parts of equal size each example belongs to, int64 [n], by its (first) number.

    Equal numbers are told apart by the number of the row, and what is not known comes last.

    Args:
        values: float [n] or [n, K].
        without: rows that are in no part; they get 0.
        count: of parts.
    """
    first = values if values.dim() == 1 else values[:, 0]
    rows = torch.ones(len(values), dtype=torch.bool)
    rows[without] = False
    order = torch.nonzero(rows).flatten()
    order = order[first[order].nan_to_num(nan=torch.inf).sort(stable=True).indices]
    found = torch.zeros(len(values), dtype=torch.int64)
    found[order] = torch.arange(len(order)) * count // len(order)
    return found


def hold_out_groups(values: Tensor) -> Tensor:
    """Returns groups of examples of near numbers, int64 [n], of each of which a share is set aside for testing."""
    return strata(values, torch.zeros(0, dtype=torch.int64), min(TENTHS, max(1, len(values) // 2)))
