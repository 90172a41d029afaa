"""Users' own data as named arrays in an .npz file; and any .npy or .npz, read without running code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset, class_label
from semivae.data.doubts import array_doubts, split_doubts
from semivae.data.formats.label_files import class_doubts, label_names, ordered_classes
from semivae.data.formats.npz import load_arrays
from semivae.data.hashing import hold_out
from semivae.data.inputs.pixels import Array, channels_first, pixels_as_bytes, table_as_floats
from semivae.data.readers.attribute_arrays import holds_attributes, read_attribute_arrays
from semivae.data.readers.further_arrays import add_further_labels
from semivae.data.readers.map_arrays import read_map_arrays
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource
from semivae.recipe.sources import PARTS_OF_ARRAYS
from semivae.text import join_names
from semivae.variables import Sample

NAMES = ("x", "y", "x_test", "y_test", "x_unlabelled")


def read_arrays(source: ArraysSource, path: Path) -> Dataset:
    """Read `x` and `y`, optionally `x_test` and `y_test`, and `x_unlabelled`, from an .npz file; or x and s, maps.

    A y of several columns is a vector of attributes for each example (`semivae.data.readers.attribute_arrays`).

    Class names are those in `y`, in order: numbers by value, strings by alphabet. Where there is no test part,
    `source.test_share` of each class is set aside for it by the hash of the rows' numbers.

    Args:
        source: the recipe's section.
        path: its path, made absolute.

    Returns:
        x is uint8 [n, channels, height, width] (floats are rounded to bytes), or float32 [n, columns] for tables.

    Raises:
        DataError: an array is missing, or has a type, shape, length or value that does not fit.
    """
    arrays = load_arrays(path)
    if "" in arrays:
        raise DataError(f"{path} is a single array; save x and y by name with np.savez(path, x=..., y=...)")
    return dataset_of_arrays(arrays, source, path)


def dataset_of_arrays(arrays: dict[str, Array], source: ArraysSource, path: Path) -> Dataset:
    """Returns the data set that named arrays are, as `read_arrays` does; `path` names them in messages.

    Raises:
        DataError: an array is missing, or has a type, shape, length or value that does not fit.
    """
    arrays = _called(arrays, source, path)
    if "s" in arrays and "y" not in arrays:
        return read_map_arrays(source, path, arrays)
    for given, missing in (("x", "y"), ("y", "x"), ("x_test", "y_test"), ("y_test", "x_test")):
        if missing not in arrays and (given in arrays or missing == "x"):
            raise DataError(f"{path} has no array {missing}; it has {join_names(sorted(arrays)) or 'none'}")
    examples = {
        name: examples_of(arrays[name], f"{path}: {name}") for name in NAMES if name[0] == "x" and name in arrays
    }
    for name, x in examples.items():
        if x.shape[1:] != examples["x"].shape[1:]:
            raise DataError(
                f"{path}: one {name} is {list(x.shape[1:])}, but one x is {list(examples['x'].shape[1:])}; "
                "all need the same shape"
            )
    if holds_attributes(arrays, source):
        return read_attribute_arrays(source, path, arrays, examples)
    classes = ordered_classes(str(name) for name in label_names(arrays["y"], f"{path}: y"))
    if len(classes) < 2:
        raise DataError(f"{path}: y holds only the class {join_names(classes)}; at least two are needed")
    train = _labelled(examples["x"], arrays["y"], classes, path, "y")
    unlabelled = {"x": examples["x_unlabelled"]} if "x_unlabelled" in examples else {}
    test = _labelled(examples["x_test"], arrays["y_test"], classes, path, "y_test") if "x_test" in examples else {}
    labels = class_label(classes) | add_further_labels(source, arrays, (train, test, unlabelled), classes, path)
    origin, rows = "given", list(range(len(train["y"])))
    if not test:
        kept, held = hold_out(train["y"], [str(row) for row in rows], source.test_share)
        train, test = ({key: value[part] for key, value in train.items()} for part in (kept, held))
        rows = kept.tolist()
        origin = f"test split off by hash, {source.test_share:.0%}"
    known = (*NAMES, *(f"{name}{part}" for name in source.further for part in (*PARTS_OF_ARRAYS, "_names")))
    warnings = [*array_doubts(path, arrays, known), *_label_doubts(classes, path)]
    warnings += split_doubts(classes, train, test, unlabelled, str(path))
    return Dataset(
        f"arrays:{path.name}", labels, train, test, unlabelled, tuple(warnings), origin, names=tuple(map(str, rows))
    )


def _called(arrays: dict[str, Array], source: ArraysSource, path: Path) -> dict[str, Array]:
    """The arrays under the names that are read here, as `source.keys` says; all of them where it says nothing."""
    keys = {name: (key,) if isinstance(key, str) else key for name, key in source.keys.items()}
    for name, parts in keys.items():
        if missing := [part for part in parts if part not in arrays]:
            known = join_names(sorted(arrays), 12)
            raise DataError(f"{path} has no array {join_names(missing)} (source.keys.{name}); it has {known}")
        shapes = {arrays[part].shape[1:] for part in parts}
        if len(shapes) != 1:
            raise DataError(f"{path}: source.keys.{name} joins arrays of different shapes; join those of one")
    if not keys:
        return arrays
    return {name: _joined([arrays[part] for part in parts], name, path) for name, parts in keys.items() if parts}


def _joined(parts: Sequence[Array], name: str, path: Path) -> Array:
    try:
        return np.concatenate(parts)
    except TypeError as error:
        types = join_names(sorted({str(part.dtype) for part in parts}))
        raise DataError(f"{path}: source.keys.{name} joins arrays of types {types}; join those of one type") from error


def examples_of(array: Array, what: str) -> Tensor:
    """Returns images as uint8 [n, channels, height, width], or rows of a table as float32 [n, columns].

    Raises:
        DataError: nothing there, or a type, shape or value that does not fit; `what` names the array.
    """
    if not len(array.shape) or not array.size:
        raise DataError(f"{what} is empty (shape {list(array.shape)})")
    if array.ndim == 2:
        return torch.from_numpy(table_as_floats(array, what))
    images = channels_first(array, what)
    return torch.from_numpy(np.ascontiguousarray(pixels_as_bytes(images, what)))


def _labelled(x: Tensor, labels: Array, classes: tuple[str, ...], path: Path, name: str) -> Sample:
    names = label_names(labels, f"{path}: {name}")
    if len(names) != len(x):
        raise DataError(f"{path}: {name} has {len(names):,} labels for {len(x):,} examples; give one for each")
    unknown = [str(value) for value in np.unique(names) if str(value) not in classes]
    if unknown:
        raise DataError(
            f"{path}: {name} holds classes that are not in y: {join_names(unknown)}; y has {join_names(classes)}"
        )
    number = {value: index for index, value in enumerate(classes)}
    return {"x": x, "y": torch.tensor([number[str(value)] for value in names])}


def _label_doubts(classes: tuple[str, ...], path: Path) -> list[str]:
    return class_doubts(classes, f"{path}: y", "move these examples to x_unlabelled")
