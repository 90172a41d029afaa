"""The streams of a recipe, made from its data and their split."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.inputs.inputs import inputs_of
from semivae.data.splits import Split
from semivae.data.streams import ArrayStream, ClassStream, EmptyStream, Stream, _resident
from semivae.data.values import class_weights, read_rows
from semivae.errors import DataError
from semivae.recipe.schema import FileSpec, Recipe, StreamSpec
from semivae.text import join_names
from semivae.variables import Sample


def make_streams(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    device: torch.device,
    seed: int,
    data_root: Path | None = None,
) -> dict[str, Stream]:
    """The streams of a recipe, by name, in its order.

    {x, y} shows the labelled part; {x} the unlabelled part and the images that came without a label, or, where there
    are none, the labelled images without their labels; a set without x takes its values from `values`, by default
    classes as frequent as in the labelled part; an empty set shows nothing. Where the label is a map it is called s.

    Images stay on `device` as bytes, once for all streams, where they fit into half of its free memory.

    Args:
        recipe: the recipe.
        dataset: its data.
        split: their split.
        device: where batches go.
        seed: the training seed.
        data_root: where relative paths of `values` files start; None is the usual data root.

    Raises:
        DataError: a stream observes what the data do not hold, or its values cannot be had; the data do not fit the
            family of x, or a view.
    """
    inputs_of(dataset.shape).refuse(recipe, dataset)
    label = dataset.label
    known = {"x": _joined("x", dataset.train, dataset.unlabelled), label: dataset.train[label]}
    known = {key: _resident(array, device) for key, array in known.items()}
    extra = torch.arange(len(known[label]), len(known["x"]))  # rows of x that have no label
    streams: dict[str, Stream] = {}
    for name, spec in recipe.streams.items():
        observed = set(spec.observe)
        if "x" not in observed:
            streams[name] = _values_stream(name, spec, recipe, dataset, split, device, seed, data_root)
            continue
        if unknown := sorted(observed - set(known)):
            raise DataError(
                f"streams.{name} observes {join_names(unknown)}, but {dataset.name} holds only x and {label}"
            )
        if spec.values is not None:
            raise DataError(f"streams.{name}.values has no use: x comes from {dataset.name}; remove values")
        rows = split.labelled if label in observed else torch.cat([split.unlabelled, extra])
        if not len(rows):
            rows = split.labelled  # every image is labelled: their labels are left away
        arrays = {key: known[key] for key in spec.observe}
        streams[name] = ArrayStream(name, arrays, rows, spec.batch, device, seed)
    return streams


def _joined(name: str, *parts: Sample) -> Tensor:
    """The values of one variable in all parts that have it, one after the other."""
    values = [part[name] for part in parts if name in part]
    return torch.cat(values) if len(values) > 1 else values[0]


def _values_stream(
    name: str,
    spec: StreamSpec,
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    device: torch.device,
    seed: int,
    data_root: Path | None,
) -> Stream:
    """A stream that shows no image: from rows of a file, from class weights, or empty."""
    where = f"streams.{name}.values"
    if not spec.observe:
        if spec.values is not None:
            raise DataError(f"{where} has no use: the stream observes nothing; remove values")
        return EmptyStream(name, spec.batch)
    if unknown := sorted(set(spec.observe) - set(recipe.variables)):
        raise DataError(f"streams.{name} observes {join_names(unknown)}, which the recipe's variables do not define")
    only = recipe.variables[spec.observe[0]]
    if spec.observe == ("s",) and dataset.label == "s" and not isinstance(spec.values, FileSpec):
        return _map_stream(where, name, spec, dataset, split, device, seed)
    if len(spec.observe) == 1 and only.family == "categorical" and not only.shape:
        weights = class_weights(where, spec, spec.observe[0], recipe, dataset, split, data_root)
        return ClassStream(name, spec.observe[0], weights, spec.batch, device, seed)
    if not isinstance(spec.values, FileSpec):
        raise DataError(
            f"{where}: {join_names(spec.observe)} can only come from a file; write values: {{file: FILE.npz}} "
            "with an array for each"
        )
    arrays = read_rows(where, spec.values, spec.observe, recipe, dataset, data_root)
    rows = torch.arange(len(next(iter(arrays.values()))))
    arrays = {key: _resident(array, device) for key, array in arrays.items()}
    return ArrayStream(name, arrays, rows, spec.batch, device, seed)


def _map_stream(
    where: str, name: str, spec: StreamSpec, dataset: Dataset, split: Split, device: torch.device, seed: int
) -> Stream:
    """Maps without images: those of the labelled pairs or the hidden ones, and always those that come alone."""
    if spec.values not in (None, "labelled", "hidden"):
        raise DataError(f"{where}: s is a map, which no class weights can draw; write labelled, hidden or a file")
    part = split.unlabelled if spec.values == "hidden" else split.labelled
    maps = _joined("s", {"s": dataset.train["s"][part]}, dataset.alone)
    if not len(maps):
        raise DataError(f"{where}: the split hides no label; write labelled, or a file")
    return ArrayStream(name, {"s": _resident(maps, device)}, torch.arange(len(maps)), spec.batch, device, seed)
