"""Streams that show no image: classes, attributes and numbers that are drawn, rows of a file, maps that come alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.data.streams import ArrayStream, AttributeStream, ClassStream, NumberStream, Stream, joined, resident
from semivae.data.values import known_weights, read_rows, with_strangers
from semivae.errors import DataError
from semivae.recipe.schema import FileSpec, FrequenciesSpec, NormalSpec, RangeSpec, Recipe, StreamSpec
from semivae.text import join_names

DISTRIBUTIONS = "{low: ..., high: ...} or {mean: ..., deviation: ...}"


@dataclass(frozen=True, eq=False)
class Unpaired:
    """A stream without images as a recipe asks for it, and all that its values may come from.

    Attributes:
        name: the stream's.
        spec: its section.
        recipe, dataset, split: of the scenario.
        device: where batches go.
        seed: the training seed.
        data_root: where relative paths start; None is the usual data root.
    """

    name: str
    spec: StreamSpec
    recipe: Recipe
    dataset: Dataset
    split: Split
    device: torch.device
    seed: int
    data_root: Path | None = None

    @property
    def where(self) -> str:
        """The entry's path in the recipe, for messages."""
        return f"streams.{self.name}.values"


def class_stream(asked: Unpaired) -> Stream:
    """Classes of the one variable that the stream observes, drawn with the weights that it asks for.

    Raises:
        DataError: no weight for each class, or no labels to count.
    """
    spec, variable = asked.spec, asked.spec.observe[0]
    known = known_weights(asked.where, spec, variable, asked.recipe, asked.dataset, asked.split, asked.data_root)
    weights = with_strangers(known, asked.recipe.variables[variable])
    return ClassStream(asked.name, variable, weights, spec.batch, asked.device, asked.seed)


def file_stream(asked: Unpaired) -> Stream:
    """Rows of a file, in which all variables that the stream observes belong together.

    Raises:
        DataError: the stream names no file, or one that does not fit.
    """
    spec = asked.spec
    if not isinstance(spec.values, FileSpec):
        raise DataError(
            f"{asked.where}: {join_names(spec.observe)} can only come from a file; write values: {{file: FILE.npz}} "
            "with an array for each"
        )
    arrays = read_rows(asked.where, spec.values, spec.observe, asked.recipe, asked.dataset, asked.data_root)
    rows = torch.arange(len(next(iter(arrays.values()))))
    arrays = {name: resident(array, asked.device) for name, array in arrays.items()}
    return ArrayStream(asked.name, arrays, rows, spec.batch, asked.device, asked.seed)


def attribute_stream(asked: Unpaired) -> Stream:
    """Vectors of the labelled examples, or of the hidden ones, or draws with stated frequencies; or rows of a file.

    Raises:
        DataError: the data hold no such vectors, the frequencies are not those of their attributes, an attribute is
            unknown of all examples, or no label is hidden.
    """
    spec, label, where = asked.spec, asked.spec.observe[0], asked.where
    if isinstance(spec.values, FileSpec):
        return file_stream(asked)
    if label not in asked.dataset.labels:
        raise DataError(f"{where}: {label} can only come from a file; write values: {{file: FILE.npz}}")
    names = asked.dataset.labels[label].classes
    if isinstance(spec.values, FrequenciesSpec):
        given = spec.values.frequencies
        if set(given) != set(names):
            lacking, unknown = sorted(set(names) - set(given)), sorted(set(given) - set(names))
            what = f"lacks {join_names(lacking)}" if lacking else f"names {join_names(unknown)}, which the data lack"
            raise DataError(f"{where}.frequencies {what}; name each attribute of {label}: {join_names(names, 20)}")
        frequencies = torch.tensor([given[name] for name in names])
        rows = torch.zeros(0, len(names))
        return AttributeStream(asked.name, label, frequencies, rows, spec.batch, asked.device, asked.seed)
    if spec.values not in (None, "labelled", "hidden"):
        raise DataError(f"{where}: {label} is a vector of attributes; write frequencies, labelled, hidden or a file")
    part = asked.split.unlabelled if spec.values == "hidden" else asked.split.labelled
    rows = asked.dataset.train[label][part]
    rows = rows[(rows >= 0).any(dim=1)].float()
    if not len(rows):
        raise DataError(f"{where}: the split hides no label; write frequencies, labelled or a file")
    known = (rows >= 0).sum(dim=0)
    if unknown := [name for name, count in zip(names, known.tolist(), strict=True) if not count]:
        raise DataError(f"{where}: no example shows {join_names(unknown)}; write frequencies of all attributes")
    frequencies = (rows == 1).sum(dim=0) / known
    return AttributeStream(asked.name, label, frequencies, rows, spec.batch, asked.device, asked.seed)


def number_stream(asked: Unpaired) -> Stream:
    """Numbers of the labelled examples, or the hidden ones; draws from a stated distribution; or rows of a file.

    Raises:
        DataError: the data hold no such numbers, the values are weights of classes, or no number is hidden.
    """
    spec, variable, where = asked.spec, asked.spec.observe[0], asked.where
    if isinstance(spec.values, FileSpec):
        return file_stream(asked)
    if isinstance(spec.values, NormalSpec | RangeSpec):
        shape = asked.recipe.variables[variable].shape or ()
        return NumberStream(asked.name, variable, shape, spec.values, spec.batch, asked.device, asked.seed)
    if variable not in asked.dataset.labels:
        raise DataError(f"{where}: the data hold no {variable}; write {DISTRIBUTIONS}, or a file")
    if spec.values not in (None, "labelled", "hidden"):
        raise DataError(f"{where}: {variable} is a number; write {DISTRIBUTIONS}, labelled, hidden or a file")
    part = asked.split.unlabelled if spec.values == "hidden" else asked.split.shown(asked.dataset, variable)
    values = asked.dataset.of_all(variable)[part]
    values = values[~values.reshape(len(values), -1).isnan().any(dim=1)]
    if not len(values):
        raise DataError(f"{where}: the split hides no label; write {DISTRIBUTIONS}, labelled or a file")
    arrays = {variable: resident(values, asked.device)}
    return ArrayStream(asked.name, arrays, torch.arange(len(values)), spec.batch, asked.device, asked.seed)


def map_stream(asked: Unpaired) -> Stream:
    """Maps of the labelled pairs, or the hidden ones, and always those that come alone; or rows of a file.

    Raises:
        DataError: the data hold no such maps, the values are weights of classes, or no map is hidden.
    """
    spec, label = asked.spec, asked.spec.observe[0]
    if isinstance(spec.values, FileSpec):
        return file_stream(asked)
    if label not in asked.dataset.labels:
        raise DataError(f"{asked.where}: the data hold no {label}; write values: {{file: FILE.npz}}")
    if spec.values not in (None, "labelled", "hidden"):
        raise DataError(
            f"{asked.where}: {label} is a map, which no class weights can draw; write labelled, hidden or a file"
        )
    part = asked.split.unlabelled if spec.values == "hidden" else asked.split.labelled
    maps = joined(label, {label: asked.dataset.train[label][part]}, asked.dataset.alone)
    if not len(maps):
        raise DataError(f"{asked.where}: the split hides no label; write labelled, or a file")
    arrays = {label: resident(maps, asked.device)}
    return ArrayStream(asked.name, arrays, torch.arange(len(maps)), spec.batch, asked.device, asked.seed)
