"""What is said of data: typed facts of images, columns, masks, duplicates and files that are not used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Counts = Mapping[str, int]  # by part: labelled, validation, unlabelled, test
PARTS = ("labelled", "validation", "unlabelled", "test")
NO_LABEL = "(no label)"  # the row of a table of classes for examples that have none


@dataclass(frozen=True)
class Pair:
    """Two examples that are equal, or nearly so, by their names."""

    first: str
    second: str


@dataclass(frozen=True)
class Duplicates:
    """Examples that are there more than once, compared as the model would see them.

    Attributes:
        copies: how many are equal to one before them, wherever both lie.
        across_parts: one to test or validate on, and an equal one that is trained on.
        across_classes: two equal ones with different labels.
        near_across_parts: likewise, nearly equal; none where examples are no images.
        near_across_classes: likewise.
    """

    copies: int = 0
    across_parts: tuple[Pair, ...] = ()
    across_classes: tuple[Pair, ...] = ()
    near_across_parts: tuple[Pair, ...] = ()
    near_across_classes: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class ImageFacts:
    """What images were, and what becomes of them.

    Attributes:
        count: of those that can be read.
        sizes: how many have which size, [(width, height), count], the most frequent first.
        size: width and height of what becomes of them.
        channels: 1 for grey, 3 for colour, after all.
        grey: how many of those that become colour show grey alone; None where all become grey.
        cropped: how many lose more than a fifth of their area.
        mean_loss: the share of its area that an image loses by `fit: crop`, on average.
        most_loss: the largest such share.
        most_cropped: the image that loses it.
        enlarged: how many are smaller than what becomes of them.
        transparent: how many have transparent places.
        deep: how many have more than 8 bits.
        low: the darkest level after all, from 0 to 255.
        high: the lightest.
        blank: images of one level alone.
    """

    count: int
    sizes: tuple[tuple[tuple[int, int], int], ...]
    size: tuple[int, int]
    channels: int
    grey: int | None
    cropped: int
    mean_loss: float
    most_loss: float
    most_cropped: str
    enlarged: int
    transparent: int
    deep: int
    low: int
    high: int
    blank: tuple[str, ...]


@dataclass(frozen=True)
class ColumnFacts:
    """A column of a table.

    Attributes:
        name: its name.
        kind: what it is read as; `refused` where it cannot be.
        missing: how many cells hold nothing.
        distinct: how many different cells there are.
        examples: some cells.
        low: the smallest number, of a column of numbers.
        high: the largest.
        remark: what looks wrong.
    """

    name: str
    kind: Literal["label", "numbers", "categories", "ignored", "constant", "refused"]
    missing: int
    distinct: int
    examples: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class MaskFacts:
    """What the pixels of masks hold.

    Attributes:
        count: of masks that can be read.
        units: what their values are, in words.
        shown: in how many masks each class is, by name.
        area: the share of all known places that each class has, by name.
        void: the share of places that are not known.
        colours: colours of masks that no palette explains, as `RED GREEN BLUE`, the most frequent first.
    """

    count: int
    units: str
    shown: Mapping[str, int]
    area: Mapping[str, float]
    void: float
    colours: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelFacts:
    """A further label, beside the primary one.

    Attributes:
        kind: what it is, "classes" or "candidates".
        classes: its classes, by name.
        shown: how many examples of each part show it.
        hidden: how many training examples have it, but the split hides it.
    """

    kind: str
    classes: tuple[str, ...]
    shown: Counts
    hidden: int


@dataclass(frozen=True)
class Unused:
    """Files that no part uses, for one reason.

    Attributes:
        names: of the files.
        reason: why they are not used.
        advice: what was probably meant, and what to do then; "" where nobody can say.
    """

    names: tuple[str, ...]
    reason: str
    advice: str = ""
