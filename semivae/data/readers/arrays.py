"""Users' own data as named arrays in an .npz file; and any .npy or .npz, read without running code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.doubts import array_doubts, part_doubts
from semivae.data.formats.label_files import class_doubts, label_names, ordered_classes
from semivae.data.formats.npz import load_arrays
from semivae.data.formats.number_labels import (
    are_numbers,
    hold_out_groups,
    look_like_numbers,
    number_doubts,
    number_values,
)
from semivae.data.hashing import hold_out
from semivae.data.inputs.further_labels import spelling_doubts
from semivae.data.inputs.pixels import Array, channels_first, pixels_as_bytes, table_as_floats
from semivae.data.readers.attribute_arrays import holds_attributes, read_attribute_arrays
from semivae.data.readers.further_arrays import add_further_labels
from semivae.data.readers.map_arrays import read_map_arrays
from semivae.errors import DataError
from semivae.recipe.schema import ArraysSource
from semivae.recipe.sources import ARRAYS, PARTS_OF_ARRAYS
from semivae.text import EXAMPLES, as_yaml, count_of, join_names
from semivae.variables import Sample, seen

USUAL = {  # what others call our arrays, in lower case
    "x": {"x", "x_train", "train_x", "images", "train_images", "data", "train_data", "features", "inputs", "arr_0"},
    "y": {"y", "y_train", "train_y", "labels", "train_labels", "label", "target", "targets", "classes", "arr_1"},
    "x_test": {"test_x", "test_images", "test_data", "images_test"},
    "y_test": {"test_y", "test_labels", "labels_test", "test_targets"},
    "x_unlabelled": {"x_unlabeled", "unlabelled", "unlabeled", "unlabeled_x", "unlabeled_images"},
}
NAMES = ("x", "y", "x_test", "y_test", "x_unlabelled")


def read_arrays(source: ArraysSource, path: Path) -> Dataset:
    """Read `x` and `y`, optionally `x_test` and `y_test`, and `x_unlabelled`, from an .npz file; or x and s, maps.

    A y of several columns is a vector of attributes for each example (`semivae.data.readers.attribute_arrays`), or of
    numbers, if it holds floats below 0 or above 1.

    Integers and strings in `y` are classes, in order: numbers by value, strings by alphabet. Floats are numbers, with
    NaN for what is not known; an example without a number is unlabelled. Where there is no test part,
    `source.test_share` of each class (or of each tenth of the numbers) is set aside for it by the hash of the rows'
    numbers.

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
    called = _called(arrays, source, path)
    unread = _unread(arrays, source)
    if not unread:
        return _dataset_of_called(called, source, path)
    what, advice = "this array" if len(unread) == 1 else "these arrays", ", ".join(f"{name}: {name}" for name in unread)
    doubt = f"{path}: source.keys does not name {join_names(unread)}; to read {what} too, add {advice}"
    labels = "s" if "s" in called and "y" not in called else "y"
    tested = {"x_test", f"{labels}_test"}
    if set(unread) & {"x", labels, *(tested if tested & set(called) else ())}:
        raise DataError(doubt)
    dataset = _dataset_of_called(called, source, path)
    return replace(dataset, warnings=(doubt, *dataset.warnings))


def _dataset_of_called(arrays: dict[str, Array], source: ArraysSource, path: Path) -> Dataset:
    if "s" in arrays and "y" not in arrays:
        return read_map_arrays(source, path, arrays)
    for given, missing in (("x", "y"), ("y", "x"), ("x_test", "y_test"), ("y_test", "x_test")):
        if missing not in arrays and (given in arrays or missing == "x"):
            has = join_names(sorted(arrays)) or "none"
            raise DataError(f"{path} has no array {missing}; it has {has}{_likely_keys(arrays)}")
    examples = {
        name: examples_of(arrays[name], f"{path}: {name}") for name in NAMES if name[0] == "x" and name in arrays
    }
    for name, x in examples.items():
        if x.shape[1:] != examples["x"].shape[1:]:
            raise DataError(
                f"{path}: one {name} is {list(x.shape[1:])}, but one x is {list(examples['x'].shape[1:])}; "
                "all need the same shape"
            )
    for name, y in ((name, arrays[name]) for name in ("y", "y_test") if name in arrays):
        if y.ndim and len(y) != len(x := examples[name.replace("y", "x")]):
            given = count_of(len(y), "label", "labels")
            raise DataError(f"{path}: {name} has {given} for {count_of(len(x), *EXAMPLES)}; give one for each")
    kind = source.kinds.get("y") or ("numbers" if are_numbers(arrays["y"]) else "classes")
    if kind != "numbers" and holds_attributes(arrays, source):
        return read_attribute_arrays(source, path, arrays, examples)
    info, values = _number_labels(arrays, path) if kind == "numbers" else _class_labels(arrays, path)
    train = {"x": examples["x"], "y": values["y"]}
    unlabelled = {"x": examples["x_unlabelled"]} if "x_unlabelled" in examples else {}
    test = {"x": examples["x_test"], "y": values["y_test"]} if "x_test" in examples else {}
    labels = {"y": info} | add_further_labels(source, arrays, (train, test, unlabelled), info.classes, path)
    origin, rows = "given", torch.nonzero(seen(train["y"])).flatten()
    train, unlabelled = _without_label(train, unlabelled)
    if test:
        test = _rows(test, seen(test["y"]))
    else:
        groups = train["y"] if info.classes else hold_out_groups(train["y"])
        kept, held = hold_out(groups, list(map(str, rows.tolist())), source.test_share, info.classes)
        train, test, rows = _rows(train, kept), _rows(train, held), rows[kept]
        origin = f"test split off by hash, {source.test_share:.0%}"
    known = (*NAMES, *(f"{name}{part}" for name in source.further for part in (*PARTS_OF_ARRAYS, "_names")))
    warnings = [*array_doubts(path, arrays, known), *_label_doubts(info, train["y"], path)]
    warnings += part_doubts(info.classes, train, test, unlabelled, str(path))
    warnings += spelling_doubts(labels, str(path))
    names = tuple(map(str, rows.tolist()))
    return Dataset(f"arrays:{path.name}", labels, train, test, unlabelled, tuple(warnings), origin, names=names)


def _likely_keys(arrays: Mapping[str, Array]) -> str:
    """A hint where the arrays have names that are usual elsewhere; "" where none stands for x or for y."""
    found = {ours: name for ours, usual in USUAL.items() for name in arrays if name == ours or name.lower() in usual}
    if not {"x", "y"} <= set(found):
        return ""
    for part in ("x_test", "y_test"):
        if not {"x_test", "y_test"} <= set(found):
            found.pop(part, None)
    return "; write source.keys: {" + ", ".join(f"{ours}: {as_yaml(name)}" for ours, name in found.items()) + "}"


def _rows(sample: Sample, rows: Tensor) -> Sample:
    return {name: values[rows] for name, values in sample.items()}


def _without_label(train: Sample, unlabelled: Sample) -> tuple[Sample, Sample]:
    """The examples to train on that show their label, and the others among the unlabelled ones."""
    known = seen(train["y"])
    if bool(known.all()):
        return train, unlabelled
    without = _rows({name: values for name, values in train.items() if name != "y"}, ~known)
    both = {name: torch.cat([values, unlabelled[name]]) if unlabelled else values for name, values in without.items()}
    return _rows(train, known), both


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


def _unread(arrays: Mapping[str, Array], source: ArraysSource) -> list[str]:
    """The arrays called as we call them that are not read, because `source.keys` names others only."""
    if not source.keys:
        return []
    used = {part for key in source.keys.values() for part in ((key,) if isinstance(key, str) else key)}
    return [name for name in ARRAYS if name in arrays and name not in used and name not in source.keys]


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


def _class_labels(arrays: Mapping[str, Array], path: Path) -> tuple[LabelInfo, dict[str, Tensor]]:
    """What is known of y, and the class numbers in y and y_test, int64 [n]."""
    classes = ordered_classes(str(name) for name in label_names(arrays["y"], f"{path}: y"))
    if len(classes) < 2:
        raise DataError(f"{path}: y holds only the class {join_names(classes)}; at least two are needed")
    number = {value: index for index, value in enumerate(classes)}
    found = {}
    for name in ("y", "y_test"):
        if name not in arrays:
            continue
        names = label_names(arrays[name], f"{path}: {name}")
        unknown = [str(value) for value in np.unique(names) if str(value) not in number]
        if unknown:
            raise DataError(
                f"{path}: {name} holds classes that are not in y: {join_names(unknown)}; y has {join_names(classes)}"
            )
        found[name] = torch.tensor([number[str(value)] for value in names])
    return LabelInfo("classes", classes), found


def _number_labels(arrays: Mapping[str, Array], path: Path) -> tuple[LabelInfo, dict[str, Tensor]]:
    """What is known of y, and the numbers in y and y_test, float32 [n] or [n, K]."""
    found = {name: number_values(arrays[name], f"{path}: {name}") for name in ("y", "y_test") if name in arrays}
    if "y_test" in found and found["y_test"].shape[1:] != found["y"].shape[1:]:
        raise DataError(
            f"{path}: one y_test is {list(found['y_test'].shape[1:])}, but one y is {list(found['y'].shape[1:])}"
        )
    for name, values in found.items():
        if not bool(seen(values).any()):
            raise DataError(f"{path}: {name} holds NaN alone, so no number is known")
    return LabelInfo("numbers"), found


def _label_doubts(info: LabelInfo, values: Tensor, path: Path) -> list[str]:
    if not info.classes:
        return number_doubts(values, f"{path}: y")
    found = class_doubts(info.classes, f"{path}: y", "move these examples to x_unlabelled")
    return found + look_like_numbers(info.classes, len(values), f"{path}: y")
