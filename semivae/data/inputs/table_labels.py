"""The label's column of a table: which rows have a class, and what the classes are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.dataset import LabelInfo
from semivae.data.formats.cell_texts import MISSING
from semivae.data.formats.label_files import class_doubts, ordered_classes, plain_names
from semivae.data.formats.look_alikes import several_doubts
from semivae.data.formats.number_labels import look_like_numbers
from semivae.data.inputs.columns import Column
from semivae.errors import DataError
from semivae.text import join_names


class TableLabels:
    """The labels of a table's rows.

    Args:
        column: the label's column.
        unlabelled: texts that mean no label, in whatever case, beside those that mean a missing cell.

    Attributes:
        texts: the different texts of the column.
        codes: int [n], which of them each row has; -1 for no label.
        rows: int [known], the rows that have a label.
        names: the different classes.
    """

    def __init__(self, column: Column, unlabelled: Sequence[str]) -> None:
        self.column = column
        coded = column.coded
        marks = {mark.strip().lower() for mark in unlabelled}
        no_label = [text.lower() in marks for text in coded.texts]
        self.texts = coded.texts
        self.codes: NDArray[np.intp] = np.where(np.array([*no_label, True])[coded.codes], -1, coded.codes)
        self.rows: NDArray[np.intp] = np.flatnonzero(self.codes >= 0)
        self.called = plain_names([text for text, none in zip(self.texts, no_label, strict=True) if not none])
        self.names = set(self.called.values())

    def info(self, what: str) -> LabelInfo:
        """What is known of the label; `what` names the table and its column.

        Raises:
            DataError: fewer than two classes.
        """
        classes = ordered_classes(self.names)
        if not classes:
            raise DataError(f"{what}: no row has a class; label some rows of at least two classes")
        if len(classes) < 2:
            raise DataError(f"{what} holds only the class {join_names(classes)}; at least two are needed")
        return LabelInfo("classes", classes)

    def values(self, info: LabelInfo, what: str) -> Tensor:
        """Class numbers of all rows, int64 [n]; -1 for no label.

        Raises:
            DataError: a class that is not among those of `info`.
        """
        if unknown := sorted(self.names - set(info.classes)):
            raise DataError(
                f"{what} holds classes that are not in the training rows: {join_names(unknown)}; those have "
                f"{join_names(info.classes)}"
            )
        return torch.from_numpy(self.numbers(info.classes))

    def groups(self, values: Tensor) -> Tensor:
        """Groups of rows with a label, int64 [known], of each of which a share is set aside for testing: classes."""
        return values

    def numbers(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Class numbers of all rows, [n]; -1 for no label, or for one that is not in `classes`."""
        places = {name: place for place, name in enumerate(classes)}
        table = [places.get(self.called[text], -1) if text in self.called else -1 for text in self.texts]
        return np.array([*table, -1], np.int64)[self.codes]

    def doubts(self, what: str, label: str, all_said: bool) -> list[str]:
        """Warnings of marks of a missing cell that may be classes, and of classes that may mean no label.

        Args:
            what: the table.
            label: the column's name.
            all_said: whether the user has said which texts mean no label.
        """
        found = []
        if marks := self.column.coded.marks:
            found.append(
                f"{what}: rows whose {label} is {join_names(marks)} are read as unlabelled; if that is a class, say "
                'which texts mean a missing cell, for example source.missing: ["?"]'
            )
        if changed := sorted(text for text, name in self.called.items() if text != name):
            found.append(
                f"{what}: column {label} holds whole numbers with a point; {changed[0]} is called class "
                f"{self.called[changed[0]]}, and so on"
            )
        advice = None if all_said else "name it in source.unlabelled; else write source.unlabelled: []"
        names = sorted(name for name in self.names if name.lower() not in MISSING)  # one that is, was asked for
        found += class_doubts(names, f"{what}: column {label}", advice)
        found += several_doubts(names, f"{what}: column {label}:", "make a column for each (docs/tasks/attributes.md)")
        return found + look_like_numbers(self.names, len(self.rows), f"{what}: column {label}")
