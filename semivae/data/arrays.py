"""Users' own data as named arrays in an .npz file; and any .npy or .npz, read without running code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset, listed
from semivae.data.labels import label_names, ordered_classes
from semivae.data.map_arrays import read_map_arrays
from semivae.data.pixels import Array, channels_first, pixels_as_bytes, table_as_floats
from semivae.data.ranking import hold_out
from semivae.errors import DataError
from semivae.game.variables import Sample
from semivae.recipe.schema import ArraysSource

NAMES = ("x", "y", "x_test", "y_test", "x_unlabelled")


def load_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz by name, or the one of an .npy under the name "". Pickled objects are never opened.

    Raises:
        DataError: no such file, not such a file, damaged, or it holds Python objects.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path.absolute()}")
    try:
        with path.open("rb") as stream:  # numpy leaves a file open that it cannot read
            loaded = np.load(stream, allow_pickle=False)
            return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except Exception as error:  # numpy and zipfile raise much, by the byte that is wrong
        if str(error).startswith("Object arrays"):
            raise DataError(
                f"{path} holds Python objects, which are not opened because they could run code; "
                "save plain arrays, for example strings as np.array(names, dtype=str)"
            ) from error
        raise DataError(f"{path} is no .npy or .npz file that can be read") from error


def read_arrays(source: ArraysSource, path: Path) -> Dataset:
    """Read `x` and `y`, optionally `x_test` and `y_test`, and `x_unlabelled`, from an .npz file; or x and s, maps.

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
    arrays = _called(arrays, source, path)
    if "s" in arrays and "y" not in arrays:
        return read_map_arrays(source, path, arrays)
    for given, missing in (("x", "y"), ("y", "x"), ("x_test", "y_test"), ("y_test", "x_test")):
        if missing not in arrays and (given in arrays or missing == "x"):
            raise DataError(f"{path} has no array {missing}; it has {listed(sorted(arrays)) or 'none'}")
    examples = {name: _examples(arrays[name], f"{path}: {name}") for name in NAMES if name[0] == "x" and name in arrays}
    for name, x in examples.items():
        if x.shape[1:] != examples["x"].shape[1:]:
            raise DataError(
                f"{path}: one {name} is {list(x.shape[1:])}, but one x is {list(examples['x'].shape[1:])}; "
                "all need the same shape"
            )
    classes = ordered_classes(str(name) for name in label_names(arrays["y"], f"{path}: y"))
    if len(classes) < 2:
        raise DataError(f"{path}: y holds only the class {listed(classes)}; at least two are needed")
    train = _labelled(examples["x"], arrays["y"], classes, path, "y")
    unlabelled = {"x": examples["x_unlabelled"]} if "x_unlabelled" in examples else {}
    origin = "given"
    if "x_test" in examples:
        test = _labelled(examples["x_test"], arrays["y_test"], classes, path, "y_test")
    else:
        kept, held = hold_out(train["y"], [str(row) for row in range(len(train["y"]))], source.test_share)
        train, test = ({key: value[rows] for key, value in train.items()} for rows in (kept, held))
        origin = f"test split off by hash, {source.test_share:.0%}"
    return Dataset(f"arrays:{path.name}", classes, train, test, unlabelled, _warnings(path, arrays), origin)


def _called(arrays: dict[str, Array], source: ArraysSource, path: Path) -> dict[str, Array]:
    """The arrays under the names that are read here, as `source.keys` says; all of them where it says nothing."""
    keys = {name: (key,) if isinstance(key, str) else key for name, key in source.keys.items()}
    for name, parts in keys.items():
        if missing := [part for part in parts if part not in arrays]:
            known = listed(sorted(arrays), 12)
            raise DataError(f"{path} has no array {listed(missing)} (source.keys.{name}); it has {known}")
        shapes = {arrays[part].shape[1:] for part in parts}
        if len(shapes) != 1:
            raise DataError(f"{path}: source.keys.{name} joins arrays of different shapes; join those of one")
    if not keys:
        return arrays
    return {name: np.concatenate([arrays[part] for part in parts]) for name, parts in keys.items() if parts}


def _examples(array: Array, what: str) -> Tensor:
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
        raise DataError(f"{path}: {name} holds classes that are not in y: {listed(unknown)}; y has {listed(classes)}")
    number = {value: index for index, value in enumerate(classes)}
    return {"x": x, "y": torch.tensor([number[str(value)] for value in names])}


def _warnings(path: Path, arrays: dict[str, Array]) -> tuple[str, ...]:
    warnings: tuple[str, ...] = ()
    if unused := sorted(set(arrays) - set(NAMES)):
        warnings += (f"{path}: arrays that are not used: {listed(unused)}; read are {', '.join(NAMES)}",)
    if arrays["x"].ndim > 2 and arrays["x"].dtype == np.uint8 and arrays["x"].max() <= 1:
        warnings += (f"{path}: x holds no byte above 1, which is black; store 0/1 images as floats or booleans",)
    return warnings
