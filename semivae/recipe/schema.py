"""The recipe as typed objects: what a YAML file may say, with every default in one place.

The models check one value at a time and what can be checked inside one section. Whether the streams can teach the
players is decided from the graphs, by `semivae.game.plan`; whether the data fit is decided where the data are read.
This module imports no torch, so that a recipe can be checked in milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from semivae.recipe.networks import Net
from semivae.recipe.section import (
    Fraction,
    Name,
    NonNegative,
    NoTruth,
    Positive,
    PositiveFloat,
    ProperShare,
    Section,
    Seed,
)

# Data ----------------------------------------------------------------------------------------------------------------


class BuiltInSource(Section):
    """A data set that semivae knows by name."""

    name: Literal["digits", "mnist", "fashion_mnist", "cifar10", "svhn"]
    binarize: Fraction | None = Field(None, description="pixels above it become 1, all others 0")


class FolderSource(Section):
    """Image files: train/CLASS/*.png, optionally test/CLASS/* and unlabelled/*; or CLASS/* alone, which is split.

    A relative `path` starts at the data root. Images are resized (shorter side) and centre-cropped to `size`.
    """

    name: Literal["folder"]
    path: str
    size: Positive = 32
    channels: Literal[1, 3] = 3
    test_share: ProperShare = 0.2


ArrayName = Literal["x", "y", "s", "x_test", "y_test", "s_test", "x_unlabelled", "s_alone"]
Side = Annotated[int, NoTruth, Field(ge=4)]
ClassNumber = Annotated[int, NoTruth, Field(ge=0, le=65535)]


class ArraysSource(Section):
    """An .npz file: `x` and `y` to train on, optionally `x_test` and `y_test`, and `x_unlabelled`.

    x holds images (n, height, width), (n, height, width, channels) or (n, channels, height, width), as bytes or as
    floats in [0, 1]; or table rows (n, columns) as floats. y holds class numbers or class names. In place of y there
    may be s, segmentation maps (n, height, width) of class numbers, with `s_test`, and `s_alone` without images.
    """

    name: Literal["arrays"]
    path: str
    test_share: ProperShare = 0.2
    keys: dict[ArrayName, str | tuple[str, ...]] = Field(
        {}, description="what the file calls an array, or several to be joined"
    )
    size: Side | tuple[Side, Side] | None = Field(None, description="of images and maps with s; None keeps theirs")
    classes: tuple[str, ...] | None = Field(None, min_length=2, description="names of the classes of s")
    void: ClassNumber | None = Field(None, description="the number in s that stands for: not known")


class MasksSource(Section):
    """Image files and their masks: train/images/*, train/masks/*, optionally the same in val and test; unlabelled/*.

    Or images/* and masks/* alone, which are split. An image and its mask have the same name but for the ending; an
    image without a mask is unlabelled, a mask without an image shows what masks look like. A mask holds class numbers,
    or colours that `palette` names. A relative `path` starts at the data root, `palette` at `path`.
    """

    name: Literal["masks"]
    path: str
    size: Side | tuple[Side, Side] = 64
    channels: Literal[1, 3] = 3
    palette: str | None = Field(None, description="a text file, a class a line: NAME, or NAME RED GREEN BLUE")
    void: ClassNumber | None = Field(None, description="the class number that stands for: not known")
    test_share: ProperShare = 0.2


class TableSource(Section):
    """A .csv or .tsv file: a row an example, the first line names the columns, `label` is the one with the class.

    Rows without a label are the unlabelled examples. Numbers are standardised, texts become categories, cells that are
    empty (or NA, NaN, ?) are missing. Relative paths start at the data root.
    """

    name: Literal["table"]
    path: str
    label: str
    test: str | None = Field(None, description="another such file, to test on; else test_share of the rows is kept")
    test_share: ProperShare = 0.2
    ignore: tuple[str, ...] = Field((), description="columns that say nothing, such as numbers of rows")
    categorical: tuple[str, ...] = Field((), description="columns of numbers that stand for categories")

    @model_validator(mode="after")
    def _label_is_used(self) -> TableSource:
        if self.label in self.ignore:
            raise ValueError(f"ignore: {self.label} is the label; leave it out there")
        return self


class CelebAMaskSource(Section):
    """CelebAMask-HQ in its official layout: CelebA-HQ-img, CelebAMask-HQ-mask-anno, and CelebA's own three parts."""

    name: Literal["celebamask_hq"]
    path: str = "CelebAMask-HQ"
    size: Side = 64


Source = Annotated[
    BuiltInSource | FolderSource | ArraysSource | TableSource | MasksSource | CelebAMaskSource,
    Field(discriminator="name"),
]


class LongTailSpec(Section):
    """Class shares that fall geometrically, in the order of the classes: the first has `ratio` times the last one's."""

    ratio: Annotated[float, NoTruth, Field(ge=1.0)]


class SplitSpec(Section):
    """Which training examples show their label. `seed` chooses them and is apart from `training.seed`."""

    labelled: Positive | Literal["all"]
    balance: Literal["balanced", "proportional"] | LongTailSpec = "balanced"
    seed: Seed = 0
    validation: Annotated[int, NoTruth, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _long_tail_needs_a_number(self) -> SplitSpec:
        if self.labelled == "all" and isinstance(self.balance, LongTailSpec):
            raise ValueError("labelled: all shows every label there is, so a ratio has no use; say how many labels")
        return self


# Variables and players -----------------------------------------------------------------------------------------------


class VariableSpec(Section):
    """One random variable. `shape` and `classes` may be left out where the data tell them."""

    family: Literal["bernoulli", "categorical", "gaussian", "discretized_logistic"]
    shape: tuple[Positive, ...] | None = None
    classes: Annotated[int, NoTruth, Field(ge=2)] | None = None
    complete_with: Literal["sample", "mean", "mode"] = Field(
        "sample",
        description="what a player hands to the other: a draw (the method), or the mean or mode (less noise)",
    )

    @model_validator(mode="after")
    def _classes_belong_to_categorical(self) -> VariableSpec:
        if self.classes is not None and self.family != "categorical":
            raise ValueError(f"classes belong to a categorical variable, not to a {self.family} one; remove classes")
        if self.complete_with == "mean" and self.family == "categorical":
            raise ValueError("a categorical variable has no mean; use complete_with: sample, or mode")
        if self.complete_with == "mode" and self.family != "categorical":
            raise ValueError(f"mode is for categorical variables; a {self.family} one completes with sample or mean")
        if self.shape == () and self.family != "categorical":
            raise ValueError(f"shape [] is for a single class; a single {self.family} number has shape [1]")
        return self


class ConditionalSpec(Section):
    """A learnable factor: the distribution of one variable given others, by a network."""

    given: tuple[Name, ...] = Field(min_length=1)
    net: Net
    ladder: bool = Field(
        False,
        description="encoder only: the decoder's natural parameters plus those of `net`, which reads `bottom_up`",
    )


class ProbabilitiesSpec(Section):
    """A fixed prior of a categorical variable."""

    probabilities: tuple[NonNegative, ...] = Field(min_length=2)


Prior = Literal["uniform", "standard", "learned", "samples"]
Factor = Prior | ProbabilitiesSpec | ConditionalSpec


# Views and streams ---------------------------------------------------------------------------------------------------


class ViewSpec(Section):
    """A random, label-preserving transform of images, drawn anew for every image; each entry is a largest change."""

    shift: Annotated[float, NoTruth, Field(ge=0.0, le=0.5, description="of the image's side")] = 0.0
    rotate: Annotated[float, NoTruth, Field(ge=0.0, le=180.0, description="degrees")] = 0.0
    scale: Annotated[float, NoTruth, Field(ge=0.0, le=0.9, description="relative change of size")] = 0.0
    shear: Annotated[float, NoTruth, Field(ge=0.0, le=60.0, description="degrees")] = 0.0
    elastic: Annotated[float, NoTruth, Field(ge=0.0, le=0.2, description="smooth bending, of the image's side")] = 0.0
    flip: bool = Field(False, description="mirror left and right, half of the time; never for digits")
    brightness: Annotated[float, NoTruth, Field(ge=0.0, le=1.0)] = 0.0
    contrast: Annotated[float, NoTruth, Field(ge=0.0, le=1.0)] = 0.0
    saturation: Annotated[float, NoTruth, Field(ge=0.0, le=1.0)] = 0.0
    gamma: Annotated[float, NoTruth, Field(ge=0.0, le=2.0, description="log of the exponent of the pixels' values")] = (
        0.0
    )
    shade: Annotated[
        float, Field(ge=0.0, le=2.0, description="standard deviation of the log of a light that varies smoothly")
    ] = 0.0
    noise: Annotated[float, NoTruth, Field(ge=0.0, le=1.0, description="standard deviation of Gaussian noise")] = 0.0
    cutout: Annotated[
        float, NoTruth, Field(ge=0.0, le=1.0, description="side of the blanked square, of the image's side")
    ] = 0.0
    speckle: Annotated[float, NoTruth, Field(ge=0.0, le=1.0, description="share of the pixels that are inverted")] = 0.0


class Teach(Section):
    """How much a stream teaches one factor of the encoder or decoder, and from which share of the training on."""

    weight: NonNegative = 1.0
    start: Fraction = 0.0
    full: Fraction | None = Field(
        None, description="share of the training at which the weight is reached, evenly from start on; None: at once"
    )

    @model_validator(mode="after")
    def _full_comes_after_start(self) -> Teach:
        if self.full is not None and self.full < self.start:
            raise ValueError(
                f"full is {self.full:g}, before start, {self.start:g}; the weight grows from start to full"
            )
        return self


class TeachPlayers(Section):
    """How much a stream teaches one factor of either player, where both have one of that name: q(y | x) and p(y)."""

    encoder: NonNegative | Teach = 1.0
    decoder: NonNegative | Teach = 1.0


class PairOfViews(Section):
    """Views teach a label: the averaged encoder labels the weak view, the encoder learns it on the strong one."""

    weak: Name = "weak"
    strong: Name = "strong"
    threshold: Fraction = 0.95
    weight: NonNegative | Teach = 1.0
    temperature: PositiveFloat | None = Field(
        None,
        description="teach the teacher's whole posterior, its logits divided by this (below 1 sharpens it), instead of "
        "its most likely class; of a map, a draw of it at every place",
    )
    cutmix: Fraction = Field(
        0.0, description="share of the strong views that get a patch of another image, and as much of its label"
    )
    ramp: Fraction = Field(
        0.0, description="share of the training over which more and more of each class is taught, the surest first"
    )
    information: NonNegative | Teach = Field(
        0.0, description="how much the label's mutual information between two strong views counts"
    )
    align: bool = Field(
        False, description="weigh the teacher's classes so that on average they follow the decoder's prior"
    )


class VoteSpec(Section):
    """The decoder votes on the label of unlabelled images: the teacher is log q(y | x) + strength * vote, normalised.

    Beside a pair of views the vote joins that lesson's teacher. Alone it makes a lesson of its own: where the combined
    posterior is confident, the encoder learns its label on the image itself, or on the stream's single view of it.
    """

    strength: PositiveFloat = Field(0.05, description="of the decoder's vote, which is in nats, beside log q")
    draws: Positive = Field(1, description="codes drawn for every image and class")
    start: Fraction = Field(0.5, description="share of the training after which the decoder may vote")
    threshold: Fraction = Field(0.95, description="of the lesson that the vote makes where there is no pair of views")
    weight: NonNegative = Field(1.0, description="of that lesson")


class CountsSpec(Section):
    """Label-only values drawn with these class counts as weights."""

    counts: tuple[Annotated[int, NoTruth, Field(ge=0)], ...] = Field(min_length=2)


class FileSpec(Section):
    """Values from a file: .csv or .txt (one class name or number a line), .npy, or .npz."""

    file: str


class StreamSpec(Section):
    """Endless batches that show one fixed set of variables."""

    observe: tuple[Name, ...]
    batch: Positive = 64
    views: Name | PairOfViews | None = None
    vote: VoteSpec | None = None
    values: Literal["labelled", "left_out", "uniform"] | CountsSpec | ProbabilitiesSpec | FileSpec | None = Field(
        None, description="where a stream without data of its own (labels only) takes its values"
    )
    teach: dict[Name, NonNegative | Teach | TeachPlayers] = Field({})
    adjust: bool = Field(
        False,
        description="pairs only: teach the label as if their classes were as frequent as the decoder's prior says",
    )
    mixup: Annotated[float, NoTruth, Field(ge=0.01)] | None = Field(  # below, draws of a Beta underflow
        None,
        description="pairs only: teach the encoder's label on mixtures of two images, shares from Beta(mixup, mixup)",
    )


# Training ------------------------------------------------------------------------------------------------------------


class PlayerRates(Section):
    encoder: PositiveFloat
    decoder: PositiveFloat


Algorithm = Literal["adam", "adamw", "muon"]


class PlayerOptimizers(Section):
    encoder: Algorithm
    decoder: Algorithm


class TrainingSpec(Section):
    """The loop. One step is one update of the decoder and one of the encoder (docs/method.md, section 3)."""

    steps: Positive
    objective: Literal["symmetric", "elbo"] = Field(
        "symmetric", description="the game; or for comparison the evidence lower bound of the same players"
    )
    estimator: Literal["zgr", "leave_one_out"] = Field(
        "zgr", description="of the lower bound's gradient: second-order straight-through, or unbiased and noisier"
    )
    learning_rate: PositiveFloat | PlayerRates = 1e-3
    optimizer: Algorithm | PlayerOptimizers = Field(
        "adam", description="muon: weights move by their orthogonalised gradient, all else by AdamW"
    )
    weight_decay: NonNegative = 0.0
    warmup: Annotated[int, NoTruth, Field(ge=0, description="steps")] = 0
    schedule: Literal["constant", "cosine"] = "cosine"
    clip: PositiveFloat | None = Field(None, description="largest norm of a player's gradient")
    average: Annotated[float, NoTruth, Field(ge=0.0, lt=1.0, description="decay of the encoder's average")] = 0.999
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    validate_every: Positive = 200
    checkpoint_every: Positive = 500
    seed: Seed = 0
    twin: bool = Field(False, description="also train the supervised twin, for comparison")


class Recipe(Section):
    """A whole scenario, as written in a YAML file."""

    about: str = ""
    source: Source
    split: SplitSpec
    variables: dict[Name, VariableSpec] = Field(min_length=1)
    decoder: dict[Name, Factor]
    encoder: dict[Name, ConditionalSpec] = Field(min_length=1)
    bottom_up: Net | None = Field(None, description="the network of x that all ladder factors of the encoder share")
    views: dict[Name, ViewSpec] = Field({})
    streams: dict[Name, StreamSpec] = Field(min_length=1)
    training: TrainingSpec
