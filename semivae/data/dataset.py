"""A data set in memory, as every reader returns it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semivae.errors import DataError
from semivae.variables import Sample

if TYPE_CHECKING:
    from semivae.data.inputs.table_encoding import TableEncoding


@dataclass(frozen=True)
class PictureFiles:
    """The files that the pictures of a data set were read from.

    Args:
        place: the folder or .zip.
        names: by part (train, test, unlabelled), the file of each picture, relative to the place.
    """

    place: Path
    names: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class LabelInfo:
    """What the data know of one of their labels.

    Attributes:
        kind: what it is, the name of a task in `semivae.tasks.kinds`: "classes", "maps" or "numbers".
        classes: class names, in the order of the class numbers; empty for numbers.
        unit: of numbers, for tables and charts; empty where the data name none.
    """

    kind: str
    classes: tuple[str, ...] = ()
    unit: str = ""


def class_label(classes: tuple[str, ...]) -> dict[str, LabelInfo]:
    """The labels of data that hold y alone, a class for each example."""
    return {"y": LabelInfo("classes", classes)}


def map_label(classes: tuple[str, ...]) -> dict[str, LabelInfo]:
    """The labels of data that hold s alone, a class for each place."""
    return {"s": LabelInfo("maps", classes)}


def number_label(unit: str = "") -> dict[str, LabelInfo]:
    """The labels of data that hold y alone, a number, or a short vector of numbers, for each example."""
    return {"y": LabelInfo("numbers", unit=unit)}


@dataclass(frozen=True, eq=False)
class Dataset:
    """All examples, as bytes. `x` is uint8 [n, channels, height, width], or float32 [n, columns] for tables.

    Attributes:
        name: what the data are called in messages and manifests.
        labels: what is known of each label in `train`, by name; the first is the primary one, by which data are split.
        train: {"x": ..., "y": int64 [n]}; or, where the label is a map, {"x": ..., "s": int16 [n, height, width]}, in
            which `VOID` (-1) stands for places that are not known; or, where it is a number, {"x": ..., "y": float32
            [n] or [n, K]} in its unit, in which NaN stands for a number that is not known. Every row shows the primary
            label; a further label is `VOID`, or NaN among numbers, where it is not known.
        test: the same keys, perhaps of no examples; touched by evaluation only.
            Further entries that are no labels are further inputs, [n, ...].
        unlabelled: {"x": ...}, images (and further inputs) that come without the primary label, and perhaps all further
            labels of theirs; {} if there are none.
        warnings: what a user should know, for example that a file is not the official one.
        test_origin: "given", "none", or how the test part was made.
        alone: {"s": ...}, maps that come without an image; {} if there are none.
        validation: int64, the rows of train that the data keep for validation; None where the split chooses them.
        encoding: how the columns of a table file became numbers; None for all other data.
        names: of the examples in `train`: files relative to their folder, or numbers of rows, from 0, of a table or an
            array; empty where they are numbers of the rows of `train` itself.
        files: where pictures in files lie, so that they can be read at another size; None for all other data.
        derived: entries of train, test and unlabelled that were computed from x, such as features.
        draws: by derived entry and by view, random draws of views of the train and then the unlabelled rows,
            [n, *shape] each.
    """

    name: str
    labels: Mapping[str, LabelInfo]
    train: Sample
    test: Sample
    unlabelled: Sample = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    test_origin: str = "given"
    alone: Sample = field(default_factory=dict)
    validation: Tensor | None = None
    encoding: TableEncoding | None = None
    names: Sequence[str] = ()
    files: PictureFiles | None = None
    derived: tuple[str, ...] = ()
    draws: Mapping[str, Mapping[str, Sequence[Tensor]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lacking = set(self.inputs) - set(self.unlabelled)
        if self.unlabelled and lacking:
            raise DataError(f"{self.name}: the unlabelled examples have no {' and '.join(sorted(lacking))}; add it")
        further = [name in self.unlabelled for name in list(self.labels)[1:]]
        if any(further) and not all(further):
            raise DataError(f"{self.name}: the unlabelled examples have some further labels; give all of them, or none")

    @property
    def label(self) -> str:
        """The primary label's name in `train`: y, a class or number for each example, or s, a class for each place."""
        return next(iter(self.labels))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the primary label, in the order of the class numbers."""
        return self.labels[self.label].classes

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is known of every example, labelled or not: x, and further inputs where there are any."""
        return tuple(name for name in self.train if name not in self.labels)

    def of_all(self, name: str) -> Tensor:
        """Returns the values of an input or a label of `train`, followed by those of `unlabelled` if it holds them."""
        return joined_rows([part[name] for part in (self.train, self.unlabelled) if name in part])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one x: (channels, height, width), or (columns,)."""
        return tuple(self.train["x"].shape[1:])

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the training arrays and the class names: equal exactly if a split means the same images."""
        names = {name: info.classes for name, info in self.labels.items()}
        return _digest_of(self.classes if len(names) == 1 else names, self._given(self.train))

    def digest_beside(self) -> str:
        """SHA-256 (hex) of what comes without a label or an image: no split speaks of it, but streams show it."""
        return self._digest_beside

    @cached_property
    def _digest_beside(self) -> str:
        unlabelled = {f"unlabelled.{key}": value for key, value in self._given(self.unlabelled).items()}
        return _digest_of((), unlabelled | self.alone)

    def _given(self, part: Sample) -> Sample:
        """A part without what was computed from the rest of it."""
        return {key: value for key, value in part.items() if key not in self.derived}


def joined_rows(parts: Sequence[Tensor]) -> Tensor:
    """Returns the rows of arrays, one after the other; those that lie so in memory, or on the disk, are not copied."""
    first = parts[0]
    end = first.storage_offset()
    for part in parts:
        same = part.untyped_storage().data_ptr() == first.untyped_storage().data_ptr() and part.dtype == first.dtype
        if not same or not part.is_contiguous() or part.storage_offset() != end:
            return torch.cat(list(parts)) if len(parts) > 1 else first
        end += part.numel()
    count = sum(len(part) for part in parts)
    return first.as_strided((count, *first.shape[1:]), first.stride(), first.storage_offset())


def _digest_of(classes: Any, arrays: Sample) -> str:
    total = hashlib.sha256(json.dumps(classes).encode())
    for key in sorted(arrays):
        array = arrays[key].contiguous().numpy()
        total.update(json.dumps([key, array.dtype.str, array.shape]).encode())
        total.update(array.data)
    return total.hexdigest()
