"""Images in folders, one folder a class, or with a table of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from semivae.data.dataset import Dataset
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import ADVICE, unreadable_text
from semivae.data.formats.preprocessing import preprocessing_of
from semivae.data.formats.remarks import remarks
from semivae.data.inputs.further_labels import spelling_doubts
from semivae.data.readers.arranging import arranged
from semivae.data.readers.folder import (
    class_folder_doubts,
    class_numbers,
    further_labels,
    held_out,
    label_doubts,
    label_info,
    label_values,
)
from semivae.data.readers.parts import Labelled, Layout
from semivae.errors import DataError
from semivae.inspection.counting import counted
from semivae.inspection.duplicates import Examples, duplicates, near_doubts
from semivae.inspection.facts import NO_LABEL
from semivae.inspection.likeness import Likeness
from semivae.inspection.pictures import image_facts, look_at_files, picture_doubts
from semivae.inspection.report import DataReport
from semivae.inspection.result import Inspected
from semivae.inspection.unused import Kind, class_doubts, unused
from semivae.recipe.schema import FolderSource, SplitSpec


def inspect_folder(source: FolderSource, path: Path, spec: SplitSpec | None, chosen: str = "") -> Inspected:
    """Finds what a folder or .zip of images holds; every image is decoded once, and none is kept.

    Args:
        source: the recipe's section.
        path: its path, made absolute.
        spec: which labels are shown; None: all.
        chosen: why the source is read as a folder.

    Raises:
        DataError: there is no such folder or .zip, or its structure cannot be told.
    """
    mistakes: list[str] = []
    with open_files(path) as files:
        layout = arranged(files, source, mistakes.append)
        parts = _parts(layout, source, mistakes)
        found = look_at_files(files, parts.files, preprocessing_of(source))
        kind: Kind = "folders" if source.folders else "classes" if source.labels is None else "table"
        rest = unused(files, {*parts.files, *layout.copies, *_tables(files, source)}, kind)
    if found.unreadable:
        mistakes.append(f"{unreadable_text(files.place, found.unreadable, len(parts.files))}. {ADVICE}")
    what, how = str(path), preprocessing_of(source)
    examples = parts.examples(layout, found.names, Likeness(found.looks))
    equal = duplicates(examples)
    dataset = _dataset(path, layout, examples, source, mistakes)
    facts = image_facts(found.names, found.looks, how)
    warnings = [*layout.warnings, *remarks([found.pictures()], how), *picture_doubts(facts, what)]
    warnings += [*class_doubts(layout.classes if source.labels is None else (), what), *near_doubts(equal, what)]
    warnings += class_folder_doubts(layout.classes, source, what)
    count = None
    if dataset is not None:
        warnings += _split_doubts(dataset, examples, layout, what)
        whole = {label for _, label in parts.train} == set(layout.classes)  # else it is said already that one is empty
        if not layout.by_class or whole:
            count = counted(dataset, spec)
            mistakes += count.mistakes
    report = DataReport(
        place=what,
        kind="folder",
        chosen=chosen,
        parts=count.parts if count and count.parts else parts.counts(),
        classes=count.classes if count and count.classes else parts.by_folder(layout),
        further=count.further if count else {},
        folders=layout.folders,
        numbers=count.numbers if count else {},
        images=facts,
        duplicates=equal,
        unreadable=found.unreadable,
        unused=rest,
        mistakes=tuple(mistakes),
        warnings=tuple(dict.fromkeys(warnings)),
    )
    return Inspected(report, dataset, how.shape)


@dataclass(frozen=True)
class FileParts:
    """Which files each part has, with their classes; where there is no test part, a share of train."""

    train: Labelled
    val: Labelled
    test: Labelled
    unlabelled: Sequence[str]

    @property
    def files(self) -> list[str]:
        return [*(name for part in (self.train, self.val, self.test) for name, _ in part), *self.unlabelled]

    def counts(self) -> dict[str, int]:
        """How many files each part has, where no split can be made."""
        parts = {"labelled": self.train, "validation": self.val, "unlabelled": self.unlabelled, "test": self.test}
        return {part: len(members) for part, members in parts.items()}

    def by_folder(self, layout: Layout) -> dict[str, dict[str, int]]:
        """Counts of each class, where no split can be made."""
        given = {"labelled": self.train, "validation": self.val, "unlabelled": [], "test": self.test}
        found = {
            name: {part: sum(label == name for _, label in members) for part, members in given.items()}
            for name in layout.classes
        }
        without = {part: len(self.unlabelled) if part == "unlabelled" else 0 for part in given}
        return found | ({NO_LABEL: without} if self.unlabelled else {})

    def examples(self, layout: Layout, read: Sequence[str], likeness: Likeness) -> Examples:
        """The files that can be read, in the order of `read`, which is that of `files`."""
        rows = {name: row for row, name in enumerate(read)}
        labels = np.full(len(read), -1, np.int64)
        parts = {}
        for part, members in (("train", self.train), ("val", self.val), ("test", self.test)):
            known = [member for member in members if member[0] in rows]
            parts[part] = np.array([rows[name] for name, _ in known], np.intp)
            if layout.by_class:
                labels[parts[part]] = class_numbers(known, layout.classes).numpy()
        parts["unlabelled"] = np.array([rows[name] for name in self.unlabelled if name in rows], np.intp)
        return Examples(read, likeness.keys, labels, parts, likeness)


def _parts(layout: Layout, source: FolderSource, mistakes: list[str]) -> FileParts:
    train, test = layout.train, layout.test
    if test is None and train:
        try:
            kept, held = (rows.tolist() for rows in held_out(layout, source.test_share))
            train, test = [layout.train[row] for row in kept], [layout.train[row] for row in held]
        except DataError as error:
            mistakes.append(str(error))
    return FileParts(train, layout.val or [], test or [], layout.unlabelled)


def _dataset(
    path: Path, layout: Layout, examples: Examples, source: FolderSource, mistakes: list[str]
) -> Dataset | None:
    """The data as a data set whose x are the keys of its pictures; None without anything to train or to test on."""
    keys, labels = torch.from_numpy(examples.keys)[:, None], torch.from_numpy(examples.labels)
    if not layout.by_class:
        labels = label_values([(name, "") for name in examples.names], layout)
    rows = {part: torch.from_numpy(found) for part, found in examples.parts.items()}
    if not len(rows["train"]) or not len(rows["test"]):
        return None
    train = torch.cat([rows["train"], rows["val"]])
    known, tested = ({"x": keys[part], "y": labels[part]} for part in (train, rows["test"]))
    own = torch.arange(len(rows["train"]), len(train)) if layout.val is not None else None
    unlabelled = {"x": keys[rows["unlabelled"]]} if len(rows["unlabelled"]) else {}
    parts = [part for part in (train, rows["test"], rows["unlabelled"]) if len(part)]
    names = [[(examples.names[row], "") for row in part.tolist()] for part in parts]
    try:
        further, further_info = further_labels(source, layout, names)
    except DataError as error:
        mistakes.append(str(error))
        further, further_info = [{} for _ in parts], {}
    for sample, more in zip([known, tested, unlabelled], further, strict=False):
        sample.update(more)
    every = label_info(layout) | further_info
    return Dataset(f"folder:{path.name}", every, known, tested, unlabelled, validation=own)


def _split_doubts(dataset: Dataset, examples: Examples, layout: Layout, what: str) -> list[str]:
    """What `read_folder` warns of: equal examples, and classes that are not tested."""
    names = {part: [examples.names[row] for row in rows] for part, rows in examples.parts.items()}
    kept = len(names["train"])
    train, val = ({key: rows[part] for key, rows in dataset.train.items()} for part in (slice(kept), slice(kept, None)))
    found = label_doubts(layout, train, dataset.test, dataset.unlabelled, what, names)
    found += spelling_doubts(dataset.labels, what)
    if layout.val is not None and len(names["val"]):
        of_val = names | {"test": names["val"]}
        found += label_doubts(layout, train, val, {}, what, of_val, "validation")
    return found


def _tables(files: Files, source: FolderSource) -> list[str]:
    """The tables of labels."""
    called = None if source.labels is None else Path(source.labels).name
    return [name for name in files.names if name.rpartition("/")[2] == called]
