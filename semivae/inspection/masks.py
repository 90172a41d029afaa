"""Images and their masks: pairs, what the pixels of masks hold, and which masks cannot be read."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from semivae.data.dataset import Dataset, map_label
from semivae.data.doubts import seen_doubts
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import ADVICE, reason_of, unreadable_text
from semivae.data.formats.mask_files import Mask, SharedColours, decode_mask
from semivae.data.formats.palettes import Palette, unseen_classes
from semivae.data.formats.preprocessing import Preprocessing, Size, preprocessing_of
from semivae.data.formats.remarks import remarks
from semivae.data.readers.map_arrays import set_aside
from semivae.data.readers.masks import (
    Pairs,
    numbered,
    other_ratios,
    palette_files,
    palette_of,
    part_of,
    turned_doubts,
    unreadable_masks,
    why_no_pairs,
)
from semivae.data.readers.parts import images_in, parts_in, top_of
from semivae.errors import DataError
from semivae.inspection.counting import CountClasses, Counted, counted
from semivae.inspection.duplicates import Examples, duplicates, near_doubts
from semivae.inspection.facts import MaskFacts
from semivae.inspection.likeness import Likeness
from semivae.inspection.pictures import Looks, image_facts, look_at_files, picture_doubts
from semivae.inspection.report import DataReport
from semivae.inspection.result import Inspected
from semivae.inspection.unused import unused
from semivae.recipe.schema import MasksSource, SplitSpec
from semivae.text import join_names
from semivae.variables import VOID

Pair = tuple[str, str, str]  # name, image file, mask file
MOST_COLOURS = 12  # of masks without a palette
COLOURS_OF = 50  # such masks are looked at


@dataclass
class MaskLooks:
    """What is kept of masks: which numbers each holds, and how often each number occurs in all.

    Attributes:
        numbers: of each mask that can be read, the different class numbers in it.
        sizes: width and height of each.
        orientations: how each lies, 1 for upright.
        places: how many places have which number, -1 where it is not known.
        unreadable: the others, with the reasons.
        colours: of masks whose colours no palette explains, in how many each is.
    """

    numbers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    sizes: dict[str, Size] = field(default_factory=dict)
    orientations: dict[str, int] = field(default_factory=dict)
    places: Counter[int] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)
    colours: Counter[tuple[int, ...]] = field(default_factory=Counter)


def look_at_masks(files: Files, names: Sequence[str], palette: Palette, how: Preprocessing) -> MaskLooks:
    """Decodes masks one after the other; no error is raised for one of them."""
    found, shared = MaskLooks(), SharedColours()
    for name in names:
        try:
            mask: Mask = decode_mask(files.read(name), palette, how.height, how.width, how.fit)
            shared.add(name, mask.colours)
        except Exception as error:  # ours for a wrong number or colour; Pillow raises much, by the wrong byte
            found.unreadable[name] = reason_of(error)
            if len(found.unreadable) <= COLOURS_OF:
                found.colours.update(_colours(files, name))
            continue
        values, counts = np.unique(mask.numbers, return_counts=True)
        found.numbers[name] = tuple(values[values >= 0].tolist())
        found.sizes[name] = mask.size
        found.orientations[name] = mask.orientation
        found.places.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    return found


def _colours(files: Files, name: str) -> list[tuple[int, ...]]:
    """The most frequent colours of a mask; none where it is no image."""
    try:
        with Image.open(io.BytesIO(files.read(name))) as image:
            image.thumbnail((256, 256), Image.Resampling.NEAREST)
            counts = image.convert("RGB").getcolors(2**16) or []
    except Exception:  # it is named as unreadable already
        return []
    return [tuple(colour) for _, colour in sorted(counts, reverse=True)[:MOST_COLOURS] if isinstance(colour, tuple)]


def inspect_masks(source: MasksSource, path: Path, spec: SplitSpec | None, chosen: str = "") -> Inspected:
    """Finds what a folder or .zip of images and masks holds; each is decoded once, and none is kept.

    Args:
        source: the recipe's section.
        path: its path, made absolute.
        spec: which masks are shown; None: all.
        chosen: why the source is read as masks.

    Raises:
        DataError: there is no such folder or .zip, two files of one name, or a palette that cannot be read.
    """
    palette, how, what = palette_of(source, path), preprocessing_of(source), str(path)
    mistakes: list[str] = []
    with open_files(path) as files:
        parts = _parts(files, mistakes)
        pairs = [pair for part in ("train", "val", "test") for pair in parts[part].pairs]
        lone = [*parts["train"].images, *parts["unlabelled"].images]
        images = look_at_files(files, [*(image for _, image, _ in pairs), *lone], how)
        masks = look_at_masks(files, [*(mask for *_, mask in pairs), *parts["train"].masks], palette, how)
        used = {*images.names, *images.unreadable, *masks.numbers, *masks.unreadable, *palette_files(source)}
        rest = unused(files, used, "masks")
    mistakes += _mistakes(pairs, images, masks, path)
    seen = torch.tensor([number for numbers in masks.numbers.values() for number in numbers], dtype=torch.int64)
    classes = palette.names or _numbered(seen, path, mistakes)
    usable = _usable(parts, images, masks, source, mistakes)
    examples = _examples(images, usable, lone)
    equal = duplicates(examples)
    facts = image_facts(images.names, images.looks, how)
    warnings = [*remarks([images.pictures()], how), *picture_doubts(facts, what), *near_doubts(equal, what)]
    lies = {name: look.levels.orientation for name, look in zip(images.names, images.looks, strict=True)}
    both = [pair[1:] for pair in pairs if pair[1] in lies and pair[2] in masks.sizes]
    warnings += turned_doubts([(name, lies[name], masks.orientations[of], masks.sizes[of]) for name, of in both], path)
    dataset, count = None, Counted({}, {})
    if classes and usable["train"] and usable["test"]:
        warnings += unseen_classes(seen, classes, f"{path}: the masks")
        dataset = _dataset(path, classes, examples)
        warnings += _seen(dataset, examples, what)
        count = counted(dataset, spec, _count(usable, classes, masks))
    report = DataReport(
        place=what,
        kind="masks",
        chosen=chosen,
        parts=count.parts,
        classes=count.classes,
        images=facts,
        masks=_facts(masks, classes, palette),
        duplicates=equal,
        unreadable=images.unreadable | masks.unreadable,
        unused=rest,
        mistakes=(*mistakes, *count.mistakes),
        warnings=tuple(dict.fromkeys(warnings)),
    )
    return Inspected(report, dataset, how.shape)


def _parts(files: Files, mistakes: list[str]) -> dict[str, Pairs]:
    """The files of each part, those without a label as images of "unlabelled"."""
    top = top_of(files)
    tops = parts_in(files, top)
    parts = {part: part_of(files, tops[part]) if part in tops else Pairs() for part in ("train", "val", "test")}
    parts["train"] = part_of(files, tops.get("train", top))
    if not parts["train"].pairs:
        mistakes.append(why_no_pairs(files, tops.get("train", top)))
    without = images_in(files, tops["unlabelled"]) if "unlabelled" in tops else []
    return parts | {"unlabelled": Pairs(images=tuple(without))}


def _mistakes(pairs: Sequence[Pair], images: Looks, masks: MaskLooks, path: Path) -> list[str]:
    """What is wrong with files, one message for each kind of mistake."""
    found = []
    if images.unreadable:
        count = len(images.names) + len(images.unreadable)
        found.append(f"{unreadable_text(path, images.unreadable, count)}. {ADVICE}")
    if masks.unreadable:
        count = len(masks.numbers) + len(masks.unreadable)
        found.append(unreadable_masks(masks.unreadable, count, path))
    sizes = dict(zip(images.names, (look.size for look in images.looks), strict=True))
    both = [
        (mask, (sizes[image], masks.sizes[mask])) for _, image, mask in pairs if image in sizes and mask in masks.sizes
    ]
    if wrong := other_ratios([mask for mask, _ in both], [each for _, each in both], path):
        found.append(wrong)
    return found


def _numbered(seen: torch.Tensor, path: Path, mistakes: list[str]) -> tuple[str, ...]:
    """Classes called by their numbers; none where these are a mistake."""
    if not len(seen):
        return ()
    try:
        return numbered(seen, path)
    except DataError as error:
        mistakes.append(str(error))
        return ()


def _usable(
    parts: Mapping[str, Pairs], images: Looks, masks: MaskLooks, source: MasksSource, mistakes: list[str]
) -> dict[str, list[Pair]]:
    """The pairs of each part of which both can be read; where there is no test part, a share of train."""
    read = set(images.names)
    usable = {
        part: [pair for pair in parts[part].pairs if pair[1] in read and pair[2] in masks.numbers]
        for part in ("train", "val", "test")
    }
    if usable["train"] and not parts["test"].pairs:
        try:
            kept, held = set_aside([name for name, *_ in usable["train"]], source.test_share)
        except DataError as error:
            mistakes.append(str(error))
            return usable
        train = usable["train"]
        usable |= {"train": [train[row] for row in kept.tolist()], "test": [train[row] for row in held.tolist()]}
    return usable


def _examples(images: Looks, usable: Mapping[str, Sequence[Pair]], lone: Sequence[str]) -> Examples:
    rows = {name: row for row, name in enumerate(images.names)}
    parts = {part: np.array([rows[image] for _, image, _ in pairs], np.intp) for part, pairs in usable.items()}
    parts["unlabelled"] = np.array([rows[name] for name in lone if name in rows], np.intp)
    likeness = Likeness(images.looks)
    return Examples(images.names, likeness.keys, np.full(len(rows), -1, np.int64), parts, likeness)


def _dataset(path: Path, classes: tuple[str, ...], examples: Examples) -> Dataset:
    """The data as a data set whose x are the keys of its images, and whose maps hold nothing."""
    keys = torch.from_numpy(examples.keys)[:, None]
    train = np.concatenate([examples.parts["train"], examples.parts["val"]])
    known, tested = (
        {"x": keys[torch.from_numpy(rows)], "s": torch.zeros(len(rows), 1, 1, dtype=torch.int16)}
        for rows in (train, examples.parts["test"])
    )
    lone = torch.from_numpy(examples.parts["unlabelled"])
    own = torch.arange(len(examples.parts["train"]), len(train)) if len(examples.parts["val"]) else None
    unlabelled = {"x": keys[lone]} if len(lone) else {}
    return Dataset(f"masks:{path.name}", map_label(classes), known, tested, unlabelled, validation=own)


def _seen(dataset: Dataset, examples: Examples, what: str) -> list[str]:
    """What `read_masks` warns of equal images."""
    names = {part: [examples.names[row] for row in rows] for part, rows in examples.parts.items()}
    kept = len(names["train"])
    train, val = ({"x": dataset.train["x"][part]} for part in (slice(kept), slice(kept, None)))
    found = seen_doubts(train, dataset.test, dataset.unlabelled, what, names)
    if names["val"]:
        found += seen_doubts(train, val, {}, what, names | {"test": names["val"]}, "validation")
    return found


def _count(usable: Mapping[str, Sequence[Pair]], classes: Sequence[str], masks: MaskLooks) -> CountClasses:
    """Counts masks that show a class."""
    shown: dict[str, NDArray[np.bool_]] = {}
    for part, pairs in (("train", [*usable["train"], *usable["val"]]), ("test", usable["test"])):
        shown[part] = np.zeros((len(pairs), len(classes)), np.bool_)
        for row, (*_, mask) in enumerate(pairs):
            shown[part][row, list(masks.numbers[mask])] = True
    return lambda part, rows: [int(count) for count in shown[part][rows.numpy()].sum(axis=0)]


def _facts(masks: MaskLooks, classes: Sequence[str], palette: Palette) -> MaskFacts:
    numbers = sorted(number for number in masks.places if number >= 0)
    names = dict(enumerate(classes)) or {number: str(number) for number in numbers}
    counts = Counter(number for each in masks.numbers.values() for number in each)
    known = sum(masks.places[number] for number in numbers)
    colours = [" ".join(map(str, colour)) for colour, _ in masks.colours.most_common(MOST_COLOURS)]
    return MaskFacts(
        count=len(masks.numbers),
        units=_units(numbers, palette),
        shown={name: counts[number] for number, name in names.items()},
        area={name: masks.places[number] / max(1, known) for number, name in names.items()},
        void=masks.places[VOID] / max(1, masks.places.total()),
        colours=tuple(colours),
    )


def _units(numbers: Sequence[int], palette: Palette) -> str:
    """What the values of masks are, in words."""
    if palette.colours is not None:
        return f"colours of the palette, {len(palette.names)} classes"
    if not numbers:
        return "none that can be read"
    if list(numbers) == [0, 255]:
        return "0 and 255, black and white: two classes if a palette names them, as `thing 255 255 255`"
    if list(numbers) == list(range(len(numbers))):
        return f"class numbers from 0 to {numbers[-1]}"
    return f"the numbers {join_names([str(number) for number in numbers], 12)}"
