"""Values of a stream that shows no image: class weights, and rows of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.formats.label_files import label_numbers, read_label_lines
from semivae.data.formats.npz import load_arrays
from semivae.data.inputs.pixels import Array, table_as_floats
from semivae.data.paths import data_root as usual_data_root
from semivae.data.paths import resolve
from semivae.data.splits import Split
from semivae.errors import DataError
from semivae.recipe.schema import CountsSpec, FileSpec, ProbabilitiesSpec, Recipe, StreamSpec, VariableSpec
from semivae.text import join_names
from semivae.variables import VOID, Sample


def with_strangers(weights: Tensor, variable: VariableSpec) -> Tensor:
    """Weights of known classes [K], and after them what gives strangers their share, where there are any: [K + 1]."""
    if variable.strangers is None:
        return weights
    share = variable.strangers.share
    assert isinstance(share, float)  # `semivae.scenario.strangers` has estimated it
    return torch.cat([weights / weights.sum() * (1.0 - share), torch.tensor([share], dtype=weights.dtype)])


def known_weights(
    where: str,
    spec: StreamSpec,
    variable: str,
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    data_root: Path | None,
) -> Tensor:
    """How often a label-only stream shows each known class: float64 [classes], not normalised.

    Args:
        where: the entry's path in the recipe, for messages.
        spec: the stream.
        variable: its categorical variable.
        recipe: the recipe.
        dataset: its data.
        split: their split.
        data_root: where a relative path starts.

    Raises:
        DataError: not one weight for each class, none above zero, no labels to count, or a file that cannot be used.
    """
    classes = classes_of(where, variable, recipe, dataset)
    if recipe.variables[variable].strangers is not None:
        classes = classes[:-1]
    values = spec.values
    if isinstance(values, CountsSpec | ProbabilitiesSpec):
        given = values.counts if isinstance(values, CountsSpec) else values.probabilities
        if len(given) != len(classes):
            raise DataError(f"{where} has {len(given)} entries for {len(classes)} classes of {variable}; give one each")
        weights = torch.tensor(given, dtype=torch.float64)
    elif isinstance(values, FileSpec):
        weights = _counts(_labels_in(where, values, variable, classes, data_root), len(classes))
    elif values == "uniform":
        weights = torch.ones(len(classes), dtype=torch.float64)
    elif variable not in dataset.labels:
        raise DataError(f"{where}: the data hold no {variable}; write uniform, counts, probabilities or a file")
    else:
        part = split.unlabelled if values == "hidden" else split.shown(dataset, variable)
        labels = dataset.of_all(variable)[part]
        weights = _counts(labels[(labels != VOID) & (labels < len(classes))], len(classes))
    if not weights.sum() > 0:
        what = "the split hides no label" if values == "hidden" else "no class has a weight above zero"
        raise DataError(f"{where}: {what}; write uniform, counts or probabilities")
    return weights


def classes_of(where: str, variable: str, recipe: Recipe, dataset: Dataset) -> tuple[str, ...]:
    """The class names of a categorical variable; numbers where the data do not name them."""
    if variable in dataset.labels:
        return dataset.labels[variable].classes
    count = recipe.variables[variable].classes
    if count is None:
        raise DataError(f"{where}: write variables.{variable}.classes, the number of classes; the data do not tell it")
    return tuple(str(number) for number in range(count))


def _counts(labels: Tensor, classes: int) -> Tensor:
    return torch.bincount(labels, minlength=classes).to(torch.float64)


def _labels_in(where: str, spec: FileSpec, variable: str, classes: tuple[str, ...], data_root: Path | None) -> Tensor:
    path = _path(where, spec, data_root)
    if path.suffix.lower() in (".npy", ".npz"):
        return label_numbers(_array(path, variable, load_arrays(path)), classes, str(path))
    return read_label_lines(path, classes, variable)


def _path(where: str, spec: FileSpec, data_root: Path | None) -> Path:
    path = resolve(spec.file, usual_data_root(None) if data_root is None else data_root)
    if not path.is_file():
        raise DataError(f"{where}: there is no file {path.absolute()}")
    if path.suffix.lower() not in (".csv", ".txt", ".npy", ".npz"):
        raise DataError(f"{where}: {path} is none of .csv, .txt, .npy and .npz")
    return path


def _array(path: Path, variable: str, arrays: dict[str, Array]) -> Array:
    """The array of `variable`, or the only one."""
    if variable in arrays:
        return arrays[variable]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise DataError(f"{path} has no array {variable}; it has {join_names(sorted(arrays))}")


def read_rows(
    where: str,
    spec: FileSpec,
    observed: tuple[str, ...],
    recipe: Recipe,
    dataset: Dataset,
    data_root: Path | None,
) -> Sample:
    """Rows of variables from an .npz with an array for each, or from an .npy for one: float32 or int64, [n, ...].

    Raises:
        DataError: an array is missing, or does not fit its variable or the others.
    """
    path = _path(where, spec, data_root)
    if path.suffix.lower() not in (".npy", ".npz"):
        raise DataError(f"{where}: {join_names(observed)} need an .npz file with an array for each, not {path}")
    arrays = load_arrays(path)
    if len(observed) > 1 and (missing := [name for name in observed if name not in arrays]):
        raise DataError(f"{path} has no array {join_names(missing)}; it has {join_names(sorted(arrays))}")
    rows = {name: _rows(where, path, name, _array(path, name, arrays), recipe, dataset) for name in observed}
    lengths = {name: len(values) for name, values in rows.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise DataError(f"{path}: all arrays need the same number of rows, at least one; they have {lengths}")
    return rows


def _rows(where: str, path: Path, name: str, array: Array, recipe: Recipe, dataset: Dataset) -> Tensor:
    spec = recipe.variables[name]
    what = f"{path}: {name}"
    shape = () if spec.has_classes and spec.shape is None else spec.shape
    if shape == () and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]  # a column of classes
    if not array.ndim or (shape is not None and array.shape[1:] != shape):
        needed = ", ".join(["n", *(str(size) for size in shape or ())])
        raise DataError(f"{what} has shape {list(array.shape)}; variables.{name} needs [{needed}]")
    if spec.has_classes:
        return _class_numbers(array, classes_of(where, name, recipe, dataset), what, maps=bool(shape))
    rows = table_as_floats(array, what)
    if spec.family == "bernoulli" and not np.isin(rows, (0, 1)).all():
        raise DataError(f"{what} is a bernoulli variable; its values are 0 and 1")
    return torch.from_numpy(rows)


def _class_numbers(array: Array, classes: Sequence[str], what: str, maps: bool) -> Tensor:
    """Classes by name or number as int64, of the array's shape; in maps -1 stays, a place that is not known."""
    flat = array.reshape(-1)
    known = flat != VOID if maps and np.issubdtype(array.dtype, np.number) else np.ones(len(flat), dtype=np.bool_)
    numbers = torch.full((len(flat),), VOID, dtype=torch.int64)
    numbers[torch.from_numpy(known)] = label_numbers(flat[known], classes, what)
    return numbers.reshape(array.shape)
