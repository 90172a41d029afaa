"""Where the data of a recipe come from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from semivae.recipe.folder_source import (
    BACKGROUND,
    CHANNELS,
    FIT,
    KINDS,
    WHITE,
    Background,
    Fit,
    FolderSource,
    LabelKind,
    refuse_further,
)
from semivae.recipe.pair_sources import DigitPairsSource
from semivae.recipe.section import (
    FilePath,
    Fraction,
    Name,
    NoTruth,
    PositiveFloat,
    ProperShare,
    Section,
    Side,
)
from semivae.recipe.simulated import SimulatedLabel
from semivae.recipe.turned import TurnedSource


class BuiltInSource(Section):
    """A public data set, known by name. Missing files are downloaded; data/README.md lists sizes and terms."""

    example: ClassVar[str] = "{name: mnist, binarize: 0.5}"

    name: Literal["digits", "mnist", "fashion_mnist", "cifar10", "svhn"] = Field(
        description="The data set; `digits` comes with scikit-learn and needs no download."
    )
    binarize: Fraction | None = Field(
        None, description="Threshold: pixels above it become 1, all others 0. By default pixels keep their grey values."
    )
    simulate: dict[Name, SimulatedLabel] = Field(
        {}, description="Further labels that are simulated from the true ones, by name: noisy, coarse or of candidates."
    )

    @model_validator(mode="after")
    def _names_are_free(self) -> BuiltInSource:
        refuse_further(self.simulate, {}, "simulate")
        return self


# what is read by these names
ARRAYS = ("x", "y", "y_names", "s", "x_test", "y_test", "s_test", "x_unlabelled", "s_alone")
PARTS_OF_ARRAYS = ("", "_test", "_unlabelled")
NAMES = "_names"  # of attributes
ClassNumber = Annotated[int, Field(ge=0, le=65535), NoTruth]


class ArraysSource(Section):
    """A NumPy .npz file with the arrays `x` and `y`, and optionally `x_test` and `y_test`, and `x_unlabelled`.

    `x` holds images (n, height, width), (n, height, width, channels) or (n, channels, height, width), as bytes or as
    floats in [0, 1]; or rows of a table (n, columns), as floats. `y` holds class numbers or class names. Instead of `y`
    the file may hold `s`, segmentation maps (n, height, width) of class numbers, with optional `s_test`, and `s_alone`
    for maps without images. A `y` of several columns (n, K) of zeros and ones is a vector of attributes, with -1 or NaN
    where one is unknown, and optional `y_names`. Further labels of the same images are named in `keys`, such as `c`,
    with `c_test` and `c_unlabelled`: class names or numbers, where "" or a number below zero means that the label is
    not known.
    """

    example: ClassVar[str] = "{name: arrays, path: cells.npz, keys: {x: pictures, y: kinds}}"

    name: Literal["arrays"] = Field(description="Selects this kind of source.")
    path: FilePath = Field(description="The .npz file; a relative path starts at the data root (`--data-root`).")
    test_share: ProperShare = Field(
        0.2, description="Fraction of the examples that is set aside for testing where the file has no test arrays."
    )
    keys: dict[Name, str | tuple[str, ...]] = Field(
        {},
        description="What the file calls an array, if not by our name; a list joins several arrays. Other names than "
        "those above are further labels, such as {x: x, y: kind, c: family}. Arrays that are not named here are then "
        "not read.",
    )
    kinds: dict[Name, LabelKind] = KINDS
    size: Side | tuple[Side, Side] | None = Field(
        None,
        description="For files with maps: the side, or [height, width], to which images and maps are scaled. By "
        "default they keep their size.",
    )
    classes: tuple[str, ...] | None = Field(
        None, min_length=2, description="Names of the classes of the maps `s`, in the order of their numbers."
    )
    void: ClassNumber | None = Field(None, description="The number in `s` that marks places whose class is unknown.")

    @property
    def further(self) -> tuple[str, ...]:
        """The names of further labels."""
        ends = (*PARTS_OF_ARRAYS[1:], NAMES)
        return tuple(name for name in self.keys if name not in ARRAYS and not name.endswith(ends))

    @model_validator(mode="after")
    def _further_labels_are_whole(self) -> ArraysSource:
        known = {*ARRAYS, *(f"{name}{part}" for name in self.further for part in (*PARTS_OF_ARRAYS, NAMES))}
        if lost := [name for name in self.keys if name not in known]:
            base = lost[0].rpartition("_")[0]
            raise ValueError(f"keys: {lost[0]} belongs to a further label {base}, which is not there; add {base}")
        refuse_further(dict.fromkeys(self.further), self.kinds, "keys", ("classes", "numbers", "attributes"))
        return self


class MasksSource(Section):
    """Image files with segmentation masks.

    The layout is `train/images/*` and `train/masks/*`, with the same optional folders in `val` and `test`, and
    `unlabelled/*`; or `images/*` and `masks/*` alone, of which a part is set aside for testing. An image and its mask
    have the same file name up to the ending. An image without a mask is unlabelled; a mask without an image shows what
    masks look like. A mask holds class numbers, or colours that `palette` explains; it is a PNG or another file that
    keeps every pixel.
    """

    example: ClassVar[str] = "{name: masks, path: faces, size: [64, 48], palette: palette.txt, void: 255}"

    name: Literal["masks"] = Field(description="Selects this kind of source.")
    path: FilePath = Field(description="The folder; a relative path starts at the data root (`--data-root`).")
    size: Side | tuple[Side, Side] = Field(
        64, description="The side, or [height, width], to which images and masks are scaled, in pixels."
    )
    channels: Literal[1, 3] = CHANNELS
    fit: Fit = FIT
    background: Background = BACKGROUND
    white: PositiveFloat | None = WHITE
    palette: FilePath | None = Field(
        None,
        description="A text file, relative to `path`, with one class per line in the order of the class numbers: "
        "`NAME`, or `NAME RED GREEN BLUE`.",
    )
    void: ClassNumber | None = Field(None, description="The class number that marks pixels whose class is unknown.")
    test_share: ProperShare = Field(
        0.2, description="Fraction of the pairs that is set aside for testing where there is no `test` folder."
    )


class TableSource(Section):
    """A .csv or .tsv file with one example per row; the first line names the columns.

    Rows without a label are the unlabelled examples. Columns of numbers are standardised, columns of text become
    categories, and cells that are empty (or NA, NaN, null, ?, #N/A) are missing.
    """

    example: ClassVar[str] = "{name: table, path: plants.csv, label: kind, ignore: [id], categorical: [region]}"

    name: Literal["table"] = Field(description="Selects this kind of source.")
    path: FilePath = Field(description="The file; a relative path starts at the data root (`--data-root`).")
    label: str = Field(description="The name of the column that holds the class.")
    columns: dict[Name, str] = Field(
        {},
        description="Columns that hold further labels, by the names that the recipe gives them, such as {c: family}. "
        "Empty cells mean that a label is not known. Candidates are parted by a vertical bar.",
    )
    kinds: dict[Name, LabelKind] = KINDS
    test: FilePath | None = Field(
        None, description="A second file with the same columns for testing; else `test_share` of the rows is set aside."
    )
    test_share: ProperShare = Field(
        0.2, description="Fraction of each class that is set aside for testing where there is no `test` file."
    )
    ignore: tuple[str, ...] = Field(
        (), description='Columns to leave out, such as row numbers; "" is a first column without a name.'
    )
    categorical: tuple[str, ...] = Field((), description="Columns of numbers that stand for categories.")
    decimal: Literal["point", "comma"] = Field(
        "point", description="What parts whole numbers from fractions: 3.5 has a `point`, 3,5 a `comma`."
    )
    thousands: Literal["comma", "point", "space", "apostrophe"] | None = Field(
        None, description="What groups the digits of large numbers, as the comma in 1,163.50. By default nothing may."
    )
    missing: tuple[str, ...] | None = Field(
        None,
        description="Texts that mean a missing cell, in whatever case; an empty cell always does. By default NA, N/A, "
        "NaN, NaT, null, ? and Excel's errors.",
    )
    unlabelled: tuple[str, ...] | None = Field(
        None,
        description='Further texts that mean that a row has no label, such as "-1" or unknown. An empty list says that '
        "there are none, so that no class is warned of.",
    )

    @model_validator(mode="after")
    def _label_is_used(self) -> TableSource:
        if self.kinds.get("y") == "attributes":
            raise ValueError("kinds: the label of a table is a class or a number; name its attributes among columns")
        if self.label in self.ignore:
            raise ValueError(f"ignore: {self.label} is the label; leave it out there")
        refuse_further(self.columns, self.kinds, "columns")
        return self

    @model_validator(mode="after")
    def _marks_differ(self) -> TableSource:
        if self.thousands == self.decimal:
            raise ValueError(f"thousands: a {self.thousands} cannot both group digits and part fractions; correct one")
        return self


class CelebAMaskSource(Section):
    """CelebAMask-HQ in its official layout, split into CelebA's own training, validation and test parts.

    The folder holds `CelebA-HQ-img`, `CelebAMask-HQ-mask-anno` and `CelebA-HQ-to-CelebA-mapping.txt`.
    """

    example: ClassVar[str] = "{name: celebamask_hq, size: 64}"

    name: Literal["celebamask_hq"] = Field(description="Selects this kind of source.")
    path: FilePath = Field(
        "CelebAMask-HQ", description="The folder; a relative path starts at the data root (`--data-root`)."
    )
    size: Side = Field(64, description="Height and width to which images and masks are scaled, in pixels.")


class MemorySource(Section):
    """Data that were given in memory, by `semivae.train(recipe, dataset=...)`; it stands in the recipe of such a run.

    The run keeps a checksum of the data, not the data: give them again to evaluate or resume it.
    """

    example: ClassVar[str] = "{name: memory}"

    name: Literal["memory"] = Field(description="Selects this kind of source.")
    binarize: Fraction | None = Field(
        None, description="Pixels above this threshold, in [0, 1], become white and all others black."
    )


Source = Annotated[
    BuiltInSource
    | FolderSource
    | ArraysSource
    | TableSource
    | MasksSource
    | CelebAMaskSource
    | DigitPairsSource
    | TurnedSource
    | MemorySource,
    Field(discriminator="name"),
]
