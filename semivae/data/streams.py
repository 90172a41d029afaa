"""Streams: endless seeded batches, each with one fixed set of observed variables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from semivae.data.dataset import Dataset, listed
from semivae.data.seeds import seed_for
from semivae.data.splits import Split
from semivae.data.values import class_weights, read_rows
from semivae.data.views import View
from semivae.errors import DataError
from semivae.game.variables import Sample
from semivae.recipe.schema import FileSpec, PairOfViews, Recipe, StreamSpec

DEVICE_SHARE = 0.5  # of a device's free memory, the most that the data may take


class Stream(ABC):
    """Endless batches. `batch` is a pure function of the stream's seed and name and of the step, so that training
    resumes exactly without anything to store.

    Attributes:
        name: the stream's name in the recipe; it also seeds the draws.
        observes: the variables that every batch shows.
        batch_size: examples in a batch.
        size: how many different examples there are; 0 if they are drawn from a distribution.
    """

    def __init__(self, name: str, observes: tuple[str, ...], batch_size: int, size: int) -> None:
        self.name = name
        self.observes = observes
        self.batch_size = batch_size
        self.size = size

    @abstractmethod
    def batch(self, step: int) -> Sample:
        """Batch 0, 1, ...: images as floats in [0, 1], codes as floats, classes as int64, [batch_size, ...]."""


@final
class ArrayStream(Stream):
    """Examples from arrays: every epoch shows each once, in an order of its own; batches run on across epochs."""

    def __init__(
        self,
        name: str,
        arrays: Sample,
        rows: Tensor,
        batch_size: int,
        device: torch.device,
        seed: int,
    ) -> None:
        """Args:
        name: the stream's name.
        arrays: variable -> all examples, on the device where they are to stay. May be shared with other streams.
        rows: int64, the examples that belong to this stream.
        batch_size: examples in a batch; may exceed the number of rows.
        device: where batches go.
        seed: the training seed.
        """
        super().__init__(name, tuple(arrays), batch_size, len(rows))
        self._arrays = arrays
        self._rows = rows
        self._device = device
        self._seed = seed
        self._epoch = -1
        self._order = rows

    def batch(self, step: int) -> Sample:
        position = step * self.batch_size
        parts: list[Tensor] = []
        missing = self.batch_size
        while missing:
            epoch, start = divmod(position, self.size)
            parts.append(self._order_of(epoch)[start : start + missing])
            position += len(parts[-1])
            missing -= len(parts[-1])
        rows = torch.cat(parts)
        return {
            name: as_model_values(array[rows.to(array.device)].to(self._device)) for name, array in self._arrays.items()
        }

    def _order_of(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(seed_for(self._seed, self.name, "epoch", epoch))
            order = self._rows[torch.randperm(self.size, generator=generator)]
            self._order = order.to(next(iter(self._arrays.values())).device)
            self._epoch = epoch
        return self._order


@final
class ClassStream(Stream):
    """Classes drawn with fixed weights, without examples: a label-only stream."""

    def __init__(
        self, name: str, variable: str, weights: Tensor, batch_size: int, device: torch.device, seed: int
    ) -> None:
        """Args:
        name: the stream's name.
        variable: the categorical variable that is shown.
        weights: float64 [classes], not negative, not all zero.
        batch_size: examples in a batch.
        device: where batches go.
        seed: the training seed.
        """
        super().__init__(name, (variable,), batch_size, 0)
        self.weights = weights / weights.sum()
        self._device = device
        self._seed = seed

    def batch(self, step: int) -> Sample:
        generator = torch.Generator().manual_seed(seed_for(self._seed, self.name, "step", step))
        drawn = torch.multinomial(self.weights, self.batch_size, replacement=True, generator=generator)
        return {self.observes[0]: drawn.to(self._device)}


@final
class EmptyStream(Stream):
    """Nothing observed: the player that completes it draws everything, `batch_size` times."""

    def __init__(self, name: str, batch_size: int) -> None:
        super().__init__(name, (), batch_size, 0)

    def batch(self, step: int) -> Sample:
        return {}


def as_model_values(values: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1], maps as int64; anything else as it is."""
    if values.dtype == torch.int16:
        return values.long()
    return values.to(torch.float32).div_(255) if values.dtype == torch.uint8 else values


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
    if len(dataset.shape) == 1:
        _check_table(recipe, dataset)
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
            raise DataError(f"streams.{name} observes {listed(unknown)}, but {dataset.name} holds only x and {label}")
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


def _check_table(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse what is for images: families of values in [0, 1] where the rows hold others, and views beyond noise."""
    family = recipe.variables["x"].family
    parts = [part["x"] for part in (dataset.train, dataset.unlabelled, dataset.test) if part]
    low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
    if family in ("bernoulli", "discretized_logistic") and (low < 0 or high > 1):
        raise DataError(
            f"variables.x.family is {family}, whose values lie in [0, 1], but {dataset.name} holds rows with numbers "
            f"from {low:g} to {high:g}; use gaussian, or scale the columns"
        )
    for name, stream in recipe.streams.items():
        used = [stream.views.weak, stream.views.strong] if isinstance(stream.views, PairOfViews) else [stream.views]
        for view in used:
            if view is not None and View(recipe.views[view]).images_only:
                raise DataError(
                    f"streams.{name}.views: the view {view} changes images, but {dataset.name} holds rows of a table, "
                    f"to which only noise can be added; remove all other entries from views.{view}"
                )
        if isinstance(stream.views, PairOfViews) and stream.views.cutmix:
            raise DataError(
                f"streams.{name}.views.cutmix: patches are of images, but {dataset.name} holds a table; remove it"
            )


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
        raise DataError(f"streams.{name} observes {listed(unknown)}, which the recipe's variables do not define")
    only = recipe.variables[spec.observe[0]]
    if spec.observe == ("s",) and dataset.label == "s" and not isinstance(spec.values, FileSpec):
        return _map_stream(where, name, spec, dataset, split, device, seed)
    if len(spec.observe) == 1 and only.family == "categorical" and not only.shape:
        weights = class_weights(where, spec, spec.observe[0], recipe, dataset, split, data_root)
        return ClassStream(name, spec.observe[0], weights, spec.batch, device, seed)
    if not isinstance(spec.values, FileSpec):
        raise DataError(
            f"{where}: {listed(spec.observe)} can only come from a file; write values: {{file: FILE.npz}} "
            "with an array for each"
        )
    arrays = read_rows(where, spec.values, spec.observe, recipe, dataset, data_root)
    rows = torch.arange(len(next(iter(arrays.values()))))
    arrays = {key: _resident(array, device) for key, array in arrays.items()}
    return ArrayStream(name, arrays, rows, spec.batch, device, seed)


def _map_stream(
    where: str, name: str, spec: StreamSpec, dataset: Dataset, split: Split, device: torch.device, seed: int
) -> Stream:
    """Maps without images: of the labelled pairs or of the images left out, and always those that come alone."""
    if spec.values not in (None, "labelled", "left_out"):
        raise DataError(f"{where}: s is a map, which no class weights can draw; write labelled, left_out or a file")
    part = split.unlabelled if spec.values == "left_out" else split.labelled
    maps = _joined("s", {"s": dataset.train["s"][part]}, dataset.alone)
    if not len(maps):
        raise DataError(f"{where}: the split leaves no image out; write labelled, or a file")
    return ArrayStream(name, {"s": _resident(maps, device)}, torch.arange(len(maps)), spec.batch, device, seed)


def _resident(array: Tensor, device: torch.device) -> Tensor:
    """`array` on `device` if it takes no more than half of what is free there, else where it is."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if array.nbytes > DEVICE_SHARE * free:
            return array
    return array.to(device)
