"""Data that are in memory when they are inspected: arrays, and data sets known by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.doubts import example_keys
from semivae.data.formats.npz import load_arrays
from semivae.data.readers.arrays import dataset_of_arrays
from semivae.errors import DataError
from semivae.inspection.counting import CountClasses, counted
from semivae.inspection.duplicates import Examples, duplicates, near_doubts
from semivae.inspection.facts import MaskFacts
from semivae.inspection.likeness import Likeness
from semivae.inspection.pictures import Look, as_is, image_facts, looks_at_arrays, picture_doubts
from semivae.inspection.report import DataReport
from semivae.inspection.result import Inspected
from semivae.recipe.schema import ArraysSource, SplitSpec
from semivae.text import join_names
from semivae.variables import Sample

WHERE = ("train", "test", "unlabelled")


def inspect_arrays(source: ArraysSource, path: Path, spec: SplitSpec | None, chosen: str = "") -> Inspected:
    """Finds what an .npz file holds; what training would refuse is in the report.

    Raises:
        DataError: the file cannot be read.
    """
    arrays = load_arrays(path)
    try:
        if "" in arrays:
            raise DataError(f"{path} is a single array; save x and y by name with np.savez(path, x=..., y=...)")
        dataset = dataset_of_arrays(arrays, source, path)
    except DataError as error:
        held = [f"{name or 'an array'} {list(array.shape)} of {array.dtype}" for name, array in arrays.items()]
        report = DataReport(str(path), "arrays", join_names(held), {}, {}, mistakes=(str(error),))
        return Inspected(report)
    return inspect_dataset(dataset, str(path), "arrays", spec, chosen)


def inspect_dataset(dataset: Dataset, place: str, kind: str, spec: SplitSpec | None, chosen: str = "") -> Inspected:
    """Finds what data in memory hold."""
    images = dataset.train["x"].ndim == 4
    looks = [look for part in WHERE for look in looks_at_arrays(_part(dataset, part))] if images else []
    examples = examples_of(dataset, looks)
    equal = duplicates(examples)
    facts = image_facts(examples.names, looks, as_is(dataset.train["x"].numpy())) if images else None
    maps = dataset.train[dataset.label].ndim == 3
    count = counted(dataset, spec, count_maps(dataset.classes, dataset.train["s"], dataset.test["s"]) if maps else None)
    report = DataReport(
        place=place,
        kind=kind,
        chosen=chosen,
        parts=count.parts,
        classes=count.classes,
        further=count.further,
        numbers=count.numbers,
        images=facts,
        masks=_mask_facts(dataset) if maps else None,
        duplicates=equal,
        mistakes=count.mistakes,
        warnings=(*dataset.warnings, *picture_doubts(facts, place), *near_doubts(equal, place)),
    )
    return Inspected(report, dataset)


def examples_of(dataset: Dataset, looks: list[Look] | None = None) -> Examples:
    """The examples of data in memory, called by their part and their row in it."""
    keys = [example_keys(_part(dataset, part)) for part in WHERE]
    names = [f"{part}[{row}]" for part, found in zip(WHERE, keys, strict=True) for row in range(len(found))]
    labels = [np.full(len(found), -1, np.int64) for found in keys]
    for part, sample in enumerate((dataset.train, dataset.test)):
        if sample[dataset.label].ndim == 1:
            labels[part] = sample[dataset.label].numpy()
    starts = np.cumsum([0, *map(len, keys)])
    rows = {part: np.arange(starts[number], starts[number + 1]) for number, part in enumerate(WHERE)}
    if dataset.validation is not None:
        own = dataset.validation.numpy()
        rows |= {"val": own, "train": np.setdiff1d(rows["train"], own)}
    return Examples(names, np.concatenate(keys), np.concatenate(labels), rows, Likeness(looks) if looks else None)


def _part(dataset: Dataset, part: str) -> Sample:
    return {"train": dataset.train, "test": dataset.test, "unlabelled": dataset.unlabelled}[part]


def count_maps(classes: tuple[str, ...], train: Tensor, test: Tensor) -> CountClasses:
    """Counts maps that show a class, of maps [n, height, width]."""
    shown = {
        part: torch.stack([(maps == number).flatten(1).any(dim=1) for number in range(len(classes))], dim=1)
        for part, maps in (("train", train), ("test", test))
    }
    return lambda part, rows: shown[part][rows].sum(dim=0).tolist()


def _mask_facts(dataset: Dataset) -> MaskFacts:
    maps = torch.cat([part["s"] for part in (dataset.train, dataset.test, dataset.alone) if part])
    known = maps[maps >= 0]
    area = torch.bincount(known.long(), minlength=len(dataset.classes)).double() / max(1, len(known))
    shown = [int((maps == number).flatten(1).any(dim=1).sum()) for number in range(len(dataset.classes))]
    return MaskFacts(
        len(maps),
        f"class numbers from 0 to {len(dataset.classes) - 1}",
        dict(zip(dataset.classes, shown, strict=True)),
        dict(zip(dataset.classes, area.tolist(), strict=True)),
        1 - len(known) / maps.numel(),
    )
