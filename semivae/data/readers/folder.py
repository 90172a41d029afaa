"""Users' own images in folders, one folder a class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from semivae.data.dataset import Dataset, LabelInfo, PictureFiles, class_label, number_label
from semivae.data.doubts import Checked, Names, seen_doubts, split_doubts
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import read_pictures
from semivae.data.formats.label_files import ordered_classes
from semivae.data.formats.number_labels import hold_out_groups
from semivae.data.formats.preprocessing import preprocessing_of
from semivae.data.formats.remarks import remarks
from semivae.data.hashing import hold_out
from semivae.data.inputs.further_labels import Cells, read_cells_of, spelling_doubts
from semivae.data.readers.attribute_arrays import attribute_doubts, attribute_label
from semivae.data.readers.label_table import arrange_by_table
from semivae.data.readers.parts import (
    Labelled,
    Layout,
    Part,
    Refuse,
    at_once,
    composed,
    folders_in,
    images_in,
    parts_in,
    top_of,
    unused_files,
)
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource
from semivae.text import join_names
from semivae.variables import VOID, Sample

ALL = ("train", "val", "test", "unlabelled")


def read_folder(source: FolderSource, path: Path) -> Dataset:
    """Read train/CLASS/*, optionally val/CLASS/*, test/CLASS/* and unlabelled/*; or CLASS/* alone; also from a .zip.

    Where `source.labels` names a table of them, classes are taken from it and not from folders. They are in the order
    of their names, numbers by value. Where there is no test part, `source.test_share` of each class is set aside for it
    by the hash of the files' names.

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
        layout = arrange(files) if source.labels is None else arrange_by_table(files, source)
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
    """What a table says of the files of some parts besides their classes: values by part and label, and the labels.

    Raises:
        DataError: a cell does not fit its kind of label.
    """
    samples: list[Sample] = [{} for _ in parts]
    labels: dict[str, LabelInfo] = {}
    for name, said in layout.further.items():
        texts = [said.get(file, "") for part in parts for file, _ in part]
        column = source.columns[name]
        several = () if isinstance(column, str) else column
        what = f"{source.labels}: column {column}" if isinstance(column, str) else str(source.labels)
        cells = Cells(name, what, texts, layout.classes, unlabelled=source.unlabelled or (), columns=several)
        values, labels[name] = read_cells_of(source.kind_of(name), cells)
        for sample, part in zip(samples, torch.split(values, [len(part) for part in parts]), strict=True):
            sample[name] = part
    return samples, labels


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


def arrange(files: Files, refuse: Refuse = at_once) -> Layout:
    """Sort the files of a folder into classes and parts.

    Args:
        files: what lies there.
        refuse: takes each mistake in turn; if it raises no error, what is right is sorted.

    Raises:
        DataError: the folder has none of the two structures, or a class lacks images.
    """
    top = top_of(files)
    parts = _parts(files, top)
    train_top = parts.get("train", top)
    classes, train = _train(files, train_top, refuse)
    val, test = (_further(files, parts[part], classes, refuse) if part in parts else None for part in ("val", "test"))
    unlabelled = images_in(files, parts["unlabelled"]) if "unlabelled" in parts else []
    used = {*(name for part in (train, val or [], test or []) for name, _ in part), *unlabelled}
    rest = unused_files(files, used, "images lie in folders of classes, and parts are train, val, test, unlabelled")
    return Layout(train_top, classes, train, val, test, unlabelled, unused=rest)


def _parts(files: Files, top: str) -> dict[Part, str]:
    """The folders that are parts; none where all are classes. Raises DataError for parts without one to train on."""
    parts = parts_in(files, top)
    if "train" in parts or not parts:
        return parts
    if set(parts) == {"val"} and not folders_in(files, parts["val"]):  # a class: `valid` beside `invalid`
        return {}
    names = " and ".join(sorted(folder[len(top) : -1] for folder in parts.values()))
    raise DataError(
        f"{files.place} has {names} but no train; add train/CLASS/... The parts are called train, val, test and "
        "unlabelled"
    )


def _members(files: Files, prefix: str) -> tuple[tuple[str, ...], Labelled]:
    """The class folders right below `prefix`, in order, and the images in each, at any depth."""
    images = [(name, name.removeprefix(prefix).partition("/")) for name in images_in(files, prefix)]
    return ordered_classes(folders_in(files, prefix)), [(name, label) for name, (label, slash, _) in images if slash]


def _train(files: Files, prefix: str, refuse: Refuse) -> tuple[tuple[str, ...], Labelled]:
    place = f"{files.place}/{prefix}".rstrip("/")
    classes, members = _members(files, prefix)
    if len(classes) < 2:
        held = f"only the folder {classes[0]}" if classes else "no folder"
        tables = [name for name in files.names if name.lower().endswith((".csv", ".tsv"))]
        name = tables[0].rpartition("/")[2] if tables else ""
        hint = f". If {tables[0]} says the class of each image, write source.labels: {name}" if tables else ""
        refuse(f"{place} holds {held}; it needs a folder of images for each class, and at least two classes{hint}")
    empty = sorted(set(classes) - {label for _, label in members})
    if empty:
        refuse(f"{place} has classes with no image: {join_names(empty)}; add images or remove the folders")
    return classes, members


def _further(files: Files, prefix: str, classes: Sequence[str], refuse: Refuse) -> Labelled:
    """The images of another part, by the classes of the part to train on."""
    place = f"{files.place}/{prefix}".rstrip("/")
    found, members = _members(files, prefix)
    spelt = {composed(name): name for name in classes}
    unknown = [name for name in found if composed(name) not in spelt]
    if unknown:
        refuse(
            f"{place} has classes that train has not: {join_names(unknown)}; train has {join_names(classes)}. "
            "Rename the folders, or add the classes to train"
        )
    if not members:
        refuse(f"{place} has no image in a class folder; add some, or remove it and a part of train is set aside")
    return [(name, spelt[composed(label)]) for name, label in members if composed(label) in spelt]
