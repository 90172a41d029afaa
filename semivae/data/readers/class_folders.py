"""Images in folders of classes, sorted into classes and parts by where they lie."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set

from semivae.data.formats.file_trees import Files
from semivae.data.formats.label_files import ordered_classes
from semivae.data.readers.parts import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    PARTS,
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
from semivae.text import join_names

# names that cameras, telephones and scanners give begin with one of these
_CAMERA_WORDS = {"burst", "dji", "dsc", "dscf", "dscn", "file", "frame", "gopr", "image", "images", "img", "mvi",
                 "photo", "pic", "picture", "pxl", "sam", "scan", "screenshot", "signal", "untitled",
                 "whatsapp"}  # fmt: skip


def arrange(files: Files, refuse: Refuse = at_once) -> Layout:
    """Sort the files of a folder into classes and parts.

    Args:
        files: what lies there.
        refuse: takes each mistake in turn; if it raises no error, what is right is sorted.

    Raises:
        DataError: the folder has none of the two structures, or a class lacks images.
    """
    top = top_of(files)
    parts = parts_to_train(files, top)
    train_top = parts.get("train", top)
    classes, train = _train(files, train_top, refuse)
    val, test = (_further(files, parts[part], classes, refuse) if part in parts else None for part in ("val", "test"))
    unlabelled = images_in(files, parts["unlabelled"]) if "unlabelled" in parts else []
    used = {*(name for part in (train, val or [], test or []) for name, _ in part), *unlabelled}
    warnings = _outer_doubts(files, train_top, classes, train)
    rest = unused_files(files, used, "images lie in folders of classes, and parts are train, val, test, unlabelled")
    return Layout(train_top, classes, train, val, test, unlabelled, warnings, unused=rest)


def parts_to_train(files: Files, top: str) -> dict[Part, str]:
    """Returns the folders that are parts; none where all are classes. Raises DataError for parts without train."""
    parts = parts_in(files, top)
    if "train" in parts or not parts:
        return parts
    if set(parts) == {"val"} and not folders_in(files, parts["val"]):  # a class: `valid` beside `invalid`
        return {}
    place = f"{files.place}/{top}".rstrip("/")
    names = " and ".join(sorted(folder[len(top) : -1] for folder in parts.values()))
    raise DataError(
        f"{place} has {names} but no train; add train/CLASS/... The parts are called train, val, test and unlabelled"
    )


def members_in(files: Files, prefix: str) -> tuple[tuple[str, ...], Labelled]:
    """Returns the class folders right below `prefix`, in order, and the images in each, at any depth."""
    images = [(name, name.removeprefix(prefix).partition("/")) for name in images_in(files, prefix)]
    return ordered_classes(folders_in(files, prefix)), [(name, label) for name, (label, slash, _) in images if slash]


def _train(files: Files, prefix: str, refuse: Refuse) -> tuple[tuple[str, ...], Labelled]:
    classes, members = members_in(files, prefix)
    tables = [name for name in files.names if name.lower().endswith((".csv", ".tsv"))]
    name = tables[0].rpartition("/")[2] if tables else ""
    hint = f". If {tables[0]} says the class of each image, write source.labels: {name}" if tables else ""
    hint = hint or _nested(files, prefix, classes) or _named_by_files(files, prefix, classes)
    refuse_classes(f"{files.place}/{prefix}".rstrip("/"), classes, {label for _, label in members}, refuse, hint)
    return classes, members


def _nested(files: Files, prefix: str, classes: Sequence[str]) -> str:
    """A hint where the only folder holds several: an archive has often packed a folder into one of the same name."""
    if len(classes) != 1 or len(inner := folders_in(files, f"{prefix}{classes[0]}/")) < 2:
        return ""
    is_part = bool(prefix) and classes[0].lower() in PARTS
    below = (prefix + ("" if is_part else classes[0])).rstrip("/")
    instead = f"give {files.place / below}" if files.place.is_dir() else f"unpack the archive, and give {below}"
    return f". In {classes[0]} lie {join_names(inner, 3)}: if those are the classes, {instead} instead"


def _named_by_files(files: Files, prefix: str, classes: Sequence[str]) -> str:
    """A hint where images lie side by side, and their names begin with some few words, as cat.12.jpg does."""
    if len(classes) > 1:
        return ""
    place = prefix + "".join(f"{name}/" for name in classes)
    names = [name.removeprefix(place) for name in images_in(files, place)]
    words = Counter(re.sub(r"[\W\d_].*", "", name) for name in names if "/" not in name)
    if len(words) < 2 or "" in words or min(words.values()) < 2:
        return ""
    if any(word.lower() in _CAMERA_WORDS for word in words):
        return ""
    first = join_names(sorted(words), 3)
    return f". If the names of images begin with their classes, as {first}, move them into folders of these names"


def refuse_classes(place: str, classes: Sequence[str], shown: Set[str], refuse: Refuse, hint: str = "") -> None:
    """Refuses fewer than two classes to train on, and classes without an image.

    Args:
        place: the folder of their folders.
        classes: all of them.
        shown: those that an image shows.
        refuse: takes each mistake.
        hint: what else may be meant, where there are fewer than two.
    """
    if len(classes) < 2:
        held = f"only the folder {classes[0]}" if classes else "no folder"
        refuse(f"{place} holds {held}; it needs a folder of images for each class, and at least two classes{hint}")
    plain = {re.sub(r"[^a-z]", "", name.lower()) for name in classes}
    if plain & IMAGE_FOLDERS and plain & MASK_FOLDERS and plain <= IMAGE_FOLDERS | MASK_FOLDERS:
        refuse(
            f"{place} holds {join_names(classes)}, which are no classes but images and what belongs to them. Masks are "
            "read by the source masks, in folders called images and masks; boxes are not read; classes are folders of "
            "images, one for each"
        )
        return
    if empty := sorted(set(classes) - shown):
        refuse(f"{place} has classes with no image to train on: {join_names(empty)}; add images or remove the folders")


def refuse_unknown(place: str, unknown: Sequence[str], classes: Sequence[str], refuse: Refuse) -> None:
    """Refuses classes of a part to measure on that nothing is trained on."""
    if unknown:
        refuse(
            f"{place} has classes that train has not: {join_names(unknown)}; train has {join_names(classes)}. "
            "Rename the folders, or add the classes to train"
        )


def _outer_doubts(files: Files, prefix: str, classes: Sequence[str], members: Labelled) -> tuple[str, ...]:
    """A warning where every class holds several folders and no images of its own: these may be the classes."""
    inner: dict[str, set[str]] = {name: set() for name in classes}
    for name, label in members:
        folder, slash, _ = name[len(prefix) + len(label) + 1 :].partition("/")
        if not slash:
            return ()
        inner[label].add(folder)
    if len(classes) < 2 or min(map(len, inner.values())) < 2:
        return ()
    first = sorted(inner[classes[0]])
    return (
        f"{files.place}/{prefix}".rstrip("/") + f": the classes are {join_names(classes)}, and in each lie folders "
        f"alone, such as {join_names(first, 3)} in {classes[0]}; if those are the classes, move them up",
    )


def _further(files: Files, prefix: str, classes: Sequence[str], refuse: Refuse) -> Labelled:
    """The images of another part, by the classes of the part to train on."""
    place = f"{files.place}/{prefix}".rstrip("/")
    found, members = members_in(files, prefix)
    spelt = {composed(name): name for name in classes}
    refuse_unknown(place, [name for name in found if composed(name) not in spelt], classes, refuse)
    if not members:
        refuse(f"{place} has no image in a class folder; add some, or remove it and a part of train is set aside")
    return [(name, spelt[composed(label)]) for name, label in members if composed(label) in spelt]
