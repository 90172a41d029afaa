"""Which folders, side by side, each sort images by a label of its own, where no recipe says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from semivae.data.formats.file_trees import Files
from semivae.data.formats.image_files import is_image
from semivae.data.readers.parts import PARTS, folders_in, parts_in

TRUTH = {"truth", "true", "gold", "label", "labels", "class", "classes", "fine", "species", "breed", "breeds", "y"}
OTHERS = {"coarse", "group", "groups", "family", "families", "superclass", "superclasses", "annotator", "annotators",
          "rater", "reader", "expert", "labeler", "labeller", "observer"}  # fmt: skip
TAKEN = {"x", "y", "s", "h"}  # what data and templates call their own


def label_folders(files: Files, top: str, wanted: str | None = None) -> dict[str, str]:
    """Returns the folders below `top` that each sort images by one label, the one of y first; {} where there are none.

    They hold two folders of images or more and no images themselves; and one image lies in two of them, or their names
    say what they are, such as fine and coarse.

    Args:
        files: what lies there.
        top: where the structure starts.
        wanted: the folder of the label y; None: by its name, or the one with most classes.
    """
    trees = {name: _classes(files, f"{top}{name}/") for name in folders_in(files, top) if name.lower() not in PARTS}
    if len(trees) < 2 or not all(len(classes) > 1 for classes in trees.values()):
        return {}
    directly = (name[len(top) :].split("/") for name in files.names if name.startswith(top) and is_image(name))
    if any(len(parts) == 1 or (len(parts) == 2 and parts[0] in trees) for parts in directly):
        return {}
    words = {name: set(re.split(r"[^a-z]+", name.lower())) for name in trees}
    named = all(found & (TRUTH | OTHERS) for found in words.values())
    if not named and not _share_an_image(files, [f"{top}{name}/" for name in trees]):
        return {}
    if wanted is not None and wanted not in trees:
        return {}
    order = sorted(
        trees, key=lambda name: (not words[name] & TRUTH, bool(words[name] & OTHERS), -len(trees[name]), name)
    )
    own = wanted or order[0]
    called: dict[str, str] = {"y": own}
    for name in sorted(trees):
        if name != own:
            called[_label(name, called)] = name
    return called


def _classes(files: Files, prefix: str) -> list[str]:
    """The folders of classes below a prefix, in its part to train on if it has parts."""
    return folders_in(files, parts_in(files, prefix).get("train", prefix))


def _share_an_image(files: Files, places: Iterable[str]) -> bool:
    """Whether a file of one name, and the same content, lies in two of the places."""
    named: dict[str, dict[str, str]] = {}
    for place in places:
        for name in files.names:
            if name.startswith(place) and is_image(name):
                named.setdefault(PurePosixPath(name).name, {}).setdefault(place, name)
    for found in named.values():
        if len(found) > 1:
            digests = {files.same_bytes(name) for name in found.values()}
            if len(digests) < len(found):
                return True
    return False


def _label(folder: str, taken: Mapping[str, str]) -> str:
    """A name for a label in a recipe, from that of its folder."""
    plain = re.sub(r"[^a-z0-9]+", "_", folder.lower()).strip("_")
    plain = plain if re.match(r"[a-z]", plain) and plain not in TAKEN else f"of_{plain}".rstrip("_")
    name, count = plain, 1
    while name in taken:
        count += 1
        name = f"{plain}_{count}"
    return name
