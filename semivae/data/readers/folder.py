"""Users' own images in folders, one folder a class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from semivae.data.dataset import Dataset, LabelInfo, PictureFiles, class_label, number_label
from semivae.data.doubts import Checked, Names, seen_doubts, split_doubts
from semivae.data.formats.file_trees import open_files
from semivae.data.formats.image_files import read_pictures
from semivae.data.formats.label_files import class_doubts
from semivae.data.formats.number_labels import hold_out_groups
from semivae.data.formats.preprocessing import preprocessing_of
from semivae.data.formats.remarks import remarks
from semivae.data.hashing import hold_out
from semivae.data.inputs.further_labels import Cells, read_cells_of, spelling_doubts
from semivae.data.readers.arranging import arranged
from semivae.data.readers.attribute_arrays import attribute_doubts, attribute_label
from semivae.data.readers.parts import Labelled, Layout
from semivae.recipe.schema import FolderSource
from semivae.variables import VOID, Sample

ALL = ("train", "val", "test", "unlabelled")


def read_folder(source: FolderSource, path: Path) -> Dataset:
    """Read train/CLASS/*, optionally val/CLASS/*, test/CLASS/* and unlabelled/*; or CLASS/* alone; also from a .zip.

    Where `source.labels` names a table of them, classes are taken from it and not from folders; where `source.folders`
    names several, from y's. They are in the order of their names, numbers by value. Where there is no test part,
    `source.test_share` of each class is set aside for it by the hash of the files' names.

    Args:
        source: the recipe's section.
        path: its path, made absolute.

    Returns:
        x is uint8 [n, channels, height, width]; the rows from val are the last, and `Dataset.validation`.

    Raises:
        DataError: no such folder, a class without an image, a class that is not in train, a file that is no image.
    """
    preprocessing = preprocessing_of(source)
    with open_files(path) as files:
        layout = arranged(files, source)
        given = [layout.train, layout.val or [], layout.test or [], [(name, "") for name in layout.unlabelled]]
        parts = [read_pictures(files, [name for name, _ in part], preprocessing) for part in given]
    further, labels = further_labels(source, layout, given)
    train, val, test = (
        {"x": pictures.pixels, "y": label_values(members, layout), **more}
        for pictures, members, more in zip(parts[:3], given[:3], further[:3], strict=True)
    )
    names = {part: [name for name, _ in members] for part, members in zip(ALL, given, strict=True)}
    origin, validation = "given", None
    if layout.test is None:
        kept, held = held_out(layout, source.test_share)
        train, test = _rows(train, kept), _rows(train, held)
        names["train"], names["test"] = ([names["train"][row] for row in rows.tolist()] for rows in (kept, held))
        origin = f"test split off by hash, {source.test_share:.0%}"
    unlabelled = {"x": parts[3].pixels, **further[3]} if layout.unlabelled else {}
    warnings = layout.warnings + layout.unused + remarks(parts, preprocessing)
    warnings += tuple(label_doubts(layout, train, test, unlabelled, str(path), names))
    warnings += tuple(spelling_doubts(label_info(layout) | labels, str(path)))
    warnings += tuple(class_folder_doubts(layout.classes, source, str(path)))
    if layout.val is not None:
        of_val = names | {"test": names["val"]}
        warnings += tuple(label_doubts(layout, train, val, {}, str(path), of_val, "validation"))
        validation = torch.arange(len(train["y"]), len(train["y"]) + len(val["y"]))
        train = {name: torch.cat([train[name], val[name]]) for name in train}
    seen = (*names["train"], *names["val"])
    return Dataset(
        f"folder:{path.name}",
        label_info(layout) | labels,
        train,
        test,
        unlabelled,
        warnings,
        origin,
        validation=validation,
        names=seen,
        files=PictureFiles(path, {"train": seen, "test": names["test"], "unlabelled": names["unlabelled"]}),
    )


def further_labels(
    source: FolderSource, layout: Layout, parts: Sequence[Labelled]
) -> tuple[list[Sample], dict[str, LabelInfo]]:
    """Returns what a table, or other folders, say of files besides their classes: values by part and label, and labels.

    Raises:
        DataError: a cell does not fit its kind of label.
    """
    samples: list[Sample] = [{} for _ in parts]
    labels: dict[str, LabelInfo] = {}
    for name, said in layout.further.items():
        texts = [said.get(file, "") for part in parts for file, _ in part]
        several, what = source.columns_of(name), source.where_is(name)
        cells = Cells(name, what, texts, layout.classes, unlabelled=source.unlabelled or (), columns=several)
        values, labels[name] = read_cells_of(source.kind_of(name), cells)
        for sample, part in zip(samples, torch.split(values, [len(part) for part in parts]), strict=True):
            sample[name] = part
    return samples, labels


def class_folder_doubts(classes: Sequence[str], source: FolderSource, what: str) -> list[str]:
    """Warnings of classes that look alike, and of folders whose names may mean no label; a table says so of its own."""
    advice = "move the images to a folder unlabelled, beside train" if source.labels is None else None
    return class_doubts(classes, what, advice)


def label_info(layout: Layout) -> dict[str, LabelInfo]:
    """What is known of the label, y: that it is a class, a vector of attributes, or a number."""
    if layout.numbers:
        return number_label()
    return attribute_label(layout.classes) if layout.attributes else class_label(layout.classes)


def label_values(members: Labelled, layout: Layout) -> Tensor:
    """The labels of files: class numbers, int64 [n], attributes, int8 [n, K], or numbers, float32 [n]."""
    if layout.numbers:
        return torch.tensor([layout.numbers.get(name, math.nan) for name, _ in members], dtype=torch.float32)
    if not layout.attributes:
        return class_numbers(members, layout.classes)
    nothing = (VOID,) * len(layout.classes)
    rows = [layout.attributes.get(name, nothing) for name, _ in members]
    return torch.tensor(rows, dtype=torch.int8).reshape(len(rows), len(layout.classes))


def label_doubts(
    layout: Layout, train: Sample, test: Sample, unlabelled: Sample, what: str, names: Names, checked: Checked = "test"
) -> list[str]:
    """What looks wrong about the parts; arguments as of `split_doubts`."""
    if layout.by_class:
        return split_doubts(layout.classes, train, test, unlabelled, what, names, checked)
    return seen_doubts(train, test, unlabelled, what, names, checked) + (
        attribute_doubts(train["y"], layout.classes, what) if layout.attributes and checked == "test" else []
    )


def class_numbers(members: Labelled, classes: Sequence[str]) -> Tensor:
    """The class of each file by its number, int64 [n]."""
    number = {name: index for index, name in enumerate(classes)}
    return torch.tensor([number[label] for _, label in members], dtype=torch.int64)


def held_out(layout: Layout, share: float) -> tuple[Tensor, Tensor]:
    """The rows of `layout.train` to train on, and those to test on where no part is given for it.

    Raises:
        DataError: every class has one image only.
    """
    keys = [name.removeprefix(layout.top) for name, _ in layout.train]  # the same zipped and unzipped
    values = label_values(layout.train, layout)
    if layout.numbers:
        return hold_out(hold_out_groups(values), keys, share)
    return hold_out(torch.zeros(len(keys), dtype=torch.int64) if layout.attributes else values, keys, share)


def _rows(sample: Sample, rows: Tensor) -> Sample:
    return {key: value[rows] for key, value in sample.items()}
