"""Images, or rows, and their attributes as named arrays: y of [n, K] with 0, 1, and -1 or NaN where it is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.doubts import array_doubts, seen_doubts
from semivae.data.hashing import hold_out
from semivae.data.inputs.pixels import Array
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource
from semivae.text import join_names
from semivae.variables import VOID, Sample, seen

NAMES = ("x", "y", "x_test", "y_test", "x_unlabelled", "y_names")
MOST_DOUBTS = 10  # attributes that are named in a warning


def holds_attributes(arrays: Mapping[str, Array], source: ArraysSource) -> bool:
    """Whether y is a vector of attributes: it has several columns, and is not one class in each row, written one-hot.

    `kinds: {y: attributes}` says so where each example happens to have one attribute.
    """
    y = arrays["y"]
    if y.ndim != 2 or y.shape[1] < 2 or y.dtype.kind not in "biuf":
        return False
    one_hot = bool(np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())
    return source.kinds.get("y") == "attributes" or not (one_hot or bool((y == 1).all()))


def read_attribute_arrays(
    source: ArraysSource, path: Path, arrays: Mapping[str, Array], examples: Mapping[str, Tensor]
) -> Dataset:
    """Reads attributes, and their names from `y_names`; without it they are called by their numbers.

    Rows of which no attribute is known are the first of the unlabelled examples. Where there is no test part,
    `source.test_share` of the others is set aside for it by the hash of the rows' numbers.

    Args:
        source: the recipe's section.
        path: the file, for messages.
        arrays: its arrays, called as in `NAMES`.
        examples: x, x_test and x_unlabelled as they are used.

    Returns:
        y is int8 [n, K], `VOID` where it is unknown.

    Raises:
        DataError: an array has a type, shape, length or value that does not fit.
    """
    names = names_of_attributes("y", arrays, path)
    train = _part("x", "y", arrays, examples, names, path)
    if not seen(train["y"]).any():
        raise DataError(f"{path}: y shows no attribute of any example; label some")
    origin = "given"
    if "x_test" in examples:
        test = _part("x_test", "y_test", arrays, examples, names, path)
        test = _rows(test, seen(test["y"]))
    else:
        keys = [str(row) for row in torch.nonzero(seen(train["y"])).flatten().tolist()]
        rows = torch.nonzero(seen(train["y"])).flatten()
        _, held = hold_out(torch.zeros(len(rows), dtype=torch.int64), keys, source.test_share)
        kept = torch.ones(len(train["y"]), dtype=torch.bool)
        kept[rows[held]] = False
        train, test = _rows(train, kept), _rows(train, ~kept)
        origin = f"test split off by hash, {source.test_share:.0%}"
    known = seen(train["y"])
    without = [train["x"][~known], *([examples["x_unlabelled"]] if "x_unlabelled" in examples else [])]
    unlabelled = {"x": torch.cat(without)} if sum(map(len, without)) else {}
    train = _rows(train, known)
    warnings = (
        *array_doubts(path, arrays, NAMES),
        *attribute_doubts(train["y"], names, f"{path}: y"),
        *seen_doubts(train, test, unlabelled, str(path)),
    )
    return Dataset(f"arrays:{path.name}", attribute_label(names), train, test, unlabelled, warnings, origin)


def attribute_label(names: tuple[str, ...]) -> dict[str, LabelInfo]:
    """The labels of data that hold y alone, a vector of attributes for each example."""
    return {"y": LabelInfo("attributes", names)}


def attribute_values(array: Array, what: str) -> Tensor:
    """Returns attributes as int8 [n, K], `VOID` where they are -1 or NaN.

    Raises:
        DataError: another type or shape, or other numbers; `what` names the array.
    """
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise DataError(f"{what} is {list(array.shape)} of {array.dtype}; attributes are zeros and ones, [n, K]")
    values = np.where(np.isnan(array), VOID, array) if array.dtype.kind == "f" else array.astype(np.int64)
    if not np.isin(values, (VOID, 0, 1)).all():
        other = np.setdiff1d(values, (VOID, 0, 1))
        raise DataError(
            f"{what} holds {other[0]:g}; an attribute is 0 or 1, and -1 or NaN where it is unknown. If y holds the "
            "probabilities or ranks of classes, give the number of the class instead"
        )
    return torch.from_numpy(values.astype(np.int8))


def attribute_doubts(values: Tensor, names: tuple[str, ...], what: str) -> list[str]:
    """Warnings of attributes that no example, or every one, is known to have."""
    counts = [((values == value).sum(dim=0)).tolist() for value in (1, 0)]
    found = []
    for count, word in zip(counts, ("has", "lacks"), strict=True):
        if idle := [name for name, number in zip(names, count, strict=True) if not number]:
            found.append(f"{what}: no example to train on {word} {join_names(idle, MOST_DOUBTS)}, so it is not learnt")
    return found


def names_of_attributes(label: str, arrays: Mapping[str, Array], path: Path) -> tuple[str, ...]:
    """Returns the names of a label's attributes, from LABEL_names; without it their numbers.

    Raises:
        DataError: there are not as many different names as attributes.
    """
    count, key = arrays[label].shape[1], f"{label}_names"
    if key not in arrays:
        return tuple(str(number) for number in range(count))
    names = tuple(str(name) for name in arrays[key].reshape(-1).tolist())
    if len(names) != count or len(set(names)) != count or "" in names:
        raise DataError(f"{path}: {key} holds {len(set(names) - {''})} different names for {count} attributes")
    return names


def _part(
    x: str, y: str, arrays: Mapping[str, Array], examples: Mapping[str, Tensor], names: tuple[str, ...], path: Path
) -> Sample:
    values = attribute_values(arrays[y], f"{path}: {y}")
    if values.shape != (len(examples[x]), len(names)):
        raise DataError(
            f"{path}: {y} is {list(values.shape)}, but there are {len(examples[x]):,} examples in {x} and "
            f"{len(names)} attributes; give one row for each example"
        )
    return {"x": examples[x], "y": values}


def _rows(sample: Sample, rows: Tensor) -> Sample:
    return {name: values[rows] for name, values in sample.items()}
