"""Streams: endless seeded batches, each with one fixed set of observed variables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from semivae.data.ahead import is_slow
from semivae.data.inputs.pixels import as_model_values
from semivae.recipe.schema import NormalSpec, RangeSpec
from semivae.seeds import seed_for
from semivae.variables import VOID, Sample, drawn_name

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

    @property
    def is_slow(self) -> bool:
        """Whether batches may come from a disk or from another device's memory, so that they are read ahead."""
        return False

    @abstractmethod
    def batch(self, step: int) -> Sample:
        """Batch 0, 1, ...: images as floats in [0, 1], codes as floats, classes as int64, [batch_size, ...]."""

    def part(self, step: int, first: int, end: int) -> Sample:
        """Rows `first` to `end` of `batch(step)`, of which a process reads no more than it computes."""
        return {name: value[first:end] for name, value in self.batch(step).items()}


@dataclass(frozen=True)
class StoredDraws:
    """Random draws of a view that were computed before, such as features of it.

    Args:
        variable: the variable that they are values of.
        view: the name of the view.
        draws: each [n, *shape], for all examples.
    """

    variable: str
    view: str
    draws: Sequence[Tensor]

    def some(self, rows: Tensor, which: Tensor) -> Tensor:
        """Draws number `which`, int64 [n], of some examples, int64 [n]: [n, *shape]."""
        found = torch.empty(len(rows), *self.draws[0].shape[1:])
        for number, values in enumerate(self.draws):
            chosen = which == number
            found[chosen] = as_model_values(values[rows[chosen]])
        return found


@final
class ArrayStream(Stream):
    """Examples from arrays: every epoch shows each once, in an order of its own; batches run on across epochs.

    Beside a variable's values, a batch holds a stored draw of each of its views, under `drawn_name`.
    """

    def __init__(
        self,
        name: str,
        arrays: Sample,
        rows: Tensor,
        batch_size: int,
        device: torch.device,
        seed: int,
        draws: Sequence[StoredDraws] = (),
    ) -> None:
        """Args:
        name: the stream's name.
        arrays: variable -> all examples, on the device where they are to stay. May be shared with other streams.
        rows: int64, the examples that belong to this stream.
        batch_size: examples in a batch; may exceed the number of rows.
        device: where batches go.
        seed: the training seed.
        draws: of views that the stream shows.
        """
        super().__init__(name, tuple(arrays), batch_size, len(rows))
        self._arrays = arrays
        self._rows = rows
        self._device = device
        self._seed = seed
        self._draws = draws
        self._order = -1, rows  # an epoch and its rows in order

    @property
    def is_slow(self) -> bool:
        return any(is_slow(array, self._device) for array in self._arrays.values())

    def batch(self, step: int) -> Sample:
        return self.part(step, 0, self.batch_size)

    def part(self, step: int, first: int, end: int) -> Sample:
        position = step * self.batch_size + first
        parts: list[Tensor] = []
        missing = end - first
        while missing:
            epoch, start = divmod(position, self.size)
            parts.append(self._order_of(epoch)[start : start + missing])
            position += len(parts[-1])
            missing -= len(parts[-1])
        rows = torch.cat(parts) if len(parts) > 1 else parts[0]
        batch = {
            name: as_model_values(moved(array[rows.to(array.device)], self._device))
            for name, array in self._arrays.items()
        }
        for stored in self._draws:
            generator = torch.Generator().manual_seed(seed_for(self._seed, self.name, stored.view, step))
            which = torch.randint(len(stored.draws), (self.batch_size,), generator=generator)[first:end]
            drawn = moved(stored.some(rows.cpu(), which), self._device)
            batch[drawn_name(stored.variable, stored.view)] = drawn
        return batch

    def _order_of(self, epoch: int) -> Tensor:
        known, order = self._order  # as one: several threads may read
        if epoch != known:
            generator = torch.Generator().manual_seed(seed_for(self._seed, self.name, "epoch", epoch))
            order = self._rows[torch.randperm(self.size, generator=generator)]
            order = order.to(next(iter(self._arrays.values())).device)
            self._order = epoch, order
        return order


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
        return {self.observes[0]: moved(drawn, self._device)}


@final
class AttributeStream(Stream):
    """Vectors of attributes without images: those of examples, their unknown entries drawn by frequency, or draws."""

    def __init__(
        self,
        name: str,
        variable: str,
        frequencies: Tensor,
        rows: Tensor,
        batch_size: int,
        device: torch.device,
        seed: int,
    ) -> None:
        """Args:
        name: the stream's name.
        variable: the vector that is shown.
        frequencies: the probability of each attribute, [K], by which entries are drawn that no row knows.
        rows: float32 [n, K] of 0, 1 and `VOID`, of which each batch shows some with all their known entries; with none,
            all entries are drawn, each by itself.
        batch_size: examples in a batch.
        device: where batches go.
        seed: the training seed.
        """
        super().__init__(name, (variable,), batch_size, len(rows))
        self.frequencies, self.rows = frequencies.float(), rows
        self._device = device
        self._seed = seed

    def batch(self, step: int) -> Sample:
        generator = torch.Generator().manual_seed(seed_for(self._seed, self.name, "step", step))
        chances = self.frequencies.expand(self.batch_size, -1)
        drawn = torch.bernoulli(chances, generator=generator)
        if len(self.rows):
            values = self.rows[torch.randint(len(self.rows), (self.batch_size,), generator=generator)]
            drawn = torch.where(values == VOID, drawn, values)
        return {self.observes[0]: moved(drawn, self._device)}


@final
class NumberStream(Stream):
    """Numbers drawn from a stated distribution, without examples: a label-only stream."""

    def __init__(
        self,
        name: str,
        variable: str,
        shape: tuple[int, ...],
        law: NormalSpec | RangeSpec,
        batch_size: int,
        device: torch.device,
        seed: int,
    ) -> None:
        """Args:
        name: the stream's name.
        variable: the Gaussian variable that is shown.
        shape: of one value; its numbers are drawn independently.
        law: the distribution of each number, in its unit.
        batch_size: examples in a batch.
        device: where batches go.
        seed: the training seed.
        """
        super().__init__(name, (variable,), batch_size, 0)
        self.shape, self.law = shape, law
        self._device = device
        self._seed = seed

    def batch(self, step: int) -> Sample:
        generator = torch.Generator().manual_seed(seed_for(self._seed, self.name, "step", step))
        size = (self.batch_size, *self.shape)
        if isinstance(self.law, RangeSpec):
            drawn = self.law.low + (self.law.high - self.law.low) * torch.rand(size, generator=generator)
        else:
            drawn = self.law.mean + self.law.deviation * torch.randn(size, generator=generator)
        return {self.observes[0]: moved(drawn, self._device)}


@final
class EmptyStream(Stream):
    """Observes nothing: the player that completes it draws everything, `batch_size` times."""

    def __init__(self, name: str, batch_size: int) -> None:
        super().__init__(name, (), batch_size, 0)

    def batch(self, step: int) -> Sample:
        return {}


def moved(values: Tensor, device: torch.device) -> Tensor:
    """`values` on the device of the batches, to which a GPU's are copied without a wait."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def joined(name: str, *parts: Sample) -> Tensor:
    """The values of one variable in all parts that have it, one after the other."""
    values = [part[name] for part in parts if name in part]
    return torch.cat(values) if len(values) > 1 else values[0]


def resident(array: Tensor, device: torch.device) -> Tensor:
    """Moves `array` to `device` if it takes no more than half of what is free there; else leaves it."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if array.nbytes > DEVICE_SHARE * free:
            return array
    return array.to(device)
