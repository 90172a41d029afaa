"""Users' own images in folders, one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from semivae.data.dataset import Dataset, class_label
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import is_image, read_pixels
from semivae.data.hashing import hold_out
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource
from semivae.text import join_names
from semivae.variables import Sample

Labelled = list[tuple[str, str]]  # (file name, class name)


TRAIN_LIKE = ("train", "training")  # in whatever letters: what people call the part to train on


@dataclass(frozen=True)
class Layout:
    """What a folder's structure says: which file belongs where. `test` is None if a part of train is to be set aside.

    `top` is what the names of the class folders to train on start with, for example "train/".
    """

    top: str
    classes: tuple[str, ...]
    train: Labelled
    test: Labelled | None
    unlabelled: list[str]
    warnings: tuple[str, ...]


def read_folder(source: FolderSource, path: Path) -> Dataset:
    """Read train/CLASS/*, optionally test/CLASS/* and unlabelled/*; or CLASS/* alone, from a folder or a .zip.

    Classes are in the order of their names. Where there is no test part, `source.test_share` of each class is set
    aside for it by the hash of the files' names.

    Args:
        source: the recipe's section.
        path: its path, made absolute.

    Returns:
        x is uint8 [n, source.channels, source.size, source.size].

    Raises:
        DataError: no such folder, a class without an image, a test class that is not in train, a file that is no image.
    """
    shape = (source.channels, source.size, source.size)
    with open_files(path) as files:
        layout = arrange(files)
        train = _sample(files, layout.train, layout.classes, shape)
        test = None if layout.test is None else _sample(files, layout.test, layout.classes, shape)
        unlabelled = {"x": read_pixels(files, layout.unlabelled, shape)} if layout.unlabelled else {}
    origin = "given"
    if test is None:
        keys = [name.removeprefix(layout.top) for name, _ in layout.train]  # the same zipped and unzipped
        kept, held = hold_out(train["y"], keys, source.test_share)
        train, test = _rows(train, kept), _rows(train, held)
        origin = f"test split off by hash, {source.test_share:.0%}"
    name = f"folder:{path.name}"
    return Dataset(name, class_label(layout.classes), train, test, unlabelled, layout.warnings, origin)


def _sample(files: Files, members: Labelled, classes: Sequence[str], shape: tuple[int, int, int]) -> Sample:
    number = {name: index for index, name in enumerate(classes)}
    labels = torch.tensor([number[label] for _, label in members], dtype=torch.int64)
    return {"x": read_pixels(files, [name for name, _ in members], shape), "y": labels}


def _rows(sample: Sample, rows: Tensor) -> Sample:
    return {key: value[rows] for key, value in sample.items()}


def arrange(files: Files) -> Layout:
    """Sort the files of a folder into classes and parts.

    Raises:
        DataError: the folder has none of the two structures, or a class lacks images.
    """
    top = _top(files)
    parts = {name for name in ("train", "test", "unlabelled") if top + name in files.folders}
    if parts and "train" not in parts:
        raise DataError(f"{files.place} has {' and '.join(sorted(parts))} but no train; add train/CLASS/...")
    train_top = f"{top}train/" if parts else top
    inside = [name[len(top) :] for name in files.folders if name.startswith(top)]
    if not parts and (likely := [name for name in inside if name.lower() in TRAIN_LIKE]):
        raise DataError(
            f"{files.place}/{top}{likely[0]} would be taken for a class; call the parts train, test and unlabelled"
        )
    classes, train = _train(files, train_top)
    test = _test(files, f"{top}test/", classes) if "test" in parts else None
    unlabelled = _images(files, f"{top}unlabelled/") if "unlabelled" in parts else []
    used = {name for name, _ in train + (test or [])} | set(unlabelled)
    unused = [name for name in files.names if name not in used]
    warnings: tuple[str, ...] = ()
    if unused:
        warnings += (f"{len(unused):,} files in {files.place} are not used: {join_names(unused)}",)
    if test is not None and (lacking := sorted(set(classes) - {label for _, label in test})):
        warnings += (f"{files.place}/{top}test has no image of {join_names(lacking)}",)
    return Layout(train_top, classes, train, test, unlabelled, warnings)


def _top(files: Files) -> str:
    """Where the structure starts: below a folder that holds one folder of folders and no images, as in many a .zip."""
    top = ""
    while True:
        inside = [name for name in files.folders if name.startswith(top) and "/" not in name[len(top) :]]
        images = any(is_image(name) and "/" not in name[len(top) :] for name in files.names if name.startswith(top))
        if len(inside) != 1 or images or inside[0][len(top) :] in ("train", "test", "unlabelled"):
            return top
        if not any(name.startswith(f"{inside[0]}/") for name in files.folders):
            return top
        top = f"{inside[0]}/"


def _images(files: Files, prefix: str) -> list[str]:
    return [name for name in files.names if name.startswith(prefix) and is_image(name)]


def _members(files: Files, prefix: str) -> tuple[tuple[str, ...], Labelled]:
    """The class folders right below `prefix`, sorted, and the images in each, at any depth."""
    inside = [name.removeprefix(prefix) for name in files.folders if name.startswith(prefix)]
    classes = tuple(sorted(name for name in inside if "/" not in name))
    images = [(name, name.removeprefix(prefix).partition("/")) for name in _images(files, prefix)]
    return classes, [(name, label) for name, (label, slash, _) in images if slash]


def _train(files: Files, prefix: str) -> tuple[tuple[str, ...], Labelled]:
    place = f"{files.place}/{prefix}".rstrip("/")
    classes, members = _members(files, prefix)
    if len(classes) < 2:
        held = f"only the folder {classes[0]}" if classes else "no folder"
        raise DataError(f"{place} holds {held}; it needs a folder of images for each class, and at least two classes")
    empty = sorted(set(classes) - {label for _, label in members})
    if empty:
        raise DataError(f"{place} has classes with no image: {join_names(empty)}; add images or remove the folders")
    return classes, members


def _test(files: Files, prefix: str, classes: Sequence[str]) -> Labelled:
    place = f"{files.place}/{prefix}".rstrip("/")
    found, members = _members(files, prefix)
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise DataError(
            f"{place} has classes that train has not: {join_names(unknown)}; train has {join_names(classes)}. "
            "Rename the folders, or add the classes to train"
        )
    if not members:
        raise DataError(
            f"{place} has no image in a class folder; add some, or remove it and a part of train is set aside"
        )
    return members
