"""Files that no part uses: why, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Literal

from semivae.data.formats.file_trees import Files
from semivae.data.formats.image_files import HEIF_SUFFIXES, is_image, why_no_image
from semivae.data.formats.label_files import NO_LABEL
from semivae.data.readers.parts import IMAGE_FOLDERS, MASK_FOLDERS, PARTS
from semivae.inspection.facts import Unused

Kind = Literal["classes", "folders", "masks", "table"]
LIKELY_PARTS: Mapping[str, str] = {
    **PARTS,
    "dev": "val", "eval": "val", "valset": "val", "holdout": "test", "tests": "test", "testset": "test", "tst": "test",
    "trainset": "train", "trn": "train", "unlab": "unlabelled", "unsup": "unlabelled", "unsupervised": "unlabelled",
    "nolabel": "unlabelled", "unlabled": "unlabelled", "unlabeld": "unlabelled",
    "unannotated": "unlabelled", "unknown": "unlabelled",
}  # fmt: skip
FILLERS = {"set", "data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "part", "split", "folder"}
ADVICE: Mapping[str, tuple[set[str], str]] = {
    "a table": ({".csv", ".tsv", ".parquet", ".xlsx"}, "if it says the class of each image, name it in source.labels"),
    "an archive": ({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz"}, "unpack it"),
    "a video": ({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"}, "save its frames as images"),
    "a camera's raw file": ({".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"}, "convert it to PNG"),
    "a medical image": ({".dcm", ".nii", ".nrrd", ".mha"}, "convert its slices to PNG of 16 bits"),
    "a drawing or document": ({".svg", ".pdf", ".psd", ".ai", ".eps"}, "save it as PNG"),
    "arrays": ({".npy", ".npz", ".mat", ".h5", ".hdf5"}, "save arrays as one .npz and use the source arrays"),
    "notes": ({".txt", ".md", ".json", ".xml", ".yaml", ".yml", ".html", ".log", ".ini"}, ""),
}  # fmt: skip


def likely_part(folder: str) -> str | None:
    """The part that a folder is probably meant as, as in `test_images`, where its name is not read as a part."""
    words = [word for word in re.split(r"[^a-z]+", folder.lower()) if word and word not in FILLERS]
    return LIKELY_PARTS.get("".join(words)) if folder.lower() not in PARTS else None


def class_doubts(classes: Iterable[str], what: str) -> list[str]:
    """Warnings of class folders that are probably meant as parts."""
    return [
        f"{what}: the folder {name} is read as a class; if it is the part {part}, call it {part}"
        for name in classes
        if (part := likely_part(name)) and name.lower() not in NO_LABEL  # of these it is said already
    ]


def unused(files: Files, used: Iterable[str], kind: Kind = "classes") -> tuple[Unused, ...]:
    """Sorts the files that no part uses by the reason and the likely intention.

    Args:
        files: all that lies there.
        used: what is read.
        kind: what is looked for, folders of classes, several folders that each hold such ones, images and masks, or
            images with a table of labels.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name in sorted(set(files.names) - set(used)):
        groups.setdefault(_why(name, kind), []).append(name)
    return tuple(Unused(tuple(names), *why) for why, names in groups.items())


def _why(name: str, kind: Kind) -> tuple[str, str]:
    """Why a file is not used, and advice."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if not is_image(name):
        if suffix in HEIF_SUFFIXES:
            return why_no_image(name), ""
        for what, (endings, advice) in ADVICE.items():
            if suffix in endings:
                return f"{what} and no image that is read", advice
        return why_no_image(name), ""
    folders = path.parts[:-1]
    for folder in folders:
        if part := likely_part(folder):
            return f"the folder {folder} is no part", f"if it is the part {part}, call it {part}"
        plain = re.sub(r"[^a-z]", "", folder.lower())
        for called, names in (("images", IMAGE_FOLDERS), ("masks", MASK_FOLDERS)):
            if kind == "masks" and plain in names:
                return f"the folder {folder} is not called {called}", f"if it holds the {called}, call it {called}"
    if kind == "table":
        return "without a label, in a part to validate or test on", "source.labels must give one"
    if kind == "masks":
        return "in no folder images, masks or unlabelled", "move to one of these"
    place = next((place for place, folder in enumerate(folders) if folder.lower() in PARTS), None)
    if kind == "folders" and place is not None and PARTS[folders[place].lower()] in ("val", "test"):
        return "without a class of y to train on, in a part to validate or test on", "a folder of y must give one"
    if place is not None and place + 1 < len(folders):
        return f"the folder {folders[place + 1]} is no class of train", "rename it, or add the class to train"
    if not folders or place is not None:
        return "in no folder of a class", "move to one, or to unlabelled where no class is known"
    return f"the folder {folders[0]} is no part", "the parts are train, val, test and unlabelled; move to one"
