"""The recipe as typed objects: what a YAML file may say, with every default in one place.

The models check one value at a time and what can be checked inside one section. Whether the streams can teach the
players is decided from the graphs, by `semivae.game.plan`; whether the data fit is decided where the data are read.
This module imports no torch, so that a recipe can be checked in milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticKnownError

LARGEST_SEED = 2**63 - 1  # what torch's generators take


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take true for 1
        raise PydanticKnownError("float_type")
    return value


NoTruth = BeforeValidator(_no_truth)
Fraction = Annotated[float, NoTruth, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, NoTruth, Field(ge=1)]
PositiveFloat = Annotated[float, NoTruth, Field(gt=0.0)]
NonNegative = Annotated[float, NoTruth, Field(ge=0.0)]
Seed = Annotated[int, NoTruth, Field(ge=0, le=LARGEST_SEED)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="lower-case letters, digits and _")]


class Section(BaseModel):
    """A part of a recipe. Unknown keys are errors, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# Data ----------------------------------------------------------------------------------------------------------------


class BuiltInSource(Section):
    """A data set that semivae knows by name."""

    name: Literal["digits", "mnist", "fashion_mnist", "cifar10", "svhn"]


class FolderSource(Section):
    """Image files: train/CLASS/*.png, optionally test/CLASS/* and unlabelled/*; or CLASS/* alone, which is split.

    A relative `path` starts at the data root. Images are resized (shorter side) and centre-cropped to `size`.
    """

    name: Literal["folder"]
    path: str
    size: Positive = 32
    channels: Literal[1, 3] = 3
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2


class ArraysSource(Section):
    """An .npz file: `x` and `y` to train on, optionally `x_test` and `y_test`, and `x_unlabelled`.

    x holds images (n, height, width), (n, height, width, channels) or (n, channels, height, width), as bytes or as
    floats in [0, 1]; or table rows (n, columns) as floats. y holds class numbers or class names.
    """

    name: Literal["arrays"]
    path: str
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2


Source = Annotated[BuiltInSource | FolderSource | ArraysSource, Field(discriminator="name")]


class SplitSpec(Section):
    """Which training examples show their label. `seed` chooses them and is apart from `training.seed`."""

    labelled: Positive | Literal["all"]
    balance: Literal["balanced", "proportional"] = "balanced"
    seed: Seed = 0
    validation: Annotated[int, Field(ge=0)] = 0


# Variables and players -----------------------------------------------------------------------------------------------


class VariableSpec(Section):
    """One random variable. `shape` and `classes` may be left out where the data tell them."""

    family: Literal["bernoulli", "categorical", "gaussian", "discretized_logistic"]
    shape: tuple[Positive, ...] | None = None
    classes: Annotated[int, Field(ge=2)] | None = None
    complete_with: Literal["sample", "mean"] = Field(
        "sample", description="what a player hands to the other: a draw (the method), or the mean (less noise)"
    )

    @model_validator(mode="after")
    def _classes_belong_to_categorical(self) -> VariableSpec:
        if self.classes is not None and self.family != "categorical":
            raise ValueError(f"classes belong to a categorical variable, not to a {self.family} one; remove classes")
        if self.complete_with == "mean" and self.family == "categorical":
            raise ValueError("a categorical variable has no mean; use complete_with: sample")
        if self.shape == () and self.family != "categorical":
            raise ValueError(f"shape [] is for a single class; a single {self.family} number has shape [1]")
        return self


class MlpSpec(Section):
    """Fully connected: every given variable flattened and joined."""

    name: Literal["mlp"]
    hidden: tuple[Positive, ...] = (256, 256)
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class ConvSpec(Section):
    """Convolutional, image to vector: one stage per entry of `channels`, each halves the image; one hidden layer."""

    name: Literal["conv"]
    channels: tuple[Positive, ...] = (32, 64, 128)
    hidden: Positive = 256
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class WideResnetSpec(Section):
    """Wide residual network (Zagoruyko and Komodakis 2016) with group norm; depth is 6 n + 4."""

    name: Literal["wide_resnet"]
    depth: Positive = 28
    width: Positive = 2
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @model_validator(mode="after")
    def _depth_fits(self) -> WideResnetSpec:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth {self.depth} is not 6 n + 4; use 10, 16, 22, 28 or 40")
        return self


class DeconvSpec(Section):
    """Convolutional, vector to image: starts at a small grid, one stage per entry of `channels`, each doubles it."""

    name: Literal["deconv"]
    channels: tuple[Positive, ...] = Field((128, 64, 32), min_length=1)
    blocks: Positive = 1


Net = Annotated[MlpSpec | ConvSpec | WideResnetSpec | DeconvSpec, Field(discriminator="name")]


class ConditionalSpec(Section):
    """A learnable factor: the distribution of one variable given others, by a network."""

    given: tuple[Name, ...] = Field(min_length=1)
    net: Net


class ProbabilitiesSpec(Section):
    """A fixed prior of a categorical variable."""

    probabilities: tuple[NonNegative, ...] = Field(min_length=2)


Prior = Literal["uniform", "standard", "learned", "samples"]
Factor = Prior | ProbabilitiesSpec | ConditionalSpec


# Views and streams ---------------------------------------------------------------------------------------------------


class ViewSpec(Section):
    """A random, label-preserving transform of images, drawn anew for every image; each entry is a largest change."""

    shift: Annotated[float, Field(ge=0.0, le=0.5, description="of the image's side")] = 0.0
    rotate: Annotated[float, Field(ge=0.0, le=180.0, description="degrees")] = 0.0
    scale: Annotated[float, Field(ge=0.0, le=0.9, description="relative change of size")] = 0.0
    shear: Annotated[float, Field(ge=0.0, le=60.0, description="degrees")] = 0.0
    elastic: Annotated[float, Field(ge=0.0, le=0.2, description="smooth bending, of the image's side")] = 0.0
    flip: bool = Field(False, description="mirror left and right, half of the time; never for digits")
    brightness: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    contrast: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    saturation: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    noise: Annotated[float, Field(ge=0.0, le=1.0, description="standard deviation of Gaussian noise")] = 0.0
    cutout: Annotated[float, Field(ge=0.0, le=1.0, description="side of the blanked square, of the image's side")] = 0.0


class PairOfViews(Section):
    """Views teach a label: the averaged encoder labels the weak view, the encoder learns it on the strong one."""

    weak: Name = "weak"
    strong: Name = "strong"
    threshold: Fraction = 0.95
    weight: NonNegative = 1.0
    align: bool = Field(
        False, description="weigh the teacher's classes so that on average they follow the decoder's prior"
    )


class Teach(Section):
    """How much a stream teaches one factor of the encoder or decoder, and from which share of the training on."""

    weight: NonNegative = 1.0
    start: Fraction = 0.0


class CountsSpec(Section):
    """Label-only values drawn with these class counts as weights."""

    counts: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=2)


class FileSpec(Section):
    """Values from a file: .csv or .txt (one class name or number a line), .npy, or .npz."""

    file: str


class StreamSpec(Section):
    """Endless batches that show one fixed set of variables."""

    observe: tuple[Name, ...]
    batch: Positive = 64
    views: Name | PairOfViews | None = None
    values: Literal["labelled", "left_out", "uniform"] | CountsSpec | ProbabilitiesSpec | FileSpec | None = Field(
        None, description="where a stream without data of its own (labels only) takes its values"
    )
    teach: dict[Name, NonNegative | Teach] = {}


# Training ------------------------------------------------------------------------------------------------------------


class PlayerRates(Section):
    encoder: PositiveFloat
    decoder: PositiveFloat


class TrainingSpec(Section):
    """The loop. One step is one update of the decoder and one of the encoder (docs/method.md, section 3)."""

    steps: Positive
    learning_rate: PositiveFloat | PlayerRates = 1e-3
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: NonNegative = 0.0
    warmup: Annotated[int, Field(ge=0, description="steps")] = 0
    schedule: Literal["constant", "cosine"] = "cosine"
    clip: PositiveFloat | None = Field(None, description="largest norm of a player's gradient")
    average: Annotated[float, Field(ge=0.0, lt=1.0, description="decay of the encoder's average")] = 0.999
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
    views: dict[Name, ViewSpec] = {}
    streams: dict[Name, StreamSpec] = Field(min_length=1)
    training: TrainingSpec
