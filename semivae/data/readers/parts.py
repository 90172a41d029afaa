"""The parts of users' folders, train, val, test and unlabelled, by the names that people give them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from semivae.data.formats.file_trees import Files
from semivae.data.formats.image_files import HEIF_SUFFIXES, is_image
from semivae.data.formats.raster import HEIF_ADVICE
from semivae.errors import DataError
from semivae.text import count_of, join_names

Part = Literal["train", "val", "test", "unlabelled"]
# in lower case
PARTS: Mapping[str, Part] = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val",
    "validation": "val", "unlabelled": "unlabelled", "unlabeled": "unlabelled",
}  # fmt: skip
# likewise, letters alone: what tools for masks and boxes call the folders of images, and of what belongs to them
MASK_FOLDERS = {"mask", "label", "labels", "annotation", "annotations", "gt", "groundtruth", "segmentation",
                "segmentationclass", "segmentationobject", "seg", "masks", "annots", "bboxes", "imagesets"}  # fmt: skip
IMAGE_FOLDERS = {"image", "images", "img", "imgs", "photos", "pictures", "jpegimages", "jpgs", "inputs"}


Labelled = list[tuple[str, str]]  # (file name, class name)


@dataclass(frozen=True)
class LabelFolder:
    """A folder that sorts images by one label, where there are several.

    Attributes:
        label: what the recipe calls it.
        folder: its path below the source's.
        images: how many have a class by it.
        shared: of these, how many have one by another folder too.
    """

    label: str
    folder: str
    images: int
    shared: int


@dataclass(frozen=True)
class Layout:
    """What a folder's structure says: which file belongs where.

    Attributes:
        top: what the names of the class folders to train on start with, for example "train/".
        classes: their names, in the order of the class numbers.
        train: to train on.
        val: for validation; None where the split chooses among `train`.
        test: to test on; None where a share of `train` is set aside.
        unlabelled: without a class.
        warnings: what a user should know.
        unused: a warning of the files that no part uses, or nothing.
        further: by further label, what the table says of the files, as cells.
        attributes: by file, its vector, where the label is one; `classes` are then the names of its entries.
        numbers: by file, its number, where the label is one; there are no classes then.
        copies: files that are the same image as another one, which stands for them.
        folders: of which label each is, where several folders sort the same images.
    """

    top: str
    classes: tuple[str, ...]
    train: Labelled
    val: Labelled | None
    test: Labelled | None
    unlabelled: list[str]
    warnings: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    further: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attributes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    copies: tuple[str, ...] = ()
    folders: tuple[LabelFolder, ...] = ()

    @property
    def by_class(self) -> bool:
        """Whether the label of a file is one class."""
        return not self.attributes and not self.numbers

    def files_of(self, label: str) -> list[str]:
        """Returns the files that have a class, or an attribute."""
        every = [*self.train, *(self.val or []), *(self.test or [])]
        if not self.attributes:
            return [name for name, of in every if of == label]
        place = self.classes.index(label)
        return [name for name, _ in every if self.attributes[name][place] == 1]


Refuse = Callable[[str], None]  # what becomes of a mistake after which the other files can still be sorted


def at_once(message: str) -> None:
    """Raises DataError: the first mistake is the only one."""
    raise DataError(message)


def top_of(files: Files) -> str:
    """Where the structure starts: below a folder that holds one folder of folders and no images, as in many a .zip."""
    top = ""
    while True:
        inside = folders_in(files, top)
        images = any(is_image(name) and "/" not in name[len(top) :] for name in files.names if name.startswith(top))
        if len(inside) != 1 or images or inside[0].lower() in PARTS:
            return top
        if not folders_in(files, f"{top}{inside[0]}/"):
            return top
        top = f"{top}{inside[0]}/"


def folders_in(files: Files, prefix: str) -> list[str]:
    """The names of the folders right below `prefix`."""
    inside = (name[len(prefix) :] for name in files.folders if name.startswith(prefix))
    return [name for name in inside if "/" not in name]


def images_in(files: Files, prefix: str) -> list[str]:
    """The image files below `prefix`, at any depth."""
    return [name for name in files.names if name.startswith(prefix) and is_image(name)]


def parts_in(files: Files, top: str) -> dict[Part, str]:
    """The folders below `top` that are parts, each with a slash at its end.

    Raises:
        DataError: two folders are one part.
    """
    found: dict[Part, str] = {}
    for name in folders_in(files, top):
        part = PARTS.get(name.lower())
        if part is not None and part in found:
            raise DataError(
                f"{files.place} has {found[part][len(top) : -1]} and {name}, which are both the part {part}; join them"
            )
        if part is not None:
            found[part] = f"{top}{name}/"
    return found


def unused_files(files: Files, used: Iterable[str], advice: str) -> tuple[str, ...]:
    """A warning of the files that no part uses, or nothing."""
    rest = sorted(set(files.names) - set(used))
    if not rest:
        return ()
    count = count_of(len(rest), "file", "files")
    verb = "is" if len(rest) == 1 else "are"
    heif = [name for name in rest if PurePosixPath(name).suffix.lower() in HEIF_SUFFIXES and not is_image(name)]
    hint = f"; {heif[0]} is {HEIF_ADVICE}" if heif else ""
    return (f"{count} in {files.place} {verb} not used: {join_names(rest)}; {advice}{hint}",)


def composed(name: str) -> str:
    """A name with letters and accents as one sign, to compare names by: macOS writes them as two."""
    return unicodedata.normalize("NFC", name)
