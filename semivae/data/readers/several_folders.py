"""Users' own images in several folders, each of which sorts them by a label of its own, such as another annotator's.

Two files of the same bytes are one image, wherever they lie: it has a label by each folder that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from semivae.data.formats.file_trees import Files
from semivae.data.formats.label_files import ordered_classes
from semivae.data.inputs.further_labels import BETWEEN, BETWEEN_ATTRIBUTES
from semivae.data.readers.class_folders import members_in, parts_to_train, refuse_classes, refuse_unknown
from semivae.data.readers.parts import (
    LabelFolder,
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
from semivae.text import count_of, either, join_names, nearest

STRICTEST: tuple[Part, ...] = ("test", "val", "train", "unlabelled")  # the part of an image that lies in several
SEVERAL = {"attributes": BETWEEN_ATTRIBUTES, "candidates": BETWEEN}  # kinds of which an image may be in several classes


@dataclass(frozen=True)
class _Tree:
    """A folder that sorts images by one label.

    Attributes:
        label: its name in the recipe.
        folder: its path below the source's.
        train: what the names of its files to train on start with; several where parts lie above and below.
        classes: the folders of classes to train on, in order.
        members: its files, with their classes, "" in its part `unlabelled`.
        parts: of each file.
    """

    label: str
    folder: str
    train: tuple[str, ...]
    classes: tuple[str, ...]
    members: Labelled
    parts: Mapping[str, Part]


@dataclass
class _Images:
    """What is known of each image, by the first of its files.

    Attributes:
        of: the image of each file.
        parts: in which it lies.
        called: by label and image, its classes, in order.
    """

    of: dict[str, str]
    parts: dict[str, set[Part]] = field(default_factory=dict)
    called: dict[str, dict[str, list[str]]] = field(default_factory=dict)


def arrange_by_folders(files: Files, source: FolderSource, refuse: Refuse = at_once) -> Layout:
    """Sort image files by the label y of one folder, and note what the other folders say of the same images.

    Images without y are unlabelled; in parts to validate or test on they are not used. An image in two classes of one
    folder has no label by that folder, unless the label is a vector of attributes or a set of candidates.

    Args:
        files: what lies there.
        source: the recipe's section, with `folders`.
        refuse: takes each mistake in turn; if it raises no error, what is right is sorted.

    Raises:
        DataError: no such folder, or a folder without classes.
    """
    folders = {label: PurePosixPath(folder).as_posix() for label, folder in source.folders.items()}
    top = _top(files, folders)
    trees = [_tree(files, top, label, folder) for label, folder in folders.items()]
    trees.sort(key=lambda tree: tree.label != "y")  # names are those of y's files where it has the image
    alone = images_in(files, parts_in(files, top).get("unlabelled", "\0"))
    images = _images(files, trees, alone)
    kinds = {tree.label: source.kind_of(tree.label) for tree in trees}
    said = {label: _one_each(called, kinds[label]) for label, called in images.called.items()}
    own, *others = trees
    members, unlabelled = _sorted(images, said["y"])
    classes = _classes(files, own, members, refuse)
    known = set(classes)
    members = {part: [member for member in found if member[1] in known] for part, found in members.items()}
    warnings = [
        *(text for tree in trees if (text := _two_classes(images.called[tree.label], tree, kinds[tree.label]))),
        *_parts_differ(images.parts),
        *_names_alike(images, trees),
        *(text for tree in others if (text := _no_images(tree, classes))),
    ]
    kept = {*(name for found in members.values() for name, _ in found), *unlabelled}
    copies = tuple(sorted(name for name, image in images.of.items() if name != image and image in kept))
    return Layout(
        own.train[0],
        classes,
        members["train"],
        members["val"] or None,
        members["test"] or None,
        unlabelled,
        tuple(warnings),
        unused_files(files, kept | set(copies), _advice(folders)),
        {tree.label: said[tree.label] for tree in others},
        copies=copies,
        folders=tuple(_facts(tree, said) for tree in trees),
    )


def _advice(folders: Mapping[str, str]) -> str:
    return (
        f"images lie in folders of classes within {join_names(list(folders.values()))}, and one in a part to validate "
        f"or test on needs a class by {folders['y']}"
    )


def _top(files: Files, folders: Mapping[str, str]) -> str:
    """Where the folders lie. Raises DataError where one of them is not there."""
    for top in dict.fromkeys(("", top_of(files))):
        places = [top, *parts_in(files, top).values()]
        here = {
            label: any(f"{place}{folder}" in files.folders for place in places) for label, folder in folders.items()
        }
        if all(here.values()):
            return top
    lost = next(label for label, found in here.items() if not found)
    has = folders_in(files, top)
    near = nearest(folders[lost], has)
    hint = f"; is {near} meant?" if near else f"; it has {join_names(has) or 'no folders'}"
    raise DataError(f"{files.place} has no folder {folders[lost]} (source.folders.{lost}){hint}")


def _tree(files: Files, top: str, label: str, folder: str) -> _Tree:
    """Reads folder/CLASS/*, folder/PART/CLASS/* and PART/folder/CLASS/*. Raises DataError for one without images."""
    whole = f"{top}{folder}/"
    places: list[tuple[Part, str]] = []
    if whole[:-1] in files.folders:
        places += list(parts_to_train(files, whole).items()) or [("train", whole)]
    places += [(part, f"{place}{folder}/") for part, place in parts_in(files, top).items()]
    members: Labelled = []
    parts: dict[str, Part] = {}
    classes: list[str] = []
    for part, prefix in places:
        if part == "unlabelled":
            found = [(name, "") for name in images_in(files, prefix)]
        else:
            called, found = members_in(files, prefix)
            classes += called if part == "train" else ()
        members += found
        parts |= dict.fromkeys((name for name, _ in found), part)
    if not any(called for _, called in members):
        raise DataError(
            f"{files.place}/{whole[:-1]} (source.folders.{label}) has no image in a folder of a class; it needs "
            f"{folder}/CLASS/*.png"
        )
    train = tuple(prefix for part, prefix in places if part == "train") or (whole,)
    return _Tree(label, folder, train, ordered_classes(classes), members, parts)


def _images(files: Files, trees: Sequence[_Tree], alone: Iterable[str]) -> _Images:
    """Finds which files are the same image, by their bytes, and what is said of each image."""
    first: dict[bytes, str] = {}
    images = _Images({}, {}, {tree.label: {} for tree in trees})

    def image_of(name: str) -> str:
        if name not in images.of:
            images.of[name] = first.setdefault(files.same_bytes(name), name)
        return images.of[name]

    for tree in trees:
        for name, called in tree.members:
            image = image_of(name)
            images.parts.setdefault(image, set()).add(tree.parts[name])
            classes = images.called[tree.label].setdefault(image, []) if called else []
            if called and called not in classes:
                classes.append(called)
    for name in alone:
        images.parts.setdefault(image_of(name), set()).add("unlabelled")
    return images


def _one_each(called: Mapping[str, Sequence[str]], kind: str) -> dict[str, str]:
    """What a folder says of each image, as a cell of a table would; nothing where it says two things."""
    if kind in SEVERAL:
        return {image: SEVERAL[kind].join(classes) for image, classes in called.items()}
    return {image: classes[0] for image, classes in called.items() if len(classes) == 1}


def _sorted(images: _Images, own: Mapping[str, str]) -> tuple[dict[Part, Labelled], list[str]]:
    """The images of each part with their classes, and those to train on without one; others are not used."""
    members: dict[Part, Labelled] = {"train": [], "val": [], "test": []}
    unlabelled = []
    for image in sorted(images.parts):
        part = next(part for part in STRICTEST if part in images.parts[image])
        if image in own and part != "unlabelled":
            members[part].append((image, own[image]))
        elif part in ("train", "unlabelled"):
            unlabelled.append(image)
    return members, unlabelled


def _classes(files: Files, tree: _Tree, members: Mapping[Part, Labelled], refuse: Refuse) -> tuple[str, ...]:
    """The classes of y, those of its folder to train on; refuses fewer than two, empty ones, and others elsewhere."""
    refuse_classes(
        f"{files.place}/{tree.train[0]}".rstrip("/"), tree.classes, {called for _, called in members["train"]}, refuse
    )
    for part in ("val", "test"):
        unknown = sorted({called for _, called in members[part]} - set(tree.classes))
        refuse_unknown(f"{files.place}: the part {part} of {tree.folder}", unknown, tree.classes, refuse)
    return tree.classes


def _two_classes(called: Mapping[str, Sequence[str]], tree: _Tree, kind: str) -> str:
    found = [image for image, classes in called.items() if len(classes) > 1]
    if not found or kind in SEVERAL:
        return ""
    first = " and ".join(called[found[0]])
    verb = either(len(found), "lies", "lie")
    return (
        f"{count_of(len(found), 'image', 'images')} {verb} in two classes of {tree.folder}, so {tree.label} is not "
        f"known there: {join_names(found)} (in {first}); leave each in one class"
    )


def _parts_differ(parts: Mapping[str, set[Part]]) -> list[str]:
    found = {image: [part for part in STRICTEST if part in held] for image, held in parts.items()}
    several = [image for image, held in found.items() if len(set(held) - {"unlabelled"}) > 1]
    if not several:
        return []
    verb = either(len(several), "lies", "lie")
    return [
        f"{count_of(len(several), 'image', 'images')} {verb} in several parts and "
        f"{either(len(several), 'is', 'are')} used in one alone, test before val before train: {join_names(several)}"
    ]


def _names_alike(images: _Images, trees: Sequence[_Tree]) -> list[str]:
    """Warnings of files that have one name in two folders, and nowhere else, but are not the same image."""
    named: list[dict[str, str]] = []
    for tree in trees:
        every: dict[str, set[str]] = {}
        for name, _ in tree.members:
            every.setdefault(composed(PurePosixPath(name).name), set()).add(images.of[name])
        named.append({name: next(iter(found)) for name, found in every.items() if len(found) == 1})
    warnings = []
    for place, tree in enumerate(trees):
        for other in range(place):
            alike = [
                name for name in named[place].keys() & named[other].keys() if named[place][name] != named[other][name]
            ]
            if alike:
                warnings.append(
                    f"{count_of(len(alike), 'file of one name is', 'files of one name are')} in {trees[other].folder} "
                    f"and {tree.folder} with other content, and taken for different images: "
                    f"{join_names(sorted(alike))}; if they are the same pictures saved anew, copy the files themselves"
                )
    return warnings


def _no_images(tree: _Tree, classes: Sequence[str]) -> str:
    """A warning of classes of a further label that no image shows; an annotator need not use all of the label's."""
    empty = set(tree.classes) - {called for _, called in tree.members} - set(classes)
    if not empty:
        return ""
    return f"{tree.folder} has classes with no image, which {tree.label} then lacks: {join_names(sorted(empty))}"


def _facts(tree: _Tree, said: Mapping[str, Mapping[str, str]]) -> LabelFolder:
    own = set(said[tree.label])
    others = {image for label, called in said.items() if label != tree.label for image in called}
    return LabelFolder(tree.label, tree.folder, len(own), len(own & others))
