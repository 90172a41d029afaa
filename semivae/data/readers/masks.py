"""Users' own images and their masks in folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from semivae.data.dataset import Dataset, map_label
from semivae.data.doubts import seen_doubts
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import Pictures, is_image, read_pictures, reason_of
from semivae.data.formats.mask_files import Mask, SharedColours, decode_mask
from semivae.data.formats.palettes import Palette, read_palette, refuse_gaps, unseen_classes
from semivae.data.formats.preprocessing import Preprocessing, Size, preprocessing_of
from semivae.data.formats.remarks import remarks
from semivae.data.paths import resolve
from semivae.data.readers.map_arrays import set_aside
from semivae.data.readers.parts import composed, images_in, parts_in, top_of, unused_files
from semivae.errors import DataError
from semivae.recipe.schema import MasksSource
from semivae.text import by_reason, count_of, either, join_names
from semivae.variables import Sample

Lies = tuple[str, int, int, Size]  # name of an image, its orientation and that of its mask, and the mask's size


@dataclass(frozen=True)
class Pairs:
    """The files of one part (train, val, test), by their names without ending: pairs, and what has no partner.

    Attributes:
        pairs: (name, image file, mask file).
        images: image files without a mask.
        masks: mask files without an image.
    """

    pairs: tuple[tuple[str, str, str], ...] = ()
    images: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()


@dataclass
class Reader:
    """Reads the files of one data set, and keeps what they have to share."""

    files: Files
    preprocessing: Preprocessing
    palette: Palette
    pictures: list[Pictures] = field(default_factory=list)
    colours: SharedColours = field(default_factory=SharedColours)
    turned: list[Lies] = field(default_factory=list)

    def images(self, names: Sequence[str]) -> Tensor:
        """Reads uint8 [n, channels, height, width]; raises DataError for what is no image."""
        found = read_pictures(self.files, names, self.preprocessing)
        self.pictures.append(found)
        return found.pixels

    def maps(self, names: Sequence[str]) -> Tensor:
        """Reads int16 [n, height, width]; raises DataError for what is no mask of these classes."""
        return torch.from_numpy(np.stack([mask.numbers for mask in self._masks(names)]))

    def _masks(self, names: Sequence[str]) -> list[Mask]:
        masks: list[Mask] = []
        broken: dict[str, str] = {}
        how = self.preprocessing
        for name in names:
            try:
                mask = decode_mask(self.files.read(name), self.palette, how.height, how.width, how.fit)
                self.colours.add(name, mask.colours)
                masks.append(mask)
            except Exception as error:  # ours for a wrong number or colour; Pillow raises much, by the wrong byte
                broken[name] = reason_of(error)
        if broken:
            raise DataError(unreadable_masks(broken, len(names), self.files.place))
        return masks

    def pairs(self, pairs: Sequence[tuple[str, str, str]]) -> Sample:
        """Reads x and s; raises DataError for files that cannot be read, or pairs of different ratios of sides."""
        images = self.images([image for _, image, _ in pairs])
        masks = self._masks([mask for *_, mask in pairs])
        sizes = zip(self.pictures[-1].sizes, [mask.size for mask in masks], strict=True)
        self._refuse_other_ratios([mask for *_, mask in pairs], list(sizes))
        for (_, image, _), levels, mask in zip(pairs, self.pictures[-1].levels, masks, strict=True):
            self.turned.append((image, levels.orientation, mask.orientation, mask.size))
        return {"x": images, "s": torch.from_numpy(np.stack([mask.numbers for mask in masks]))}

    def _refuse_other_ratios(self, names: Sequence[str], sizes: Sequence[tuple[Size, Size]]) -> None:
        """Raise DataError for a mask with another ratio of sides than its image, which would not fit after scaling."""
        if wrong := other_ratios(names, sizes, self.files.place):
            raise DataError(wrong)


def unreadable_masks(broken: Mapping[str, str], count: int, place: Path) -> str:
    """The message on masks that cannot be read, by name with the reasons, of so many."""
    return (
        f"{len(broken):,} of {count:,} masks in {place} cannot be read: {by_reason(broken, 3)}. Repair "
        f"{either(len(broken), 'it', 'them')}, or say source.palette or source.void"
    )


def other_ratios(names: Sequence[str], sizes: Sequence[tuple[Size, Size]], place: Path) -> str:
    """The message on masks with another ratio of sides than their images; "" where there are none.

    Args:
        names: of the masks.
        sizes: of each the size of its image, then its own.
        place: where they lie.
    """
    wrong: list[str] = []
    for name, ((width, height), (across, down)) in zip(names, sizes, strict=True):
        if abs(width * down - across * height) > max(width, height, across, down):  # a pixel may go in scaling
            wrong.append(f"{name} is {across}x{down}, its image {width}x{height}")
    if not wrong:
        return ""
    return (
        f"{len(wrong):,} of {len(names):,} masks in {place} {either(len(wrong), 'has', 'have')} another ratio of "
        f"sides than the "
        f"image: {join_names(wrong, 3)}. Crop both alike"
    )


def turned_doubts(pairs: Iterable[Lies], place: Path) -> tuple[str, ...]:
    """A warning of images that are turned or mirrored as their files say, and whose masks are not, or nothing.

    The ratio of sides would tell of it, unless it stays the same.

    Args:
        pairs: of each how image and mask lie.
        place: where they lie.
    """
    names = [
        name
        for name, first, second, size in pairs
        if first != second and (max(first, second) < 5 or len(set(size)) == 1)
    ]
    if not names:
        return ()
    return (
        f"{place}: {count_of(len(names), 'image is', 'images are')} turned or mirrored, as EXIF says in "
        f"{either(len(names), 'its file', 'their files')}, and {either(len(names), 'its mask is', 'their masks are')} "
        f"not: {join_names(names, 3)}; if masks were drawn on the pictures as they lie in the files, remove their EXIF "
        "orientation",
    )


def read_masks(source: MasksSource, path: Path) -> Dataset:
    """Read train/images and train/masks, optionally val and test likewise and unlabelled/*; or images and masks alone.

    Files of images and masks belong together where their names are equal but for the ending. Where there is no test
    part, `source.test_share` of the pairs is set aside for it by the hash of their names.

    Args:
        source: the recipe's section.
        path: its path, made absolute; a folder or a .zip.

    Returns:
        x is uint8 [n, channels, height, width], s int16 [n, height, width]; rows from val are the last, and
        `Dataset.validation`.

    Raises:
        DataError: no such folder, no pair in it, a file that is no image, or a mask that holds what is no class.
    """
    palette = palette_of(source, path)
    with open_files(path) as files:
        read = Reader(files, preprocessing_of(source), palette)
        top = top_of(files)
        tops = parts_in(files, top)
        train = part_of(files, tops.get("train", top))
        val, test = (part_of(files, tops[part]) if part in tops else Pairs() for part in ("val", "test"))
        if not train.pairs:
            raise DataError(why_no_pairs(files, tops.get("train", top)))
        known = read.pairs(train.pairs)
        checked = read.pairs(val.pairs) if val.pairs else {}
        tested = read.pairs(test.pairs) if test.pairs else {}
        lone = [*train.images, *(images_in(files, tops["unlabelled"]) if "unlabelled" in tops else [])]
        unlabelled = {"x": read.images(lone)} if lone else {}
        alone = {"s": read.maps(train.masks)} if train.masks else {}
        used = {file for part in (train, val, test) for pair in part.pairs for file in pair[1:]}
        warnings = unused_files(
            files,
            used | {*lone, *train.masks, *palette_files(source)},
            "an image and its mask have one name; parts are train, val, test, unlabelled",
        )
    origin, validation = "given", None
    names = {part: [file for _, file, _ in pairs.pairs] for part, pairs in (("train", train), ("test", test))}
    if not tested:
        kept, held = set_aside([name for name, *_ in train.pairs], source.test_share)
        known, tested = ({name: rows[part] for name, rows in known.items()} for part in (kept, held))
        names = {
            part: [names["train"][row] for row in rows.tolist()] for part, rows in (("train", kept), ("test", held))
        }
        origin = f"test split off by hash, {source.test_share:.0%}"
    names["unlabelled"] = lone
    warnings += tuple(seen_doubts(known, tested, unlabelled, str(path), names))
    if checked:
        of_val = names | {"test": [file for _, file, _ in val.pairs]}
        warnings += tuple(seen_doubts(known, checked, {}, str(path), of_val, "validation"))
        validation = torch.arange(len(known["s"]), len(known["s"]) + len(checked["s"]))
        known = {name: torch.cat([known[name], checked[name]]) for name in known}
    maps = torch.cat([part["s"].flatten() for part in (known, tested, alone) if part])
    classes = palette.names or numbered(maps, path)
    warnings += remarks(read.pictures, read.preprocessing) + turned_doubts(read.turned, path)
    warnings += unseen_classes(maps, classes, f"{path}: the masks")
    return Dataset(
        f"masks:{path.name}", map_label(classes), known, tested, unlabelled, warnings, origin, alone, validation
    )


def palette_files(source: MasksSource) -> list[str]:
    """The palette that a recipe names, as a file of the source."""
    return [] if source.palette is None else [PurePosixPath(source.palette).as_posix()]


def palette_of(source: MasksSource, path: Path) -> Palette:
    """The palette that a recipe names, `source.void` included.

    Raises:
        DataError: the file is missing or no palette.
    """
    if source.palette is None:
        return Palette(void=source.void)
    return read_palette(palette_path(source, path), source.void)


def palette_path(source: MasksSource, path: Path) -> Path:
    """Where the palette lies that a recipe names; `path` is the source's."""
    assert source.palette is not None
    return resolve(source.palette, path)


def part_of(files: Files, prefix: str) -> Pairs:
    """Sort the files below PREFIXimages and PREFIXmasks into pairs and the rest.

    Raises:
        DataError: two files of one folder differ in their endings alone.
    """
    images, masks = _by_name(files, f"{prefix}images/"), _by_name(files, f"{prefix}masks/")
    pairs = tuple(
        (_stem(file, f"{prefix}images/"), file, masks[name]) for name, file in images.items() if name in masks
    )
    return Pairs(
        pairs,
        tuple(file for name, file in images.items() if name not in masks),
        tuple(file for name, file in masks.items() if name not in images),
    )


def _stem(file: str, prefix: str) -> str:
    return str(PurePosixPath(file.removeprefix(prefix)).with_suffix(""))


def _by_name(files: Files, prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in files.names:
        if file.startswith(prefix) and is_image(file):
            name = composed(_stem(file, prefix))
            if name in found:
                raise DataError(f"{files.place}: {found[name]} and {file} have the same name; remove one")
            found[name] = file
    return found


def why_no_pairs(files: Files, prefix: str) -> str:
    """The message on a part to train on without a pair."""
    images, masks = (sorted(_by_name(files, f"{prefix}{kind}/").values()) for kind in ("images", "masks"))
    if not images or not masks:
        lacking = " and ".join(f"{prefix}{kind}" for kind, found in (("images", images), ("masks", masks)) if not found)
        return (
            f"{files.place} has no image files in {lacking}; it needs train/images and train/masks, or images and masks"
        )
    return (
        f"{files.place}: no image has a mask of the same name: {join_names(images, 2)} but {join_names(masks, 2)}; "
        "rename"
    )


def numbered(maps: Tensor, path: Path) -> tuple[str, ...]:
    """Classes called by their numbers, up to the largest in `maps`, of any shape.

    Raises:
        DataError: one class only, or numbers most of which never occur.
    """
    largest = int(maps.max())
    if largest < 1:
        raise DataError(f"{path}: the masks hold one class only, {largest}; at least two are needed")
    names = "source.palette, with their greys where these are not the numbers (`thing 255 255 255`)"
    refuse_gaps(torch.unique(maps[maps >= 0]).tolist(), f"{path}: the masks", names)
    return tuple(str(number) for number in range(largest + 1))
