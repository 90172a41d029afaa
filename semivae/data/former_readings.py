"""Folders of images as earlier versions read them, for runs and splits that were made of them then.

In version 0.1, classes called by numbers were in the order of texts (1, 10, 2), and a folder `val` was not
used. A split names the checksum of its data, so that the reading it was made of is found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from semivae.data.dataset import Dataset, class_label


def as_recorded(dataset: Dataset, manifest: Path) -> Dataset:
    """The reading of a folder that a split's manifest was made of; the present one where it was made of none."""
    try:
        written = json.loads(manifest.read_text(encoding="utf-8"))["dataset_sha256"]
    except (OSError, ValueError, KeyError, TypeError):  # told when the split is read
        return dataset
    if written == dataset.digest:
        return dataset
    return next((former for former in _former(dataset) if former.digest == written), dataset)


def _former(dataset: Dataset) -> Iterator[Dataset]:
    as_texts = tuple(sorted(dataset.classes))
    if "y" in dataset.labels and as_texts != dataset.classes:
        yield _in_order(dataset, as_texts)
    if dataset.validation is not None:
        first = len(dataset.train["x"]) - len(dataset.validation)  # they are the last rows
        without = replace(dataset, train={name: rows[:first] for name, rows in dataset.train.items()}, validation=None)
        yield from (without, *_former(without))


def _in_order(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    """The same examples with their classes numbered in another order."""
    number = torch.tensor([classes.index(name) for name in dataset.classes])
    train, test = ({**part, "y": number[part["y"]]} for part in (dataset.train, dataset.test))
    return replace(dataset, labels=class_label(classes), train=train, test=test)
