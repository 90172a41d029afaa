"""Image files, each decoded once; a few hundred bytes are kept of one, so that any number takes little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from semivae.data.formats.file_trees import Files
from semivae.data.formats.image_files import Picture, Pictures, each_picture
from semivae.data.formats.levels import Levels
from semivae.data.formats.preprocessing import Preprocessing, Size, lost_share
from semivae.data.formats.remarks import LOST
from semivae.inspection.facts import ImageFacts
from semivae.recipe.folder_source import Fit
from semivae.text import count_of, either
from semivae.variables import Sample

SIDE = 16  # of the small grey picture by which likeness is measured, in pixels
Small = NDArray[np.uint8]  # [SIDE, SIDE]


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of one picture.

    Attributes:
        key: equal for equal pixels after all, and, but for one in many billions, for no others.
        small: the picture in grey and small.
        size: its own width and height, upright.
        levels: what its pixels were.
        low: the darkest level after all.
        high: the lightest.
        grey: whether all its channels are equal.
    """

    key: int
    small: Small
    size: Size
    levels: Levels
    low: int
    high: int
    grey: bool


def look_at(pixels: NDArray[np.uint8], size: Size, levels: Levels) -> Look:
    """What is kept of a picture, uint8 [channels, height, width]."""
    first = pixels[0]
    grey = all(bool((first == other).all()) for other in pixels[1:])
    shade = first if grey else pixels.mean(axis=0).astype(np.uint8)
    small = np.asarray(Image.fromarray(shade).resize((SIDE, SIDE), Image.Resampling.BOX))
    return Look(hash(pixels.tobytes()), small, size, levels, int(pixels.min()), int(pixels.max()), grey)


@dataclass(frozen=True)
class Looks:
    """Looks at image files.

    Attributes:
        names: of the files that can be read, in the order in which they were asked for.
        looks: one of each.
        unreadable: the others, with the reasons.
    """

    names: list[str]
    looks: list[Look]
    unreadable: dict[str, str]

    def pictures(self) -> Pictures:
        """The same without pixels, for `semivae.data.formats.remarks`."""
        nothing = torch.empty(0, dtype=torch.uint8)
        return Pictures(nothing, self.names, [look.size for look in self.looks], [look.levels for look in self.looks])


def look_at_files(files: Files, names: Sequence[str], preprocessing: Preprocessing) -> Looks:
    """Decodes image files one after the other, photographs in parallel; no error is raised for one of them."""
    usual = Levels(preprocessing)  # shared by most files

    def keep(_: int, picture: Picture) -> Look:
        return look_at(picture.pixels, picture.size, usual if picture.levels == usual else picture.levels)

    found = each_picture(files, names, preprocessing, keep)
    read = [(name, look) for name, look in zip(names, found, strict=True) if isinstance(look, Look)]
    unreadable = {name: look for name, look in zip(names, found, strict=True) if isinstance(look, str)}
    return Looks([name for name, _ in read], [look for _, look in read], unreadable)


def image_facts(names: Sequence[str], looks: Sequence[Look], how: Preprocessing) -> ImageFacts | None:
    """What is said of all images together; None where there are none."""
    if not looks:
        return None
    target = how.width, how.height
    sizes = Counter(look.size for look in looks)
    lost = {size: lost_share(size, target, how.fit) for size in sizes}
    worst = max(range(len(looks)), key=lambda row: lost[looks[row].size])
    most = lost[looks[worst].size]
    return ImageFacts(
        count=len(looks),
        sizes=tuple(sorted(sizes.items(), key=lambda size: (-size[1], size[0]))),
        size=target,
        channels=how.channels,
        grey=sum(look.grey for look in looks) if how.channels == 3 else None,
        cropped=sum(count for size, count in sizes.items() if lost[size] > LOST),
        mean_loss=sum(lost[size] * count for size, count in sizes.items()) / len(looks),
        most_loss=most,
        most_cropped=names[worst] if most > 0 else "",
        enlarged=sum(count for size, count in sizes.items() if is_enlarged(size, target, how.fit)),
        transparent=sum(look.levels.transparent for look in looks),
        deep=sum(look.levels.bits > 8 for look in looks),
        low=min(look.low for look in looks),
        high=max(look.high for look in looks),
        blank=tuple(name for name, look in zip(names, looks, strict=True) if look.low == look.high),
    )


def is_enlarged(size: tuple[int, int], target: tuple[int, int], fit: Fit) -> bool:
    """Whether a picture, (width, height), has a side of fewer pixels than it is scaled to; `pad` scales both alike."""
    shares = [own / wanted for own, wanted in zip(size, target, strict=True)]
    return (max if fit == "pad" else min)(shares) < 1


def picture_doubts(facts: ImageFacts | None, what: str) -> list[str]:
    """Warnings of pictures that training reads, but which are hardly meant so."""
    if facts is None:
        return []
    found = []
    if facts.blank:
        named = ", ".join(facts.blank[:3]) + (", ..." if len(facts.blank) > 3 else "")
        count = count_of(len(facts.blank), "image is", "images are")
        found.append(f"{what}: {count} of one level alone, which teaches nothing: {named}")
    if facts.grey == facts.count:
        found.append(f"{what}: all images are grey; source.channels: 1 makes training faster")
    if 2 * facts.enlarged > facts.count:
        width, height = facts.sizes[0][0]
        smaller = either(
            facts.enlarged,
            "is smaller than source.size and is enlarged",
            "are smaller than source.size and are enlarged",
        )
        found.append(
            f"{what}: {facts.enlarged:,} of {facts.count:,} images {smaller}, the "
            f"most frequent size is {width}x{height}; a smaller source.size loses nothing"
        )
    return found


def as_is(pixels: NDArray[np.uint8]) -> Preprocessing:
    """How arrays of images are read, uint8 [n, channels, height, width]: as they are."""
    _, channels, height, width = pixels.shape
    return Preprocessing(channels, height, width)


def looks_at_arrays(part: Sample) -> list[Look]:
    """What is kept of each image of a part of a data set in memory; {} has none."""
    if not part:
        return []
    pixels: NDArray[np.uint8] = part["x"].numpy()
    how = as_is(pixels)
    usual = Levels(how)
    return [look_at(image, (how.width, how.height), usual) for image in pixels]
