"""Further labels of users' data: what is known of an example besides its primary label, by the kind of the label.

What is not known is VOID, or NaN among numbers. To add a kind, name it in `LabelKind` (`semivae.recipe.sources`) and
enter how it is read in `READ`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import LabelInfo
from semivae.data.formats.cell_texts import CellStyle
from semivae.data.formats.label_files import label_names, ordered_classes
from semivae.data.inputs.columns import Column
from semivae.data.inputs.number_column import NumberColumn
from semivae.data.inputs.pixels import Array
from semivae.data.inputs.table_labels import TableLabels
from semivae.errors import DataError
from semivae.text import join_names, nearest
from semivae.variables import VOID

BETWEEN = "|"  # candidates in one cell
BETWEEN_ATTRIBUTES = ";"  # names in one cell
UNIT = "\0"  # between the cells of several columns; str.strip leaves it alone
PRESENT, ABSENT = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


_NO_CLASS = ("which is no class", "which are no classes")


@dataclass(frozen=True)
class Cells:
    """The cells of a further label.

    Attributes:
        name: what the recipe calls the label.
        what: where it is, for messages.
        texts: of each example, as they are written; "" and the marks of a missing cell stand for what is not known.
        classes: of the primary label.
        style: how cells are written.
        unlabelled: further texts that mean that nothing is known.
        columns: the names of the columns, if each text holds a cell of each, with `UNIT` between them.
    """

    name: str
    what: str
    texts: Sequence[str]
    classes: tuple[str, ...]
    style: CellStyle = CellStyle()  # noqa: RUF009 (it is frozen)
    unlabelled: Sequence[str] = ()
    columns: Sequence[str] = ()


def read_cells_of(kind: str, cells: Cells) -> tuple[Tensor, LabelInfo]:
    """Returns the values of a further label, [n, ...], and what is known of it.

    Raises:
        DataError: a cell does not fit the kind.
    """
    return READ[kind](cells)


def spelling_doubts(labels: Mapping[str, LabelInfo], what: str) -> list[str]:
    """Warnings of further labels that share classes with the label, the first, and spell another nearly as it does."""
    (_, own), *further = labels.items()
    found = []
    for name, info in further:
        other = [each for each in info.classes if each not in own.classes]
        if info.kind != "classes" or len(other) == len(info.classes):  # coarse classes have names of their own
            continue
        near = {each: nearest(each, own.classes) for each in other if not each.isdecimal()}
        slips = [f"{each} ({meant}?)" for each, meant in near.items() if meant]
        if slips:
            found.append(f"{what}: {name} may hold misspelt classes: {join_names(slips)}; correct the data if it does")
    return found


def _classes(cells: Cells) -> tuple[Tensor, LabelInfo]:
    """Class numbers, int64 [n]; the classes of the primary label where all are among them, as annotators write them."""
    labels = TableLabels(Column(cells.texts, cells.style), cells.unlabelled)
    own = ordered_classes(labels.names)
    if len(own) < 2:
        has = f"only the class {own[0]}" if own else "no class"
        raise DataError(f"{cells.what} holds {has}; a further label needs at least two")
    classes = cells.classes if set(own) <= set(cells.classes) else own
    return torch.from_numpy(labels.numbers(classes)), LabelInfo("classes", classes)


def _candidates(cells: Cells) -> tuple[Tensor, LabelInfo]:
    """Which classes of the primary label may be the right one, int8 [n, classes], from cells like `cat|dog`."""
    refuse_candidates_of_numbers(cells.classes, cells.what)
    coded = Column(cells.texts, cells.style).coded
    marks = {mark.strip().lower() for mark in cells.unlabelled}
    table = np.full((len(coded.texts) + 1, len(cells.classes)), VOID, np.int8)  # the last row is for unknown cells
    for row, text in enumerate(coded.texts):
        if text.lower() in marks:
            continue
        named = [name.strip() for name in text.split(BETWEEN) if name.strip()]
        if unknown := sorted(set(named) - set(cells.classes)):
            raise DataError(
                f"{cells.what}: {text!r} names {join_names(unknown)}, {_NO_CLASS[len(unknown) > 1]} of the label; the "
                f"classes are {join_names(cells.classes, 20)}, and candidates are parted by {BETWEEN}"
            )
        table[row] = [name in named for name in cells.classes]
    return torch.from_numpy(table[coded.codes]), LabelInfo("candidates", cells.classes)


def refuse_candidates_of_numbers(classes: Sequence[str], what: str) -> None:
    """Raises DataError for candidates where the label has no classes; `what` names them."""
    if not classes:
        raise DataError(f"{what}: candidates are classes of the label, but the label is a number; correct source.kinds")


def _attributes(cells: Cells) -> tuple[Tensor, LabelInfo]:
    """Attributes, int8 [n, K]: of cells like `hat;smiling`, in which others are absent; or of a column for each."""
    if cells.columns:
        return _attribute_columns(cells), LabelInfo("attributes", tuple(cells.columns))
    coded = Column(cells.texts, cells.style).coded
    marks = {mark.strip().lower() for mark in cells.unlabelled}
    held = [[name.strip() for name in text.split(BETWEEN_ATTRIBUTES) if name.strip()] for text in coded.texts]
    names = ordered_classes({name for text, row in zip(coded.texts, held, strict=True) for name in row
                             if text.lower() not in marks})  # fmt: skip
    if not names:
        raise DataError(f"{cells.what} names no attribute; they are parted by {BETWEEN_ATTRIBUTES}")
    table = np.full((len(held) + 1, len(names)), VOID, np.int8)  # the last row is for unknown cells
    for row, text in enumerate(coded.texts):
        if text.lower() not in marks:
            table[row] = [name in held[row] for name in names]
    return torch.from_numpy(table[coded.codes]), LabelInfo("attributes", names)


def _attribute_columns(cells: Cells) -> Tensor:
    unknown = {"", *(mark.lower() for mark in (*cells.style.missing, *cells.unlabelled))}
    values = dict.fromkeys(PRESENT, 1) | dict.fromkeys(ABSENT, 0)
    table = np.full((len(cells.texts), len(cells.columns)), VOID, np.int8)
    for row, text in enumerate(cells.texts):
        for place, cell in enumerate(text.split(UNIT) if text else ()):
            written = cell.strip().lower()
            if written in values:
                table[row, place] = values[written]
            elif written not in unknown:
                advice = " (is -1 absent, or unknown?)" if written == "-1" else ""
                raise DataError(
                    f"{cells.what}: {cell.strip()!r} in column {cells.columns[place]}{advice}; write 1 where an "
                    "attribute is present, 0 where it is absent, and nothing where it is unknown"
                )
    return torch.from_numpy(table)


def _numbers(cells: Cells) -> tuple[Tensor, LabelInfo]:
    """Numbers, float32 [n], NaN where the cell is empty."""
    column = NumberColumn(Column(cells.texts, cells.style), cells.unlabelled)
    info = column.info(cells.what)
    return column.values(info, cells.what), info


READ: Mapping[str, Callable[[Cells], tuple[Tensor, LabelInfo]]] = {
    "classes": _classes,
    "candidates": _candidates,
    "attributes": _attributes,
    "numbers": _numbers,
}


def label_column(kind: str, column: Column, unlabelled: Sequence[str]) -> TableLabels | NumberColumn:
    """Returns the primary label's column, by the kind of the label."""
    return NumberColumn(column, unlabelled) if kind == "numbers" else TableLabels(column, unlabelled)


def texts_of(array: Array, what: str) -> list[str]:
    """Returns an array of class names or numbers as cells; "" for empty names and for numbers below zero.

    Raises:
        DataError: the array is not one-dimensional, or of another type.
    """
    if array.dtype.kind == "i" and array.ndim == 1:
        return ["" if number < 0 else str(number) for number in array.tolist()]
    known = np.array([entry not in ("", b"") for entry in array.tolist()], np.bool_)
    texts = np.full(len(array), "", object)
    texts[known] = label_names(array[known], what)
    return [str(text) for text in texts]


def candidates_of(array: Array, classes: Sequence[str], what: str) -> Tensor:
    """Returns candidate sets, int8 [n, classes], of an array of zeros and ones; rows of zeros or of -1 are unknown.

    Raises:
        DataError: the array has another shape, or other values.
    """
    refuse_candidates_of_numbers(classes, what)
    if array.ndim != 2 or array.shape[1] != len(classes) or array.dtype.kind not in "biu":
        raise DataError(
            f"{what} is {list(array.shape)} of {array.dtype}; candidates are zeros and ones, [n, {len(classes)}], one "
            f"for each class"
        )
    if not np.isin(array, (VOID, 0, 1)).all():
        raise DataError(f"{what} holds other numbers than 0 and 1, and -1 where nothing is known")
    sets = array.astype(np.int8)
    sets[~(sets == 1).any(axis=1)] = VOID
    return torch.from_numpy(sets)
