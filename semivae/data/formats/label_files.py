"""Classes as users write them: by name or by number, one by one or in a file."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semivae.data.formats.cell_texts import CellStyle
from semivae.data.formats.look_alikes import twin_doubts
from semivae.data.formats.regular_files import bounded_lines, open_text
from semivae.data.inputs.pixels import Array
from semivae.errors import DataError
from semivae.text import count_of, either, join_names

MOST_DIGITS = 1000  # of a class called by a number; Python reads no number of more than 4,300
NO_LABEL = {
    *("unknown", "unlabelled", "unlabeled", "not labelled", "not labeled", "none", "missing", "undefined", "na", "n/a"),
    *("nan", "null", "nil", "?", "-", "--", "#n/a", "<na>", "-99", "-999", "-9999", "tbd", "todo", "not available"),
}  # names of classes, in whatever case, that may mean that there is no label
NOTHING = {99, 255, 999, 9999, 32767, 65535}  # likewise, beside classes called 0, 1, 2
WHOLE = re.compile(r"[+-]?[0-9]{1,15}(?:\.0*)?")
HEADERS = {"y", "label", "labels", "class", "classes", "name", "target"}


def class_number(written: str, classes: Sequence[str]) -> int | None:
    """The number of a class by its name, else by its number from 0; None if there is no such class.

    Classes that are called by other numbers than theirs, 1, 2, 3, go by their names alone: 1 could not be told from 1.
    """
    written = written.strip()
    if written in classes:
        return classes.index(written)
    if any(_value(name) is not None and name != str(place) for place, name in enumerate(classes)):
        return None
    if written.isdecimal() and len(written) <= MOST_DIGITS and int(written) < len(classes):
        return int(written)
    return None


def read_label_lines(path: Path, classes: Sequence[str], header: str = "y") -> Tensor:
    """Class numbers, int64 [n], from a text file with one class name or number a line.

    Empty lines are skipped. The first line may be a header: `header` or one of `HEADERS`, unless it is a class.

    Raises:
        DataError: the file cannot be read, is empty, or a line (which is named) is no class.
    """
    rows: list[tuple[int, list[str]]]
    try:
        with open_text(path) as stream:
            lines = bounded_lines(stream, path)
            if path.suffix.lower() == ".csv":
                reader = csv.reader(lines)
                rows = [(reader.line_num, cells) for cells in reader]
            else:
                rows = [(number, [line]) for number, line in enumerate(lines, start=1)]
    except UnicodeDecodeError as error:
        raise DataError(f"{path.absolute()} is no UTF-8 text; save the list of labels in UTF-8") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path.absolute()} cannot be read as a list of labels: {error}") from error
    numbers: list[int] = []
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != 1:
            raise DataError(
                f"{path}:{line}: {count_of(len(cells), 'column', 'columns')}; one class name or number a line is "
                f"expected"
            )
        number = class_number(cells[0], classes)
        if number is not None:
            numbers.append(number)
        elif line > 1 or cells[0].strip().lower() not in HEADERS | {header.lower()}:
            raise DataError(f"{path}:{line}: unknown class {cells[0].strip()!r}; the classes are {_all(classes)}")
    if not numbers:
        raise DataError(f"{path} holds no labels")
    return torch.tensor(numbers)


def label_numbers(labels: Array, classes: Sequence[str], what: str) -> Tensor:
    """Class numbers, int64 [n], from an array of class names or numbers.

    Raises:
        DataError: the array is not one-dimensional, or holds something that is no class; `what` names it.
    """
    names = label_names(labels, what)
    values, inverse = np.unique(names, return_inverse=True)
    numbers = [class_number(str(value), classes) for value in values]
    unknown = [str(value) for value, number in zip(values, numbers, strict=True) if number is None]
    if unknown:
        row = int(np.flatnonzero(names == unknown[0])[0])
        raise DataError(
            f"{what} holds unknown classes: {join_names(unknown)}, the first in row {row}; "
            f"the classes are {_all(classes)}"
        )
    return torch.tensor(numbers, dtype=torch.int64)[torch.from_numpy(inverse.reshape(-1))]


def label_names(labels: Array, what: str) -> Array:
    """An array of strings [n] from strings, bytes or integers, [n] or [n, 1].

    Raises:
        DataError: another shape or type, bytes that are no text, numbers below zero, or empty names; `what` names the
            array.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        one_hot = labels.ndim == 2 and labels.dtype.kind in "biuf" and bool(((labels != 0).sum(axis=1) == 1).all())
        advice = ": of one-hot rows, take .argmax(axis=1); if rows are attributes, write kinds: {y: attributes}"
        hint = advice if one_hot else ""
        raise DataError(
            f"{what} has shape {list(labels.shape)}; one class name or number for each example is expected{hint}"
        )
    if labels.dtype.kind == "S":
        try:
            labels = np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{what} holds bytes that are no UTF-8 text; save the names as str") from error
    if labels.dtype.kind == "U":
        names: Array = np.char.strip(labels)
        if blank := int((names == "").sum()):
            lacking = count_of(blank, "empty name", "empty names")
            raise DataError(f"{what} holds {lacking}; images without a label belong in x_unlabelled")
        return names
    if labels.dtype.kind not in "iu":
        raise DataError(f"{what} has type {labels.dtype}; classes are integers or strings: {_as_classes(labels)}")
    if len(labels) and labels.min() < 0:
        raise DataError(
            f"{what} holds {labels.min()}; class numbers start at 0 (images without a label belong in x_unlabelled)"
        )
    return labels.astype(np.str_)


def _as_classes(labels: Array) -> str:
    """How labels of another type become classes, by the values that they have."""
    if labels.dtype.kind == "f" and (lacking := int(np.isnan(labels).sum())):
        return f"{lacking:,} are NaN: examples without a label belong in x_unlabelled, the others to .astype('int64')"
    if labels.dtype.kind == "f" and (fractions := labels[labels != np.rint(labels)]).size:
        return f"numbers such as {fractions[0]:g} are no classes; part them into ranges first, for example np.digitize"
    return "convert with .astype('int64')" if labels.dtype.kind in "bf" else "write names of classes as strings"


def ordered_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Different class names in order: by value where all are numbers, else all by alphabet."""
    values = {name: _value(name) for name in names}
    if any(value is None for value in values.values()):
        return tuple(sorted(values))
    return tuple(sorted(values, key=lambda name: (values[name], name)))  # 1 and 01 in a fixed order


def _value(name: str) -> int | float | None:
    """The number that a class is called by, whole numbers of up to `MOST_DIGITS` digits exactly; None for a text."""
    if name.isdecimal():
        return int(name) if len(name) <= MOST_DIGITS else None
    value = CellStyle().number(name)
    return value if value is not None and math.isfinite(value) else None


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """What different classes are called: whole numbers without a fraction, where all are whole and one has a fraction.

    Tables whose labels lack somewhere hold 1.0 for 1, as pandas writes it.
    """
    names = list(names)
    if any("." in name for name in names) and all(WHOLE.fullmatch(name) for name in names):
        return {name: name.partition(".")[0] for name in names}
    return {name: name for name in names}


def class_doubts(classes: Sequence[str], what: str, advice: str | None) -> list[str]:
    """Warnings of classes whose names may mean that there is no label, and of names that look alike.

    Args:
        classes: their names.
        what: where they are.
        advice: what to do about names that mean no label; None: the user has said which do.
    """
    doubtful = [name for name in classes if name.strip().lower() in NO_LABEL]
    if "-1" in classes and set(classes) != {"-1", "1"}:  # those two are how some write two classes
        doubtful.append("-1")
    doubtful += _apart(classes)
    found = []
    if doubtful and advice is not None:
        read = either(len(doubtful), "is read as a class; if it means", "are read as classes; if they mean")
        found.append(f"{what}: {join_names(doubtful)} {read} that there is no label, {advice}")
    return found + twin_doubts(classes, f"{what}: ", "classes")


def _apart(classes: Sequence[str]) -> list[str]:
    """A class called by a number that often means nothing, where all others are called 0, 1, 2, ... or 1, 2, ..."""
    numbers = sorted(int(name) for name in classes if name.isdecimal() and len(name) < 6)
    if len(numbers) != len(classes) or len(numbers) < 3 or numbers[-1] not in NOTHING:
        return []
    rest = numbers[:-1]
    return [str(numbers[-1])] if rest == list(range(rest[0], rest[0] + len(rest))) and rest[0] < 2 else []


def _all(classes: Sequence[str]) -> str:
    return join_names(classes, most=20)
